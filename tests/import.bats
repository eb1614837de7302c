# import.bats - tfm-import: arrays and lines of other programs, and hostile files. The way back of
# what tfm-export wrote is in export.bats.
load helper

# npy HEADER [BYTES]: an npy 1.0 with that header, unpadded, and those bytes (printf form).
npy() {
    printf '\x93NUMPY\1\0'
    printf "\\x$(printf %02x $((${#1} + 1)))\\0"
    printf '%s\n' "$1"
    # shellcheck disable=SC2059 # the bytes are in printf's form
    printf "${2:-}"
}

@test "an npy is the records of its kind" {
    cd "$tmp"
    npy "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 2), }" \
        'H\0\0\0\0\0\0\0i\0\0\0\0\0\0\0!\0\0\0\0\0\0\0?\0\0\0\0\0\0\0' >x.npy
    pipe 'tfm-import --no-prov --kind tokens --group 5 --position 7 --set vocab=raw-bytes x.npy | tfm-show'
    status_is 0 0
    same "$out" - <<'END'
stdin: stream 1, kind tokens
    vocab raw-bytes
    tool tfm-import
     0 tensor    tokens i32 [2] group 5 at 7 last: 72 105 (min 72 max 105 mean 88.5)
     1 tensor    tokens i32 [2] group 6 at 7 last: 33 63 (min 33 max 63 mean 48)
     2 group-end - group 5 at 9 open
     3 group-end - group 6 at 9 open
END
    pipe 'tfm-import --kind tensor --name a x.npy | tfm-show --tsv | cut -f 3-9'
    printf 'type\tname\tdtype\tdims\tgroup\tposition\tflags\ntensor\ta\ti64\t2x2\t0\t0\tlast\ngroup-end\t\t\t\t0\t2\t\n' |
        same "$out" -
    pipe 'tfm-import x.npy'
    status_is 2
    err_has '--kind'
    pipe 'tfm-import --kind hidden x.npy'
    status_is 3
}

@test "values that would change are refused" {
    cd "$tmp"
    npy "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }" '\0\0\0\0\1\0\0\0' >large.npy
    pipe 'tfm-import --kind tokens large.npy'
    status_is 3
    err_has 'element 0'
    npy "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }" \
        '\0\0\0\0\0\0\xe0?\x9a\x99\x99\x99\x99\x99\xb9?' >tenth.npy # 0.5, 0.1
    pipe 'tfm-import --kind hidden tenth.npy'
    status_is 3
    err_has '--round'
    pipe 'tfm-import --round --kind hidden tenth.npy | tfm-export | jq -c "select(.data).data"'
    out_is '[[0.5,0.100000001]]'
    npy "{'descr': '<u2', 'fortran_order': False, 'shape': (1,), }" '\xc0\x3f' >u2.npy
    pipe 'tfm-import --bf16 --kind tensor u2.npy | tfm-export | jq -c "select(.data) | .dtype, .data"'
    printf '"bf16"\n[1.5]\n' | same "$out" -
}

@test "headers of npy that NumPy does not write: exit 3, one line" {
    cd "$tmp"
    local header
    while read -r header; do
        npy "$header" '\0\0\0\0' >x.npy
        pipe 'tfm-import --kind tensor x.npy'
        echo "$header"
        last_is 3
        one_line "$err"
    done <<'END'
{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }
{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }
{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }
{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }
{'descr': '|O', 'fortran_order': False, 'shape': (1,), }
{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }
{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }
{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 2), }
{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905,), }
{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }
{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1), }
{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,), }
{'descr': '<f4', 'fortran_order': False, }
{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1, }
{'descr': '<f4', 'fortran_order': __import__('os'), 'shape': (1,), }
{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x
__import__('os').abort()
END
}

@test "lines of records alone: groups are ended, the last rows marked" {
    printf '%s\n' '{"type":"tensor","name":"tokens","group":4,"data":[72,105]}' '' \
        '{"type":"tensor","name":"tokens","group":2,"data":[33],"mine":{"data":[]}}' >"$in"
    pipe 'tfm-import --kind tokens | tfm-show --tsv | cut -f 3-10'
    status_is 0 0 0
    sed 1d "$out" | tr '\t' ' ' | same - <(printf '%s\n' 'tensor tokens i32 2 4 0 last ' \
        'tensor tokens i32 1 2 0 last ' 'group-end    4 2  open' 'group-end    2 1  open')
    pipe 'tfm-import'
    status_is 2
    err_has '--kind'
}

@test "wrong lines: exit 3, one line that says which" {
    local line
    while read -r line; do
        printf '%s\n' '{"type":"header","kind":"tensor"}' "$line" '{"type":"end"}' >"$in"
        pipe 'tfm-import >x'
        echo "$line"
        status_is 3
        one_line "$err"
        err_has 'stdin: line 2: '
    done <<'END'
{"type":"tensor","name":"a","shape":[2,2],"dtype":"f32","data":[[1,2],[3]]}
{"type":"tensor","name":"a","shape":[2],"dtype":"f32","data":[1,2,3]}
{"type":"tensor","name":"a","shape":[4000000],"dtype":"f32","data":[1]}
{"type":"tensor","name":"a","shape":[4294967295,4294967295],"dtype":"f32","data":[]}
{"type":"tensor","name":"a","shape":[-1],"dtype":"f32","data":[1]}
{"type":"tensor","name":"a","shape":[1],"dtype":"f64","data":[1]}
{"type":"tensor","name":"a","shape":[1],"dtype":"f32","data":[1e39]}
{"type":"tensor","name":"a","shape":[1],"dtype":"f16","data":[65520]}
{"type":"tensor","name":"a","shape":[1],"dtype":"u8","data":[256]}
{"type":"tensor","name":"a","shape":[1],"dtype":"i32","data":[1.5]}
{"type":"tensor","name":"a","shape":[1],"dtype":"i32","data":["nan"]}
{"type":"tensor","name":"a","shape":[1],"dtype":"f32","data":["nan:12"]}
{"type":"tensor","name":"a","shape":[32],"dtype":"q8_0","base64":"AAAA"}
{"type":"tensor","name":"a","shape":[3],"dtype":"u8","base64":"AA!A"}
{"type":"tensor","name":"a","shape":[1],"dtype":"f32","array":"x"}
{"type":"tensor","name":"a","data":[1],"text":"b"}
{"type":"tensor","name":"a"}
{"type":"tensor","name":"a","data":[1],"flags":["first"]}
{"type":"tensor","name":"a","data":[1],"group":4294967295}
{"type":"tensor","name":"a","data":[1],"position":0.5}
{"type":"tensor","name":"a","data":[1],"data":[2]}
{"type":"tensor","name":"a","data":[1]
{"type":"tensor","name":"a","data":[[[[[[1]]]]]]}
{"type":"group-end","status":"well"}
{"type":"ancillary","number":5}
{"type":"model"}
{"type":"header","kind":"tensor"}
{"type":"end","records":7}
[1,2]
END
    printf '{"type":"header","kind":"tensor"}\n{"type":"group-end"}\n' >"$in"
    pipe 'tfm-import >x'
    status_is 3
    err_has 'it was cut'
}

@test "an npz cut at any byte, or with any byte changed, is never a success" {
    cd "$tmp"
    printf '%s\n' '{"type":"header","kind":"tensor"}' '{"type":"tensor","name":"a","data":[1,2]}' \
        '{"type":"end"}' | tfm-import | tfm-export -o x.npz
    local size at status
    size=$(stat -c %s x.npz)
    for at in $(seq 0 23 $((size - 1))); do
        head -c "$at" x.npz >cut
        status=0
        tfm-import cut >got 2>"$err" || status=$?
        [ "$status" -eq 3 ] && one_line "$err" || { echo "cut at $at: $status"; return 1; }
        { head -c "$at" x.npz; printf '\xa5'; tail -c +$((at + 2)) x.npz; } >changed
        status=0
        timeout 10 tfm-import changed >got 2>"$err" || status=$?
        # The time of a member and the like may change; the values may not.
        [ "$status" -eq 3 ] || { [ "$status" -eq 0 ] && tfm-import x.npz | tfm-cmp - got; } ||
            { echo "changed at $at: $status"; return 1; }
    done
}

@test "archives that are bombs or lie are refused" {
    needs_program python3
    cd "$tmp"
    python3 - <<'END'
import io, struct, zipfile
head = lambda n: b'\x93NUMPY\1\0' + struct.pack('<H', 118) + (
    "{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % n).ljust(117).encode() + b'\n'
def save(name, data, how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(name, 'w', how) as z:
        z.writestr('x.npy', data)
save('bomb.npz', head(70 << 20) + bytes(70 << 20))
save('good.npz', head(3) + b'abc')
save('long.npz', head(4) + b'abc')
save('bzip2.npz', head(3) + b'abc', zipfile.ZIP_BZIP2)
# two members that share one body
good = open('good.npz', 'rb').read()
at = good.index(b'PK\1\2')
entry = good[at:good.index(b'PK\5\6')]
both = good[:at] + entry + entry.replace(b'x.npy', b'y.npy')
open('shared.npz', 'wb').write(both + b'PK\5\6' + struct.pack('<HHHHIIH', 0, 0, 2, 2, 2 * len(entry), at, 0))
# a size that lies
i = at + 24
open('lie.npz', 'wb').write(good[:i] + struct.pack('<I', 1 << 31) + good[i + 4:])
END
    pipe 'tfm-import --kind tensor good.npz | tfm-export | jq -c "select(.data) | .name, .data"'
    printf '"x"\n[97,98,99]\n' | same "$out" -
    local name
    for name in bomb long bzip2 shared lie; do
        pipe "tfm-import --kind tensor $name.npz >x"
        echo "$name"
        status_is 3
        one_line "$err"
    done
}

@test "safetensors: plain, and headers that lie" {
    cd "$tmp"
    st() { # JSON BYTES
        printf "\\x$(printf %02x "${#1}")\\0\\0\\0\\0\\0\\0\\0%s$2" "$1"
    }
    st '{"g2/b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}' '\0\x3c\0\x40' >x.safetensors
    pipe 'tfm-import --kind tensor x.safetensors | tfm-export | jq -c "select(.data) | .name, .group, .dtype, .data"'
    printf '"b"\n2\n"f16"\n[1,2]\n' | same "$out" -
    local header
    while read -r header; do
        st "$header" '\0\0\0\0' >x.safetensors
        pipe 'tfm-import --kind tensor x.safetensors'
        echo "$header"
        last_is 3
        one_line "$err"
    done <<'END'
{"b":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}}
{"b":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}}
{"b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}
{"b":{"dtype":"F99","shape":[2],"data_offsets":[0,4]}}
{"b":{"dtype":"F16","shape":[-2],"data_offsets":[0,4]}}
{"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}
{"__metadata__":{"tfm":"{\"type\":\"header\",\"kind\":\"tensor\"}\n"}}
END
}

@test "what is none of the formats; wrong options" {
    pipe "tfm-import '$top/tests/streams/good-tokens.tfms'"
    status_is 3
    err_has 'is a tensor stream already'
    local bad
    for bad in '--from csv' '--kind model' '--kind A' '--set x' '--set X=1' '--set kind=a' '--group -1'; do
        pipe "tfm-import $bad </dev/null"
        echo "$bad"
        status_is 2
        one_line "$err"
    done
}

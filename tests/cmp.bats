# cmp.bats - tfm-cmp: what is the same, what differs and by how much.
load helper

streams=$top/tests/streams

# A tensor stream of one f32 record with the values given, by patching the payload of a good file:
# the CRC is computed here, so that only values differ.
make_values() { # FILE VALUE...
    python3 - "$@" <<'END'
import struct, sys, zlib
values = [float(v) for v in sys.argv[2:]]
out = b'TFMSTRM1\nkind tensor\nneeds 1.0\n'
out += b'end %08x\n' % zlib.crc32(out)
out += b'\n' * (-len(out) % 64)
def record(seq, type, dtype, rank, dims, payload, name=b''):
    head = b'\x89TFR' + struct.pack('<BBBBHHIIIQ4I12x', type, dtype, rank, len(name), 0, 0, 0, 0,
                                    seq, len(payload), *dims)
    name += b'\0' * (-len(name) % 64)
    head += struct.pack('<I', zlib.crc32(head + name)) + name
    tail = struct.pack('<I', zlib.crc32(payload))
    return head + payload + tail + b'\0' * (-len(payload + tail) % 64)
out += record(0, 1, 1, 1, (len(values), 1, 1, 1), struct.pack('<%df' % len(values), *values), b'x')
out += record(1, 8, 7, 1, (2, 1, 1, 1), struct.pack('<2q', 1, 0))
open(sys.argv[1], 'wb').write(out)
END
}

@test "a stream is the same as itself, gzipped or by way of other programs" {
    pipe "tfm-cmp '$streams/good-groups.tfms' '$streams/good-gzip.tfms'"
    status_is 0
    [ ! -s "$out" ]
    pipe "tfm-cat '$streams/good-dtypes.tfms' | tfm-cmp -v - '$streams/good-dtypes.tfms'"
    status_is 0 0
    err_is 'tfm-cmp: the same: 23 records'
}

@test "differences of structure" {
    pipe "tfm-cmp '$streams/good-tokens.tfms' '$streams/good-model.tfms'"
    status_is 1
    out_is 'kind tokens and model'
    pipe "tfm-cmp '$streams/good-tokens.tfms' '$streams/good-fork.tfms'"
    status_is 1
    out_is "record 1 'tail' of group 0 at 0: type 2 and 6"
    pipe "tfm-head -g 1 '$streams/good-fork.tfms' | tfm-cmp - '$streams/good-fork.tfms'"
    last_is 1
    pipe "tfm-cmp '$streams/good-tokens.tfms' '$streams/good-joined.tfms'"
    last_is 1
    one_line "$out"
}

@test "values: counted, with the largest differences and the first" {
    needs_program python3
    cd "$tmp"
    make_values a 1 2 4 8
    make_values b 1 2.5 4 8.5
    pipe 'tfm-cmp a b'
    status_is 1
    out_is "record 0 'x' of group 0 at 0: 2 of 4 values differ: max abs 0.5, max rel 0.2, first at 1: 2 and 2.5"
    pipe 'tfm-cmp -q a b'
    status_is 1
    [ ! -s "$out" ]
}

@test "tolerances" {
    needs_program python3
    cd "$tmp"
    make_values a 1 2 4 8
    make_values b 1 2.5 4 8.5
    local options want
    while read -r want options; do
        pipe "tfm-cmp $options a b"
        echo "$options"
        status_is "$want"
    done <<'END'
0 --abs 0.5
1 --abs 0.49
0 --rel 0.2
1 --rel 0.19
0 --abs 0.49 --rel 0.2
END
}

@test "zeros, infinities and what is not a number" {
    needs_program python3
    cd "$tmp"
    make_values zero 0 nan inf
    make_values minus -0.0 nan inf
    make_values other 0 nan -inf
    make_values one 0 1 inf
    pipe 'tfm-cmp zero minus'
    status_is 1
    grep -q 'the values are equal, their bits are not' "$out"
    pipe 'tfm-cmp --abs 1e-9 zero minus'
    status_is 0
    pipe 'tfm-cmp --abs 1e300 --rel 1e300 zero other'
    status_is 1
    pipe 'tfm-cmp --abs 1e300 zero one'
    status_is 1
}

@test "a broken input is no answer" {
    pipe "head -c -1 '$streams/good-tokens.tfms' | tfm-cmp '$streams/good-tokens.tfms' -"
    last_is 3
    pipe "tfm-cmp '$streams/good-tokens.tfms' no-such-file"
    status_is 5
    pipe "tfm-cmp '$streams/good-tokens.tfms'"
    status_is 2
    pipe 'tfm-cmp - -'
    status_is 2
}

@test "statistics: NMSE, divergence and agreement of logits" {
    cd "$tmp"
    logits() { # FILE DATA
        printf '%s\n' "{\"type\":\"tensor\",\"name\":\"logits\",\"dtype\":\"f32\",\"shape\":[2,2],\"data\":$2}" |
            tfm-import --kind logits -o "$1"
    }
    # Row 0: p = (1/2, 1/2), q = (3/4, 1/4): KL = ln 2 - ln 3 / 2. Row 1: the same, top 1 differs.
    logits a '[[0,0],[0,2]]'
    logits b '[[1.09861229,0],[2,0]]'
    pipe 'tfm-cmp --stats a b'
    status_is 1
    # KL of row 1: p = softmax(0, 2), q the same the other way round: 2 (1 - 2 / (1 + e^2)).
    awk 'BEGIN { kl = (log(2) - log(3) / 2 + 2 * (1 - 2 / (1 + exp(2)))) / 2
                 printf "total 1 4 0 2 %.6g 2 %.6g 0.5\n", (log(3) ^ 2 + 8) / 4, kl }' >want
    awk '$1 == "total" { printf "%s %d %d %d %g %.6g %d %.6g %g\n", $1, $2, $3, $4, $5, $6, $7, $8, $9 }' "$out" |
        same - want
    pipe 'tfm-cmp --stats a a'
    status_is 0
    [ "$(sed -n 2p "$out")" = $'logits\t1\t4\t0\t0\t0\t2\t0\t1' ]
    # Minus infinity has no weight; NaN leaves its row out; a tolerance only changes the status.
    logits c '[["-inf",0],["nan",2]]'
    logits d '[["-inf",0],["nan",1]]'
    pipe 'tfm-cmp --stats --abs 1 c d'
    status_is 0
    [ "$(sed -n 2p "$out")" = $'logits\t1\t4\t1\t1\t0.25\t2\t0\t1' ]
    pipe 'tfm-cmp -q --stats a b'
    status_is 1
    [ ! -s "$out" ]
}

@test "statistics are per name, and only logits have rows" {
    pipe "tfm-cmp --stats '$streams/good-dtypes.tfms' '$streams/good-dtypes.tfms'"
    status_is 0
    [ "$(grep -c . "$out")" -eq 25 ]
    grep -q "^q4_K	1	256	0	0	0			$" "$out"
}

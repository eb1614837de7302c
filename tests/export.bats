# export.bats - tfm-export: the forms it writes, and that tfm-import gives the same stream back.
load helper

streams=$top/tests/streams

# A stream as text, but for what tfm-import writes into a header.
as_text() {
    tfm-show --json "$1" | jq -c 'if .header then .header |= map(select(.[0] != "tool" and .[0] != "prov")) else . end'
}

@test "JSON lines: every record, exactly" {
    pipe "tfm-export '$streams/good-tokens.tfms'"
    status_is 0
    same "$out" - <<'END'
{"type":"header","kind":"tokens","header":[["tool","tfm-tokenize"],["frame","whole"],["vocab","raw-bytes"]]}
{"type":"tensor","name":"tokens","group":0,"position":0,"flags":[],"dtype":"i32","shape":[3],"data":[72,105,33]}
{"type":"text","name":"tail","group":0,"position":0,"flags":[],"text":"\n"}
{"type":"group-end","name":"","group":0,"position":3,"flags":[],"status":"open"}
{"type":"end","records":3,"groups":1}
END
    pipe "tfm-export --base64 '$streams/good-tokens.tfms' | sed -n 2p"
    out_is '{"type":"tensor","name":"tokens","group":0,"position":0,"flags":[],"dtype":"i32","shape":[3],"base64":"SAAAAGkAAAAhAAAA"}'
}

@test "export, then import: the same headers, records, flags and bytes, in every form" {
    needs_program jq
    local file form
    for file in ancillary dtypes empty fork full-header groups joined names tokens gzip; do
        for form in '--to jsonl' '--to jsonl --base64' '--to npz' '--to npz --each' \
            '--to safetensors' '--to safetensors --each'; do
            echo "$file $form"
            # shellcheck disable=SC2086 # words of the options
            tfm-export $form "$streams/good-$file.tfms" >"$tmp/x" 2>"$err" || [ $? -eq 4 ]
            tfm-import "$tmp/x" >"$tmp/y" 2>"$err" || [ $? -eq 4 ]
            tfm-cmp "$streams/good-$file.tfms" "$tmp/y"
            cmp <(as_text "$streams/good-$file.tfms") <(as_text "$tmp/y")
        done
    done
}

@test "a pipe gives what a file gives, and the same input the same bytes" {
    local form
    for form in jsonl npz safetensors; do
        pipe "tfm-cat --no-prov '$streams/good-joined.tfms' | tfm-export --to $form | tee x | tfm-import --no-prov >a
            tfm-cat --no-prov '$streams/good-joined.tfms' >whole.tfms
            tfm-export whole.tfms -o x.$form; tfm-import --no-prov x.$form >b"
        same "$tmp/a" "$tmp/b"
        same "$tmp/x" "$tmp/x.$form"
    done
}

@test "numbers that are none, and zeros with a sign" {
    cd "$tmp"
    cat >values.jsonl <<'END'
{"type":"header","kind":"tensor","header":[]}
{"type":"tensor","name":"a","group":0,"position":0,"flags":[],"dtype":"f32","shape":[2,4],"data":[["nan","nan:ffc00001","inf","-inf"],[-0.0,1.40129846e-45,0.100000001,3.40282347e+38]]}
{"type":"tensor","name":"b","group":0,"position":0,"flags":[],"dtype":"f16","shape":[4],"data":["nan","nan:fe01","-inf",-0.0]}
{"type":"tensor","name":"c","group":0,"position":0,"flags":[],"dtype":"bf16","shape":[],"data":"nan:7f81"}
{"type":"tensor","name":"d","group":0,"position":0,"flags":[],"dtype":"i64","shape":[2],"data":[-9223372036854775808,9223372036854775807]}
{"type":"group-end","name":"","group":0,"position":2,"flags":[],"status":"open"}
{"type":"end","records":5,"groups":1}
END
    pipe 'tfm-import values.jsonl | tfm-export --no-prov | sed 1d'
    sed 1d values.jsonl | same "$out" -
}

@test "npy: one tensor, joined over its records; several are refused" {
    pipe "tfm-select -g 0 --name tokens '$streams/good-groups.tfms' | tfm-export -o x.npy"
    status_is 0 0
    # \x93NUMPY 1.0, a header padded to 128, then 72 105 33 72 105 33 as int32
    head -c 8 "$tmp/x.npy" | same - <(printf '\x93NUMPY\1\0')
    head -c 128 "$tmp/x.npy" | tail -c +11 | grep -qF "{'descr': '<i4', 'fortran_order': False, 'shape': (6,), }"
    tail -c +129 "$tmp/x.npy" | od -An -td4 | tr -s ' ' | same - <(printf ' 72 105 33 72\n 105 33\n')
    pipe "tfm-select --name tokens '$streams/good-groups.tfms' | tfm-export --to npy"
    last_is 3
    err_has 'npy holds one tensor'
    pipe "tfm-export --to npy '$streams/good-empty.tfms'"
    status_is 3
}

@test "names of arrays: groups, repeated names, positions, further streams, nothing like a path" {
    cd "$tmp"
    cat >in.jsonl <<'END'
{"type":"header","kind":"tensor"}
{"type":"tensor","name":"a","data":[1,2]}
{"type":"tensor","name":"a","position":2,"data":[3]}
{"type":"tensor","name":"a","position":7,"data":[4]}
{"type":"tensor","name":"../b","position":7,"data":[4]}
{"type":"end"}
{"type":"header","kind":"tensor"}
{"type":"tensor","name":"a","group":3,"data":[1.5]}
{"type":"end"}
END
    names() { grep -ao '[sg][0-9]/[a-z0-9./_@]*\.npy' | sort -u | tr '\n' ' '; }
    tfm-import in.jsonl | tfm-export --to npz | names >got
    echo 'g0/_/b.npy g0/a.1.npy g0/a.npy s1/g3/a.npy ' | tr -d '\n' | same got -
    tfm-import in.jsonl | tfm-export --each --to npz | names >got
    echo 'g0/_/b@7.npy g0/a@0.npy g0/a@2.npy g0/a@7.npy s1/g3/a@0.npy ' | tr -d '\n' | same got -
}

@test "the format by the name of the output; what makes no sense is a usage error" {
    local bad
    for bad in '-o x.txt' '--to csv' '--to npz --base64' '--to jsonl --each'; do
        pipe "tfm-export $bad '$streams/good-tokens.tfms'"
        status_is 2
        one_line "$err"
        [ ! -e "$tmp/x.txt" ]
    done
    pipe "tfm-export -o x.json '$streams/good-tokens.tfms'; head -c 8 x.json"
    [ "$(cat "$out")" = '{"type":' ]
}

@test "a model, a cut stream, a failed group" {
    pipe "tfm-export '$streams/good-model.tfms'"
    status_is 3
    err_has tfm-convert
    local form
    for form in jsonl npz safetensors npy; do
        pipe "head -c -1 '$streams/good-tokens.tfms' | tfm-export -o x.$form"
        last_is 3
        [ ! -e "$tmp/x.$form" ]
    done
    pipe "tfm-export '$streams/good-groups.tfms'"
    status_is 4
}

@test "NumPy reads the arrays, saves them with the manifest, and the stream comes back" {
    needs_numpy
    cd "$tmp"
    tfm-export "$streams/good-dtypes.tfms" -o d.npz
    tfm-export "$top/tests/contract/logits.tfms" -o l.npz
    "$python" - <<'END'
import numpy as np
z = dict(np.load('d.npz'))
assert z['g0/rank 3'].shape == (3, 3, 3) and z['g0/bf16'].dtype == np.uint16
np.savez_compressed('d2.npz', **z)
z = dict(np.load('l.npz'))
a = z['g0/logits']
assert a.shape == (2, 32) and a.dtype == np.float32 and a.argmax(1).tolist() == [0, 1]
a[0, 3] = 99
np.savez('l2.npz', **z)
END
    pipe "tfm-import d2.npz | tfm-cmp - '$streams/good-dtypes.tfms'"
    status_is 0 0
    pipe "tfm-import l2.npz | tfm-cmp - '$top/tests/contract/logits.tfms'"
    status_is 0 1
    out_is "record 0 'logits' of group 0 at 5: 1 of 64 values differ: max abs 98.8125, max rel 0.998106061, first at 3: 99 and 0.1875"
}

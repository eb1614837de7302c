# convert.bats - tfm-convert: every source, type and layout, and back again. What the models compute
# is judged by golden.bats; here it must only stay the same.
load helper

golden=$top/tests/golden

# greedy MODEL: ids that follow a fixed prompt of ids, as text.
greedy() {
    printf '3 5 8 13 21' | tfm-tokenize -m "$1" --from-ids --no-special |
        tfm-run -m "$1" -d ref -n 8 --ignore-end | tfm-show --ids
}

setup() { cd "$tmp"; }

@test "llama2.c, both headers, to model.bin to GGUF to model.bin: the same text" {
    needs_asset stories260K/stories260K.bin
    local version
    for version in '' _v1; do
        tfm-convert "${asset%.bin}$version.bin" -o a.tfms
        tfm-convert --to gguf a.tfms -o a.gguf
        tfm-convert a.gguf -o b.tfms
        printf 'Once upon a time' >"$in"
        for model in a.tfms a.gguf b.tfms; do
            pipe "tfm-tokenize -m $model | tfm-run -m $model -n 24 --echo | tfm-detok -m $model"
            status_is 0 0 0
            cp "$out" "$model$version.text"
        done
        same a.tfms$version.text a.gguf$version.text
        same a.tfms$version.text b.tfms$version.text
    done
    same a.tfms.text a.tfms_v1.text
    grep -q '^Once upon a time, there was' a.tfms.text
}

@test "GGUF to model.bin to GGUF is the same file, in both layouts" {
    local file layout n=0
    for file in "$golden"/gguf/*.gguf; do
        for layout in rows p16; do
            tfm-convert --layout $layout "$file" -o m.tfms
            tfm-check m.tfms
            tfm-convert --to gguf m.tfms -o back.gguf
            same "$file" back.gguf
            n=$((n + 1))
        done
    done
    [ $n -ge 14 ]
}

@test "Hugging Face to GGUF to model.bin computes the same" {
    local folder name
    for name in gpt2 llama-llama3 llama-linear-bias llama-tied mistral-window qwen2; do
        folder=$golden/hf/$name
        tfm-convert "$folder" -o a.tfms
        tfm-convert --to gguf "$folder" -o a.gguf
        tfm-convert a.gguf -o b.tfms
        greedy a.tfms >a.ids
        greedy b.tfms >b.ids
        [ -s a.ids ]
        same a.ids b.ids
    done
}

@test "rows to p16 to rows, and the id stays" {
    local file
    for file in "$golden"/gguf/{llama-blocks32,llama-blocks256,llama-tables,qwen2-bf16,gpt2-q8_0}.gguf; do
        tfm-convert --no-prov --layout rows "$file" -o rows.tfms
        tfm-convert --no-prov --layout p16 rows.tfms -o p16.tfms
        tfm-convert --no-prov --layout p16 "$file" -o p16.direct
        tfm-convert --no-prov --portable p16.tfms -o rows.again
        same p16.tfms p16.direct
        same rows.tfms rows.again
        run ! cmp -s rows.tfms p16.tfms
    done
}

@test "the same input gives the same bytes" {
    local source
    for source in "$golden/gguf/llama-blocks32.gguf" "$golden/hf/gpt2"; do
        tfm-convert --type q8_0 "$source" -o a.tfms 2>/dev/null
        TFM_NO_PROV=1 tfm-convert --type q8_0 "$source" 2>/dev/null >b.tfms
        tfm-convert -q --no-prov --type q8_0 "$source" -o c.tfms
        same b.tfms c.tfms
        [ "$(head -20 a.tfms | grep -ac '^prov ')" -eq 1 ]
        run ! grep -aq '^prov ' b.tfms
    done
}

@test "to a pipe: the same bytes as to a file" {
    tfm-convert --no-prov "$golden/hf/qwen2" -o a.tfms
    tfm-convert --no-prov "$golden/hf/qwen2" | cat >b.tfms
    same a.tfms b.tfms
}

@test "types: matrices take the type, vectors are f32, and f32 to f32 changes nothing" {
    local type
    for type in f32 f16 bf16 q8_0 q4_0; do
        tfm-convert --type $type "$golden/gguf/llama-f16.gguf" -o m.tfms
        tfm-check m.tfms
        tfm-show m.tfms >shown
        grep -q "blk.0.attn_q.weight $type " shown
        grep -q "token_embd.weight $type " shown
        grep -q "output_norm.weight f32 " shown
        greedy m.tfms >$type.ids
        [ -s $type.ids ]
    done
    greedy "$golden/gguf/llama-f16.gguf" >as_is.ids
    same f32.ids as_is.ids
    tfm-convert --type f32 "$golden/gguf/gpt2-f32.gguf" --to gguf -o same.gguf
    same same.gguf "$golden/gguf/gpt2-f32.gguf"
}

@test "a width that is no whole number of blocks becomes f16, and is reported" {
    pipe 'tfm-convert --type q8_0 "$golden/hf/llama-tied" -o m.tfms'
    status_is 0
    err_has 'blk.0.attn_q.weight: 48 columns are no whole number of q8_0 blocks, kept as f16'
    tfm-show m.tfms | grep -q 'blk.0.attn_q.weight f16 '
    pipe 'tfm-convert -q --type q8_0 "$golden/hf/llama-tied" -o m.tfms'
    status_is 0
    [ ! -s "$err" ]
}

@test "a vocabulary alone is converted; it tokenizes, and has no steps to run" {
    needs_asset vocabs/ggml-vocab-gpt-2.gguf
    tfm-convert -q "$asset" -o v.tfms
    tfm-check v.tfms
    printf 'Hello world' | tfm-tokenize -m v.tfms | tfm-show --ids >ids
    grep -q '15496 995' ids
    pipe 'printf Hello | tfm-tokenize -m v.tfms | tfm-run -m v.tfms'
    last_is 3
    err_has 'only a vocabulary'
}

@test "what GGUF cannot say is refused, not changed" {
    pipe 'tfm-convert --to gguf "$golden/hf/gpt2-bare" -o x.gguf'
    status_is 3
    one_line "$err"
    err_has 'no names in GGUF'
    [ ! -e x.gguf ]
}

@test "--tokenizer puts another vocabulary in" {
    cp -r "$golden/hf/llama-tied" folder
    chmod -R u+w folder
    mv folder/tokenizer.json elsewhere.json
    rm -f folder/tokenizer_config.json
    pipe 'tfm-convert folder -o none.tfms'
    status_is 0
    err_has 'no vocabulary'
    tfm-convert --tokenizer elsewhere.json folder -o with.tfms
    printf 'the' | tfm-tokenize -m with.tfms >/dev/null
    pipe 'tfm-convert --tokenizer elsewhere.json with.tfms'
    status_is 2
    pipe 'tfm-convert --tokenizer missing folder -o with.tfms'
    last_is 5
    err_is 'tfm-convert: folder: missing: No such file or directory'
}

@test "usage: what cannot be meant is refused with exit 2" {
    local args
    for args in '' 'a b' '-' '--type q7_K x' '--type i32 x' '--type f16 --imatrix y x' '--imatrix y x' '--layout p8 x' '--to onnx x' \
        '--portable --layout p16 x' '--to gguf --layout p16 x'; do
        pipe "tfm-convert $args"
        status_is 2
        one_line "$err"
        [ ! -s "$out" ]
    done
}

@test "bad checkpoints: exit 3, one line that names the file" {
    head -c 2000 "$golden/gguf/llama-f16.gguf" >cut.gguf
    head -c 100000 "$golden/gguf/llama-f16.gguf" >cut2.gguf
    head -c 3000 /dev/zero | tr '\0' '\377' >noise
    tfm-convert "$golden/gguf/llama-f16.gguf" -o whole.tfms
    head -c 100000 whole.tfms >cut.tfms
    : >empty
    local file
    for file in cut.gguf cut2.gguf noise cut.tfms empty; do
        pipe "tfm-convert $file -o x.tfms"
        status_is 3
        one_line "$err"
        err_has "$file"
        [ ! -e x.tfms ]
    done
    pipe 'tfm-convert there-is-none -o x.tfms'
    status_is 5
    one_line "$err"
}

@test "a value that does not fit f16 is an error, never an infinity" {
    needs_program python3
    cp -r "$golden/hf/llama-tied" folder
    chmod -R u+w folder
    # One weight of the f32 safetensors becomes 1e6.
    python3 - folder/model.safetensors <<'END'
import json, struct, sys
data = bytearray(open(sys.argv[1], 'rb').read())
n, = struct.unpack('<Q', data[:8])
at = json.loads(data[8:8 + n])['model.layers.1.mlp.up_proj.weight']['data_offsets'][0]
struct.pack_into('<f', data, 8 + n + at, 1e6)
open(sys.argv[1], 'wb').write(data)
END
    pipe 'tfm-convert --type f16 folder -o x.tfms'
    status_is 3
    err_has 'blk.1.ffn_up.weight'
    err_has 'does not fit f16'
    [ ! -e x.tfms ]
    tfm-convert --type bf16 folder -o x.tfms
}

# model.bats - model.bin as tfm-model(5) says, read here without the library; and every kind of
# tokenizer file opened alone.

load helper

# The index of model.bin $1: its lines hold nothing but printable ASCII and end where the padding
# or the next record (a byte 89) begins.
index() {
    tr '\0\211' '\n' <"$1" |
        grep -aE '^[!-~]+ [a-zK0-9_]+ (rows|p16) [0-4]( [0-9]+)* [0-9]{16} [0-9]+$'
}

# Bytes $2 to $2 + $3 of file $1 in hex.
hex() { od -An -v -tx1 -j "$2" -N "$3" "$1" | tr -d ' \n'; }

check_offsets() {
    local name rest offset bytes last=0 head
    while read -r name _ _ _ rest; do
        bytes=${rest##* } rest=${rest% *}
        offset=$((10#${rest##* }))
        head=$((offset - 64 - (${#name} + 63) / 64 * 64))
        [ $((offset % 64)) -eq 0 ]
        [ "$last" -eq 0 ] || [ "$head" -eq "$last" ]
        last=$((offset + (bytes + 4 + 63) / 64 * 64))
        # a TENSOR record's head stands there and has this name and size
        [ "$(hex "$1" "$head" 5)" = 8954465201 ]
        [ "$(hex "$1" $((head + 64)) ${#name})" = "$(printf %s "$name" | od -An -v -tx1 | tr -d ' \n')" ]
        [ $((16#$(hex "$1" $((head + 24)) 8 | fold -w2 | tac | tr -d '\n'))) -eq "$bytes" ]
    done
    # then END, 128 bytes, and nothing more
    [ "$(hex "$1" "$last" 5)" = 8954465208 ]
    [ "$(stat -c %s "$1")" -eq $((last + 128)) ]
}

@test "the index says where every record is, in both layouts" {
    local layout
    for layout in rows p16; do
        pipe "tfm-convert --layout $layout '$top/tests/golden/gguf/qwen2-bf16.gguf' -o m.tfms"
        status_is 0
        index "$tmp/m.tfms" >"$tmp/index"
        [ "$(wc -l <"$tmp/index")" -ge 30 ]
        check_offsets "$tmp/m.tfms" <"$tmp/index"
    done
    # p16: the index has the tensor's own rows, the bytes are those of whole panels
    grep -q '^blk.0.ffn_gate.weight bf16 p16 2 96 64 ' "$tmp/index"
}

@test "a file without its last byte, or with one more, is refused" {
    tfm-convert "$top/tests/golden/gguf/llama-f16.gguf" -o "$tmp/m.tfms"
    head -c -1 "$tmp/m.tfms" >"$tmp/cut.tfms"
    (cat "$tmp/m.tfms"; printf x) >"$tmp/long.tfms"
    local f
    for f in cut long; do
        printf 'a' >"$in"
        pipe "tfm-tokenize -m $f.tfms"
        status_is 3
        [ "$(wc -l <"$err")" -eq 1 ]
        grep -q "$f.tfms" "$err"
    done
}

@test "a gzipped model says what to do" {
    tfm-convert "$top/tests/golden/gguf/llama-f16.gguf" -o "$tmp/m.tfms"
    gzip -c "$tmp/m.tfms" >"$tmp/m.tfms.gz"
    printf 'a' >"$in"
    pipe 'tfm-tokenize -m m.tfms.gz'
    status_is 3
    grep -q gunzip "$err"
}

# ids of "Hello world, 12 cats" with the vocabulary at $1, without special tokens
ids() {
    printf 'Hello world, 12 cats' | tfm-tokenize --no-special -m "$1" | tfm-show --ids
}

@test "the same vocabulary from every kind of file gives the same ids" {
    needs_asset gpt2/encoder.json
    needs_asset llama2-tokenizer/tokenizer.model
    local a=$TFM_ASSETS want
    want=$(ids "$a/vocabs/ggml-vocab-gpt-2.gguf")
    [ -n "$want" ]
    [ "$(ids "$a/gpt2")" = "$want" ]
    [ "$(ids "$a/gpt2/encoder.json")" = "$want" ]
    want=$(ids "$a/vocabs/ggml-vocab-llama-spm.gguf")
    [ -n "$want" ]
    [ "$(ids "$a/llama2-tokenizer/tokenizer.model")" = "$want" ]
    [ "$(ids "$a/llama2-tokenizer/tokenizer.bin")" = "$want" ]
    [ "$(ids "$a/llama2-tokenizer")" = "$want" ]
}

@test "what is no vocabulary that is taken is refused by its name" {
    LC_ALL=C sed 's/\(tokenizer\.ggml\.model............\)gpt2/\1rwkv/' \
        "$top/tests/golden/gguf/llama-f16.gguf" >"$tmp/m.gguf"
    printf 'a' >"$in"
    pipe 'tfm-tokenize -m m.gguf'
    status_is 3
    grep -q "'rwkv'" "$err"
}

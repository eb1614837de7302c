# stories.bats - acceptance on a real checkpoint: the greedy text and ids of stories260K are those
# of llama2.c itself, on every backend, from every form the checkpoint can take.

load helper

# Each form once for all tests: v0 and v1 headers, GGUF and back, both layouts.
setup_file() {
    load helper
    cd "$BATS_FILE_TMPDIR" || return
    local dir=${TFM_ASSETS:-}/stories260K
    [ -e "$dir/expected.json" ] || return 0
    tfm-convert "$dir/stories260K.bin" --tokenizer "$dir/tok512.bin" --layout rows -o v0.tfms
    tfm-convert "$dir/stories260K_v1.bin" --tokenizer "$dir/tok512.bin" --layout rows -o v1.tfms
    tfm-convert v0.tfms --layout p16 -o p16.tfms
    tfm-convert v0.tfms --to gguf -o stories.gguf
    tfm-convert stories.gguf --layout rows -o back.tfms
}

# Runs all prompts as the manual's first line does and compares text and ids.
check_all() { # MODEL DEVICE
    local model=$BATS_FILE_TMPDIR/$1 device=$2 i n prompt
    needs_asset stories260K/expected.json
    n=$(jq length "$asset")
    [ "$n" -ge 7 ]
    export TFM_DEVICE=$device
    for ((i = 0; i < n; i++)); do
        jq -j ".[$i].prompt" "$asset" >"$in"
        jq -j ".[$i].text" "$asset" >"$tmp/text"
        jq -r ".[$i].ids | [1] + . | join(\" \")" "$asset" >"$tmp/ids"
        prompt=$(tfm-tokenize -m "$model" "$in" | tfm-show --ids | wc -w)
        more=$(($(wc -w <"$tmp/ids") - prompt))
        pipe 'tfm-tokenize | tfm-run -m '"$model"' -n '"$more"' --echo | tee tokens | tfm-detok'
        status_is 0 0 0 0
        same "$out" "$tmp/text"
        tfm-show --ids "$tmp/tokens" | same - "$tmp/ids"
    done
}

@test "version 0 header, rows, cpu" { check_all v0.tfms cpu; }
@test "version 0 header, rows, ref" { check_all v0.tfms ref; }
@test "version 1 header, cpu" { check_all v1.tfms cpu; }
@test "version 1 header, ref" { check_all v1.tfms ref; }
@test "layout p16, cpu" { check_all p16.tfms cpu; }
@test "layout p16, ref" { check_all p16.tfms ref; }
@test "through GGUF and back, cpu" { check_all back.tfms cpu; }
@test "through GGUF and back, ref" { check_all back.tfms ref; }
@test "the GGUF itself, cpu" { check_all stories.gguf cpu; }

@test "the model ends its text by itself where llama2.c saw it end" {
    needs_asset stories260K/expected.json
    local i found=0 ids
    for i in $(jq -r 'to_entries[] | select((.value.ids | length) < .value.steps) | .key' "$asset"); do
        found=$((found + 1))
        jq -j ".[$i].prompt" "$asset" >"$in"
        jq -j ".[$i].text" "$asset" >"$tmp/text"
        pipe "tfm-tokenize | tfm-run -m $BATS_FILE_TMPDIR/v0.tfms --echo | tee tokens | tfm-detok"
        status_is 0 0 0 0
        same "$out" "$tmp/text"
        tfm-show "$tmp/tokens" | grep -q 'group-end .* end$'
    done
    [ "$found" -gt 0 ]
}

@test "a prompt by printf and by echo: the same ids, another final byte" {
    needs_asset stories260K/expected.json
    local m=$BATS_FILE_TMPDIR/v0.tfms
    printf 'Tom and Lily' >"$in"
    pipe "tfm-tokenize | tfm-run -m $m -n 20 --echo | tee a | tfm-detok"
    status_is 0 0 0 0
    cp "$out" "$tmp/plain"
    printf 'Tom and Lily\n' >"$in"
    pipe "tfm-tokenize | tfm-run -m $m -n 20 --echo | tee b | tfm-detok"
    status_is 0 0 0 0
    tfm-show --ids "$tmp/a" >"$tmp/ids-a"
    tfm-show --ids "$tmp/b" | same - "$tmp/ids-a"
    echo | cat "$tmp/plain" - | same - "$out"
}

@test "what follows without --echo is what --echo adds" {
    needs_asset stories260K/expected.json
    local m=$BATS_FILE_TMPDIR/v0.tfms
    printf 'Tom and' >"$in"
    pipe "tfm-tokenize | tfm-run -m $m -n 30 | tfm-detok"
    status_is 0 0 0
    cat "$in" "$out" >"$tmp/both"
    pipe "tfm-tokenize | tfm-run -m $m -n 30 --echo | tfm-detok"
    status_is 0 0 0
    same "$out" "$tmp/both"
}

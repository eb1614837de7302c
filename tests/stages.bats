# stages.bats - embed, attend, unembed: each stage as a filter, what it takes, what it refuses.
# (That composed equals fused, over models, cuts and batches, is tests/bits' business.)

load helper

setup() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    printf 'abc\nhello world\nx\n' >lines
    tfm-tokenize -l -m "$m" lines >tokens
}

@test "embed, attend, unembed, sample give the next token of tfm-run, from one process or many" {
    tfm-run -m "$m" -n 1 tokens | tfm-show --ids >want
    tfm-embed -m "$m" tokens >h0
    tfm-attend -m "$m" h0 >h2
    tfm-unembed -m "$m" h2 | tfm-sample -m "$m" -n 1 | tfm-show --ids | same - want
    tfm-attend -m "$m" -L 0 h0 | tfm-attend -m "$m" -L 1-1 | tfm-cmp - h2
    tfm-tokenize -l lines | tfm-run -m "$m" -n 1 | tfm-show --ids | same - want
    tfm-tokenize -l lines | tfm-embed -m "$m" | tfm-attend -m "$m" | tfm-unembed -m "$m" |
        tfm-sample -m "$m" -n 1 | tfm-show --ids | same - want # raw bytes
}

@test "logits of the last row are those among --all" {
    tfm-embed -m "$m" tokens | tfm-attend -m "$m" >h
    tfm-unembed -m "$m" h >last
    tfm-unembed -m "$m" --all h >all
    tfm-sample -m "$m" last | tfm-show --ids >a
    tfm-sample -m "$m" all | tfm-show --ids | same - a
    [ "$(tfm-show last | grep -c 'logits f32 \[1, ')" -eq 3 ]
}

@test "a hidden stream of the wrong range, model, kind or context: exit 3, both are named" {
    tfm-embed -m "$m" tokens >h0
    pipe 'tfm-attend -m $m -L 1 h0'
    last_is 3
    one_line "$err"
    err_has 'before block 0'
    pipe 'tfm-unembed -m $m h0'
    last_is 3
    err_has 'tfm-embed'
    pipe 'tfm-unembed -m $m --lens h0'
    last_is 0
    pipe 'tfm-attend -m $top/tests/golden/gguf/qwen2-q4_0.gguf h0'
    last_is 3
    err_has qwen2-q4_0.gguf
    pipe 'tfm-attend -m $m -c 77 h0'
    last_is 3
    err_has 'give --ctx'
    pipe 'tfm-attend -m $m tokens'
    last_is 3
    err_has 'kind tokens'
    pipe 'tfm-embed -m $m h0'
    last_is 3
    err_has 'kind hidden'
    pipe 'tfm-attend -m $m -L 0-9 h0'
    last_is 2
    err_has 'blocks 0-1'
}

@test "raw bytes become the model's tokens, as in tfm-run; a failed record stays the only one" {
    local stages='tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m -n 1'
    tfm-tokenize lines | tfm-run -m "$m" -n 1 | tfm-detok >want
    pipe 'tfm-tokenize lines | tfm-embed -m $m | '"$stages"' | tfm-detok'
    status_is 0 0 0 0 0 0
    same "$out" want
    printf '{"p":"abc"}\nnot JSON\n{"p":"x"}\n' >j
    tfm-tokenize -q -j p -m "$m" j | tfm-embed -m "$m" | tfm-show --ids >ids || [ $? = 4 ]
    tfm-tokenize -q -j p j | tfm-embed -m "$m" | tfm-show --ids | same - ids || [ $? = 4 ]
    pipe 'tfm-tokenize -q -j p j | tfm-embed -m $m | '"$stages"' | tfm-detok -q'
    status_is 4 4 4 4 4 4
    [ "$(jq -c '.error != null' "$out" | xargs)" = 'false true false' ]
}

@test "what one stage cannot do to one group leaves the others alone" {
    printf '1 2\n3 4 5\n6\n' >ids
    tfm-tokenize -l --from-ids -m "$m" ids >t
    tfm-embed -m "$m" -c 2 t >h0 || [ $? = 4 ]
    pipe 'tfm-embed -m $m -c 2 t | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m | tfm-show'
    status_is 4 4 4 4 4
    [ "$(grep -c 'error .*context is 2' "$out")" -eq 1 ]
    [ "$(grep -c 'group-end' "$out")" -eq 3 ]
    [ "$(grep -c 'tokens i32' "$out")" -eq 1 ] # the context of "1 2" is full: tfm-run draws nothing either
    [ "$(grep -c 'group-end.*context' "$out")" -eq 2 ]
}

@test "the cache's budget fails a group, not the stage" {
    pipe 'tfm-embed -m $m tokens | tfm-attend -m $m --kv-bytes 1 | tfm-show'
    [ "${statuses[1]}" = 4 ]
    [ "$(grep -c 'error *tfm-attend' "$out")" -eq 3 ]
}

@test "text and tails keep their place" {
    printf '{"p":"abc","k":1}\n' | tfm-tokenize -j p -m "$m" >j
    pipe 'tfm-embed -m $m j | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m -n 1 | tfm-detok'
    status_is 0 0 0 0 0
    [ "$(jq -r .k "$out")" = 1 ]
    pipe 'tfm-run -m $m -n 1 j | tfm-detok'
    cp "$out" fused
    pipe 'tfm-embed -m $m j | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m -n 1 | tfm-detok'
    same "$out" fused
}

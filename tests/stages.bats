# stages.bats - embed, attend, unembed and sample together, without the loop: what tfm-run gives.
# (Each alone: embed.bats, attend.bats, unembed.bats, sample.bats. That composed equals fused, over
# models, cuts and batches, is the business of tests/bits.)

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

# unembed.bats - tfm-unembed as a filter: which rows get logits, what it refuses.

load stages

@test "logits of the last row are those among --all" {
    tfm-embed -m "$m" tokens | tfm-attend -m "$m" >h
    tfm-unembed -m "$m" h >last
    tfm-unembed -m "$m" --all h >all
    tfm-sample -m "$m" last | tfm-show --ids >a
    tfm-sample -m "$m" all | tfm-show --ids | same - a
    [ "$(tfm-show last | grep -c 'logits f32 \[1, ')" -eq 3 ]
}

@test "a stream that is not behind the last block is refused, but for --lens" {
    tfm-embed -m "$m" tokens >h0
    pipe 'tfm-unembed -m $m h0'
    last_is 3
    one_line "$err"
    err_has 'of tfm-embed stands before block 0, this stage begins at block 2'
    pipe 'tfm-unembed -m $m --lens h0'
    last_is 0
    pipe 'tfm-attend -m $m h0 | tfm-unembed -m $top/tests/golden/gguf/gpt2-f32.gguf'
    last_is 3
    err_has gpt2-f32.gguf
    pipe 'tfm-unembed -m $m tokens'
    last_is 3
    err_has 'kind tokens'
}

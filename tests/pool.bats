# pool.bats - tfm-pool: one vector a group, whatever the pieces; what is refused. (Values are for
# tests/unit/test_score.c.)

load helper

setup() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    printf 'abc abc\nx\nhello world\n' | tfm-tokenize -l -m "$m" >t
    tfm-embed -m "$m" t | tfm-attend -m "$m" >h
}

@test "one vector a group, of kind embedding; tokens end here" {
    tfm-pool h >e
    tfm-check e >/dev/null
    tfm-show e | head -1 | grep -q 'kind embedding'
    [ "$(tfm-show e | grep -c ' embedding f32 \[[0-9]*\] ')" -eq 3 ]
    [ "$(tfm-show e | grep -c ' tokens ')" -eq 0 ]
    for g in 0 1 2; do
        tfm-select -g $g h | tfm-pool >alone
        tfm-select -g $g e | tfm-cmp - alone
    done
}

@test "the three ways differ, and none depends on threads or batches of the stages before" {
    for how in '' --cls --last '--last --normalise'; do
        # shellcheck disable=SC2086
        tfm-pool $how h >"want$how"
        # shellcheck disable=SC2086
        tfm-embed -m "$m" t | tfm-attend -m "$m" -t 1 | tfm-pool $how | tfm-cmp - "want$how"
    done
    run ! tfm-cmp want want--last
    run ! tfm-cmp want want--cls
    run ! tfm-cmp want--last 'want--last --normalise'
    # The mean of one row is that row.
    printf '5\n' | tfm-tokenize -l --from-ids -m "$m" | tfm-embed -m "$m" >one
    tfm-pool one >a
    tfm-pool --last one | tfm-cmp - a
}

@test "text passes; a group that failed stays failed; FORK and other kinds are refused" {
    printf '{"p":"abc","k":1}\n' | tfm-tokenize -j p -m "$m" | tfm-embed -m "$m" | tfm-pool |
        tfm-show | grep -q 'text *source'
    printf '1 2\n3 4 5\n' >ids
    pipe 'tfm-tokenize -l --from-ids -m $m ids | tfm-embed -m $m -c 2 | tfm-pool | tfm-show'
    last_is 4
    [ "$(grep -c ' embedding ' "$out")" -eq 1 ]
    [ "$(grep -c 'error .*context is 2' "$out")" -eq 1 ]
    pipe 'tfm-pool t'
    last_is 3
    err_has 'hidden is wanted'
    pipe 'tfm-pool --cls --last h'
    last_is 2
}

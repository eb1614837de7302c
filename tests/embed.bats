# embed.bats - tfm-embed as a filter: rows, raw bytes, what it refuses. (The loop is loop.bats.)

load stages

@test "each token is its row: shape, position, flags; the tokens go along as history" {
    pipe 'tfm-embed -m $m tokens | tfm-show'
    status_is 0 0
    grep -qx '    next-block 0' "$out"
    grep -qx '    side dec' "$out"
    [ "$(grep -c ' tokens i32 ' "$out")" -eq 3 ]
    grep -q 'hidden f32 \[11, [0-9]*\] group 1 at 0 last' "$out"
    # the same id at another place is the same row: this model has no learned positions
    printf '5 6 5\n' | tfm-tokenize -l --from-ids -m "$m" | tfm-embed -m "$m" |
        tfm-select --name hidden | tfm-export --to jsonl | jq -c 'select(.name == "hidden") | .data' >rows
    jq -e 'length == 3 and .[0] == .[2] and .[0] != .[1]' rows >/dev/null
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

@test "what is no stream of the model's tokens: exit 3, both are named" {
    tfm-embed -m "$m" tokens >h0
    pipe 'tfm-embed -m $m h0'
    last_is 3
    one_line "$err"
    err_has 'kind hidden'
    pipe 'tfm-embed -m $top/share/models/story.tfms tokens'
    last_is 3
    one_line "$err"
    err_has tfm-tokenize
    err_has story.tfms
    pipe 'tfm-embed -b 3 -m $m tokens'
    last_is 2
    err_has '--loop'
}

@test "what one stage cannot do to one group leaves the others alone" {
    printf '1 2\n3 4 5\n6\n' >ids
    tfm-tokenize -l --from-ids -m "$m" ids >t
    pipe 'tfm-embed -m $m -c 2 t | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m | tfm-show'
    status_is 4 4 4 4 4
    [ "$(grep -c 'error .*context is 2' "$out")" -eq 1 ]
    [ "$(grep -c 'group-end' "$out")" -eq 3 ]
    [ "$(grep -c 'tokens i32' "$out")" -eq 1 ] # the context of "1 2" is full: tfm-run draws nothing either
    [ "$(grep -c 'group-end.*context' "$out")" -eq 2 ]
}

# attend.bats - tfm-attend as a filter: ranges, groups, what it refuses.
# (That composed equals fused, over models, cuts and batches, is the business of tests/bits.)

load stages

setup() {
    three_lines
    tfm-embed -m "$m" tokens >h0
}

@test "a hidden stream of another model: exit 3, both are named" {
    pipe 'tfm-attend -m $top/tests/golden/gguf/qwen2-q4_0.gguf h0'
    last_is 3
    one_line "$err"
    err_has "$(tfm-show h0 | awk '$1 == "model" {print substr($2, 1, 16)}')"
    err_has qwen2-q4_0.gguf
    pipe 'tfm-export --to jsonl h0 | sed "s/.\"model\",\"[0-9a-f]*\".,//" | tfm-import | tfm-attend -m $m'
    last_is 3
    err_has 'is of model (none)'
}

@test "of another range: exit 3, both blocks are named" {
    pipe 'tfm-attend -m $m -L 1 h0'
    last_is 3
    one_line "$err"
    err_has 'of tfm-embed stands before block 0, this stage begins at block 1'
    pipe 'tfm-attend -m $m -L 0 h0 | tfm-attend -m $m -L 0'
    last_is 3
    err_has 'of tfm-attend stands before block 1, this stage begins at block 0'
    pipe 'tfm-attend -m $m -L 0-9 h0'
    last_is 2
    err_has 'blocks 0-1'
}

@test "of another context: exit 3, both are named, and the cure" {
    pipe 'tfm-attend -m $m -c 77 h0'
    last_is 3
    one_line "$err"
    err_has 'the stream of tfm-embed is of context 256, this stage of 77; give --ctx 256'
}

@test "of another side: exit 3, both are named" {
    tfm-export --to jsonl h0 | sed 's/\["side","dec"\]/["side","enc"]/' | tfm-import >enc
    tfm-show enc | grep -qx '    side enc'
    for stage in attend 'unembed --lens'; do
        pipe "tfm-$stage -m \$m enc"
        last_is 3
        one_line "$err"
        err_has 'the hidden stream of tfm-import is of side enc, this stage of dec'
    done
}

@test "of another kind or another width: exit 3" {
    pipe 'tfm-attend -m $m tokens'
    last_is 3
    one_line "$err"
    err_has 'kind tokens'
    tfm-export --to jsonl h0 | jq -c 'if .name == "hidden" then .shape = [1, 3] | .data = [1, 2, 3] else . end' | tfm-import >narrow
    pipe 'tfm-attend -m $m narrow'
    last_is 3
    err_has '[n, 64]'
}

@test "FORK and a lower position: each group is what it would be alone, tfm-run's too" {
    record() { printf '{"type":"%s","name":"%s","group":%s,"position":%s,"flags":%s' "$@"; }
    tokens() { record tensor tokens "$1" "$2" "$3"; printf ',"dtype":"i32","shape":[%s],"data":[%s]}\n' "$(($(tr -cd , <<<"$4" | wc -c) + 1))" "$4"; }
    ends() { record group-end '' "$1" "$2" '[]'; printf ',"status":"open"}\n'; }
    {
        tfm-export --to jsonl tokens | head -1
        tokens 0 0 '[]' 5,6,7,8
        record fork '' 1 0 '[]'
        printf ',"dtype":"i32","shape":[2],"data":[0,3]}\n'
        tokens 0 4 '["last"]' 9,10
        tokens 1 3 '["last"]' 11,5
        ends 0 6
        tokens 1 2 '["last"]' 12,13,6 # back to 5 6
        ends 1 5
        printf '{"type":"end","records":7,"groups":2}\n'
    } | tfm-import >forked
    tfm-check forked >/dev/null
    printf '5 6 7 8 9 10\n5 6 12 13 6\n' | tfm-tokenize -l --from-ids -m "$m" >alone
    local sampling='-T 1 -k 50 --repeat-penalty 1.9'
    # shellcheck disable=SC2086
    tfm-run -m "$m" -n 1 $sampling alone | tfm-show --ids >want
    # shellcheck disable=SC2086
    tfm-run -m "$m" -n 1 $sampling forked | tfm-show --ids | same - want
    tfm-embed -m "$m" forked | tfm-attend -m "$m" -L 0 | tfm-attend -m "$m" -L 1 >h2
    # shellcheck disable=SC2086
    tfm-unembed -m "$m" h2 | tfm-sample -m "$m" $sampling >drawn
    run ! grep -q fork <(tfm-show drawn) # its rows are not in this output
    # two turns of group 1 draw twice; the last one counts
    tfm-export --to jsonl drawn | jq -r 'select(.name == "tokens") | "\(.group) \(.position) \(.data[0])"' >got
    sed -n '$p' got | same - <(echo "1 5 $(sed -n 2p want)")
    grep -qx "0 6 $(sed -n 1p want)" got
    tfm-embed -m "$m" alone | tfm-attend -m "$m" | tfm-unembed -m "$m" | tfm-export --to jsonl | jq -c 'select(.name == "logits") | [.group, .data]' >a
    tfm-unembed -m "$m" h2 | tfm-export --to jsonl | jq -c 'select(.name == "logits") | [.group, .data]' |
        awk '{ last[substr($0, 1, 3)] = $0 } END { for (g in last) print last[g] }' | sort >b
    sort a | same - b
}

@test "FORK copies no more than 16M tokens, whatever a stream asks for" {
    {
        tfm-export --to jsonl tokens | head -1
        printf '{"type":"tensor","name":"tokens","group":0,"position":0,"flags":[],"dtype":"i32","shape":[70000],"data":[5'
        printf ',%.0s5' $(seq 69999)
        printf ']}\n'
        printf '{"type":"fork","name":"","group":%s,"position":0,"flags":[],"dtype":"i32","shape":[2],"data":[0,70000]}\n' $(seq 240)
        printf '{"type":"end","records":241,"groups":0}\n'
    } | tfm-import >forked
    pipe 'tfm-run -m $m -n 1 forked'
    last_is 3
    one_line "$err"
    err_has 'by FORK'
    tfm-export --to jsonl forked | sed '1s/"tokens"/"logits"/g' | tfm-import >logits
    pipe 'tfm-sample -m $m logits'
    last_is 3
    err_has 'by FORK'
}

@test "the cache's budget fails a group, not the stage" {
    pipe 'tfm-embed -m $m tokens | tfm-attend -m $m --kv-memory 1 | tfm-show'
    [ "${statuses[1]}" = 4 ]
    [ "$(grep -c 'error *tfm-attend' "$out")" -eq 3 ]
}

# stages.bats - embed, attend, unembed and sample together, without the loop: what tfm-run gives.
# (Each alone: embed.bats, attend.bats, unembed.bats, sample.bats. That composed equals fused, over
# models, cuts and batches, is the business of tests/bits.)

load stages

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

@test "a FORK of nothing is an empty group, fused and composed" {
    printf '%s\n' '{"type":"tensor","name":"tokens","group":0,"data":[]}' \
        '{"type":"fork","group":1,"data":[0,0]}' \
        '{"type":"tensor","name":"tokens","group":1,"data":[3,4]}' \
        '{"type":"tensor","name":"tokens","group":0,"data":[5,6]}' | tfm-import --kind tokens >forked
    tfm-run -m "$m" -n 1 forked | tfm-show --pieces | sort >want
    pipe 'tfm-embed -m $m forked | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m -n 1 | tfm-show --pieces'
    status_is 0 0 0 0 0
    sort "$out" | same - want
    [ "$(wc -l <want)" = 2 ]
}

# Records behind the end of group 0 that name a group and belong to none, as tfm-stream(5) has it.
@test "META and ancillary records are of no group: fused and composed pass them on once" {
    printf '%s\n' '{"type":"tensor","name":"tokens","group":0,"data":[2,3]}' \
        '{"type":"group-end","group":0,"position":2,"status":"open"}' \
        '{"type":"meta","name":"note","text":"a: 1"}' \
        '{"type":"tensor","name":"tokens","group":1,"data":[4]}' \
        '{"type":"group-end","group":1,"position":1,"status":"open"}' \
        '{"type":"meta","name":"note","text":"b: 2"}' |
        tfm-import --kind tokens --set vocab="$(head -n 9 tokens | sed -n 's/^vocab //p')" >notes
    mkfifo fb
    for way in 'tfm-run -m $m -n 2 -N 3 notes' 'tfm-score -m $m --stream notes' \
        'tfm-embed -m $m notes | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m -n 1' \
        'tfm-embed -m $m notes --loop 3 3<fb | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m -n 2 | tee fb'; do
        pipe "$way | tfm-show --meta"
        last_is 0
        printf 'a: 1\nb: 2\n' | same "$out" -
    done
    pipe 'tfm-run -m $m -n 2 notes | tfm-show --tsv'
    [ "$(grep -c group-end "$out")" = 2 ]
}

@test "a group that fails is told once, by the stage in which it fails" {
    tfm-embed -m "$m" tokens >h
    printf '%s\n' '{"type":"tensor","name":"tokens","group":0,"data":[2,99999]}' \
        '{"type":"tensor","name":"tokens","group":1,"data":[2,3]}' |
        tfm-import --kind tokens >bad
    pipe 'tfm-run -m $m -n 1 -N 3 bad >/dev/null'
    status_is 4
    one_line "$err"
    err_has 'tfm-run: warning: group 0: id 99999 at position 1'
    pipe 'tfm-embed -m $m bad | tfm-attend -m $m -L 0 | tfm-attend -m $m -L 1 | tfm-unembed -m $m | tfm-sample -m $m -n 1 | tfm-check'
    status_is 4 4 4 4 4 0
    one_line "$err"
    err_has 'tfm-embed: warning: group 0: id 99999 at position 1'
    tfm-select --pos 1-2 h >late # rows are missing
    pipe 'tfm-pool late >/dev/null'
    status_is 4
    [ "$(grep -c '^tfm-pool: warning: group [012]: ' "$err")" = 3 ]
    pipe 'tfm-pool -q late >/dev/null'
    status_is 4
    [ ! -s "$err" ]
}

# touched PROGRAM INPUT: kB of the model file (a copy under its own name) that the program has in
# memory once it has answered.
touched() {
    local pid i
    # shellcheck disable=SC2086
    { head -c -128 "$2"; cat hold; } | tfm-$1 -m own.tfms -t 1 >answer 2>&1 3>&- &
    pid=$!
    exec 9>hold
    for ((i = 0; i < 200; i++)); do
        ! tfm-show answer 2>/dev/null | grep -q flush || break
        sleep 0.05
    done
    awk '/^[0-9a-f]+-[0-9a-f]+ / { m = /own.tfms/ } m && /^Rss:/ { s += $2 } END { print s + 0 }' "/proc/$pid/smaps"
    exec 9>&-
    wait $pid || [ $? = 3 ] # its input had no END
}

@test "a stage touches its own weights only" {
    local whole
    mkfifo hold
    cp "$top/share/models/story.tfms" own.tfms # of four blocks
    whole=$(($(stat -c %s own.tfms) / 1024))
    echo And the king | tfm-tokenize -l --flush -m own.tfms >t
    tfm-embed -m own.tfms t >h0
    one=$(touched 'attend -L 0' h0)
    all=$(touched 'attend' h0)
    embed=$(touched 'embed' t)
    unembed=$(touched 'unembed --lens' h0)
    echo "whole $whole, block 0 $one, all blocks $all, embed $embed, unembed $unembed"
    [ "$embed" -gt 0 ] && [ $((embed * 4)) -lt "$whole" ]
    [ "$one" -gt 0 ] && [ $((one * 2)) -lt "$whole" ] && [ $((one * 2)) -lt "$all" ]
    [ "$unembed" -gt 0 ] && [ $((unembed * 2)) -lt "$whole" ]
}

# head.bats - tfm-head: the first groups, and how the stages before it end.
load helper

streams=$top/tests/streams

@test "the first groups, whole, though they interleave" {
    pipe "tfm-head -g 1 '$streams/good-groups.tfms' | tfm-show --tsv"
    status_is 0 0
    [ "$(cut -f 7 "$out" | tail -n +2 | sort -u)" = 0 ]
    [ "$(wc -l <"$out")" -eq 5 ]
    pipe "tfm-head -g 2 '$streams/good-groups.tfms' | tfm-check"
    status_is 4 0
}

@test "the default is ten groups, counted over all streams" {
    cd "$tmp"
    local i
    for i in 1 2 3 4 5 6; do cat "$streams/good-tokens.tfms" "$streams/good-fork.tfms"; done >many
    pipe 'tfm-head many | tfm-show --ids'
    status_is 0 0
    [ "$(wc -l <"$out")" -eq 10 ]
    pipe 'tfm-head -g 4 many many | tfm-show --ids'
    [ "$(wc -l <"$out")" -eq 4 ]
}

@test "records: a group that is cut short is failed" {
    pipe "tfm-head --records 2 '$streams/good-groups.tfms' | tfm-show"
    status_is 4 4
    grep -qE 'group-end - group 0 .* error$' "$out"
    [ "$(grep -c ' group ' "$out")" -eq 4 ]
}

@test "it ends an endless stage before it, quietly" {
    cd "$tmp"
    # Streams without end: the writer must be stopped by the closed pipe, not by the time limit.
    pipe "while cat '$streams/good-tokens.tfms'; do :; done 2>/dev/null | tfm-cat | tfm-head -g 3 | tfm-show --ids"
    [ "${statuses[1]}" -eq 141 ]
    [ "${statuses[2]} ${statuses[3]}" = '0 0' ]
    [ "$(wc -l <"$out")" -eq 3 ]
    [ ! -s "$err" ]
}

@test "numbers are checked" {
    local bad
    for bad in 0 -1 x 1.5 4294967296 ''; do
        pipe "tfm-head -g '$bad' </dev/null"
        status_is 2
        one_line "$err"
    done
}

# select.bats - tfm-select: by group, name, type and position.
load helper

streams=$top/tests/streams

@test "groups by numbers and ranges" {
    local list want
    while read -r list want; do
        pipe "tfm-select -g $list '$streams/good-groups.tfms' | tfm-show --tsv"
        echo "$list: $(cut -f 7 "$out" | tail -n +2 | sort -u | tr '\n' ' ')"
        [ "$(cut -f 7 "$out" | tail -n +2 | sort -u | tr -d '\n')" = "$want" ]
    done <<'END'
0 0
0-1 01
1- 12
0,2 02
9 
0-4294967294 012
END
}

@test "a group keeps its error and its end whatever else is chosen" {
    pipe "tfm-select --type meta '$streams/good-groups.tfms' | tfm-show"
    status_is 4 4
    [ "$(grep -c 'group-end' "$out")" -eq 3 ]
    [ "$(grep -c ' error     tfm-embed' "$out")" -eq 1 ]
    run ! grep -q ' tensor ' "$out"
}

@test "names by patterns" {
    pipe "tfm-select --name 'q4_*' --name f32 '$streams/good-dtypes.tfms' | tfm-show --tsv | cut -f 4"
    printf 'name\nf32\nq4_0\nq4_1\nq4_K\n' | same "$out" -
}

@test "positions cut tensors by rows" {
    pipe "tfm-select --pos 1-3 -g 0 '$streams/good-groups.tfms' | tfm-show --tsv"
    status_is 0 0
    # Rows 1, 2 of the first record (positions 0-2) and row 0 of the second (3-5).
    [ "$(awk -F'\t' '$3 == "tensor" {print $6, $8, $15}' "$out" | tr '\n' ';')" = '2 1 105,33;1 3 72;' ]
    pipe "tfm-select --pos 100- '$streams/good-fork.tfms' | tfm-show"
    run ! grep -q ' tensor ' "$out"
}

@test "records are renumbered and the result is valid" {
    local options
    for options in '-g 2' '--type tensor' '--pos 1-1' '--name tokens' '--type text,fork,ancillary'; do
        pipe "tfm-select $options '$streams/good-joined.tfms' | tfm-check -v"
        echo "$options"
        last_is 0
        grep -q 'streams 3' "$out"
    done
}

@test "the index of a model is not passed on" {
    pipe "tfm-select '$streams/good-model.tfms' | tfm-show"
    status_is 0 0
    run ! grep -q ' index ' "$out"
    grep -q 'token_embd.weight' "$out"
}

@test "bad lists are refused" {
    local bad
    for bad in '-g x' '-g 3-1' '-g 1,,2' '-g 4294967295' '-g ""' '--pos 1-2,4' '--type tensors' '--type ""'; do
        pipe "tfm-select $bad </dev/null"
        echo "$bad"
        status_is 2
        one_line "$err"
    done
}

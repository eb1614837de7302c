# cat.bats - tfm-cat: joining, and recovering what is whole.
load helper

streams=$top/tests/streams

@test "joined files are the same as the shell's cat of them" {
    cd "$tmp"
    cat "$streams/good-tokens.tfms" "$streams/good-fork.tfms" >both
    pipe "tfm-cat '$streams/good-tokens.tfms' '$streams/good-fork.tfms' | tfm-cmp - both"
    status_is 0 0
    [ ! -s "$out" ]
    pipe "tfm-show --ids both"
    [ "$(wc -l <"$out")" -eq 3 ]
}

@test "it names itself in the header and keeps the provenance of others" {
    pipe "tfm-cat '$streams/good-groups.tfms' | tfm-show --json | head -n 1"
    grep -qF '["tool","tfm-cat"]' "$out"
    [ "$(grep -o '"prov"' "$out" | wc -l)" -eq 3 ]
    pipe "tfm-cat --no-prov '$streams/good-groups.tfms' | tfm-show --prov"
    [ "$(wc -l <"$out")" -eq 2 ]
}

@test "a copy of a model is the model, also out of gzip" {
    cd "$tmp"
    pipe "tfm-cat '$top/share/models/story.tfms' >copy; gzip -1 <copy | tfm-cat -o again"
    status_is 0 0
    cmp "$top/share/models/story.tfms" copy
    cmp copy again
}

@test "unknown ancillary records and keys are passed on" {
    pipe "tfm-cat '$streams/good-ancillary.tfms' | tfm-show --json"
    status_is 0 0
    grep -qF '["some-later-key","with a value"]' "$out"
    grep -qF '"number":144' "$out"
}

@test "a group's error record makes the status 4" {
    pipe "tfm-cat '$streams/good-groups.tfms' >copy"
    status_is 4
    pipe "tfm-cmp '$streams/good-groups.tfms' copy"
    status_is 0
}

@test "salvage of a whole stream changes nothing" {
    pipe "tfm-cat --salvage '$streams/good-joined.tfms' >copy"
    status_is 4 # it holds a failed group
    [ ! -s "$err" ]
    pipe "tfm-cmp '$streams/good-joined.tfms' copy && tfm-show copy"
    status_is 4
    run ! grep -q salvaged "$out"
}

@test "salvage keeps the whole records, marks the stream and fails the open groups" {
    local from
    for from in file pipe; do
        # Cut in the third tensor: two groups are open.
        head -c 700 "$streams/good-fork.tfms" >"$tmp/cut"
        if [ "$from" = file ]; then pipe 'tfm-cat --salvage cut >whole'; last_is 4
        else pipe 'cat cut | tfm-cat --salvage >whole'; last_is 4; fi
        one_line "$err"
        grep -q 'ends before its END' "$err"
        pipe 'tfm-check whole'
        status_is 0
        pipe 'tfm-show whole'
        status_is 4
        grep -q '^    salvaged .*ends before its END' "$out"
        [ "$(grep -c ' tensor ' "$out")" -eq 2 ]
        [ "$(grep -cE ' error     tfm-cat .*"its stream was cut"' "$out")" -eq 2 ]
        [ "$(grep -cE 'group-end - group [01] .* error$' "$out")" -eq 2 ]
    done
}

@test "salvage at every record boundary gives a valid stream" {
    local size i
    cd "$tmp"
    size=$(stat -c %s "$streams/good-groups.tfms")
    for ((i = 192; i < size; i += 200)); do
        head -c "$i" "$streams/good-groups.tfms" >cut
        pipe 'tfm-cat --salvage cut | tfm-check'
        echo "cut at $i"
        last_is 0
    done
}

@test "a damaged record ends what is recovered; streams before it stay" {
    pipe "tfm-cat --salvage '$streams/bad-second.tfms' | tfm-show"
    status_is 4 0
    [ "$(grep -c '^stdin: stream' "$out")" -eq 2 ]
    [ "$(grep -c salvaged "$out")" -eq 1 ]
}

@test "what was salvaged stays incomplete for the stages behind: exit 4, though no group was cut" {
    local size
    cd "$tmp"
    printf 'a\nb\n' | tfm-tokenize -l -o two
    size=$(stat -c %s two)
    for at in 300 $((size - 128)); do # before the first record, before END
        pipe "head -c $at two | tfm-cat --salvage -q | tfm-head | tfm-detok"
        status_is 0 4 4 4
    done
}

@test "where no header is whole there is nothing to recover" {
    pipe "tfm-cat --salvage '$streams/bad-cut-header.tfms'"
    status_is 3
    [ "$(sed -n 2p "$out")" = 'kind error' ]
    one_line "$err"
}

@test "what needs a newer version is not taken for damage" {
    pipe "tfm-cat --salvage '$streams/unsupported-type.tfms'"
    last_is 3
    err_has 'record type 9'
}

@test "-o leaves no file behind when the input is broken" {
    pipe "tfm-cat -o new '$streams/bad-payload-crc.tfms'"
    status_is 3
    [ ! -e "$tmp/new" ]
    pipe "tfm-cat -o new '$streams/good-tokens.tfms' && tfm-check new"
    status_is 0
}

@test "a full device is a failure of the system" {
    pipe "tfm-cat '$streams/good-tokens.tfms' >/dev/full"
    status_is 5
    one_line "$err"
}

# pipelines.bats - the one line of tfm-pipelines(7) that its examples cannot run everywhere: GNU
# parallel. Where it is not installed a few lines of shell stand in for it: lines in pieces, a
# process for each piece, output in order. That is all that our side of the line relies on.

load helper

stand_in() {
    mkdir "$tmp/bin"
    cat >"$tmp/bin/parallel" <<'END'
#!/bin/bash
[ "$1 $2 $4" = '--pipe --block -k' ] || exit 255
split -l 5 - piece.
status=0
for piece in piece.*; do bash -c "$5" <"$piece" || status=1; done
exit $status
END
    chmod +x "$tmp/bin/parallel"
    PATH=$tmp/bin:$PATH
}

@test "GNU parallel, as the cookbook has it, gives what one process gives" {
    parallel --version 2>/dev/null | grep -q '^GNU parallel' || stand_in
    cd "$tmp"
    export TFM_MODEL=$top/share/models/story.tfms
    for i in {1..12}; do echo "line $i of the king"; done >prompts.txt
    line=$(grep '^parallel ' "$top/man/tfm-pipelines.7")
    tfm-tokenize -l prompts.txt | tfm-run -n 5 | tfm-detok -q >want
    pipe "${line/--block 1M/--block 60}"
    status_is 0
    same "$out" want
    [ "$(wc -l <want)" -eq 12 ]
}

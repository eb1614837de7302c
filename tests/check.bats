# check.bats - tfm-check: verdicts and their status. Its judgement of the corpus is in stream.bats.
load helper

streams=$top/tests/streams

@test "good files: nothing is printed, or a line each" {
    pipe "tfm-check '$streams'/good-*.tfms"
    status_is 0
    [ ! -s "$out" ]
    [ ! -s "$err" ]
    pipe "tfm-check -v '$streams/good-joined.tfms' - <'$streams/good-empty.tfms'"
    status_is 0
    printf '%s: good: streams 3, records %d, bytes %d\n' \
        "$streams/good-joined.tfms" 12 "$(stat -c %s "$streams/good-joined.tfms")" \
        stdin 0 0 | sed -n 1p | same - <(head -n 1 "$out")
    grep -q '^stdin: good: streams 1, records 0,' "$out"
}

@test "a bad file among good ones: its line, status 1" {
    pipe "tfm-check '$streams/good-tokens.tfms' '$streams/bad-seq.tfms' '$streams/bad-rank.tfms'"
    status_is 1
    [ "$(wc -l <"$out")" -eq 2 ]
    [ ! -s "$err" ]
    grep -qF 'bad-seq.tfms: record 0 at byte 128: has sequence number 1' "$out"
    pipe "tfm-check -q '$streams/bad-seq.tfms'"
    status_is 1
    [ ! -s "$out" ]
}

@test "a file that cannot be read has no answer" {
    pipe "tfm-check no-such-file"
    status_is 5
    one_line "$err"
    pipe "tfm-check ."
    status_is 5
}

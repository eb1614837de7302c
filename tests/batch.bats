# batch.bats - a batch job: lines in order, failures counted, resumable, the same bytes at any -b,
# -t.

load helper

setup_file() {
    load helper
    cd "$BATS_FILE_TMPDIR" || return
    # 1,000 prompts; five of them cannot work: not JSON, no field, not a string, too long (twice).
    awk 'BEGIN {
        split("king queen storm heart sword night crown honour ghost brother", w)
        for (i = 0; i < 1000; i++) {
            if (i == 17) print "{\"prompt\": \"no end"
            else if (i == 218) print "{\"text\": \"another field\", \"n\": 1}"
            else if (i == 404) print "{\"prompt\": 12}"
            else if (i == 555 || i == 901) {
                printf "{\"id\": %d, \"prompt\": \"", i
                for (k = 0; k < 3000; k++) printf "the %s ", w[1 + (k * 7 + i) % 10]
                print "\"}"
            } else printf "{\"id\": %d, \"prompt\": \"The %s and the %s of %d\"}\n", i, w[1 + i % 10], w[1 + int(i / 10) % 10], i
        }
    }' >prompts.jsonl
    ln -sf "$top/share/models/story.tfms" model
    tfm-tokenize -j prompt -m model prompts.jsonl | tfm-run -m model -n 8 -t 2 | tfm-detok -m model >whole.jsonl ||
        echo $? >whole.status
}

@test "1,000 JSONL prompts, five that fail: 1,000 lines in order, five errors, exit 4" {
    cd "$BATS_FILE_TMPDIR"
    [ "$(cat whole.status)" = 4 ]
    [ "$(wc -l <whole.jsonl)" -eq 1000 ]
    [ "$(jq -c 'select(has("error"))' whole.jsonl | wc -l)" -eq 5 ]
    [ "$(jq -c 'select(has("error") | not) | select(.output and .finish)' whole.jsonl | wc -l)" -eq 995 ]
    # what was in the line is still in it, in order
    jq -r 'select(has("id")) | .id' whole.jsonl >"$tmp/ids"
    seq 0 999 | grep -vxE '17|218|404' | same - "$tmp/ids"
}

@test "the bytes do not depend on -b or -t" {
    cd "$BATS_FILE_TMPDIR"
    local b t
    for b in 1 4 32; do
        for t in 1 2; do
            tfm-tokenize -j prompt -m model prompts.jsonl | tfm-run -m model -n 8 -b $b -t $t |
                tfm-detok -m model >"$tmp/got" 2>"$tmp/err" || [ $? = 4 ]
            same whole.jsonl "$tmp/got"
        done
    done
}

@test "killed at a random moment and resumed: byte-equal" {
    cd "$tmp"
    ln -s "$BATS_FILE_TMPDIR/model" "$BATS_FILE_TMPDIR/prompts.jsonl" .
    local tries=0 pid lines
    for delay in 0.05 0.21 0.4 0.63; do
        rm -f got
        setsid bash -c 'tfm-tokenize -j prompt -m model prompts.jsonl | tfm-run -m model -n 8 |
            tfm-detok -m model >got' 3>&- 2>/dev/null &
        pid=$!
        sleep $delay
        kill -KILL -- -$pid 2>/dev/null && tries=$((tries + 1))
        wait $pid || true
        [ -e got ] || : >got
        # as tfm-tokenize(1) says: whole lines count, a partial one is cut, the rest is appended
        lines=$(wc -l <got)
        head -n "$lines" got >kept
        tfm-tokenize -j prompt --first "$lines" -m model prompts.jsonl | tfm-run -m model -n 8 |
            tfm-detok -m model >>kept 2>err || [ $? = 4 ]
        same kept "$BATS_FILE_TMPDIR/whole.jsonl"
    done
    [ $tries -gt 0 ]
}

@test "resuming keeps what was drawn at random" {
    cd "$tmp"
    ln -s "$BATS_FILE_TMPDIR/model" .
    head -60 "$BATS_FILE_TMPDIR/prompts.jsonl" | grep -v 'no end' >p.jsonl
    tfm-tokenize -j prompt -m model p.jsonl | tfm-run -m model -n 8 -T 1 -s 3 | tfm-detok -m model >whole
    tfm-tokenize -j prompt -m model --first 23 p.jsonl | tfm-run -m model -n 8 -T 1 -s 3 |
        tfm-detok -m model >rest
    tail -n +24 whole | same - rest
    tfm-tokenize -j prompt -m model p.jsonl | tfm-run -m model -n 8 -T 1 -s 4 | tfm-detok -m model >other
    run ! cmp whole other
}

@test "line frame: a failed line gives an empty line, the count never drifts" {
    cd "$tmp"
    ln -s "$BATS_FILE_TMPDIR/model" .
    { echo 'The king'; yes 'the sword of honour' | head -2000 | tr '\n' ' '; echo; echo 'The queen'; } >lines
    pipe 'tfm-tokenize -l lines | tfm-run -m model -n 5 | tfm-detok'
    last_is 4
    [ "$(wc -l <"$out")" -eq 3 ]
    [ -z "$(sed -n 2p "$out")" ]
    [ -n "$(sed -n 3p "$out")" ]
}

@test "samples: K lines a record, sample 0 of one seed is the single one" {
    cd "$tmp"
    ln -s "$BATS_FILE_TMPDIR/model" .
    printf 'The king\nThe queen\n' >lines
    pipe 'tfm-tokenize -l lines | tfm-run -m model -n 6 -N 3 -T 1 | tfm-detok'
    status_is 0 0 0
    [ "$(wc -l <"$out")" -eq 6 ]
    sed -n '1p;4p' "$out" >first
    [ "$(sed -n 1,3p "$out" | sort -u | wc -l)" -gt 1 ]
    pipe 'tfm-tokenize -l lines | tfm-run -m model -n 6 -T 1 | tfm-detok'
    status_is 0 0 0
    same "$out" first
}

@test "--unordered gives the same groups" {
    cd "$tmp"
    ln -s "$BATS_FILE_TMPDIR/model" .
    head -40 "$BATS_FILE_TMPDIR/prompts.jsonl" | grep -v 'no end' | jq -r .prompt >lines
    pipe 'tfm-tokenize -l lines | tfm-run -m model -n 6 | tfm-detok'
    status_is 0 0 0
    cp "$out" ordered
    pipe 'tfm-tokenize -l lines | tfm-run -m model -n 6 --unordered | tfm-detok'
    status_is 0 0 0
    same "$out" ordered
}

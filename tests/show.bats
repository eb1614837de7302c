# show.bats - tfm-show: each form, and that nothing in a stream can disturb it.
load helper

streams=$top/tests/streams

@test "for people" {
    pipe "tfm-show '$streams/good-tokens.tfms'"
    status_is 0
    cat >"$tmp/want" <<END
$streams/good-tokens.tfms: stream 1, kind tokens
    tool tfm-tokenize
    frame whole
    vocab raw-bytes
     0 tensor    tokens i32 [3] group 0 at 0: 72 105 33 (min 33 max 105 mean 70)
     1 text      tail u8 [1] group 0 at 0: "\\n"
     2 group-end - group 0 at 3 open
END
    same "$out" "$tmp/want"
}

@test "ids: a line a group, in the order in which groups end" {
    pipe "tfm-show --ids '$streams/good-groups.tfms'"
    status_is 4
    printf '\n72 105 33 72 105 33\n72 105 33 72 105 33\n' | same "$out" -
}

@test "text: the payloads as they are" {
    pipe "tfm-show --text '$streams/good-groups.tfms'"
    printf '{"text":"caf\xc3\xa9"}\n{"text":\n' | same "$out" -
}

@test "meta: the description of a model, which is what it runs" {
    tfm-convert "$top/tests/golden/hf/llama-tied" -o "$tmp/m.tfms"
    pipe "tfm-show --meta '$tmp/m.tfms'"
    status_is 0
    grep -q '^description: 1$' "$out"
    grep -q '^      - {rope: rope_q, in: q, out: q, ' "$out"
    pipe "tfm-show --meta '$streams/good-tokens.tfms'"
    [ ! -s "$out" ]
}

@test "pieces of raw bytes need no model; other vocabularies do" {
    pipe "tfm-show --pieces '$streams/good-tokens.tfms'"
    status_is 0
    printf '0\t0\t72\tH\n0\t1\t105\ti\n0\t2\t33\t!\n' | same "$out" -
    pipe "tfm-show --pieces '$streams/good-ancillary.tfms'"
    status_is 3
    err_has 'use -m MODEL'
}

@test "prov: the lines of every tool, in order" {
    pipe "tfm-show --prov '$streams/good-groups.tfms'"
    printf '{"tool":"tfm-tokenize"}\n{"tool":"tfm-run"}\n' | same "$out" -
}

@test "tsv: as many columns in every line" {
    pipe "tfm-show --tsv '$streams/good-dtypes.tfms'"
    status_is 0
    [ "$(awk -F'\t' '{print NF}' "$out" | sort -u)" = 15 ]
    grep -q 'q6_K	q6_K	256	' "$out"
    grep -q '3x3x3x3' "$out"
}

@test "json: every line is an object, whatever the stream holds" {
    needs_program python3
    pipe "tfm-show --json '$streams'/good-*.tfms"
    last_is 4
    python3 -c 'import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert sum("kind" in r for r in rows) == 14
assert any(r.get("text") == "{\"text\":\"caf\u00e9\"}" for r in rows)
assert any(r.get("name") == "\u00e9\u20ac\U0001f600" for r in rows)
assert any(r.get("dims") == [0, 7] for r in rows)' <"$out"
}

@test "one form at a time" {
    pipe 'tfm-show --ids --json </dev/null'
    status_is 2
    one_line "$err"
}

@test "a full device is noticed" {
    pipe "tfm-show '$streams/good-groups.tfms' >/dev/full"
    status_is 5
    one_line "$err"
}

@test "an error's message is shown whole" {
    printf '%s\n' '{"type":"error","name":"tfm-x","text":"'"$(printf 'long %.0s' $(seq 100))"'end"}' >"$in"
    pipe 'tfm-import --kind text | tfm-show'
    status_is 4 4
    grep -q 'long end"$' "$out"
}

# Two heads of two tokens, on one scale.
heads='{"type":"tensor","name":"p","shape":[2,2,2],"data":[[[0,0.25],[0.5,"nan"]],[[1,0],[0,0.75]]]}'

@test "heat: a picture a matrix, one scale a tensor" {
    echo "$heads" >"$in"
    pipe 'tfm-import --kind tensor | tfm-show --heat'
    status_is 0 0
    same "$out" - <<'END'
record 0 p group 0 at 0, 0 of 2: 2 x 2, from 0 to 1
|  ░░|
|▒▒??|
record 0 p group 0 at 0, 1 of 2: 2 x 2, from 0 to 1
|██  |
|  ▓▓|
END
    pipe 'tfm-import --kind tensor | tfm-show --heat --ascii | tail -n 2'
    printf '|@@  |\n|  ##|\n' | same "$out" -
    pipe 'tfm-import --kind tensor | tfm-show --heat --colour | head -n 2 | tail -n 1'
    printf '\033[38;5;16;48;5;197m▀\033[38;5;90;48;5;16m▀\033[0m\n' | same "$out" -
}

@test "heat: what is wider than the terminal is averaged" {
    printf '{"type":"tensor","shape":[1,12],"data":[[0,0,0,0,0,0,8,8,8,0,8,8]]}' >"$in"
    pipe 'tfm-import --kind tensor | tfm-show --heat --ascii --width 10 | tail -n 1'
    out_is '|    @@**|'
    pipe "tfm-show --heat '$streams/good-groups.tfms' | awk 'length > 90'"
    [ ! -s "$out" ]
}

@test "pgm: an image a tensor, matrices in a grid" {
    echo "$heads" >"$in"
    pipe 'tfm-import --kind tensor | tfm-show --pgm'
    status_is 0 0
    printf 'P5\n5 2\n255\n\0\x40\377\377\0\x80\0\377\0\xc0' | same "$out" -
    pipe "tfm-show --pgm --heat '$streams/good-tokens.tfms'"
    status_is 2
    pipe "tfm-show --ascii '$streams/good-tokens.tfms'"
    status_is 2
}

@test "heat: rows that follow each other are one picture; a head's row is as long as there are keys" {
    local x='{"type":"tensor","group":1,"name":"p","position":'
    printf '%s\n' "${x}0,\"shape\":[1,2,1],\"data\":[[[1],[0]]]}" \
        '{"type":"tensor","name":"other","shape":[1,1],"data":[[5]]}' \
        "${x}1,\"shape\":[1,2,2],\"data\":[[[0.5,0.5],[1,0]]]}" \
        "${x}9,\"shape\":[1,2,1],\"data\":[[[1],[1]]]}" >"$in"
    pipe 'tfm-import --kind tensor | tfm-show --heat --ascii'
    same "$out" - <<'END'
record 0 p group 1 at 0, 0 of 2: 2 x 2, from 0 to 1
|@@  |
|++++|
record 0 p group 1 at 0, 1 of 2: 2 x 2, from 0 to 1
|    |
|@@  |
record 3 p group 1 at 9, 0 of 2: 1 x 1, from 1 to 1
|  |
record 3 p group 1 at 9, 1 of 2: 1 x 1, from 1 to 1
|  |
record 1 other group 0 at 0: 1 x 1, from 5 to 5
|  |
END
    pipe 'tfm-import --kind tensor | tfm-select -g 1 --pos 0-1 | tfm-show --pgm'
    printf 'P5\n5 2\n255\n\377\0\377\0\0\x80\x80\377\377\0' | same "$out" -
}

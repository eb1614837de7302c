# sample.bats - tfm-sample on logits that are known: 40 groups of 2 rows over 32 ids, in which row r
# of group g has its peak (4.0) at id (7g + r) mod 32 and the other ids below 2 (tests/contract).

load helper

setup() {
    logits=$top/tests/contract/logits.tfms
    cd "$tmp" || return
}

@test "greedy: the last row of each turn, its token behind it" {
    pipe 'tfm-sample $logits | tee got | tfm-show --ids'
    status_is 0 0 0
    for g in {0..39}; do echo $(((7 * g + 1) % 32)); done | same "$out" -
    tfm-show got | grep -q 'tokens i32 \[1\] group 3 at 7 '
}

@test "--all: every row" {
    pipe 'tfm-sample --all $logits | tfm-show --ids'
    status_is 0 0
    for g in {0..39}; do echo "$(((7 * g) % 32)) $(((7 * g + 1) % 32))"; done | same "$out" -
}

@test "-k 1 and -p 0 are greedy, whatever the temperature" {
    tfm-sample "$logits" | tfm-show --ids >greedy
    tfm-sample -T 5 -k 1 "$logits" | tfm-show --ids | same - greedy
    tfm-sample -T 5 -p 0 "$logits" | tfm-show --ids | same - greedy
}

@test "a draw depends on seed and group: repeatable, other with another seed, alone as in company" {
    tfm-sample -T 3 -s 1 "$logits" | tfm-show --ids >a
    tfm-sample -T 3 -s 1 "$logits" | tfm-show --ids | same - a
    tfm-sample -T 3 -s 2 "$logits" | tfm-show --ids >b
    run ! cmp a b
    tfm-select -g 17 "$logits" | tfm-sample -T 3 -s 1 | tfm-show --ids >one
    sed -n 18p a | same - one
}

@test "-n ends a group and says length; what came of it later is dropped" {
    pipe 'tfm-sample --all -n 1 $logits | tee got | tfm-show --ids'
    status_is 0 0 0
    for g in {0..39}; do echo $(((7 * g) % 32)); done | same "$out" -
    [ "$(tfm-show got | grep -c 'group-end .* length$')" -eq 40 ]
}

@test "a model of another vocabulary is refused: its end tokens and spellings are not these" {
    tfm-tokenize -m "$top/share/models/story.tfms" <<<x >x
    tfm-embed -m "$top/share/models/story.tfms" x | tfm-attend -m "$top/share/models/story.tfms" |
        tfm-unembed -m "$top/share/models/story.tfms" >l
    pipe 'tfm-sample -m $top/share/models/story.tfms l | tfm-check'
    status_is 0 0
    pipe 'tfm-sample -m $top/tests/golden/gguf/llama-f16.gguf l'
    last_is 3
    one_line "$err"
    err_has 'the logits are of vocabulary'
    err_has 'llama-f16.gguf has'
    pipe 'tfm-sample l | tfm-check' # without one no token ends a text
    status_is 0 0
}

@test "a logit that is no number fails its group alone" {
    cat >bad.jsonl <<'END'
{"type":"tensor","name":"logits","group":0,"position":0,"flags":["last"],"dtype":"f32","shape":[1,3],"data":[1,"nan",2]}
{"type":"group-end","name":"","group":0,"position":1,"flags":[],"status":"open"}
{"type":"tensor","name":"logits","group":1,"position":0,"flags":["last"],"dtype":"f32","shape":[1,3],"data":[1,3,2]}
{"type":"group-end","name":"","group":1,"position":1,"flags":[],"status":"open"}
END
    pipe 'tfm-import --kind logits bad.jsonl | tfm-sample | tfm-show'
    status_is 0 4 4
    grep -q 'error *tfm-sample.*group 0.*not a number' "$out"
    grep -q 'tokens i32 \[1\] group 1 at 1.*: 1$' "$out"
}

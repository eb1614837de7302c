# loop.bats - the generation loop as a pipe: the text of tfm-run, group for group; what happens when
# a stage is lost; that nothing waits for ever and nobody spins.

load helper

setup() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    mkfifo fb
    seq 1 100 | sed 's/$/ hello world/' >lines
}

# The loop over `lines`: $e options of embed, $s of sample. Stage X runs through `as X` (`as X.2`).
as() {
    echo "$BASHPID" >"pid.$1"
    exec "tfm-${1%.*}" "${@:2}"
}
e='-b 32' s='-n 8'
loop='as tokenize -l $t lines | as embed -m $m --loop 3 $e 3<fb | as attend -m $m -L 0 |
    as attend.2 -m $m -L 1 | as unembed -m $m | as sample -m $m $s | tee fb saved | as detok'
hold=${loop/tee fb/tee 4<>fb fb} # tee holds the FIFO, as in examples/loop.sh
stages='tokenize embed attend attend.2 unembed sample'
t() { t="-m $m"; }

# loop_is_run: the loop's text and records are those of tfm-run with the options $s.
loop_is_run() {
    t
    pipe "$loop"
    status_is "${1:-0 0 0 0 0 0 0 0}"
    mv "$out" composed
    tfm-tokenize -l $t lines | tfm-run -m "$m" $s >fused || [ $? = 4 ]
    tfm-detok fused >text 2>/dev/null || [ $? = 4 ]
    same composed text
    records saved | same - <(records fused)
}

# Records by group, without what only the loop has: their number, LAST, FLUSH, held tokens, who
# failed.
records() {
    tfm-show "$1" | grep -E '^ +[0-9]+ (tensor|group-end|text|error)' |
        sed -E 's/^ +[0-9]+ //; s/ last//; s/ flush//; s/(error +)tfm-[a-z]+/\1/' |
        awk '{for (i = 1; i < NF; i++) if ($i == "group") print $(i + 1) "\t" $0}' | sort -s -n -k1,1
}

@test "the loop writes what tfm-run writes, whatever -b" {
    for b in 1 7 64; do
        e="-b $b"
        loop_is_run
    done
}

@test "penalties, top-p with a seed, stop strings, end by context" {
    local text
    for s in '-n 12 --repeat-penalty 1.4 --frequency-penalty 0.3' '-n 20 -p 0.9 -s 5' \
        '-n 30 -T 0.8 -k 40 -s 2 --stop e --stop th' ''; do
        loop_is_run
    done
    s='-n 0' loop_is_run
    e='-c 24' s='-n 40'
    t
    pipe "$loop"
    mv "$out" composed
    tfm-tokenize -l $t lines | tfm-run -m "$m" -c 24 -n 40 | tfm-detok | same - composed
}

@test "tokens that a stop string may claim go round as held" {
    text=$(head -1 lines | tfm-tokenize -l -m "$m" | tfm-run -m "$m" -n 6 | tfm-detok 2>/dev/null)
    s="-n 12 --stop ${text: -1}~never"
    loop_is_run
    tfm-show saved | grep -q 'held i32'
}

@test "prompts as raw bytes" {
    e='-b 5' t=''
    pipe "$loop -m \$m"
    status_is 0 0 0 0 0 0 0 0
    tfm-tokenize -l lines | tfm-run -m "$m" $s | tfm-detok -m "$m" | same - "$out"
}

@test "a group that fails keeps its place: a prompt that is too long" {
    {
        seq 1 5
        seq 1 400 | tr '\n' ' '
        printf '\n\n'
        seq 6 9
    } >lines
    loop_is_run '0 4 4 4 4 4 0 4'
    [ "$(grep -c '^tfm-embed: warning: group 5: the prompt has .* context is 256' "$err")" -eq 1 ]
    [ "$(grep -c 'context is 256' "$err")" -eq 2 ] # the other is tfm-detok's
    [ "$(wc -l <composed)" -eq 11 ]
}

@test "JSON lines travel, also a long one" {
    {
        printf '{"p":"abc","k":1}\n{"p":"de","pad":"'
        head -c 300000 /dev/zero | tr '\0' x
        printf '"}\nnonsense\n{"p":"f","k":3}\n'
    } >j
    t
    pipe 'tfm-tokenize -j p $t j | as embed -m $m --loop 3 3<fb | as attend -m $m |
        as unembed -m $m | as sample -m $m $s | tee fb | as detok'
    last_is 4
    mv "$out" composed
    pipe 'tfm-tokenize -j p $t j | tfm-run -m $m $s | tfm-detok'
    last_is 4
    sed 's/"tfm-[a-z]*: /"/' "$out" | same - <(sed 's/"tfm-[a-z]*: /"/' composed)
}

@test "several streams one after another" {
    t
    pipe 'cat <(tfm-tokenize -l $t lines) <(tfm-tokenize -l $t lines) | as embed -m $m --loop 3 3<fb |
        as attend -m $m | as unembed -m $m | as sample -m $m $s | tee fb | as detok'
    status_is 0 0 0 0 0 0 0
    cat <(tfm-tokenize -l $t lines) <(tfm-tokenize -l $t lines) | tfm-run -m "$m" $s | tfm-detok | same - "$out"
}

@test "a group's number again within a stream: each is a group of its own" {
    local stages='tfm-attend -m $m -L 0 | tfm-attend -m $m -L 1 | tfm-unembed -m $m | tfm-sample -m $m -n 1'
    head -3 lines | tfm-tokenize -l -m "$m" >three
    # 0 1 2, a 0 that fails, 0 0 1 2: eight groups under three numbers
    {
        tfm-export --to jsonl three | grep -v '"type":"end"'
        printf '{"type":"tensor","name":"tokens","group":0,"position":0,"flags":["last"],"dtype":"i32","shape":[1],"data":[99999]}\n'
        printf '{"type":"group-end","name":"","group":0,"position":1,"flags":[],"status":"open"}\n'
        printf '{"type":"tensor","name":"tokens","group":0,"position":0,"flags":["last"],"dtype":"i32","shape":[2],"data":[66,67]}\n'
        printf '{"type":"group-end","name":"","group":0,"position":2,"flags":[],"status":"open"}\n'
        tfm-export --to jsonl three | grep -E '"type":"(tensor|group-end)"'
        printf '{"type":"end","records":16,"groups":8}\n'
    } | tfm-import >again
    tfm-check again >/dev/null
    pipe 'tfm-run -m $m -n 1 again | tee fused | tfm-check -'
    status_is 4 0 0
    pipe 'tfm-run -m $m -n 1 --unordered again >/dev/null'
    status_is 3
    err_has 'leave out --unordered'
    pipe "tfm-embed -m \$m again | $stages >composed"
    status_is 4 4 4 4 4
    records composed | same - <(records fused)
    s='-n 8'
    pipe 'tfm-embed -m $m --loop 3 -b 2 again 3<fb | tfm-attend -m $m | tfm-unembed -m $m | tfm-sample -m $m $s | tee fb >looped'
    status_is 4 4 4 4 0
    tfm-run -m "$m" $s again >fused || [ $? = 4 ]
    records looped | same - <(records fused)
    [ "$(tfm-show looped | grep -c group-end)" -eq 8 ]
}

@test "10,000 prompts, -b 32: complete, in order, equal to tfm-run" {
    seq 1 10000 | sed 's/$/ king/' >lines
    s='-n 4'
    t
    pipe "$loop"
    status_is 0 0 0 0 0 0 0 0
    [ "$(wc -l <"$out")" -eq 10000 ]
    mv "$out" composed
    tfm-tokenize -l $t lines | tfm-run -m "$m" $s | tfm-detok | same - composed
}

# stderr says that stage $1 was lost: the stage behind it does, by the header's name or, before
# there was one, by who writes such streams as a rule.
names_lost() {
    grep -qE "the stream of tfm-${1%.*} ends before|as a rule [a-z -]*tfm-${1%.*}[ )]" "$err" && return
    echo "tfm-$1 is not named"
    _show_run
    return 1
}

@test "each stage failing at its start: the last stage exits 3 and passes on who and why" {
    local stage
    t
    for stage in ${stages#tokenize }; do
        pipe "${hold/as $stage -m \$m/as $stage -m missing}"
        last_is 3
        err_has "tfm-${stage%.*}: missing"
        grep -q "^tfm-detok: upstream tfm-${stage%.*}: missing" "$err"
        pipe "${loop/as $stage -m \$m/as $stage --no-such-option -m \$m}" # usage: not a byte is written
        last_is 3
        err_has "tfm-${stage%.*}: --no-such-option"
        names_lost "$stage"
    done
}

@test "each stage killed at its start: the last stage exits 3, the stage is named" {
    local stage
    t
    lost() { kill -KILL $BASHPID; }
    for stage in $stages; do
        pipe "${loop/as $stage -/lost -}"
        last_is 3
        names_lost "$stage"
    done
}

@test "each stage killed while the loop runs: detok exits 3, the stage is named, no process is left" {
    local stage p
    seq 1 3000 | sed 's/$/ king/' >lines
    t
    for stage in $stages; do
        rm -f pid.*
        pipe "$loop | { head -n 2 >/dev/null; kill -KILL \$(cat pid.$stage); cat >/dev/null; }"
        [ "${statuses[-2]}" = 3 ] || { _show_run; return 1; }
        names_lost "$stage"
        for p in pid.*; do
            ! kill -0 "$(cat "$p")" 2>/dev/null || { echo "$p is left"; return 1; }
        done
    done
}

@test "with tee's own hold on the FIFO the last stage itself names the one that was killed" {
    local stage
    seq 1 3000 | sed 's/$/ king/' >lines
    t
    for stage in $stages; do
        rm -f pid.*
        pipe "$hold | { head -n 2 >/dev/null; kill -KILL \$(cat pid.$stage); cat >/dev/null; }"
        [ "${statuses[-2]}" = 3 ] || { _show_run; return 1; }
        grep -qE "^tfm-detok: .*the stream of tfm-${stage%.*} ends" "$err" || { _show_run; return 1; }
    done
}

@test "a reader that has seen enough ends the loop quietly" {
    local p
    seq 1 3000 | sed 's/$/ king/' >lines
    t
    pipe "$loop | head -n 1"
    last_is 0
    [ "$(wc -l <"$out")" -eq 1 ]
    [ ! -s "$err" ]
    for p in pid.*; do
        ! kill -0 "$(cat "$p")" 2>/dev/null || { echo "$p is left"; return 1; }
    done
}

@test "a loop that is cut alone is an error, not an end" {
    t
    pipe 'tfm-tokenize -l $t lines | tfm-embed -m $m --loop 3 3</dev/null | tfm-attend -m $m |
        tfm-unembed -m $m | tfm-sample -m $m -n 4 | tfm-detok'
    last_is 3
    err_has 'tfm-embed: loop'
}

@test "a loop that is another pipeline's output is refused" {
    t
    tfm-tokenize -l $t lines | tfm-run -m "$m" -n 1 >other
    pipe 'tfm-tokenize -l $t lines | tfm-embed -m $m --loop 3 3<other | tfm-attend -m $m |
        tfm-unembed -m $m | tfm-sample -m $m -n 4 | tfm-detok'
    last_is 3
    pipe 'tfm-embed -m $m --loop 3 lines'
    last_is 2
    err_has '3<FIFO'
}

# Processor time, in ticks of 10 ms, that the stages $@ have used.
ticks() {
    local stage
    for stage in "$@"; do cut -d' ' -f14,15 "/proc/$(cat "pid.$stage")/stat" | tr ' ' + | bc; done
}

# idle PIPELINE STAGE...: the pipeline answers all lines, then its input stays open for two seconds,
# in which no stage uses more than one tick.
idle() {
    local before after i
    rm -f hold got
    mkfifo hold
    ( exec 3>&-; { cat lines; cat hold; } | eval "$1" >got 2>&1 ) &
    exec 9>hold
    for ((i = 0; i < 300 && $(wc -l <got) < 100; i++)); do sleep 0.1; done
    [ "$(wc -l <got)" -eq 100 ]
    shift
    sleep 0.2
    mapfile -t before < <(ticks "$@")
    sleep 2
    mapfile -t after < <(ticks "$@")
    exec 9>&-
    wait $!
    echo "$*: before ${before[*]} after ${after[*]}"
    [ ${#after[@]} -eq $# ]
    for ((i = 0; i < $#; i++)); do [ $((after[i] - before[i])) -le 1 ]; done
}

@test "stages that wait use no processor time" {
    t
    idle "${loop/lines/--flush -}" embed attend attend.2 unembed sample detok
    idle 'as tokenize -l --flush -m $m | as run -t 2 -m $m -n 8 | as detok' tokenize run detok
}

@test "examples: the loop, and the loop over two hosts" {
    mkdir other stub
    cp "$m" other/theirs.gguf
    printf '#!/bin/sh\n[ "$1" = far ] || exit 255\ncd other && exec sh -c "$2"\n' >stub/ssh
    chmod +x stub/ssh
    tfm-tokenize -l -m "$m" lines | tfm-run -m "$m" -n 8 | tfm-detok >text
    pipe 'sh $top/examples/loop.sh $m lines 0 1 -n 8'
    status_is 0
    same text "$out"
    pipe 'PATH=$tmp/stub:$PATH sh $top/examples/two-hosts.sh $m lines 0 far theirs.gguf 1 -n 8'
    status_is 0
    same text "$out"
    pipe 'PATH=$tmp/stub:$PATH sh $top/examples/two-hosts.sh $m lines 0 nowhere theirs.gguf 1 -n 8'
    status_is 3
}

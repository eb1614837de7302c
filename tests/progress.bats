# progress.bats - how far a long work is: only when asked or on a terminal, and never in the data.

load helper

setup() {
    model=$top/share/models/story.tfms
    cd "$tmp" || return
    yes 'The king' | head -200000 >lines
    yes 'The king' | head -3000 >few
    mkfifo slow
}

# A run that has no end of its own accord, on prompts that come as fast as it likes.
start_run() { # OPTION...
    : >"$err" # it is looked at before the shell of the job may have made it
    tfm-tokenize -l lines 2>/dev/null 3>&- | tfm-run -m "$model" -n 400 "$@" >/dev/null 2>"$err" 3>&- &
    pid=$!
}

wait_for_lines() { # N
    for _ in {1..400}; do
        [ "$(wc -l <"$err")" -lt "$1" ] || return 0
        sleep 0.1
    done
    return 1
}

@test "--progress SECS: a line every so often, with the program's name, on stderr" {
    start_run --progress 1
    wait_for_lines 2
    kill $pid
    grep -qE '^tfm-run: [0-9]+ tokens, [0-9.e+]+ a second, [0-9]+ s$' "$err"
}

@test "SIGUSR1: one line, and the work goes on" {
    start_run
    sleep 0.3
    kill -USR1 $pid
    wait_for_lines 1
    kill -0 $pid
    kill $pid
    one_line "$err"
}

@test "not on a terminal and not asked: nothing" {
    start_run
    sleep 1.5
    kill $pid
    [ ! -s "$err" ]
}

@test "on a terminal: one line that is written over, taken away at the end" {
    needs_program script
    tfm-tokenize -l few >tokens
    script -qec "tfm-run -m '$model' -n 60 tokens -o out" typescript >/dev/null </dev/null 3>&-
    tfm-check out
    # on a machine so fast that it takes less than a second there is nothing to show
    if [ "$(wc -c <typescript)" -gt 400 ] || grep -q tokens typescript; then
        grep -q $'\r\033\\[Ktfm-run: [0-9]* tokens' typescript
    fi
}

@test "--progress is not in the provenance, and its argument is checked" {
    head -2 few >two
    tfm-tokenize -l two --progress 5 | tfm-show --prov >a
    tfm-tokenize -l two | tfm-show --prov | same - a
    run -2 --separate-stderr tfm-tokenize -l two --progress 0
    [[ $stderr == *--progress* ]]
}

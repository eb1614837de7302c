# lost.bats - a stage that is lost, a reader that leaves, a disk that is full: the last stage's exit
# status and its one line tell the truth.

load helper

setup() {
    model=$top/share/models/story.tfms
    cd "$tmp" || return
    printf 'The king\nThe queen\nThe storm\n' >lines
    tfm-tokenize -l -m "$model" lines >tokens
    tfm-run -m "$model" -n 4 tokens >new
}

# The offsets at which records of a stream begin.
offsets() {
    tfm-show --json "$1" | jq -r 'select(.offset) | .offset'
}

# A stage that writes the first N bytes and is killed.
dies_after() { head -c "$1" "$2"; kill -KILL $BASHPID; }

@test "killed before its header: exit 3, told by the stage behind it to the last" {
    pipe 'dies_after 0 tokens | tfm-run -m $model -n 4 | tfm-detok -m $model'
    last_is 3
    [ "${statuses[1]}" = 3 ]
    err_has 'tfm-detok: upstream tfm-run: stdin: no stream at all'
}

@test "a stage that fails before it has a header is named by the last one" {
    pipe 'tfm-run -m nowhere.tfms tokens | tfm-detok -m $model'
    status_is 5 3
    err_has 'tfm-detok: upstream tfm-run: nowhere.tfms'
}

@test "killed inside the header, inside a record, between records, before END: exit 3, the stage named" {
    local size at
    size=$(stat -c %s tokens)
    for at in 20 100 $((size - 128)) $((size - 64)) $((size - 1)) $(offsets tokens | sed -n '2,4p'); do
        [ "$at" -gt 0 ]
        pipe 'dies_after '"$at"' tokens | tfm-run -m $model -n 4 | tfm-detok -m $model'
        last_is 3
        [ "${statuses[1]}" = 3 ]
        [ "$at" -le 100 ] || err_has tfm-tokenize # inside the header nobody has said who it is
    done
    for at in $((size - 1)) $((size - 64)); do
        pipe 'dies_after '"$at"' tokens | tfm-run -m $model -n 4 | tfm-detok -m $model'
        grep -q '^tfm-detok: .*tfm-' "$err"
    done
}

@test "32 cut points through the programs: never a success" {
    local size at i
    size=$(stat -c %s new)
    for ((i = 0; i < 32; i++)); do
        at=$((size * i / 32))
        head -c $at new >cut
        pipe 'tfm-detok -q -m $model cut'
        last_is 3
        one_line "$err"
    done
}

@test "a stage that fails says why to the next: exit 3 without pipefail" {
    cp tokens bad
    printf '\x55' | dd of=bad bs=1 seek=$(($(stat -c %s bad) - 30)) conv=notrunc status=none
    pipe 'cat bad | tfm-run -m $model -n 4 | tfm-detok -m $model'
    last_is 3
    err_has 'tfm-detok: '
    err_has 'upstream tfm-run'
}

@test "a stage that fails between two streams is named by the last one" {
    echo 'no stream' >text
    pipe 'cat tokens text | tfm-run -m $model -n 4 | tfm-detok -m $model'
    status_is 0 3 3
    err_has 'tfm-detok: upstream tfm-run: stdin: after the END'
    same <(tfm-detok -m "$model" new) "$out" # what was whole is there
    pipe 'tfm-cat tokens nowhere.tfms | tfm-detok -m $model'
    status_is 5 3
    err_has 'tfm-detok: upstream tfm-cat: nowhere.tfms'
}

@test "| head -1 ends a long run at once and quietly" {
    seq 1 400 | sed 's/^/The king number /' >many
    pipe 'tfm-tokenize -l many | tfm-run -m $model -n 200 | tfm-detok | head -1'
    [ "${statuses[3]}" = 0 ]
    [ "$(wc -l <"$out")" -eq 1 ]
    [ ! -s "$err" ]
    local s
    for s in "${statuses[@]:1:2}"; do [ "$s" = 141 ]; done
}

@test "> /dev/full is exit 5, from every stage" {
    pipe 'tfm-tokenize -l lines >/dev/full'
    last_is 5
    pipe 'tfm-run -m $model -n 4 tokens >/dev/full'
    last_is 5
    pipe 'tfm-detok -q -m $model new >/dev/full'
    last_is 5
    one_line "$err"
}

@test "SIGTERM during -o leaves no file and no temporary" {
    seq 1 400 | sed 's/^/The king number /' >many
    mkdir only
    tfm-tokenize -l many >many.tokens
    tfm-run -m "$model" many.tokens -o only/out 3>&- &
    local pid=$!
    for _ in {1..100}; do
        [ -z "$(ls -A only)" ] || break
        sleep 0.02
    done
    kill -TERM $pid
    local status=0
    wait $pid || status=$?
    [ $status = 143 ]
    [ -z "$(ls -A only)" ]
}

@test "tokens of another vocabulary: exit 3, both are named" {
    needs_asset stories260K/stories260K.bin
    local dir=${asset%/*}
    tfm-convert "$dir/stories260K.bin" --tokenizer "$dir/tok512.bin" -o other.tfms
    pipe 'tfm-run -m other.tfms tokens'
    last_is 3
    err_has other.tfms
    err_has tfm-tokenize
}

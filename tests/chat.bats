# chat.bats - turns: an answer at LAST and FLUSH, after which the group goes on with its cache.

load helper

setup() {
    m=$top/share/models/story.tfms
    cd "$tmp" || return
}

@test "examples/chat.sh: each answer is that of a run over the whole text, and the cache is kept" {
    printf 'And the king said\nWho art thou?\nI pray thee, speak\n' >lines
    PATH=$PATH:$top/examples timeout 60 bash "$top/examples/chat.sh" "$m" 12 <lines >got
    text=
    : >want
    while IFS= read -r line; do
        text+=$line
        answer=$(printf '%s' "$text" | tfm-tokenize -m "$m" | tfm-run -m "$m" -n 12 | tfm-detok && echo .)
        answer=${answer%.}
        printf '%s\n' "$answer" >>want
        text+=$answer$'\n'
    done <lines
    same got want
    printf 'And the king\0And the king said unto\0' |
        tfm-tokenize -0 --turns -m "$m" | tfm-run -v -m "$m" -n 2 2>"$err" >/dev/null
    grep -q 'group 0: [1-9][0-9]* of' "$err"
}

@test "examples/chat.sh: a turn that fails ends it with 4, a pipeline that ends with 3; empty answers do not" {
    chat() { timeout 30 bash "$top/examples/chat.sh" "$@" <lines >"$out" 2>"$err" && status=0 || status=$?; }
    printf 'And the king said\nWho art thou?\nI pray thee, speak\n' >lines
    chat "$m" 12 -c 30
    [ "$status" -eq 4 ]
    err_has 'context is 30'
    printf 'And the king said' | tfm-tokenize -m "$m" | tfm-run -m "$m" -n 12 -c 30 | tfm-detok >want
    echo >>want
    head -c "$(wc -c <want)" "$out" | same - want # the first answer is there
    chat nowhere.tfms
    [ "$status" -eq 3 ]
    err_has 'nowhere.tfms'
    chat "$m" 5 --no-such-option
    [ "$status" -eq 3 ]
    chat "$m" 0
    [ "$status" -eq 0 ]
    [ "$(cat "$out")" = "$(printf '\n\n\n')" ]
    [ "$(wc -l <"$out")" -eq 3 ]
}

@test "the answers of turns, whole or with raw bytes, are those of single prompts" {
    printf 'And the king\nAnd the king said unto\nO Romeo\n' >lines
    tfm-tokenize -l -m "$m" lines | tfm-run -m "$m" -n 7 | tfm-detok >want
    tfm-tokenize -l --turns -m "$m" lines | tfm-run -m "$m" -n 7 >t
    tfm-check t >/dev/null
    tfm-detok t | same - want
    tfm-tokenize -l --turns lines | tfm-run -m "$m" -n 7 | tfm-detok | same - want
    tfm-tokenize -l --turns -m "$m" lines | tfm-run -m "$m" -n 7 -b 1 -t 1 | tfm-cmp - t
    [ "$(tfm-show t | grep -c 'flush last')" -eq 3 ]
    [ "$(tfm-show t | grep -c group-end)" -eq 1 ]
    tfm-tokenize -l --turns -m "$m" lines | tfm-run -m "$m" -n 7 --save-cache c >/dev/null
    tfm-check c >/dev/null
}

@test "a turn that does not fit ends its group with an error; the rest of it is dropped" {
    printf 'And\nAnd the king said unto him, If thou wilt not\nAnd\n' >lines
    pipe 'tfm-tokenize -l --turns -m $m lines | tfm-run -m $m -c 8 -n 2 | tee t | tfm-check -'
    [ "$(tfm-show t | grep -c 'error .*context is 8')" -eq 1 ]
    [ "$(tfm-show t | grep -c group-end)" -eq 1 ]
    [ "$(tfm-show t | grep -c 'flush last')" -eq 1 ]
}

@test "what does not go with turns is refused" {
    printf 'And\n' >lines
    pipe 'tfm-tokenize -l --turns -m $m lines | tfm-run -m $m -N 2'
    last_is 2
    pipe 'tfm-tokenize -l --turns -m $m lines | tfm-run -m $m --echo'
    last_is 2
    for args in '' '-j x' '-l --first 3'; do
        # shellcheck disable=SC2086
        run -2 tfm-tokenize --turns -m "$m" $args lines
    done
}

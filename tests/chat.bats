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

# run.bats - tfm-run: limits, ends, samples, stop strings, budgets, turns; on a tiny model of its
# own.

load helper

setup() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    printf 'abcde' | tfm-tokenize -m "$m" >p
    printf 'abc\nxyz abc\nhello\n' >lines
    tfm-tokenize -l -m "$m" lines >pl
}

# The finish words of all groups, in order.
ends() { tfm-show "$1" | awk '$2 == "group-end" {print $NF}' | xargs; }
n_ids() { tfm-show --ids "$1" | wc -w; }

@test "-n: 0 gives no token, N gives N, and says length" {
    tfm-run -m "$m" -n 0 p >a
    [ "$(ends a)" = length ]
    [ "$(n_ids a)" -eq 0 ]
    tfm-run -m "$m" -n 7 p >b
    [ "$(ends b)" = length ]
    [ "$(n_ids b)" -eq 7 ]
}

@test "-p 0 keeps the most likely token only: what greedy gives" {
    tfm-run -m "$m" -n 7 p --no-prov >greedy
    tfm-run -m "$m" -n 7 -p 0 -s 5 p --no-prov >narrow
    same greedy narrow
}

@test "the context ends a sample; a prompt that fills it gives none; a longer one is refused, not cut" {
    local n
    n=$(n_ids p)
    tfm-run -m "$m" --ignore-end -c $((n + 3)) p >a
    [ "$(ends a)" = context ]
    [ "$(n_ids a)" -eq 3 ]
    tfm-run -m "$m" -c "$n" p >b
    [ "$(ends b)" = context ]
    [ "$(n_ids b)" -eq 0 ]
    pipe 'tfm-run -m $m -c '$((n - 1))' p | tfm-show'
    status_is 4 4
    grep -q 'error.*the context is '$((n - 1)) "$out"
    grep -q 'group-end.* error$' "$out"
}

@test "a long run is the same as a short one and what follows it" {
    tfm-run -m "$m" --ignore-end -n 40 --echo p >whole
    tfm-run -m "$m" --ignore-end -n 15 --echo p >first
    tfm-run -m "$m" --ignore-end -n 25 --echo first >rest
    tfm-show --ids whole >a
    tfm-show --ids rest | same - a
}

@test "a group that failed on the way fails alone; the reason travels" {
    printf '1 2 3\n1 999999 3\n4 5 6\n' >ids
    pipe 'tfm-tokenize -l --from-ids -m $m ids | tfm-run -m $m -n 3 | tee got | tfm-show'
    status_is 4 4 0 4
    tfm-show got | grep -c ' group-end ' | grep -qx 3
    tfm-show --ids got | sed -n 1p | grep -q .
    tfm-show --ids got | sed -n 3p | grep -q .
    grep -q 'error *tfm-tokenize.*offset 2' "$out"
}

@test "the budget of the cache changes nothing but the order of work" {
    tfm-run -m "$m" -n 12 -T 1 pl >a
    tfm-run -m "$m" -n 12 -T 1 --kv-memory 20000 pl >b
    tfm-cmp a b
    pipe 'tfm-run -m $m -n 12 --kv-memory 1 pl | tfm-show'
    status_is 4 4
    grep 'error ' "$out"
    [ "$(grep -c 'error .*pages of 64' "$out")" -eq 3 ]
}

@test "--prefix-cache: common beginnings are computed once, with the same bits in any memory" {
    local text i rows
    s=$top/share/models/story.tfms
    text=$(head -c 700 "$top/LICENSE" | tr '\n' ' ')
    for i in 1 2 3 4 5 6; do echo "$text $i"; done >many
    { echo "${text:0:90}"; echo "$text"; echo "$text"; } >>many
    tfm-tokenize -l -m "$s" many >t
    tfm-run -v -m "$s" --ignore-end -n 40 t >want 2>plain
    tfm-run -v -m "$s" --ignore-end -n 40 --prefix-cache t 2>shared | tfm-cmp - want
    rows=$(grep -o '[0-9]* rows' plain | cut -d' ' -f1)
    [ "$(grep -o '[0-9]* rows' shared | cut -d' ' -f1)" -lt $((rows / 2)) ]
    grep -q ' 0 shared' plain
    # Seven pages are 448 positions: one sequence at a time, or two.
    tfm-run -v -m "$s" --ignore-end -n 40 --prefix-cache --kv-memory 448K t 2>short | tfm-cmp - want
    tfm-run -v -m "$s" --ignore-end -n 40 --kv-memory 448K -b 3 t | tfm-cmp - want
    tfm-run -m "$s" --ignore-end -n 40 --prefix-cache -b 1 -t 1 t | tfm-cmp - want
    cat t t | tfm-run -m "$s" --ignore-end -n 40 --prefix-cache >two
    cat want want | tfm-cmp - two
    run -2 tfm-run -m "$s" --prefix-cache --tap logits --tap-out x t
}

@test "--kv-memory: sizes" {
    for size in 1000000 1M 1MiB 900K 3G 1T; do tfm-run -m "$m" -n 1 --kv-memory $size p >/dev/null; done
    for size in 0 M 1X 1MM -1 99999999999999G 1.5G ''; do
        run -2 --separate-stderr tfm-run -m "$m" -n 1 --kv-memory "$size" p
        [ "${#stderr_lines[@]}" -eq 1 ]
    done
}

@test "a prompt that comes late joins; one that came is not kept waiting for more" {
    local pid line
    mkfifo q a
    printf 'abc\nxyz abc\n' >two
    tfm-tokenize -l -m "$m" two >all
    tfm-run -m "$m" --ignore-end -n 5 all | tfm-detok >want
    # The stream in three pieces, none with FLUSH: the first group, half a record, the rest.
    tfm-run -m "$m" --ignore-end -n 5 <q 3>&- 2>"$err" | tfm-detok >a 3>&- &
    pid=$!
    exec 7>q 8<a
    local cut
    cut=$(($(LC_ALL=C grep -obUaP '\x89TFR' all | sed -n 3p | cut -d: -f1) + 100))
    head -c $cut all >&7
    read -r -t 20 -u 8 line # before anything else has come
    [ "$line" = "$(sed -n 1p want)" ]
    tail -c +$((cut + 1)) all >&7
    exec 7>&-
    read -r -t 20 -u 8 line
    [ "$line" = "$(sed -n 2p want)" ]
    exec 8<&-
    wait $pid
}

@test "--stop cuts the text exactly, at any batch and also in samples" {
    tfm-run -m "$m" --ignore-end -n 60 pl | tfm-detok >plain
    local stop text cut
    text=$(sed -n 1p plain | LC_ALL=C tr -cd 'a-zA-Z0-9 ')
    stop=${text:5:2}
    [ ${#stop} -eq 2 ]
    tfm-run -m "$m" --ignore-end -n 60 --stop "$stop" pl >a
    tfm-detok a >stopped
    while IFS= read -r -u 4 text && IFS= read -r -u 5 cut; do
        [ "$cut" = "${text%%"$stop"*}" ]
    done 4<plain 5<stopped
    ends a | grep -q stop
    tfm-run -m "$m" --ignore-end -n 60 --stop "$stop" -b 1 pl >b
    tfm-cmp a b
    pipe 'tfm-run -m $m --ignore-end -n 60 -N 3 -T 1 --stop "'"$stop"'" pl | tfm-detok'
    status_is 0 0
    run ! grep -qF "$stop" "$out"
}

@test "samples fork the prompt: each is what it would be alone, and repeatable" {
    tfm-run -m "$m" -n 20 -N 4 -T 1.5 -s 9 pl >a
    tfm-run -m "$m" -n 20 -N 4 -T 1.5 -s 9 -b 4 -t 1 pl >b
    tfm-cmp a b
    [ "$(tfm-show --ids a | wc -l)" -eq 12 ]
    tfm-run -m "$m" -n 20 -N 2 -T 1.5 -s 9 pl >c
    tfm-show --ids c | sed -n '1p;2p' >two
    tfm-show --ids a | sed -n '1p;2p' | same - two
    tfm-show a | grep -qx '    samples 4'
}

@test "every stream of the input is processed, each on its own" {
    cat p pl p >three
    pipe 'tfm-run -m $m -n 4 three | tee got | tfm-check -'
    status_is 0 0 0
    tfm-run -m "$m" -n 4 p >a
    tfm-run -m "$m" -n 4 pl >b
    cat a b a >want
    tfm-cmp got want
}

@test "a turn: with FLUSH the answer comes before the next question is asked" {
    mkfifo q a
    # shellcheck disable=SC2094
    { tfm-tokenize -l --flush -m "$m" | tfm-run -m "$m" -n 3 | tfm-detok >a; } <q 3>&- 2>"$err" &
    local pid=$! line
    exec 7>q 8<a
    for word in abc xyz; do
        echo "$word" >&7
        read -r -t 20 -u 8 line || [ -n "$line" ]
        echo "$word" | tfm-tokenize -l -m "$m" | tfm-run -m "$m" -n 3 | tfm-detok >want
        [ "$line" = "$(cat want)" ]
    done
    exec 7>&- 8<&-
    wait $pid
}

@test "raw bytes become the model's tokens as tfm-tokenize -m makes them" {
    pipe 'tfm-tokenize -l lines | tfm-run -m $m -n 9 --echo --no-prov'
    status_is 0 0
    cp "$out" raw
    pipe 'tfm-tokenize -l -m $m lines | tfm-run -m $m -n 9 --echo --no-prov'
    status_is 0 0
    tfm-cmp raw "$out"
    pipe 'tfm-tokenize -l --no-special lines | tfm-run -m $m -n 9 --echo'
    cp "$out" raw
    pipe 'tfm-tokenize -l --no-special -m $m lines | tfm-run -m $m -n 9 --echo'
    tfm-cmp raw "$out"
}

@test "raw bytes of which the model's vocabulary lacks a character: told, or failed, as by tfm-tokenize -m" {
    cp -r "$top/tests/golden/hf/llama-tied" letters
    rm letters/tokenizer*
    echo '{"<unk>": 0, "a": 1, "b": 2, "c": 3}' >letters/vocab.json
    tfm-convert -q letters -o letters.tfms
    printf 'ab\nc?d\n' >"$in"
    for tool in 'run -n 1' embed score; do
        pipe "tfm-tokenize -l | tfm-$tool -m letters.tfms"
        status_is 0 0
        one_line "$err"
        err_has 'warning: 2 characters are not in the vocabulary'
        pipe "tfm-tokenize -l --strict-unk | tfm-$tool -m letters.tfms"
        status_is 0 4
    done
    pipe 'tfm-tokenize -l --strict-unk | tfm-run -m letters.tfms -n 1 | tfm-detok'
    status_is 0 4 4
    err_has 'record 1: tfm-run: characters that are not in the vocabulary: 2'
}

@test "raw bytes are not taken for ids by a model without a vocabulary" {
    cp -r "$top/tests/golden/hf/llama-tied" bare
    rm bare/tokenizer*
    tfm-convert -q bare -o bare.tfms
    pipe 'printf abc | tfm-tokenize | tfm-run -m bare.tfms -n 2'
    last_is 3
    err_has 'bare.tfms has no vocabulary'
}

@test "options that make no sense are exit 2 with one line" {
    local args
    for args in '--kv q4_0' '-N 0' '--repeat-penalty 0' '--output=' '--model=' '-p 1.5' '-T -1' '-n -1' '-c 0' '-b 0' '--stop'; do
        # shellcheck disable=SC2086
        run -2 --separate-stderr tfm-run -m "$m" p $args
        [ -z "$output" ]
        [ "${#stderr_lines[@]}" -eq 1 ]
    done
    run -2 --separate-stderr tfm-run p
    [[ $stderr == *'TFM_MODEL'* ]]
}

@test "-d: what is not there is refused, never replaced" {
    run --separate-stderr tfm-run -m "$m" -d cuda p
    [ "$status" -eq 5 ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    run --separate-stderr tfm-run -m "$m" -d nowhere p
    [ "$status" -ne 0 ]
    [[ $stderr == *nowhere* ]]
}

@test "a program without its share/ says where that should be" {
    mkdir -p alone/bin
    cp "$build/bin/tfm-run" alone/bin
    pipe 'alone/bin/tfm-run -m $m -n 1 p'
    last_is 5
    one_line "$err"
    err_has "$tmp/alone/bin/../share/tfm/tokenizers.yaml"
}

# score.bats - tfm-score: its forms, what is scored from where, windows, batches, failures. (The
# values themselves, against golden logits, are for tests/unit/test_score.c.)

load helper

setup() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    printf 'abc abc abc\nx\nhello world, hello all\nabc\n' >lines
    tfm-tokenize -l -m "$m" lines >t
}

@test "TSV: a line a token but the first, with its piece; the scores of --stream" {
    tfm-score -m "$m" t >a
    [ "$(head -1 a)" = "$(printf 'group\tposition\tid\tpiece\tlogprob')" ]
    tfm-show --pieces t | awk -F'\t' '$2 > 0' >want
    tail -n +2 a | cut -f 1-4 | same - want
    tfm-score -m "$m" --stream t >s
    tfm-check s >/dev/null
    tfm-show s | head -1 | grep -q 'kind scores'
    [ "$(tfm-show s | grep -c ' scores f32 ')" -eq 4 ]
    [ "$(tfm-show --ids s)" = "$(tfm-show --ids t)" ]
    awk -F'\t' 'NR > 1 && $5 > 0 {bad = 1} END {exit bad}' a
}

@test "--ppl: the sums of the tokens, a line a group and one for all" {
    tfm-score -m "$m" t >a
    tfm-score -m "$m" --ppl t >b
    awk -F'\t' 'FNR == 1 {next}
        NR == FNR {nll[$1] -= $5; n[$1]++; nll["total"] -= $5; n["total"]++; next}
        {lines++; d = $3 - nll[$1]; p = log($4) * $2 - $3
         if ($2 != n[$1] || d * d > 1e-8 || p * p > 1e-8) bad = 1}
        END {exit bad || lines != 5}' a b
    [ "$(tail -1 b | cut -f1)" = total ]
    cat t t >two
    [ "$(tfm-score -m "$m" --ppl two | tail -1 | cut -f2)" -eq $(($(tail -1 b | cut -f2) * 2)) ]
}

@test "the same bits at any -b and -t, on each device" {
    for device in ref cpu; do
        tfm-score -m "$m" -d $device --no-prov --stream t >a
        tfm-score -m "$m" -d $device --no-prov --distributions t >d
        for args in '-b 1' '-b 2 -t 1' '-b 3 -t 3'; do
            # shellcheck disable=SC2086
            tfm-score -m "$m" -d $device --no-prov --stream $args t | same - a
            # shellcheck disable=SC2086
            tfm-score -m "$m" -d $device --no-prov --distributions $args t | same - d
        done
    done
}

@test "--distributions: the rows of unembed --all less a constant, and tfm-sample reads them" {
    tfm-score -m "$m" --distributions t >d
    tfm-embed -m "$m" t | tfm-attend -m "$m" | tfm-unembed -m "$m" --all >l
    [ "$(tfm-show d | grep -c 'logits f32 \[1, ')" -eq "$(tfm-show --ids t | wc -w)" ]
    tfm-sample --all d | tfm-show --ids >a
    tfm-sample --all l | tfm-show --ids | same - a
}

@test "--from and --given leave tokens out and change no score" {
    tfm-score -m "$m" t >a
    awk -F'\t' 'NR == 1 || $2 >= 3' a >want
    tfm-score -m "$m" --from 3 t | same - want
    printf 'abc\nx\nhello world,\nnothing like it\n' | tfm-tokenize -l -m "$m" >g
    tfm-score -m "$m" --given g t >got
    [ "$(wc -l <got)" -lt "$(wc -l <a)" ]
    [ -z "$(grep -vxFf a got)" ]
    paste -d' ' <(tfm-show --ids g) <(tfm-show --ids t) >/dev/null
    [ "$(grep -c '^1	' got)" -eq 0 ]
    pipe 'tfm-head -g 2 g | tfm-score -m $m --given - t'
    last_is 3
    err_has 'no group 2'
    pipe 'tfm-select -g 1-3 g | tfm-score -m $m --given - t'
    last_is 3
    err_has 'group 1 comes where'
    pipe 'tfm-head -g 2 t | tfm-score -m $m --given g'
    last_is 3
    err_has 'has a group 2'
}

@test "a text longer than the context is refused, or scored in windows" {
    pipe 'tfm-score -m $m -c 4 --ppl t'
    last_is 4
    err_has 'give a longer --ctx or a --stride'
    grep -q '^3	' "$out"
    grep -q '^2	0	nan	nan$' "$out"
    pipe 'tfm-score -m $m -c 4 --stream t | tfm-show'
    last_is 4
    grep -q 'group-end .* error' "$out"
    tfm-score -m "$m" t >a
    tfm-score -m "$m" -c 4 --stride 2 t >b
    [ "$(wc -l <a)" -eq "$(wc -l <b)" ]
    grep '^2	[123]	' a >first
    grep '^2	[123]	' b | same - first
    tfm-score -m "$m" -c 4 --stride 2 -b 1 t | same - b
    pipe 'tfm-score -m $m -c 4 --stride 4 t'
    last_is 2
    one_line "$err"
}

@test "groups that failed before, ids that are none, and text that travels" {
    printf '1 2 3\n1 999999 3\n4 5 6\n' >ids
    pipe 'tfm-tokenize -l --from-ids -m $m ids | tfm-score -m $m'
    last_is 4
    err_has 'group 1: tfm-tokenize: '
    [ "$(cut -f1 "$out" | sort -u | xargs)" = '0 2 group' ]
    printf '{"p":"abc abc","k":1}\n' | tfm-tokenize -j p -m "$m" | tfm-score -m "$m" --stream |
        tfm-show | grep -q 'text *source'
    pipe 'tfm-score -m $m --stream --ppl t'
    last_is 2
    tfm-embed -m "$m" t >h
    pipe 'tfm-score -m $m h'
    last_is 3
}

@test "raw bytes are tokenized first; a reader that waits is served at FLUSH" {
    tfm-tokenize -l lines | tfm-score -m "$m" >a
    tfm-score -m "$m" t | same - a
    mkfifo q a.fifo
    # shellcheck disable=SC2094
    { tfm-tokenize -l --flush -m "$m" | tfm-score -m "$m" --ppl >a.fifo; } <q 3>&- 2>"$err" &
    local pid=$! line
    exec 7>q 8<a.fifo
    echo abc >&7
    read -r -t 20 -u 8 line
    read -r -t 20 -u 8 line
    [[ $line == 0* ]]
    exec 7>&- 8<&-
    wait $pid || [ $? = 141 ]
}

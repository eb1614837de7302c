# score.bats - tfm-score: its forms, what is scored from where, windows, batches, failures. (The
# values themselves, against golden logits, are for tests/unit/test_score.c.)

load stages

setup() { lines_and_tokens 'abc abc abc\nx\nhello world, hello all\nabc\n' t; }

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

@test "scores and perplexity are what NumPy makes of the logits" {
    needs_numpy
    tfm-embed -m "$m" t | tfm-attend -m "$m" | tfm-unembed -m "$m" --all | tfm-export -o l.npz
    tfm-export t --to npz -o t.npz
    tfm-score -m "$m" t >tsv
    tfm-score -m "$m" --ppl t >ppl
    "$python" - <<'END'
import numpy as np
l, t = np.load('l.npz'), np.load('t.npz')
tsv = [x.split('\t') for x in open('tsv').read().splitlines()[1:]]
ppl = {x.split('\t')[0]: [float(y) for y in x.split('\t')[1:]] for x in list(open('ppl'))[1:]}
total = n = 0
for g in sorted({x[0] for x in tsv}, key=int):
    x = l[f'g{g}/logits'].astype(float)
    x -= x.max(1, keepdims=True)
    x -= np.log(np.exp(x).sum(1, keepdims=True))
    ids = t[f'g{g}/tokens']
    want = x[np.arange(len(ids) - 1), ids[1:]]
    rows = [r for r in tsv if r[0] == g]
    assert [int(r[1]) for r in rows] == list(range(1, len(ids)))
    assert [int(r[2]) for r in rows] == ids[1:].tolist()
    # a score is rounded to f32, |score| < 32, and written with 9 digits
    assert np.abs(np.array([float(r[4]) for r in rows]) - want).max() < 2e-6
    assert ppl[g][0] == len(want) and abs(ppl[g][1] + want.sum()) < 2e-6 * len(want)
    assert abs(ppl[g][2] / np.exp(-want.mean()) - 1) < 3e-6
    total, n = total - want.sum(), n + len(want)
assert n > 5 and ppl['total'][0] == n and abs(ppl['total'][2] / np.exp(total / n) - 1) < 3e-6
END
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
    pipe 'tfm-score -m $m --given - <t'
    last_is 2
    err_is 'tfm-score: --given: -: standard input is the text; give one of them as a file'
    pipe 'tfm-head -g 2 t | tfm-score -m $m --given g'
    last_is 3
    err_has 'has a group 2'
    echo text >no_stream
    pipe 'tfm-score -m $m --given no_stream t'
    last_is 3
    err_is 'tfm-score: no_stream: not a tfm stream (is it text? tfm-tokenize makes a stream of text)'
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
    tfm-score -m "$m" --no-prov --distributions t >d
    tfm-score -m "$m" --no-prov --stream --distributions t | same - d
    tfm-score -m "$m" --no-prov --distributions --stream t | same - d
    pipe 'tfm-score -m $m --distributions --ppl t'
    last_is 2
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

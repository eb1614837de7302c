# bench.bats - tfm-bench: what is measured and how it is written. Times are nobody's to judge here;
# what must hold between the figures is.

load helper

setup() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    quick=(--prompt 8 --generate 3 --context 5 -b 1,3 --repeat 2)
    cd "$tmp" || return
}

# holds FILE EXPRESSION...: the JSON lines of FILE are `lines`, by type `of`; each must be true.
holds() {
    python3 - "$@" <<'END'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
of = {}
for line in lines:
    of.setdefault(line["type"], []).append(line)
for text in sys.argv[2:]:
    if not eval(text):
        sys.exit(f"does not hold: {text}\n{open(sys.argv[1]).read()}")
END
}

@test "JSON lines: one machine, one model, limits around each repetition, every case, one process" {
    tfm-bench -m "$m" "${quick[@]}" --depth 7,9 --json --price 2 >j
    holds j 'set(of) == {"machine", "model", "limits", "case", "process"}' \
        'len(of["machine"]) == len(of["model"]) == len(of["process"]) == 1' \
        '[l["before"] for l in of["limits"]] == [0, 1, 2]' \
        'all(l[k] > 0 for l in of["limits"] for k in ("read_gb_per_s", "f32_gop_per_s", "bf16_gop_per_s", "int8_gop_per_s"))' \
        '[(c["case"], c["tokens"], c["sequences"], c["depth"]) for c in of["case"]] == [
            ("prompt", 8, 1, 0), ("generate", 3, 1, 5), ("generate", 3, 3, 5), ("prompt", 8, 1, 7),
            ("generate", 3, 1, 7), ("prompt", 8, 1, 9), ("generate", 3, 1, 9)]' \
        'all(len(c["seconds"]) == 2 and min(c["seconds"]) > 0 for c in of["case"])' \
        'of["process"][0]["repetitions"] == 2 and of["process"][0]["peak_bytes"] > 1e6' \
        'of["process"][0]["start_up_s"]["median"] > 0' \
        'of["model"][0]["weights"] == "f16" and of["model"][0]["compute_limit"] == "f32"'
}

@test "the figures of a case follow from its seconds, the model's size and the limits" {
    tfm-bench -m "$m" "${quick[@]}" --json --price 2 --repeat 3 >j
    holds j 'all(abs(c["tokens_per_s"]["median"] * sorted(c["seconds"])[1] / (c["tokens"] * c["sequences"]) - 1) < 1e-6 for c in of["case"])' \
        'all(c["tokens_per_s"]["lowest"] <= c["tokens_per_s"]["median"] <= c["tokens_per_s"]["highest"] for c in of["case"])' \
        'all(abs(c["price_of_million"] * c["tokens_per_s"]["median"] / (2 / 3600 * 1e6) - 1) < 1e-6 for c in of["case"])' \
        '(lambda m, c: abs(c["gop_per_s"] * sorted(c["seconds"])[1] / (2e-9 * (8 * m["block_weights"] + m["head_weights"])) - 1) < 1e-6)(of["model"][0], of["case"][0])' \
        '(lambda m, c: abs(c["gb_per_s"] * sorted(c["seconds"])[1] / (1e-9 * (3 * m["step_bytes"] + (6 + 7 + 8) * m["kv_bytes"])) - 1) < 1e-6)(of["model"][0], of["case"][1])' \
        '(lambda m, c: abs(c["gb_per_s"] * sorted(c["seconds"])[1] / (1e-9 * (3 * m["step_bytes"] + 3 * (6 + 7 + 8) * m["kv_bytes"])) - 1) < 1e-6)(of["model"][0], of["case"][2])' \
        'all(c["share_of_read"]["lowest"] <= c["share_of_read"]["median"] for c in of["case"])'
}

@test "the model's size is that of its matrices, whatever the file" {
    tfm-convert "$m" -o p.tfms
    tfm-convert "$m" --type q8_0 -o q.tfms
    for f in "$m" p.tfms q.tfms; do
        tfm-bench -m "$f" "${quick[@]}" --json --no-limits --no-start >j
        cp j "j.${f##*/}"
    done
    # 2 blocks, read from the description of the test's model
    n=$(tfm-show --json p.tfms | python3 -c '
import json, sys
n = head = 0
for line in sys.stdin:
    r = json.loads(line)
    name, dims = r.get("name", ""), r.get("dims", [])
    if name.startswith("blk.") and len(dims) == 2:
        n += dims[0] * dims[1]
print(n)')
    for f in llama-f16.gguf p.tfms q.tfms; do
        holds "j.$f" "of['model'][0]['block_weights'] == $n" 'not any("share_of_read" in c for c in of["case"])' \
            '"limits" not in of' '"start_up_s" not in of["process"][0]'
    done
    holds j.q.tfms 'of["model"][0]["weights"] == "q8_0" and of["model"][0]["compute_limit"] == "int8"'
    holds j.p.tfms 'of["model"][0]["weights"] == "f16"'
}

@test "the table names every case; -t and -d are said; a chart is well-formed" {
    tfm-bench -m "$m" "${quick[@]}" -t 1 -d cpu:generic --price 1 --svg chart.svg >table
    for case in 'prompt 8' 'generate 3 at 5' 'generate 3 x 3 at 5'; do grep -q "^$case  " table; done
    head -1 table | grep -q 'llama-f16.gguf, cpu generic kv=f16 ctx=8, 1 thread;'
    grep -q '^limits (generic): read ' table
    grep -q 'a million$' table
    python3 -c '
import sys, xml.dom.minidom as x
d = x.parse("chart.svg")
assert len(d.getElementsByTagName("tspan")) == 6
t = "".join(e.firstChild.data for e in d.getElementsByTagName("text") if e.firstChild.nodeType == 3)
assert "prompt 8" in t and "llama-f16.gguf" in t
'
}

@test "the longest lists: every case is there" {
    tfm-bench -m "$m" --prompt 1 --generate 1 --context 0 --repeat 1 --json --no-limits --no-start \
        -b "$(seq -s, 1 16)" --depth "$(seq -s, 1 16)" >j
    holds j 'len({(c["case"], c["sequences"], c["depth"]) for c in of["case"]}) == 1 + 16 + 32'
    pipe 'tfm-bench -m $m -b $(seq -s, 1 17)'
    status_is 2
    err_has '16 numbers at most'
}

@test "the process that is timed from its start has the same -d and --kv" {
    pipe 'tfm-bench -v -m $m "${quick[@]}" --repeat 1 --no-limits -t 2 -d cpu:generic --kv f32'
    status_is 0
    err_has 'one token computed: cpu generic kv=f32'
    pipe 'tfm-bench -v -m $m "${quick[@]}" --repeat 1 --no-limits -d ref'
    status_is 0
    err_has 'kv=f16 ctx=256'
}

@test "a chart is whole or not there" {
    few=(--prompt 4 --generate 0 --repeat 1 --no-start -d ref)
    echo old >chart.svg
    tfm-bench -m "$m" "${few[@]}" --svg chart.svg >table
    [ "$(tail -n 1 chart.svg)" = '</svg>' ]
    cp chart.svg new
    pipe '(trap "" XFSZ; ulimit -f 0; tfm-bench -m $m "${few[@]}" --svg chart.svg 2>&1) | grep ^tfm-bench:'
    status_is 5 0
    grep -q '^tfm-bench: chart.svg: ' "$out"
    same chart.svg new
    [ "$(echo .*tfm-*)" = '.*tfm-*' ]
}

@test "a model's name stands in JSON as it is" {
    cp "$m" 'modèle "1".gguf'
    tfm-bench -m 'modèle "1".gguf' "${quick[@]}" -b 1 --generate 0 --json --no-limits --no-start >j
    holds j 'of["model"][0]["model"] == "modèle \"1\".gguf"'
}

@test "--once writes nothing; with --prompt 0 or --generate 0 the others stay" {
    pipe 'tfm-bench -m $m --once'
    status_is 0
    [ ! -s "$out" ] && [ ! -s "$err" ]
    tfm-bench -m "$m" "${quick[@]}" --prompt 0 --json --no-limits --no-start >j
    holds j '[c["case"] for c in of["case"]] == ["generate"] * 2'
    tfm-bench -m "$m" "${quick[@]}" --generate 0 --json --no-limits --no-start >j
    holds j '[c["case"] for c in of["case"]] == ["prompt"]'
}

@test "what cannot be measured is refused: usage 2, a bad model 3, a device that is not there 5" {
    for bad in '-b 0' '-b 1,,2' '-b 1,' '-b x' '--depth 0' '--repeat 0' '--prompt -1' '--price -1' \
        '--kv q4_0' '--prompt 0 --generate 0' '--svg c.svg --no-limits' 'operand'; do
        # shellcheck disable=SC2086
        pipe 'tfm-bench -m $m $bad'
        status_is 2
        one_line "$err"
    done
    [ ! -e c.svg ]
    pipe 'tfm-bench'
    status_is 2
    echo nothing >garbage
    pipe 'tfm-bench -m garbage'
    status_is 3
    pipe 'tfm-bench -m $m -d cpu:abacus'
    status_is 5
    err_has 'abacus'
    pipe 'tfm-bench -m $m --once -d cpu:abacus'
    status_is 5
    # Positions that are learned end somewhere.
    pipe 'tfm-bench -m $top/tests/golden/gguf/gpt2-f32.gguf --depth 1000000 --no-limits --no-start'
    status_is 3
    err_has 'positions end at'
    pipe 'tfm-bench -m $m --prompt 4 --generate 2 --repeat 1 --no-start -b 1 --svg no/such/c.svg'
    status_is 5
}

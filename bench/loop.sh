#!/bin/bash
# loop.sh BUILD MODEL [PAIRS [TOKENS]] - tokens per second of the composed pipeline (embed, attend,
# unembed, sample and the loop) against tfm-run, 32 sequences. Runs are paired and interleaved, so
# that a busy machine disturbs both; the median of the pairs' ratios is what counts. MODEL: e.g. one
# of random_llama.py; prompts are bytes, so that it needs no vocabulary.
set -eu
build=${1:-build} model=$2 pairs=${3:-5} tokens=${4:-48}
unset TFM_DEVICE TFM_THREADS TFM_MODEL
export TFM_NO_PROV=1 PATH="$PWD/$build/bin:$PATH"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/fb"
for ((i = 0; i < 32; i++)); do echo "In the $i beginning"; done | tfm-tokenize -l -o "$dir/prompts"

fused() { tfm-run -m "$model" -b 32 -n "$tokens" --ignore-end "$dir/prompts" | cat >"$dir/fused"; }
composed() {
    tfm-embed -m "$model" -b 32 --loop 3 "$dir/prompts" 3<"$dir/fb" | tfm-attend -m "$model" |
        tfm-unembed -m "$model" | tfm-sample -m "$model" -n "$tokens" --ignore-end |
        tee "$dir/fb" >"$dir/composed"
}
seconds() { # COMMAND...: wall time and processor time
    local TIMEFORMAT='%R %U %S'
    { time "$@" 2>/dev/null; } 2>&1 | awk '{print $1, $2 + $3}'
}
fused # the model is in memory now
echo 'tokens/s of tfm-run and of the pipeline: wall time, processor time'
for ((i = 0; i < pairs; i++)); do
    echo "$(seconds fused) $(seconds composed)"
done | awk -v n=$((32 * tokens)) '{printf "%8.1f %8.1f ratio %.3f %8.1f %8.1f ratio %.3f\n",
    n / $1, n / $3, $1 / $3, n / $2, n / $4, $2 / $4}' | tee "$dir/all"
for column in 4 8; do
    sort -k$column -n "$dir/all" | awk -v k=$column '{r[NR] = $k}
        END {print "median ratio", r[int((NR + 1) / 2)], k == 4 ? "of wall time" : "of processor time"}'
done
cmp <(tfm-show --ids "$dir/fused" | sort -n | md5sum) <(tfm-show --ids "$dir/composed" | sort -n | md5sum)

#!/bin/bash
# start.sh BUILD [STORIES260K] - what does not depend on the size of a model: the time of a whole
# process from its start to its first token (tfm-run -n 1; $TFM_ASSETS/stories260K or the model
# named, else the one that ships), and of one step of a model of 5 blocks that has next to nothing
# to compute. Medians of 41 starts and of 99 times 14 steps, lowest to highest.
set -eu
build=${1:-build}
unset TFM_DEVICE TFM_THREADS TFM_MODEL
export TFM_NO_PROV=1 PATH="$PWD/$build/bin:$PATH"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
model=${2:-${TFM_ASSETS:-}/stories260K/stories260K.bin}
[ -e "$model" ] || model=share/models/story.tfms
tfm-convert "$model" -o "$dir/model" 2>/dev/null
printf 'Once upon a time' | tfm-tokenize -m "$dir/model" -o "$dir/prompt"
python3 bench/random_llama.py --shape least --type f32 "$dir/least.gguf"
tfm-convert "$dir/least.gguf" -o "$dir/least"

spread() { # UNIT: of one number a line
    sort -n | awk -v u="$1" '{x[NR] = $1} END {printf "%.2f %s (%.2f to %.2f)\n", x[int((NR + 1) / 2)], u, x[1], x[NR]}'
}
starts() { # COMMAND...
    local i from
    for ((i = 0; i < 41; i++)); do
        from=$EPOCHREALTIME
        "$@" >/dev/null
        awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.3f\n", 1e3 * (b - a)}'
    done | spread ms
}
echo "load: $(cut -d' ' -f1-3 /proc/loadavg); ${model##*/}, $(stat -c %s "$dir/model") bytes"
for threads in $(printf '%s\n' 1 "$(nproc)" | sort -un); do
    echo "start to first token, -t $threads: $(starts tfm-run -m "$dir/model" -t "$threads" -n 1 "$dir/prompt")"
    echo "a step of 5 blocks, -t $threads: $(tfm-bench -m "$dir/least" -t "$threads" --prompt 0 -b 1 --context 1 \
        --generate 14 --repeat 99 --no-limits --no-start --json |
        python3 -c 'import json, sys
for line in sys.stdin:
    for s in json.loads(line).get("seconds", []): print(s / 14 * 1e6)' | spread us)"
done
echo "a process that does nothing (true): $(starts /bin/true)"

#!/bin/bash
# run.sh BUILD - measures this machine with the model that ships: tokens per second of generation,
# one sequence and 32 at once, with one thread and with all. Best of five runs and the spread, of
# the whole program (start-up included, so -n is long). What an entry of the log states is in
# SPEED.md.
set -eu
build=${1:-build}
model=${TFM_MODEL:-share/models/story.tfms}
unset TFM_DEVICE TFM_THREADS
export TFM_NO_PROV=1
[ -x "$build/bin/tfm-run" ] && [ -e "$model" ] || { echo "bench: needs $build/bin/tfm-run and $model" >&2; exit 5; }
prompts=$(mktemp)
trap 'rm -f "$prompts"' EXIT

seconds() { # COMMAND...: wall time
    local start=$EPOCHREALTIME
    "$@" >/dev/null
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.4f\n", b - a}'
}

measure() { # DEVICE THREADS SEQUENCES TOKENS
    local i times=()
    for ((i = 0; i < $3; i++)); do echo 'In the beginning'; done |
        "$build/bin/tfm-tokenize" -l -m "$model" -o "$prompts"
    for ((i = 0; i < 5; i++)); do
        times+=("$(seconds "$build/bin/tfm-run" -m "$model" -d "$1" -t "$2" -b "$3" -n "$4" \
            --ignore-end "$prompts")")
    done
    printf '%s\n' "${times[@]}" | sort -n | awk -v d="$1" -v t="$2" -v b="$3" -v n="$4" '
        NR == 1 {best = $1} {worst = $1}
        END {printf "%-12s %7d %9d %6d %14.1f %14.1f\n", d, t, b, n, b * n / best, b * n / worst}'
}

cpu=$(sed -n 's/^model name[ \t]*: //p' /proc/cpuinfo | head -n 1)
echo "$(date -u +%F), $(git rev-parse --short HEAD 2>/dev/null || echo no commit), ${cpu:-unknown processor}, $(nproc) cores, $model"
printf '%-12s %7s %9s %6s %14s %14s\n' device threads sequences tokens 'best tokens/s' 'worst'
for threads in $(printf '%s\n' 1 "$(nproc)" | sort -un); do
    measure cpu "$threads" 1 200
    measure cpu "$threads" 32 50
done

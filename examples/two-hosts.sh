#!/bin/sh
# two-hosts.sh MODEL PROMPTS A-B HOST THEIRS C-D [OPTION OF TFM-SAMPLE...] - the loop with the
# blocks C-D on another host, which needs tfm-attend and the same model under any name (THEIRS):
# stages know a model by its id. Only hidden states travel, width x 4 bytes a token.
set -e
if [ $# -lt 6 ]; then
    echo "usage: two-hosts.sh MODEL PROMPTS A-B HOST THEIRS C-D [option of tfm-sample...]" >&2
    exit 2
fi
model=$1 prompts=$2 first=$3 host=$4 theirs=$5 second=$6
shift 6
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/fb"
tfm-tokenize -l -m "$model" "$prompts" |
    tfm-embed -m "$model" --loop 3 3<"$dir/fb" |
    tfm-attend -m "$model" -L "$first" |
    ssh "$host" "tfm-attend -m '$theirs' -L $second" |
    tfm-unembed -m "$model" |
    tfm-sample -m "$model" "$@" |
    tee "$dir/fb" 4<>"$dir/fb" |
    tfm-detok -m "$model"

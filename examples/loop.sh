#!/bin/sh
# loop.sh MODEL PROMPTS A-B C-D [OPTION OF TFM-SAMPLE...] - generates text by the composed pipeline:
# the blocks A-B in one process, C-D (the rest) in another, and a FIFO that takes what was drawn
# back to tfm-embed. PROMPTS holds one prompt a line, - is standard input. The text is that of
# tfm-run.
#
#   tokenize | embed | attend A-B | attend C-D | unembed | sample | tee fb | detok
#                ^                                                       |
#                +--------------------------- fb ------------------------+
#
# (4<>fb: tee holds the FIFO open by itself. If tfm-embed is lost tee then lives until the reason
# has come down the pipe, and tfm-detok says which stage it was.)
set -e
if [ $# -lt 4 ]; then
    echo "usage: loop.sh MODEL PROMPTS A-B C-D [option of tfm-sample...]" >&2
    exit 2
fi
model=$1 prompts=$2 first=$3 second=$4
shift 4
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/fb"
tfm-tokenize -l -m "$model" "$prompts" |
    tfm-embed -m "$model" --loop 3 3<"$dir/fb" |
    tfm-attend -m "$model" -L "$first" |
    tfm-attend -m "$model" -L "$second" |
    tfm-unembed -m "$model" |
    tfm-sample -m "$model" "$@" |
    tee "$dir/fb" 4<>"$dir/fb" |
    tfm-detok -m "$model"

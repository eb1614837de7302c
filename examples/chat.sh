#!/bin/bash
# chat.sh MODEL [N] - a chat from a script: each line of stdin is answered by N tokens (default: 24).
#
#     printf 'And the king said\nWho art thou?\n' | examples/chat.sh share/models/story.tfms
#
# One pipeline runs all the time, behind two FIFOs. A turn is the whole text so far, ended by a NUL;
# tfm-run keeps the cache of the group and computes only what is new. Needs the tfm programs in PATH.
set -eu
model=$1 n=${2:-24}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/ask" "$dir/answer"

tfm-tokenize -0 --turns -m "$model" <"$dir/ask" | tfm-run -m "$model" -n "$n" |
    tfm-detok >"$dir/answer" &
exec 7>"$dir/ask" 8<"$dir/answer"

text=
while IFS= read -r line; do
    text+=$line
    printf '%s\0' "$text" >&7
    IFS= read -r -d '' -u 8 answer || exit 3 # the pipeline has said why
    printf '%s\n' "$answer"
    text+=$answer$'\n'
done
exec 7>&-
wait $!

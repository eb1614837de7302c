#!/bin/bash
# chat.sh MODEL [N] [OPTION OF TFM-RUN...] - a chat from a script: each line of stdin is answered by
# N tokens (default: 24).
#
#     printf 'And the king said\nWho art thou?\n' | examples/chat.sh share/models/story.tfms
#
# One pipeline runs all the time, behind two FIFOs. A turn is the whole text so far, ended by a NUL;
# tfm-run keeps the cache of the group and computes only what is new. Exits with the status of the
# pipeline: 4 when a turn failed (a text longer than the context, say). Needs the tfm programs in
# PATH.
set -eu
model=$1 n=${2:-24}
shift $(($# < 2 ? $# : 2))
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap '' PIPE # a pipeline that died is seen by `printf` and `read` below
mkfifo "$dir/ask" "$dir/answer"

start() {
    tfm-tokenize -0 --turns -m "$model" <"$dir/ask" | tfm-run -m "$model" -n "$n" "$@" |
        tfm-detok >"$dir/answer" &
    pid=$!
    exec 7>"$dir/ask" 8<"$dir/answer"
}

# Ends the pipeline; if it failed, or was to answer and ended instead ($1), so does the chat. It has
# said why.
stop() {
    local status=0
    exec 7>&-
    wait $pid || status=$?
    exec 8<&-
    [ "$status" = 0 ] && status=${1:-0}
    [ "$status" = 0 ] || exit "$status"
}

text=
start "$@"
while IFS= read -r line; do
    text+=$line
    printf '%s\0' "$text" >&7 2>"$dir/ignored" || stop 3
    IFS= read -r -d '' -u 8 answer || stop 3
    # A turn that failed ends its group with an empty answer, and nothing more would come of it: the
    # end of the pipeline tells which it was.
    [ -n "$answer" ] || { stop; start "$@"; }
    printf '%s\n' "$answer"
    text+=$answer$'\n'
done
stop

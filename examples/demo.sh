#!/bin/sh
# demo.sh - writes text with the model that ships, and shows the pipeline that did it. Needs the tfm
# programs in PATH; started by `make demo` and ./bootstrap demo.
set -e
model=$(dirname "$0")/../share/models/story.tfms
unset TFM_MODEL TFM_DEVICE TFM_THREADS # the reader's own settings are not what is shown
run() {
    printf '\n$ %s\n' "$1"
    eval "$1"
}
echo "The model: a small Llama (share/models/story.tfms, made by the recipe beside it)."
cd "$(dirname "$model")"
run 'echo "KING RICHARD:" | tfm-tokenize -m story.tfms | tfm-run -m story.tfms -n 60 --echo | tfm-detok'
run 'echo "KING RICHARD:" | tfm-tokenize -m story.tfms | tfm-run -m story.tfms -n 60 -T 0.8 -s 7 --echo | tfm-detok'
printf '\nWhere to read on: README.md, and the guide: man -l man/tfm.7\n'

#!/bin/bash
# make_model_seeds.sh - makes tests/fuzz/corpus/model/seed-* by tfm-convert from the GGUF seeds. Run it
# from the top of the source tree after `make` when the container format has changed.
set -eu
seeds=tests/fuzz/corpus
mkdir -p "$seeds/model"
build/bin/tfm-convert --no-prov "$seeds/gguf/seed-llama-q8_0.gguf" -o "$seeds/model/seed-p16.tfms"
build/bin/tfm-convert --no-prov --portable "$seeds/gguf/seed-llama-q8_0.gguf" \
    -o "$seeds/model/seed-rows.tfms"
build/bin/tfm-convert --no-prov "$seeds/gguf/seed-bpe-vocab.gguf" -o "$seeds/model/seed-vocab.tfms"

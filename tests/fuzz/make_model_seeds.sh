#!/bin/bash
# make_model_seeds.sh - makes tests/fuzz/corpus/{model,cache}/seed-* from the GGUF seeds. Run it
# from the top of the source tree after `make` when the container format has changed.
set -eu
seeds=tests/fuzz/corpus
mkdir -p "$seeds/model"
build/bin/tfm-convert --no-prov "$seeds/gguf/seed-llama-q8_0.gguf" -o "$seeds/model/seed-p16.tfms"
build/bin/tfm-convert --no-prov --portable "$seeds/gguf/seed-llama-q8_0.gguf" \
    -o "$seeds/model/seed-rows.tfms"
build/bin/tfm-convert --no-prov "$seeds/gguf/seed-bpe-vocab.gguf" -o "$seeds/model/seed-vocab.tfms"
# Caches of a converted model, whose id is written down (that of a GGUF changes with share/arch), on
# the device whose numerics are the same everywhere.
mkdir -p "$seeds/cache"
m=$seeds/model/seed-rows.tfms
printf '1 2 3\n1 2 4 5 6\n' | build/bin/tfm-tokenize -l --from-ids -m "$m" |
    build/bin/tfm-run --no-prov -d ref -m "$m" --ignore-end -n 1 \
        --save-cache "$seeds/cache/seed-two.tfms" >"$seeds/cache/out"
build/bin/tfm-select -g 0 "$seeds/cache/seed-two.tfms" --no-prov >"$seeds/cache/seed-one.tfms"
rm "$seeds/cache/out"

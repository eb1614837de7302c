# cases.bash - what tests/fault.bats and tests/long/fault.bats have in common: a tiny model, the
# stages of the main pipeline, and `fault`, which runs one stage under tests/fault/drive.
#
# Owns no test: a .bats file sets fault_args (how many calls to fail) and calls the functions.

# shellcheck disable=SC2154 # top, tmp, build are of helper.bash, fault_args of the .bats file
seeds=$top/tests/fuzz/corpus

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    tfm-convert "$seeds/gguf/seed-llama-q8_0.gguf" -o m.tfms
    printf 'the cat' >prompt
    tfm-tokenize -m m.tfms <prompt >prompt.tfms
    tfm-run -m m.tfms -n 3 -t 1 <prompt.tfms >run.tfms
    tfm-embed -m m.tfms <prompt.tfms >embedded.tfms
    tfm-attend -m m.tfms <embedded.tfms >attended.tfms
    tfm-unembed -m m.tfms <attended.tfms >logits.tfms
    tfm-export run.tfms -o run.jsonl
    tfm-export run.tfms -o run.npz
    tfm-export run.tfms -o run.safetensors
    printf '{"text":"the"}\n{"text":"a man"}\n' >lines
}

# fault [drive's options] -- PROGRAM [ARG...]: in an empty folder that holds the model.
fault() {
    mkdir -p "$tmp/work"
    cd "$tmp/work" || return
    cp "$BATS_FILE_TMPDIR"/{m,prompt,run,embedded,attended,logits}.tfms "$BATS_FILE_TMPDIR"/run.{jsonl,npz,safetensors} \
        "$BATS_FILE_TMPDIR"/{prompt,lines} .
    "$build/tests/fault/drive" -l "$build/tests/fault/faultlib.so" "${fault_args[@]}" "$@"
}

# The driver must see what is wrong, or everything below passes for nothing.
driver_complains() {
    mkdir -p "$tmp/self"
    cd "$tmp/self" || return
    printf 'x\n' >input
    local drive=("$build/tests/fault/drive" -l "$build/tests/fault/faultlib.so")
    run -1 "${drive[@]}" -k open -- cat input
    [[ $output == *'exit status is not 0, 3 or 5'* ]]
    run -1 "${drive[@]}" -k open -o made -- sh -c 'cat input >made || { echo tfm-x >&2; exit 5; }'
    run -1 "${drive[@]}" -k read -- sh -c 'cat input || { echo tfm-x: a; echo b; } >&2; exit 5'
    run -1 "${drive[@]}" -k malloc -- sh -c 'kill -SEGV $$'
    run -0 "${drive[@]}" -k mmap -- true
    [[ $output == *'ok - true, mmap: 0 calls'* ]]
}

convert_gguf() { fault -o out.tfms -- tfm-convert "$seeds/gguf/seed-llama-q8_0.gguf" -o out.tfms; }
convert_type() {
    fault -o out.tfms -- tfm-convert "$seeds/gguf/seed-llama-f16.gguf" --type q4_0 -o out.tfms
}
convert_stdout() { fault -- tfm-convert m.tfms --type f32; }
convert_to_gguf() { fault -o out.gguf -- tfm-convert m.tfms --to gguf -o out.gguf; }
convert_folder() {
    mkdir -p "$tmp/hf"
    cp "$seeds/config_json/seed-llama.json" "$tmp/hf/config.json"
    cp "$seeds/safetensors/seed-llama.safetensors" "$tmp/hf/model.safetensors"
    cp "$seeds/tokenizer_json/seed-metaspace.json" "$tmp/hf/tokenizer.json"
    fault -o out.tfms -- tfm-convert "$tmp/hf" -o out.tfms
}
convert_llama2c() {
    mkdir -p "$tmp/c"
    cp "$seeds/llama2c/seed-v0.bin" "$tmp/c/m.bin"
    cp "$seeds/tokenizer_bin/seed-tokenizer.bin" "$tmp/c/tokenizer.bin"
    fault -o out.tfms -- tfm-convert "$tmp/c/m.bin" -o out.tfms
}
stage_tokenize() { fault -i prompt -n 'tfm-run -m m.tfms -n 2 -t 1' -- tfm-tokenize -m m.tfms; }
stage_tokenize_raw() { fault -i prompt -n 'tfm-run -m m.tfms -n 2 -t 1' -- tfm-tokenize; }
stage_tokenize_jsonl() {
    fault -i lines -n 'tfm-run -m m.tfms -n 2 -t 1' -- tfm-tokenize -m m.tfms -j text
}
stage_run() { fault -i prompt.tfms -n 'tfm-detok -m m.tfms' -- tfm-run -m m.tfms -n 3 -t 1; }
stage_run_ref() {
    fault -i prompt.tfms -n 'tfm-detok -m m.tfms' -- tfm-run -d ref -m m.tfms -n 3 -t 2 -T 1 --stop e
}
stage_run_probe() {
    tfm-run -m m.tfms -n 3 --tap blk.0.resid --tap-out resid prompt.tfms >none.tfms
    fault -i prompt.tfms -n 'tfm-detok -m m.tfms' -- tfm-run -m m.tfms -n 3 -t 1 --tap '*.resid' \
        --tap-out /dev/null --patch "$PWD/resid" --ablate 'blk.*.head.0'
}
stage_run_gguf() {
    fault -i prompt.tfms -n 'tfm-detok -m m.tfms' -- \
        tfm-run -m "$seeds/gguf/seed-llama-q8_0.gguf" -n 3 -t 1
}
stage_run_output() { fault -i prompt.tfms -o out.tfms -- tfm-run -m m.tfms -n 3 -t 1 -o out.tfms; }
stage_detok() { fault -i run.tfms -- tfm-detok -m m.tfms; }
stage_detok_output() { fault -i run.tfms -o out -- tfm-detok -m m.tfms -o out; }
stage_embed() {
    fault -i prompt.tfms -n 'tfm-attend -m m.tfms -t 1' -- tfm-embed -m m.tfms -t 1
}
stage_attend() {
    fault -i embedded.tfms -n 'tfm-unembed -m m.tfms -t 1' -- tfm-attend -m m.tfms -t 1
}
stage_unembed() {
    fault -i attended.tfms -n 'tfm-sample -m m.tfms' -- tfm-unembed -m m.tfms -t 1
}
stage_sample() { fault -i logits.tfms -n 'tfm-detok -m m.tfms' -- tfm-sample -m m.tfms; }
stage_score() { fault -i prompt.tfms -- tfm-score -m m.tfms -t 1; }
stage_score_stream() { fault -i prompt.tfms -- tfm-score -m m.tfms -t 1 --stream; }
stage_pool() { fault -i attended.tfms -- tfm-pool --normalise; }
stage_run_caches() {
    tfm-run -m m.tfms -n 0 --save-cache cache.tfms prompt.tfms >none.tfms
    fault -i prompt.tfms -n 'tfm-detok -m m.tfms' -- \
        tfm-run -m m.tfms -n 3 -t 1 --load-cache "$PWD/cache.tfms" --save-cache "$PWD/saved.tfms"
}
stream_tools() {
    local tool
    for tool in 'tfm-cat run.tfms' 'tfm-cat --salvage run.tfms' 'tfm-show --json run.tfms' \
        'tfm-show m.tfms' 'tfm-check m.tfms' 'tfm-cmp run.tfms run.tfms' 'tfm-select run.tfms' \
        'tfm-export run.tfms' 'tfm-export --to npz run.tfms' 'tfm-export --to safetensors run.tfms' \
        'tfm-import run.jsonl' 'tfm-import run.npz' 'tfm-import run.safetensors'; do
        # shellcheck disable=SC2086 # words of the command
        fault -- $tool
    done
}

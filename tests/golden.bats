# golden.bats - greedy ids of the golden models and of the story model through the programs, against
# Hugging Face transformers. The logits themselves are for tests/unit/test_golden.c.

load helper

golden=$top/tests/golden

# greedy MODEL PROMPT_IDS WANTED_IDS DEVICE: the f32 cache is asked for, since the reference has it.
greedy() {
    local want
    read -r -a want <<<"$3"
    printf '%s' "$2" >"$in"
    pipe "tfm-tokenize --from-ids -m '$1' | tfm-run -m '$1' -d $4 --kv f32 --ignore-end \
        -n ${#want[@]} | tfm-show --ids"
    if [ "${statuses[*]}" = "0 0 0" ] && [ "$(cat "$out")" = "$3" ]; then return; fi
    echo "$1 on $4"
    status_is 0 0 0 && out_is "$3"
}

# every_model FORMAT: checks all golden models of hf/ or gguf/, converted; the first 10 ids of
# greedy.txt are the prompt.
every_model() {
    local name file type rest ids n=0
    while read -r name file type rest; do
        [[ $file = "$1"/* && $rest = logits.f32* ]] || continue
        read -r -a ids <"$golden/expected/$name/greedy.txt"
        [ "$type" = - ] && type= || type="--type $type"
        pipe "tfm-convert $type '$golden/$file' -o model.bin"
        status_is 0
        for device in ref cpu; do
            greedy model.bin "${ids[*]:0:10}" "${ids[*]:10}" "$device"
        done
        n=$((n + 1))
    done < <(grep -v '^#' "$golden/cases.txt")
    [ "$n" -gt 4 ]
}

@test "greedy ids of Hugging Face folders" { every_model hf; }

@test "greedy ids of GGUF files" { every_model gguf; }

@test "tfm-run takes a GGUF and a folder as they are" {
    for file in hf/mistral-window hf/llama-sharded-f16 gguf/llama-f16.gguf gguf/gpt2-f32.gguf; do
        name=${file##*/}
        read -r -a ids <"$golden/expected/${name%.gguf}/greedy.txt"
        greedy "$golden/$file" "${ids[*]:0:10}" "${ids[*]:10}" cpu
    done
}

@test "the story model says what transformers makes of it" {
    export TFM_MODEL=$top/share/models/story.tfms
    n=0
    while IFS=$'\t' read -r prompt line; do
        prompt=${prompt#\"}
        printf '%b' "${prompt%\"}" >"$in"
        want=${line/| /}
        read -r -a new <<<"${line#*|}"
        for device in ref cpu; do
            pipe "tfm-tokenize | tfm-run -d $device --kv f32 --ignore-end -n ${#new[@]} --echo |
                tfm-show --ids"
            status_is 0 0 0
            out_is "$want"
        done
        n=$((n + 1))
    done <"$golden/story.txt"
    [ "$n" -eq 5 ]
}

@test "the story model is whole and small" {
    story=$top/share/models/story.tfms
    [ "$(stat -c %s "$story")" -le 4000000 ]
    pipe "tfm-check '$story'"
    status_is 0
}

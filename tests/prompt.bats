# prompt.bats - tfm-prompt: frames, options, records that fail, where templates come from. What
# templates make of conversations is checked inside one C process (tests/unit/test_template.c).

load helper

setup() {
    model=$tmp/model
    mkdir "$model"
    cp "$top/tests/fuzz/corpus/tokenizer_json/seed-byte-level.json" "$model/tokenizer.json"
    cat >"$model/tokenizer_config.json" <<'END'
{"bos_token": {"content": "<b>"}, "eos_token": null, "chat_template": [
 {"name": "default", "template": "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{{ 'A' if add_generation_prompt }}{{ tools is none }}{{ x }}"},
 {"name": "tool_use", "template": "{{ tools | tojson }}"},
 {"name": "strict", "template": "{{ raise_exception('never') }}"}]}
END
    export TFM_MODEL=$model
    one='[{"role": "user", "content": "hi"}]'
}

@test "an array or an object, generation prompt or not" {
    [ "$(tfm-prompt --text <<<"$one")" = '<b>user:hi;ATrue' ]
    [ "$(tfm-prompt --text --no-generation-prompt <<<"{\"messages\": $one}")" = '<b>user:hi;True' ]
    [ "$(tfm-prompt --text <<<"{\"messages\": $one, \"add_generation_prompt\": false, \"x\": 7}")" = '<b>user:hi;True7' ]
    [ "$(tfm-prompt --text <<<"{\"messages\": $one, \"chat_template_kwargs\": {\"x\": [1]}}")" = '<b>user:hi;ATrue[1]' ]
}

@test "--set, --tools, --template: variables, the template for tools, one by name, one from a file" {
    cd "$tmp"
    echo "$one" >chat.json
    echo '[{"name": "f"}]' >tools.json
    echo '{{ x }} {{ messages[0].content }}' >mine.jinja
    [ "$(tfm-prompt --text --set 'x={"a": 1}' chat.json)" = "<b>user:hi;ATrue{'a': 1}" ]
    [ "$(tfm-prompt --text --tools tools.json chat.json)" = '[{"name": "f"}]' ]
    [ "$(tfm-prompt --text --tools tools.json --template default chat.json)" = '<b>user:hi;AFalse' ]
    [ "$(tfm-prompt --text --template mine.jinja --set x=1 chat.json)" = '1 hi' ]
    [ "$(tfm-prompt --text --template chatml chat.json | head -n 1)" = '<|im_start|>user' ]
    [ "$(tfm-prompt --text --date 2024-02-29T01:02:03 --template <(echo "{{ strftime_now('%d %b %Y %H:%M') }}") \
        chat.json)" = '29 Feb 2024 01:02' ]
}

@test "the template of base models: lines of questions and answers, the system's words above them" {
    c='[{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "2+2? "},
        {"role": "assistant", "content": "4"}, {"role": "user", "content": "3+3?"}]'
    tfm-prompt --text --template dialogue --set 'bos_token="^"' <<<"$c" >"$tmp/got"
    printf '^Be brief.\n\nQuestion: 2+2?\nAnswer: 4\nQuestion: 3+3?\nAnswer:' >"$tmp/want"
    same "$tmp/want" "$tmp/got"
    pipe "tfm-prompt --text --template dialogue --set 'bos_token=\"\"' <<<'[{\"role\": \"critic\", \"content\": \"x\"}]'"
    err_has 'this template has no role critic'
}

@test "--continue-final ends with the last message" {
    c='[{"role": "user", "content": "hi"}, {"role": "assistant", "content": " so "}]'
    [ "$(tfm-prompt --text --continue-final <<<"$c")" = '<b>user:hi;assistant: so' ]
    [ "$(tfm-prompt --text <<<"{\"messages\": $c, \"continue_final_message\": true}")" = '<b>user:hi;assistant: so' ]
    # The template's own words behind the message are not the message; no text is nowhere.
    for word in im end '<|im_end|>'; do
        c='[{"role": "assistant", "content": "'$word'"}]'
        tfm-prompt --text --template chatml --continue-final <<<"$c" >"$tmp/got"
        printf '<|im_start|>assistant\n%s' "$word" | same "$tmp/got" -
    done
    for text in '""' '" "' null; do
        pipe "tfm-prompt --text --template chatml --continue-final <<<'[{\"role\": \"assistant\", \"content\": $text}]'"
        status_is 4
        one_line "$err"
    done
    pipe "tfm-prompt --text --template chatml --continue-final <<<'[{\"role\": \"assistant\", \"content\": \" \"}]'"
    err_has 'the final message has no text that could be continued'
}

@test "tokens are those of the text, and come back" {
    tfm-prompt <<<"$one" >"$tmp/a"
    [ "$(tfm-detok --show-special "$tmp/a")" = '<b>user:hi;ATrue' ]
    tfm-show "$tmp/a" | grep -q 'frame.*whole'
    tfm-prompt --text <<<"$one" | tfm-tokenize --no-special | tfm-show --ids >"$tmp/want"
    tfm-show --ids "$tmp/a" | cmp - "$tmp/want"
}

@test "lines, NUL, JSONL: each a group; a bad one fails alone" {
    printf '%s\n{"messages": 3}\noops\n%s\n' "$one" "$one" >"$in"
    pipe 'tfm-prompt -q -l | tfm-detok -q'
    status_is 4 4
    [ "$(wc -l <"$out")" -eq 4 ]
    [ "$(sed -n 2,3p "$out" | tr -d '\n')" = '' ]
    [ "$(sed -n 4p "$out")" = 'user:hi;ATrue' ] || [ "$(sed -n 4p "$out")" = '<b>user:hi;ATrue' ]
    printf '%s\0%s' "$one" "$one" | tfm-prompt -0 --text | tr '\0' '\n' >"$tmp/nul"
    [ "$(wc -l <"$tmp/nul")" -eq 2 ]
    echo "{\"id\": 5, \"turns\": $one}" >"$in"
    pipe 'tfm-prompt -j turns | tfm-detok'
    status_is 0 0
    grep -q '^{"id": 5, "turns": \[.*\],"output":".*user:hi;ATrue","finish":"open"}$' "$out"
    [ "$(printf '%s\n%s\n' "$one" "$one" | tfm-prompt -l --first 1 | tfm-show --json | grep -c '"group":1')" -ge 1 ]
}

@test "what the template refuses is a failed record, with its own words" {
    echo "$one" >"$in"
    pipe 'tfm-prompt --template strict | tfm-detok'
    status_is 4 4
    grep -q 'the template refuses: never' "$err"
}

@test "content that spells a control token stays text" {
    ids() { tfm-show --ids; }
    tfm-prompt --template <(echo '<|end|>{{ messages[0].content }}') <<<'[{"role": "user", "content": "<|end|>"}]' |
        ids >"$out"
    [ "$(tr ' ' '\n' <"$out" | grep -cx 0)" -eq 1 ]
    printf '<|end|><|end|>' | tfm-tokenize --no-special --parse-special | ids >"$out"
    [ "$(cat "$out")" = '0 0' ]
}

@test "a line that is too long is a failed record, and the others go on" {
    { echo "$one"; head -c 17000000 /dev/zero | tr '\0' x; printf '\n%s\n' "$one"; } >"$in"
    pipe 'tfm-prompt --text -l'
    status_is 4
    [ "$(wc -l <"$out")" -eq 3 ]
    [ "$(sed -n 2p "$out")" = '' ] && [ "$(sed -n 1p "$out")" = "$(sed -n 3p "$out")" ]
    err_has 'record 1: longer than 16777216 bytes'
    pipe 'tfm-prompt --text'
    status_is 3
    err_has 'stdin: more than 16777216 bytes in one record'
}

@test "templates come from chat_template.jinja, GGUF and model.bin; without one it is said" {
    cd "$tmp"
    echo 'J{{ messages[0].content }}' >model/chat_template.jinja
    [ "$(tfm-prompt --text <<<"$one")" = 'Jhi' ]
    rm model/chat_template.jinja
    cp -r "$top/tests/golden/hf/llama-tied" hf
    echo 'K{{ messages[0].content }}' >hf/chat_template.jinja
    tfm-convert hf -o hf.tfms
    [ "$(tfm-prompt --text -m hf.tfms <<<"$one")" = 'Khi' ]
    tfm-convert --to gguf hf.tfms -o hf.gguf
    [ "$(tfm-prompt --text -m hf.gguf <<<"$one")" = 'Khi' ]
    rm hf/chat_template.jinja
    jq '.chat_template = [{name: "default", template: "L{{ messages[0].content }}{{ bos_token }}"},
        {name: "tool_use", template: "T{{ messages[0].content }}"}]' \
        "$top/tests/golden/hf/llama-tied/tokenizer_config.json" >hf/tokenizer_config.json
    tfm-convert --to gguf hf -o hf.gguf
    tfm-convert hf.gguf -o hf.tfms
    for m in hf hf.gguf hf.tfms; do
        [ "$(tfm-prompt --text -m $m <<<"$one")" = 'Lhi<s>' ]
        [ "$(tfm-prompt --text -m $m --template tool_use <<<"$one")" = 'Thi' ]
    done
    tfm-convert "$top/tests/golden/hf/llama-tied" -o bare.tfms
    echo "$one" >"$in"
    pipe 'tfm-prompt -m bare.tfms --text'
    status_is 3
    grep -q 'has no chat template; give one' "$err"
}

@test "usage: one frame, KEY=JSON, a date, a model" {
    for bad in '-l -0' '--set x' '--set x=oops' '--date tomorrow' '--date 2024-13-01' '--date 2023-02-29' '--date 2024-2-03' '--date 2024-02-03T1:2:3'; do
        status=0
        # shellcheck disable=SC2086
        tfm-prompt $bad <<<"$one" >"$out" 2>"$err" || status=$?
        [ "$status" -eq 2 ] && one_line "$err" && [ ! -s "$out" ] || { echo "$bad: $status"; return 1; }
    done
    status=0
    env -u TFM_MODEL tfm-prompt <<<"$one" >"$out" 2>"$err" || status=$?
    [ "$status" -eq 2 ]
}

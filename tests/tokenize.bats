# tokenize.bats - tfm-tokenize: frames, records that fail, resuming, options, exactness. The ids of
# real vocabularies are checked inside one C process (tests/unit/test_tokenizer_cases.c).

load helper

setup() {
    bytes=$top/tests/fuzz/corpus/tokenizer_json/seed-byte-level.json
    meta=$top/tests/fuzz/corpus/tokenizer_json/seed-metaspace.json
}

records() { tfm-show "$@" | grep -E '^ +[0-9]+ '; }

@test "the line of the guide: no model, no option" {
    echo 'hello, world' >"$in"
    pipe 'tfm-tokenize | tfm-detok'
    status_is 0 0
    out_is 'hello, world'
    [ ! -s "$err" ]
}

@test "one final newline is the frame's: the same ids, other bytes" {
    cd "$tmp"
    printf 'p' | tfm-tokenize >a
    echo 'p' | tfm-tokenize >b
    printf 'p\n\n' | tfm-tokenize >c
    [ "$(tfm-show --ids a)" = 112 ]
    [ "$(tfm-show --ids b)" = 112 ]
    [ "$(tfm-show --ids c)" = '112 10' ]
    [ "$(tfm-detok a | od -An -c | tr -d ' ')" = 'p' ]
    [ "$(tfm-detok b | od -An -c | tr -d ' ')" = 'p\n' ]
    [ "$(tfm-detok c | od -An -c | tr -d ' ')" = 'p\n\n' ]
    run ! grep -q tail <(records a)
    records b | grep -q tail
}

@test "the header says how raw bytes are to be tokenized" {
    echo x >"$in"
    pipe 'tfm-tokenize | head -n 12'
    grep -qx 'vocab raw-bytes' "$out"
    grep -qx 'tokenize special=add parse-special=no' "$out"
    grep -qx 'frame whole' "$out"
    pipe 'tfm-tokenize --no-special --parse-special -l | head -n 12'
    grep -qx 'tokenize special=none parse-special=yes' "$out"
    grep -qx 'frame line' "$out"
    pipe "tfm-tokenize -m '$bytes' | head -n 12"
    run ! grep -q '^tokenize ' "$out"
    grep -qx "model-hint $bytes" "$out"
}

@test "an empty file is an error, no lines are no records, an empty line is a record" {
    : >"$in"
    pipe "tfm-tokenize --no-special -m '$bytes'"
    status_is 3
    one_line "$err"
    err_has 'the input is empty'
    pipe 'tfm-tokenize | tfm-detok' # the model may yet add a begin token
    status_is 0 0
    [ ! -s "$out" ]
    pipe 'tfm-tokenize -l | tee s | tfm-detok'
    status_is 0 0 0
    [ ! -s "$out" ]
    printf '\n' >"$in"
    pipe 'tfm-tokenize -l | tee s | tfm-detok'
    status_is 0 0 0
    out_is ''
    records "$tmp/s" | grep -q 'tokens i32 \[0\]'
    pipe "tfm-tokenize -m '$bytes' | tfm-detok"
    status_is 0 0
    out_is ''
}

@test "lines, NUL strings, files: one group each" {
    cd "$tmp"
    printf 'a\r\nb\n\nc' >lines
    tfm-tokenize -l lines | tfm-show --ids | same - <(printf '97 13\n98\n\n99\n')
    tfm-tokenize -l lines | tfm-detok | same - <(printf 'a\r\nb\n\nc\n')
    printf 'a\nb\0\0c' >strings
    tfm-tokenize -0 strings | tfm-show --ids | same - <(printf '97 10 98\n\n99\n')
    tfm-tokenize -0 strings | tfm-detok | same - <(printf 'a\nb\0\0c\0')
    tfm-tokenize lines strings - <lines >whole
    [ "$(records whole | grep -c group-end)" -eq 3 ]
    tfm-detok whole | same - <(cat lines strings lines)
    printf 'd' | tfm-tokenize -l lines - | tfm-detok | same - <(printf 'a\r\nb\n\nc\nd\n')
}

@test "a line is a record however it arrives" {
    cd "$tmp"
    printf 'one\ntwo\nthree\n' >lines
    tfm-tokenize -l <lines >whole
    (printf 'on'; sleep 0.1; printf 'e\ntwo\nth'; sleep 0.1; printf 'ree\n') | tfm-tokenize -l >pieces
    same whole pieces
}

@test "--flush: the answer to a line comes before the next line is written" {
    cd "$tmp"
    mkfifo question answer
    { tfm-tokenize -l --flush <question | tfm-detok >answer; } 3>&- &
    local job=$!
    exec 7>question 8<answer
    local line
    for word in ping pong; do
        echo "$word" >&7
        read -r -t 20 line <&8
        [ "$line" = "$word" ]
    done
    exec 7>&- 8<&-
    wait "$job"
    tfm-tokenize -l --flush <(echo x) | tfm-show | grep -q flush
    run ! grep -q flush <(tfm-tokenize -l <(echo x) | tfm-show)
    tfm-tokenize <(echo x) | tfm-show | grep -q flush
}

@test "JSONL: the field is the text, the line travels, what fails is one record" {
    cat >"$in" <<'END'
{"p": "one", "n": 1.50}
{"p": 2}
{"q": "three"}
not json

["p"]
{"p": "a", "p": "b"}
{"p":"é\u0000\n"}
{"p":"\ud800"}
END
    pipe 'tfm-tokenize -j p | tee s | tfm-detok'
    status_is 4 0 4
    cat >"$tmp/want" <<'END'
{"p": "one", "n": 1.50,"output":"one","finish":"open"}
{"p": 2,"error":"tfm-tokenize: field \"p\" is not a string"}
{"q": "three","error":"tfm-tokenize: no field \"p\""}
END
    head -3 "$out" | same - "$tmp/want"
    [ "$(wc -l <"$out")" -eq 9 ]
    [ "$(grep -c '"error":' "$out")" -eq 7 ]
    sed -n 8p "$out" | grep -qF '"output":"é\u0000\n","finish":"open"}'
    [ "$(grep -c '^tfm-tokenize: warning: record' "$err")" -eq 7 ]
    records "$tmp/s" | grep -q 'source'
    pipe 'tfm-tokenize -q -j p'
    [ ! -s "$err" ]
    echo '{"id": 123456789012345678901234567890, "p": "x"}' >"$in" # no number is read
    pipe 'tfm-tokenize -j p | tfm-detok'
    status_is 0 0
    echo '{"id": 123456789012345678901234567890, "p": "x","output":"x","finish":"open"}' | same "$out" -
}

@test "a JSON line of more than 16 MiB fails alone" {
    cd "$tmp"
    {
        echo '{"p":"a"}'
        printf '{"p":"'
        head -c 17000000 /dev/zero | tr '\0' x
        echo '"}'
        echo '{"p":"c"}'
    } >long
    pipe 'tfm-tokenize -j p long | tfm-detok'
    status_is 4 4
    printf '%s\n' '{"p":"a","output":"a","finish":"open"}' \
        '{"error":"tfm-tokenize: longer than 16777216 bytes"}' \
        '{"p":"c","output":"c","finish":"open"}' | same "$out" -
}

@test "--first: passed over, numbers kept" {
    cd "$tmp"
    seq 0 9 >lines
    tfm-tokenize -l --first 7 lines >s
    records s | grep -q 'group 7 '
    run ! grep -q 'group 6 ' <(records s)
    tfm-detok s | same - <(seq 7 9)
    tfm-tokenize -l --first 99 lines | tfm-detok | same - /dev/null
    tfm-tokenize -l --first 1 lines lines | tfm-detok | same - <(seq 1 9; seq 0 9)
}

@test "a killed job, resumed at every line and inside one, gives the uninterrupted bytes" {
    cd "$tmp"
    for i in 1 2 3 4 5; do echo "{\"id\":$i,\"p\":\"text $i\"}"; done >p.jsonl
    echo 'broken' >>p.jsonl
    tfm-tokenize -q -j p p.jsonl | tfm-detok -q >whole || :
    size=$(wc -c <whole)
    for ((cut = 0; cut <= size; cut += 23)); do
        head -c "$cut" whole >part
        n=$(wc -l <part)
        head -n "$n" part >resumed
        tfm-tokenize -q -j p --first "$n" p.jsonl | tfm-detok -q >>resumed || :
        same whole resumed
    done
}

@test "the same bytes at any -t" {
    cd "$tmp"
    for i in $(seq 3000); do echo "line $i, a rather longer one than the others were"; done >lines
    tfm-tokenize -l -t 1 -m "$bytes" lines >one
    tfm-tokenize -l -t 2 -m "$bytes" lines | same one -
    tfm-tokenize -l -t 5 -m "$bytes" lines | same one -
    tfm-detok one | same - lines
    tfm-tokenize -l -t 1 -m "$meta" lines >one
    tfm-tokenize -l -t 3 -m "$meta" lines | same one -
    tfm-detok one | same - lines
}

@test "--from-ids" {
    cd "$tmp"
    printf '1 2,3\n\n  7\n' >ids
    tfm-tokenize -l --from-ids -m "$bytes" ids | tfm-show --ids | same - <(printf '1 2 3\n\n7\n')
    printf '1 x\n1 -2\n99999999999\n1' >ids
    pipe "tfm-tokenize -q -l --from-ids -m '$bytes' ids | tfm-show"
    status_is 4 4
    [ "$(grep -c error "$out")" -ge 3 ]
    pipe 'tfm-tokenize --from-ids ids'
    status_is 2
    one_line "$err"
}

@test "control tokens only on request, added ones always" {
    cd "$tmp"
    local id
    id=$(jq '[.added_tokens[] | select(.special)][0].id' "$bytes")
    local text
    text=$(jq -r '[.added_tokens[] | select(.special)][0].content' "$bytes")
    [ -n "$text" ]
    [ "$(printf %s "$text" | tfm-tokenize --no-special --parse-special -m "$bytes" | tfm-show --ids)" = "$id" ]
    [ "$(printf %s "$text" | tfm-tokenize --no-special -m "$bytes" | tfm-show --ids)" != "$id" ]
    printf %s "$text" | tfm-tokenize -m "$bytes" | tfm-detok | same - <(printf %s "$text")
}

@test "every byte survives raw bytes, random ones too, in every frame that can hold them" {
    cd "$tmp"
    head -c 300000 /dev/urandom >random
    tfm-tokenize random | tfm-detok | same - random
    tr -d '\n' <random | fold -b -w 999 >lines
    echo >>lines
    tfm-tokenize -l lines | tfm-detok | same - lines
    tr -d '\0' <random | tr '\n' '\0' >strings
    printf '\0' >>strings
    tfm-tokenize -0 strings | tfm-detok | same - strings
}

@test "every byte survives real vocabularies that can spell them" {
    needs_asset vocabs/ggml-vocab-gpt-2.gguf
    cd "$tmp"
    head -c 200000 /dev/urandom >random
    for model in vocabs/ggml-vocab-gpt-2.gguf vocabs/ggml-vocab-llama-spm.gguf tokenizers/llama3 \
        tokenizers/qwen3; do
        tfm-tokenize -m "$TFM_ASSETS/$model" random | tfm-detok -m "$TFM_ASSETS/$model" | same - random
    done
}

@test "a text of more than 4 Mi tokens is split over records and comes back" {
    cd "$tmp"
    head -c 9000001 /dev/zero | tr '\0' z >big
    tfm-tokenize big >s
    [ "$(records s | grep -c 'tokens i32')" -eq 3 ]
    [ "$(records s | grep -c 'last')" -eq 1 ]
    records s | grep -q 'at 8388608'
    tfm-detok s | same - big
}

@test "what cannot be: two frames, no such model, no such file" {
    cd "$tmp"
    pipe 'tfm-tokenize -l -0'
    status_is 2
    pipe 'tfm-tokenize -m no-such.tfms'
    status_is 5
    one_line "$err"
    err_has no-such.tfms
    pipe 'tfm-tokenize no-such.txt | tfm-detok'
    status_is 5 3
    err_has 'upstream tfm-tokenize: no-such.txt'
}

@test "--strict-unk: a record with unknown characters fails, the others go on" {
    needs_asset sentencepiece/test_model.model
    m=$TFM_ASSETS/sentencepiece/test_model.model
    printf 'a girl\n\360\237\231\202\n a\n' >"$in"
    pipe "tfm-tokenize -m '$m' -l | tfm-show"
    status_is 0 0
    grep -q '1 character is not in the vocabulary' "$err"
    pipe "tfm-tokenize -m '$m' -l --strict-unk | tfm-show"
    grep -q 'record 1: characters that are not in the vocabulary: 1' "$err"
    [ "$(grep -c 'error    *tfm-tokenize' "$out")" = 1 ]
    [ "$(grep -c 'tokens' "$out")" -ge 2 ]
}

@test "names: a GGUF needs those of share/tokenizers.yaml, beside the program; a model.bin none" {
    cd "$tmp"
    gguf=$top/tests/fuzz/corpus/gguf/seed-bpe-vocab.gguf
    tfm-convert "$gguf" -o m.tfms
    echo 'a plan, the canal' >p
    mkdir bin
    cp "$(command -v tfm-tokenize)" bin
    pipe "bin/tfm-tokenize -m m.tfms p | tfm-show --ids"
    status_is 0 0
    cp "$out" ids
    pipe "bin/tfm-tokenize -m '$gguf' p | tfm-show --ids"
    status_is 5 3
    err_has 'share/tfm/tokenizers.yaml'
    mkdir -p share/tfm
    cp "$top/share/tokenizers.yaml" share/tfm
    pipe "bin/tfm-tokenize -m '$gguf' p | tfm-show --ids"
    status_is 0 0
    same "$out" ids
    sed -i 's/^  gpt2: {type/  gpt3: {type/' share/tfm/tokenizers.yaml
    pipe "bin/tfm-tokenize -m '$gguf' p | tfm-show --ids"
    status_is 3 3
    err_has "tokenizer model 'gpt2' is not supported (known: llama, gpt3, bert, t5)"
    sed -i '2s/.*/no such: [line]/' share/tfm/tokenizers.yaml
    pipe "bin/tfm-tokenize -m '$gguf' p | tfm-show --ids"
    status_is 3 3
    err_has "tokenizers.yaml:2: unknown key 'no such'"
}

@test "added tokens as words and in normalised text, the same from a converted model" {
    cd "$tmp"
    json=$top/tests/golden/tokenizers/match-bert.json
    tfm-convert -q "$json" -o m.tfms
    # "New York" is one whatever its case, unless a letter stands beside it; "É" is found as "e"
    printf 'a NEW york!\nnewyork, CATs\nnew yorkers \303\211 \303\251' >text
    pipe "tfm-tokenize -l -m '$json' text | tfm-show --ids"
    status_is 0 0
    cp "$out" ids
    pipe "tfm-tokenize -l -m m.tfms text | tfm-show --ids"
    status_is 0 0
    same "$out" ids
    pipe "tfm-tokenize -l -m '$json' text | tfm-detok -m m.tfms"
    status_is 0 0
    printf 'a New York!\nn \303\211 wyork, CAT s\nnew york \303\211 rs \303\211 \303\211\n' >want
    same "$out" want
}

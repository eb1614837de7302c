# detok.bats - tfm-detok: which vocabulary, frames, order of groups, failures, cut streams.

load helper

setup() {
    bytes=$top/tests/fuzz/corpus/tokenizer_json/seed-byte-level.json
    meta=$top/tests/fuzz/corpus/tokenizer_json/seed-metaspace.json
    golden=$top/tests/golden/hf/llama-tied
}

@test "the vocabulary: -m, then TFM_MODEL, then what the header names" {
    cd "$tmp"
    cp "$bytes" here.json
    echo 'some text' | tfm-tokenize -m here.json >s
    tfm-detok s | same - <(echo 'some text')
    tfm-detok -m "$bytes" s | same - <(echo 'some text')
    TFM_MODEL=$bytes tfm-detok s | same - <(echo 'some text')
    rm here.json
    pipe 'tfm-detok s'
    status_is 3
    one_line "$err"
    err_has 'give -m MODEL or set TFM_MODEL'
    ln -s "$meta" here.json # a regular file, but another vocabulary
    pipe 'tfm-detok s'
    status_is 3
    rm here.json
    mkfifo here.json # never opened
    pipe 'tfm-detok s'
    status_is 3
}

@test "tokens of another vocabulary: both are named, and where each came from" {
    cd "$tmp"
    echo x | tfm-tokenize -m "$bytes" >s
    id=$(tfm-show s | awk '$1 == "vocab" {print $2}')
    other=$(echo x | tfm-tokenize -m "$meta" | tfm-show | awk '$1 == "vocab" {print $2}')
    pipe "tfm-detok -m '$meta' s"
    status_is 3
    one_line "$err"
    for word in "$id" "$other" tfm-tokenize "$meta" -m; do err_has "$word"; done
    pipe "TFM_MODEL='$meta' tfm-detok s"
    status_is 3
    err_has TFM_MODEL
    [ ! -s "$out" ]
}

@test "raw bytes need no model, and -m does no harm" {
    echo 'plain' >"$in"
    pipe "tfm-tokenize | tfm-detok -m '$bytes'"
    status_is 0 0
    out_is plain
}

@test "a newline in a line is a space, counted once; --escape keeps it" {
    printf 'a\nb\\c\0' >"$in"
    pipe 'tfm-tokenize -0 | tfm-detok -l'
    status_is 0 0
    out_is 'a b\c'
    one_line "$err"
    err_has '1 newline inside records written as a space '
    pipe 'tfm-tokenize -0 | tfm-detok -l --escape'
    status_is 0 0
    out_is 'a\nb\\c'
    [ ! -s "$err" ]
    pipe 'tfm-tokenize -0 | tfm-detok -l -q'
    [ ! -s "$err" ]
    pipe 'tfm-tokenize -0 | tfm-detok --whole'
    printf 'a\nb\\c' | same "$out" -
}

@test "a failed record is an empty line, and the status says so" {
    printf '{"p":"a"}\n{"p":1}\n{"p":"c"}\n' >"$in"
    pipe 'tfm-tokenize -q -j p | tfm-detok -l'
    status_is 4 4
    printf 'a\n\nc\n' | same "$out" -
    one_line "$err"
    err_has 'record 1: tfm-tokenize: field "p" is not a string'
}

@test "JSONL: only the result is added; a line that is no object gets one of its own" {
    printf '%s\n' '{}' ' { "p" : "x" , "z" : { } } ' '{"p":"}"}' 'x}' '{"p":1}' >"$in"
    pipe 'tfm-tokenize -q -j p | tfm-detok -q'
    cat >"$tmp/want" <<'END'
{"error":"tfm-tokenize: no field \"p\""}
 { "p" : "x" , "z" : { } ,"output":"x","finish":"open"} 
{"p":"}","output":"}","finish":"open"}
END
    head -3 "$out" | same - "$tmp/want"
    sed -n 4p "$out" | jq -e '.source == "x}" and (.error | length > 0)'
    sed -n 5p "$out" | jq -e '.p == 1 and (.error | length > 0)'
}

@test "JSONL: a line with a key of the result keeps it, and the result is a line of its own" {
    printf '%s\n' '{"p":"a","output":"old"}' '{"p":"b","finish":1}' '{"p":2,"error":"old"}' \
        '{"p":"d","error":"old"}' '{"p":"e","x":{"output":1}}' >"$in"
    pipe 'tfm-tokenize -q -j p | tfm-detok'
    status_is 4 4
    cat >"$tmp/want" <<'END'
{"output":"a","finish":"open","source":"{\"p\":\"a\",\"output\":\"old\"}"}
{"output":"b","finish":"open","source":"{\"p\":\"b\",\"finish\":1}"}
{"error":"tfm-tokenize: field \"p\" is not a string","source":"{\"p\":2,\"error\":\"old\"}"}
{"p":"d","error":"old","output":"d","finish":"open"}
{"p":"e","x":{"output":1},"output":"e","finish":"open"}
END
    same "$out" "$tmp/want"
    err_has '3 lines have a key of the result already'
}

@test "what failed upstream is told there, and counted here" {
    printf '{"p":1}\n{"p":"b"}\n{"p":3}\n' >"$in"
    pipe 'tfm-tokenize -j p | tfm-detok'
    status_is 4 4
    [ "$(grep -c '^tfm-tokenize: warning: record' "$err")" -eq 2 ]
    [ "$(grep -c '^tfm-detok: ' "$err")" -eq 1 ]
    err_has 'tfm-detok: warning: 2 records failed upstream, the first: record 0: tfm-tokenize: field'
}

@test "JSON strings: what goes in comes out" {
    cd "$tmp"
    printf '{"p":"\\u00e9\\"\\\\\\t\\u0001\\/\\ud83d\\ude00"}\n' >"$in"
    pipe 'tfm-tokenize -j p | tfm-detok'
    status_is 0 0
    jq -e '.output == .p' "$out"
}

@test "bytes that JSON cannot hold are U+FFFD and counted" {
    needs_asset stories260K/stories260K.bin
    m=$TFM_ASSETS/stories260K/stories260K.bin
    echo '{"p":"Once"}' >"$in"
    pipe "tfm-tokenize -j p | tfm-run -m '$m' -n 200 -T 50 | tfm-detok -m '$m'"
    status_is 0 0 0
    jq -e '.output | contains("\ufffd")' "$out"
    one_line "$err"
    err_has 'no UTF-8 written as U+FFFD'
}

@test "interleaved groups come out in order" {
    cd "$tmp"
    tfm-convert "$golden" -o m.tfms
    for i in $(seq 40); do head -c $((i * 7 % 23 + 1)) <(yes "x$i" | tr -d '\n'); echo; done >lines
    tfm-tokenize -l -m m.tfms lines | tfm-run -m m.tfms -n 6 -b 4 >ordered
    tfm-tokenize -l -m m.tfms lines | tfm-run -m m.tfms -n 6 -b 16 --unordered >mixed
    # the records do come in another order
    run ! cmp -s <(tfm-show ordered | grep tensor) <(tfm-show mixed | grep tensor)
    tfm-detok ordered >want
    [ "$(wc -l <want)" -eq 40 ]
    tfm-detok mixed | same - want
    tfm-detok --whole mixed | same - <(tfm-detok --whole ordered)
}

@test "what follows a prompt keeps its leading space" {
    needs_asset stories260K/stories260K.bin
    cd "$tmp"
    m=$TFM_ASSETS/stories260K/stories260K.bin
    printf 'Once upon a time there was a' >p
    tfm-tokenize -m "$m" p | tfm-run -m "$m" -n 12 --echo | tfm-detok >whole
    { cat p; tfm-tokenize -m "$m" p | tfm-run -m "$m" -n 12 | tfm-detok; } | same - whole
}

@test "two streams in one file, and several files" {
    cd "$tmp"
    echo one | tfm-tokenize >a
    printf 'two\nthree\n' | tfm-tokenize -l >b
    cat a b | tfm-detok | same - <(printf 'one\ntwo\nthree\n')
    tfm-detok b a | same - <(printf 'two\nthree\none\n')
}

@test "a selection of groups: a gap waits for the end, nothing is lost" {
    cd "$tmp"
    seq 0 9 | tfm-tokenize -l | tfm-select -g 3,5-6 | tfm-detok | same - <(printf '3\n5\n6\n')
}

@test "text is given out as it comes, whole characters only" {
    cd "$tmp"
    mkfifo text
    (printf 'abc\303' | tfm-tokenize --no-prov >s)
    size=$(wc -c <s)
    {
        head -c $((size - 256)) s # up to before GROUP-END and END
        sleep 2
        tail -c 256 s
    } 3>&- | tfm-detok >text 3>&- &
    local job=$!
    exec 8<text
    read -r -t 20 -N 3 got <&8
    [ "$got" = abc ]
    rest=$(od -An -tx1 <&8)
    exec 8<&-
    wait "$job"
    [ "$rest" = ' c3' ]
}

@test "cut, empty and foreign input: exit 3, one line" {
    cd "$tmp"
    echo 'some text' | tfm-tokenize -l >s
    for cut in 0 1 50 100 200 300 400; do
        [ "$cut" -lt "$(wc -c <s)" ]
        head -c "$cut" s >"$in"
        pipe 'tfm-detok'
        status_is 3
        one_line "$err"
    done
    echo 'no stream' >"$in"
    pipe 'tfm-detok'
    status_is 3
    pipe 'tfm-tokenize no-such-file | tfm-detok'
    last_is 3
    err_has 'upstream tfm-tokenize'
}

@test "--show-special" {
    cd "$tmp"
    text=$(jq -r '[.added_tokens[] | select(.special)][0].content' "$bytes")
    printf 'a%sb' "$text" >p
    tfm-tokenize --no-special --parse-special -m "$bytes" p >s
    tfm-detok s | same - <(printf 'ab')
    tfm-detok --show-special s | same - p
}

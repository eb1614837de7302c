# stages.bash - what stages.bats, the files of its single stages and score.bats share: a small model
# $m, lines of text, and their tokens.

load helper

lines_and_tokens() { # TEXT TOKENS: $tmp/lines, and their tokens in a file of this name
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    printf "$1" >lines
    tfm-tokenize -l -m "$m" lines >"$2"
}

three_lines() { lines_and_tokens 'abc\nhello world\nx\n' tokens; }

setup() { three_lines; }

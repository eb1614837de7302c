# stages.bash - what stages.bats and the files of its single stages share: a small model $m, three
# lines of text, and their tokens.

load helper

three_lines() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    printf 'abc\nhello world\nx\n' >lines
    tfm-tokenize -l -m "$m" lines >tokens
}

setup() { three_lines; }

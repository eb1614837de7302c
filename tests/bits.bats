# bits.bats - law 2 through the programs: batches, threads and the number of processes change no id.
# (The matrix of models, lengths and cuts is in tests/bits, in C; the loop's own ways in loop.bats.)

load helper

models='llama-f16 llama-blocks32 qwen2-bf16 qwen2-q4_0 gpt2-q8_0'
drawn=('--repeat-penalty 1.4 --penalty-last 9' '-T 0.9 -p 0.9 -s 7' '-k 30 -s 3 --presence-penalty 0.5')

setup() {
    cd "$tmp" || return
    for i in 1 2 3 4 5 6 7 8 9; do
        printf 'abc hello %s\nx\n' "$i"
        printf 'a longer line that goes on for a while, number %s, to fill a panel of keys\n' "$i"
    done >lines
}

ids() { tfm-show --ids "$@"; }

@test "tfm-run: any -b, any -t, ref or cpu each its own, with penalties, top-p, a seed, stop strings" {
    for name in $models; do
        m=$top/tests/golden/gguf/$name.gguf
        tfm-tokenize -l -m "$m" lines >tokens
        for options in "${drawn[@]}" '-T 1.2 -s 5 --stop e --stop th'; do
            tfm-run -m "$m" -n 12 -b 1 -t 1 $options tokens | ids >want
            [ -s want ]
            tfm-run -m "$m" -n 12 -b 3 -t 2 $options tokens | ids | same - want
            tfm-run -m "$m" -n 12 -b 32 -t 3 $options tokens | ids | same - want
        done
    done
    tfm-run -m "$m" -d ref -n 6 -b 1 ${drawn[1]} tokens | ids >want
    tfm-run -m "$m" -d ref -n 6 -b 32 ${drawn[1]} tokens | ids | same - want
}

@test "one token: fused, in two processes and in one a block, with any options of drawing" {
    for name in $models; do
        m=$top/tests/golden/gguf/$name.gguf
        tfm-tokenize -l -m "$m" lines >tokens
        tfm-embed -m "$m" -t 2 tokens >h0
        tfm-attend -m "$m" -t 3 h0 | tfm-unembed -m "$m" -t 2 >logits
        tfm-attend -m "$m" -L 0-0 -t 1 h0 | tfm-attend -m "$m" -L 1-1 -t 3 |
            tfm-unembed -m "$m" | tfm-cmp - logits
        for options in "${drawn[@]}" ''; do
            tfm-run -m "$m" -n 1 -t 1 $options tokens | ids >want
            tfm-sample -m "$m" -n 1 $options logits | ids | same - want
        done
    done
}

@test "the loop through four processes draws what tfm-run draws" {
    for name in llama-f16 qwen2-q4_0; do
        m=$top/tests/golden/gguf/$name.gguf
        for options in "${drawn[@]}" '-T 1.2 -s 5 --stop e'; do
            tfm-tokenize -l -m "$m" lines | tfm-run -m "$m" -n 8 -b 3 $options | tfm-detok -m "$m" >want
            pipe "timeout 50 sh $top/examples/loop.sh $m lines 0-0 1-1 -n 8 $options"
            last_is 0
            same "$out" want
        done
    done
}

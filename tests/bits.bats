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

# cut N: the prompts of `tokens` in records of N rows (0: of 1 to 11), those of all groups mixed,
# some with the flag FLUSH.
cut() {
    tfm-export tokens | jq -n -c --argjson n "$1" '
        def starts($len): if $n > 0 then [range(0; $len; $n)]
            else [0 | while(. < $len; . + 1 + (. * . + 3 * .) % 11)] end;
        def pieces: . as $r | (.data | length) as $len | starts($len) |
            [., .[1:] + [$len]] | transpose[] as [$from, $to] | $r | .position = $from |
            .data = .data[$from:$to] | .shape = [$to - $from] |
            .flags = if $to == $len then ["last"] elif $to % 3 == 0 then ["flush"] else [] end;
        [inputs] | .[0], ([.[] | select(.type == "tensor") | pieces] | sort_by(.position)[]),
            (.[] | select(.type == "group-end")), {"type": "end"}' | tfm-import
}

# rows FILE: a line for each row of floats, by group and position, however they were cut.
rows() {
    tfm-select --type tensor "$1" | tfm-export |
        jq -c 'select(.dtype == "f32") | . as $r | (.data | length) / .shape[0] | . as $w |
            range($r.shape[0]) as $i |
            [$r.group, $r.position + $i, $r.data[$i * $w:($i + 1) * $w]]' | sort
}

# composed STREAM: tokens through one process and through those of -L $ranges, with other -t; every
# stream between two programs is the same, byte for byte (h, logits: of the one process).
composed() {
    local i=0 range before
    tfm-embed -m "$m" -t 1 "$1" >h0
    tfm-attend -m "$m" -t 1 h0 >h
    tfm-unembed -m "$m" --all -t 1 h >logits
    tfm-embed -m "$m" -t 3 "$1" | same - h0
    before=h0
    for range in $ranges; do
        i=$((i + 1))
        tfm-attend -m "$m" -L "$range" -t $((1 + i % 3)) "$before" >"cut.$i"
        before=cut.$i
    done
    same "$before" h
    tfm-unembed -m "$m" --all -t 3 "$before" | same - logits
    all=$(printf '| tfm-attend -t 2 -m $m -L %s ' $ranges)
    pipe 'tfm-embed -m $m -t 2 '"$1 $all"'| tfm-unembed -m $m --all -t 2'
    last_is 0
    same "$out" logits
}

# processes RANGES: the prompts whole, by 1, 7, 64 and of changing length through these processes.
processes() {
    local ranges=$1 n m=$2
    export TFM_NO_PROV=1
    sed -n '1,2p;4,6p' lines | tfm-tokenize -l -m "$m" >tokens
    composed tokens
    rows h >whole.h
    rows logits >whole.logits
    [ -s whole.h ] && [ -s whole.logits ]
    for n in 1 7 64 0; do
        cut "$n" >pieces
        composed pieces
        rows h | same - whole.h
        rows logits | same - whole.logits
    done
}

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

@test "streams byte for byte: one process for the blocks, or one a block, prompts in any pieces" {
    local name
    for name in $models; do processes '0-0 1-1' "$top/tests/golden/gguf/$name.gguf"; done
    for TFM_DEVICE in ref cpu:generic cpu:avx2 cpu:avx512; do
        export TFM_DEVICE
        m=$top/tests/golden/gguf/$name.gguf
        tfm-embed -q -m "$m" tokens >h0 2>err || { grep "device $TFM_DEVICE" err && continue; }
        processes '0-0 1-1' "$m"
    done
}

@test "the same with two processes and five for the five blocks of stories260K" {
    needs_asset stories260K/stories260K.bin
    needs_asset stories260K/tok512.bin
    tfm-convert "$TFM_ASSETS/stories260K/stories260K.bin" \
        --tokenizer "$TFM_ASSETS/stories260K/tok512.bin" -o s.bin
    processes '0-1 2-4' s.bin
    processes '0 1 2 3 4' s.bin
}

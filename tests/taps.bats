# taps.bats - --tap in run, embed, attend, unembed: what is written, in which order, and that
# nothing about it depends on batches, threads, cuts or processes; that the numbers are those of
# NumPy.

load probe

@test "a result has the same bytes with taps and without, header and all" {
    local device
    for device in cpu ref; do
        tfm-run -m "$m" -d $device -n 6 tokens >a
        tfm-run -m "$m" -d $device -n 6 --tap '*' --tap-out taps tokens >b
        same a b
        tfm-check taps
    done
    tfm-embed -m "$m" tokens >h
    tfm-attend -m "$m" h >a
    tfm-attend -m "$m" --tap 'blk.*' --tap-out taps h >b
    same a b
    tfm-unembed -m "$m" a >c
    tfm-unembed -m "$m" --tap '*' --tap-out taps a >d
    same c d
}

@test "taps have the same bytes at any -b, any -t, on every architecture" {
    local model b
    for model in llama-f16 gpt2-f32 qwen2-q4_0; do
        tfm-tokenize -l -m "$g/$model.gguf" lines >t
        tfm-run -m "$g/$model.gguf" -n 5 --tap '*' --tap-out want t >ids
        for b in 1 2 3; do
            tfm-run -m "$g/$model.gguf" -n 5 -b $b -t $((4 - b)) --tap '*' --tap-out got t | same - ids
            same got want
        done
    done
}

@test "every named value of GPT-2 and Llama is what NumPy computes, in its shape" {
    local model
    for model in gpt2 llama-tied llama-linear-bias; do
        numpy_model $model
        numpy_agrees cpu '' >out
        grep -q '^23 values of 18 rows$' out
        numpy_agrees ref ''
    done
    run ! numpy_agrees cpu '' ablate blk.1.head.0 # it can fail
}

@test "one process or a chain of them keep the same values" {
    tfm-run -m "$m" -n 0 --tap '*' --tap-out fused tokens >none
    tfm-embed -m "$m" --tap '*' --tap-out e tokens |
        tfm-attend -m "$m" -L 0 --tap '*' --tap-out a0 |
        tfm-attend -m "$m" -L 1 --tap '*' --tap-out a1 |
        tfm-unembed -m "$m" --tap '*' --tap-out u >none
    values fused | sort >want
    for f in e a0 a1 u; do values $f; done | sort | same - want
    [ -s want ]
}

@test "prompts that the batches cut differently keep the same values in the same order" {
    local i
    for i in {1..30}; do echo "line $i of a text that is some forty tokens long"; done |
        tfm-tokenize -l -m "$m" >t
    [ "$(tfm-show --ids t | wc -w)" -gt 1024 ] # a batch has 512 rows
    tfm-run -m "$m" -n 1 -b 1 --tap 'blk.*.resid' --tap output_norm --tap-out want t >a
    tfm-run -m "$m" -n 1 -b 64 -t 2 --tap 'blk.*.resid' --tap output_norm --tap-out got t | same - a
    same got want
}

@test "with -n 0 the prompt is computed; with -n N all but the last id" {
    tfm-run -m "$m" -n 0 --tap embedding --tap-out p tokens | tfm-show --ids | tr -d '\n' >left
    [ ! -s left ]
    local n
    n=$(tfm-show --ids tokens | wc -w)
    [ "$(records p | wc -l)" -eq "$n" ]
    printf 'abc' | tfm-tokenize -m "$m" >one
    n=$(tfm-show --ids one | wc -w)
    tfm-run -m "$m" -n 7 --ignore-end --tap embedding --tap-out p one >none
    [ "$(records p | wc -l)" -eq $((n + 6)) ]
    tfm-run -m "$m" -c "$n" --tap embedding --tap-out p one >none
    [ "$(records p | wc -l)" -eq "$n" ]
}

@test "samples: the prompt stands with the first, each has its own rows after it" {
    printf 'abc' | tfm-tokenize -m "$m" >one
    local n
    n=$(tfm-show --ids one | wc -w)
    tfm-run -m "$m" -N 3 -T 1 -n 4 --ignore-end --tap embedding --tap-out taps one >none
    tfm-check taps
    [ "$(records taps | grep -c 'group 0 ')" -eq $((n + 3)) ]
    [ "$(records taps | grep -c 'group 1 ')" -eq 3 ]
    [ "$(records taps | grep -c 'group 2 ')" -eq 3 ]
    records taps | grep -q "group 2 at $n:"
    tfm-run -m "$m" -N 3 -T 1 -n 4 --ignore-end --unordered -b 3 --tap embedding --tap-out u one >none
    tfm-check u
    values taps | sort >a
    values u | sort | same - a
}

@test "names: the step's, and what the value is in every architecture" {
    local model
    for model in llama-f16 gpt2-f32 qwen2-bf16; do
        tfm-run -m "$g/$model.gguf" --list-taps >list
        for name in embedding blk.0.q blk.1.k blk.0.v blk.0.pattern blk.0.heads blk.0.attn_out \
            blk.1.ffn_in blk.1.ffn_out blk.0.resid output_norm logits; do
            grep -q "^$name	" list || { echo "$model: $name"; false; }
        done
    done
    grep -q '^blk.0.attn_norm	\[64\]$' list
    tfm-attend -m "$m" -L 1 --list-taps >list
    run ! grep -q 'blk.0' list
    grep -q '^blk.1.resid	\[64\]$' list
    tfm-embed -m "$m" --list-taps | cut -f1 | xargs >names
    [ "$(cat names)" = 'token_embd embedding' ]
    tfm-unembed -m "$m" --list-taps | grep -q '^logits	\[128\]$'
}

@test "shapes: heads, and patterns as long as the row has keys; probabilities sum to one" {
    printf 'abc' | tfm-tokenize -m "$m" >one
    tfm-run -m "$m" -n 0 --tap 'blk.0.[qk]' --tap blk.0.pattern --tap-out taps one >none
    records taps | grep -q 'blk.0.q f32 \[1, 4, 16\] group 0 at 2'
    records taps | grep -q 'blk.0.k f32 \[1, 2, 16\] group 0 at 2'
    records taps | grep -q 'blk.0.pattern f32 \[1, 4, 3\] group 0 at 2'
    records taps | grep 'pattern' | awk '{sub(/.*mean /, ""); sub(/\)/, ""); n++
        if (($0 * n - 1) ^ 2 > 1e-10) {print n, $0; bad = 1}} END {exit bad || n == 0}'
}

@test "--tap-out takes a descriptor that the shell opened, and says what is wrong with others" {
    tfm-run -m "$m" -n 1 --tap '*.resid' --tap-out want tokens >a
    tfm-run -m "$m" -n 1 --tap '*.resid' --tap-out 7 tokens 7>got >b
    same got want
    tfm-run -m "$m" -n 1 --tap '*.resid' --tap-out 1 -o c tokens | same - want
    same c a
    local fd
    for fd in 0 1 2 9; do
        pipe "tfm-run -m \$m -n 1 --tap '*' --tap-out $fd tokens"
        last_is 2
        one_line "$err"
    done
    pipe "tfm-run -m \$m --tap '*' tokens"
    last_is 2
    err_has 'give --tap-out'
    pipe "tfm-run -m \$m --tap-out x tokens"
    last_is 2
    pipe "tfm-run -m \$m --tap '*' --tap-out /nonexistent/x tokens"
    last_is 5
}

@test "a glob that matches nothing is exit 2 with the nearest names" {
    pipe "tfm-run -m \$m -n 1 --tap 'blk.*.rezid' --tap-out x tokens"
    last_is 2
    one_line "$err"
    err_has 'blk.0.resid'
    tfm-embed -m "$m" tokens >h
    pipe "tfm-attend -m \$m -L 0 --tap blk.1.resid --tap-out x h"
    last_is 2
    err_has 'blk.0.resid'
}

@test "groups that fail say so among the taps, too; the others are whole" {
    printf '1 2\n3 999999\n4 5\n' >ids
    tfm-tokenize -l --from-ids -m "$m" ids >t || [ $? = 4 ]
    pipe "tfm-run -m \$m -n 2 --tap embedding --tap-out taps t"
    last_is 4
    pipe 'tfm-check taps'
    tfm-show taps | grep -c 'group-end' | same - <(echo 3)
    tfm-show taps | grep -q 'group-end.*group 1 .*error'
    tfm-embed -m "$m" t >h || [ $? = 4 ]
    tfm-attend -m "$m" --tap blk.0.resid --tap-out taps h >none || [ $? = 4 ]
    tfm-show taps | grep -q 'group-end.*group 1 .*error'
}

@test "taps do not count as what changes results; interventions do" {
    tfm-run -m "$m" -n 1 --tap '*' --tap-out x tokens | tfm-show --prov | grep -v tap | grep -q tfm-run
    tfm-run -m "$m" -n 1 --tap '*' --tap-out x tokens | tfm-show --prov >p
    run ! grep -q '"tap' p
    tfm-run -m "$m" -n 1 --ablate blk.0.head.1 --skip blk.1.ffn tokens | tfm-show --prov >p
    grep -q 'blk.0.head.1' p
    grep -q 'blk.1.ffn' p
}

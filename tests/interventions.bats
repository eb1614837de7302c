# interventions.bats - --ablate, --skip, --patch, --steer in run and in the stages: what they
# change, what they leave alone, and that the laws hold with them.

load probe

# tap GLOB ARGS...: the values of a run over the file `tokens` with ARGS, in the file `got`
tap() { tfm-run -m "$m" -n 6 --tap "$1" --tap-out got "${@:2}" tokens >ids; }
differs() { run ! cmp -s "$1" "$2"; }

@test "patching with a stream's own activations changes nothing, bit for bit" {
    local model device own
    for model in llama-f16 gpt2-q8_0 qwen2-q4_0; do
        for device in cpu ref; do
            tfm-tokenize -l -m "$g/$model.gguf" lines >t
            tfm-run -m "$g/$model.gguf" -d $device -n 6 --tap '*' --tap-out all t | tfm-show --ids >a
            values all >x
            tfm-select --name '*.pattern' all >patterns
            for own in all patterns; do
                tfm-run -m "$g/$model.gguf" -d $device -n 6 --patch $own --tap '*' --tap-out again t |
                    tfm-show --ids | same - a
                values again | same - x
            done
        done
    done
}

@test "each intervention gives what NumPy computes with it" {
    local model name
    for model in gpt2 llama-linear-bias; do
        numpy_model $model
        numpy_agrees cpu '--ablate blk.0.head.1' ablate blk.0.head.1
        numpy_agrees ref '--ablate blk.1.pattern' ablate blk.1.pattern
        numpy_agrees cpu '--skip blk.1.ffn' skip blk.1.ffn
        numpy_agrees cpu '--skip blk.0.attn --skip blk.1' skip blk.0.attn skip blk.1
        for name in embedding blk.0.resid blk.0.heads blk.1.pattern; do
            tfm-select --name $name --pos 3-7 other.taps >rows
            tfm-export rows -o rows.npz
            numpy_agrees cpu '--patch rows' patch rows.npz
        done
        numpy_agrees ref '--patch rows' patch rows.npz
        tfm-select --name blk.0.resid --pos 4 other.taps >vector
        tfm-export vector -o vector.npz
        numpy_agrees cpu '--steer vector --scale -2.5' steer vector.npz -2.5
        tfm-select --name blk.0.ffn_out other.taps >mean
        tfm-export mean -o mean.npz
        numpy_agrees cpu '--mean mean --ablate blk.0.ffn_out' mean blk.0.ffn_out mean.npz
        run ! numpy_agrees cpu '--steer vector --scale -2.4' steer vector.npz -2.5 # it can fail
    done
}

@test "a pattern can be put in place of another, to the same bits in any batch and process" {
    tfm-run -m "$m" -n 0 --tap 'blk.*.pattern' --tap-out p tokens >none
    tfm-select -g 1 --pos 3-8 p | tfm-export | # each head looks where the one before it looked
        jq -c 'if .data then .data[0] |= (.[1:] + .[:1]) else . end' | tfm-import >turned
    tfm-run -m "$m" -n 3 --tap 'blk.0.pattern' --tap-out q --patch turned tokens >want
    tfm-run -m "$m" -n 3 --tap logits --tap-out before tokens >none
    tfm-run -m "$m" -n 3 --tap logits --tap-out after --patch turned tokens >none
    pipe 'tfm-cmp before after'
    last_is 1
    tfm-select -g 1 --pos 3-8 --name blk.0.pattern turned >a
    tfm-select -g 1 --pos 3-8 q >b
    values a >x
    values b | same - x # a tap sees what was put
    tfm-run -m "$m" -n 3 -b 1 -t 3 --patch turned tokens | same - want
    tfm-run -m "$m" -n 1 --patch turned tokens | tfm-show --ids >ids
    tfm-embed -m "$m" tokens | tfm-attend -m "$m" -L 0 --patch turned |
        tfm-attend -m "$m" -L 1 --patch turned | tfm-unembed -m "$m" | tfm-sample -m "$m" -n 1 |
        tfm-show --ids | same - ids
    # a cache of blocks; a run's own patterns again change nothing
    m=$top/share/models/story.tfms
    tfm-tokenize -l -m "$m" lines >t
    tfm-run -m "$m" -n 4 --kv q8_0 --tap '*.heads' --tap '*.pattern' --tap-out p t | tfm-show --ids >ids
    tfm-run -m "$m" -n 4 --kv q8_0 --patch p --tap '*.heads' --tap '*.pattern' --tap-out q t |
        tfm-show --ids | same - ids
    tfm-cmp p q
}

@test "what is changed behind a pattern stays changed; a head that looks at one key gives its value" {
    tfm-run -m "$m" -n 0 --tap 'blk.*.pattern' --tap-out p tokens >none
    tfm-export p | jq -c 'if .data then .data[0] |= map(map(0) | .[-1] = 1) else . end' |
        tfm-import >last
    tap 'blk.0.[vh]*' --patch last
    tfm-select -g 1 --pos 3 got | tfm-export | jq -c 'select(.shape) | .data[0]' >a
    [ "$(sed -n 2p a | jq -c .[2])" = "$(sed -n 2p a | jq -c .[3])" ] # a pair shares a key head
    paste -d ' ' <(sed -n 1p a | jq .[1][]) <(sed -n 2p a | jq .[2][]) | # f16 has 11 bits
        awk '{n++; d = $1 - $2; if (d * d > ($1 / 2048) ^ 2) exit 1} END {exit n != 16}'
    cp last turned
    tap blk.0.heads --patch turned --ablate blk.0.head.2
    tfm-export got | jq -c 'select(.shape) | .data[0][2] | all(. == 0)' | sort -u >zero
    [ "$(cat zero)" = true ]
}

@test "a prompt patched with another's embedding goes on as the other; other places change nothing" {
    printf 'abc' | tfm-tokenize -m "$m" >clean
    printf 'abd' | tfm-tokenize -m "$m" >other
    tfm-run -m "$m" -n 5 clean | tfm-show --ids >want
    tfm-run -m "$m" -n 5 other | tfm-show --ids >unpatched
    differs want unpatched
    tfm-run -m "$m" -n 0 --tap embedding --tap-out e clean >none
    tfm-run -m "$m" -n 5 --patch e other | tfm-show --ids | same - want
    tfm-run -m "$m" -n 5 --patch - other <e | tfm-show --ids | same - want
    tfm-select --pos 0-1 e >same_there # the prompts are alike but for their end
    tfm-run -m "$m" -n 5 --patch same_there other | tfm-show --ids | same - unpatched
    cat other other >twice # a file may have more streams; each has a group 0
    tfm-run -m "$m" -n 5 --patch e twice | tfm-show --ids | same - <(cat want want)
    pipe 'tfm-run -m $m -n 5 --patch e other'
    [ ! -s "$err" ]
    tfm-tokenize -l --first 3 -m "$m" <(seq 5) >later # groups 3 and 4
    pipe 'tfm-run -m $m -n 5 --patch e later'
    status_is 0
    err_is 'tfm-run: warning: --patch e: no row of embedding was put: the input has no such group at such a position'
    printf 'abd\nabd\n' | tfm-tokenize -l -m "$m" >two
    tfm-run -m "$m" -n 5 --patch e two | tfm-show --ids | same - <(cat want unpatched)
}

@test "an ablated head gives zeroes, the others what they gave" {
    tap 'blk.0.heads'
    tfm-export --to jsonl got | jq -c 'select(.shape) | .data[0] | (.[0], .[1], .[3])' >want
    tap 'blk.0.heads' --ablate blk.0.head.2
    tfm-export --to jsonl got | jq -c 'select(.shape) | .data[0] | (.[0], .[1], .[3])' >others
    [ -s want ]
    head -9 want >a # the first three positions: later ones follow another text
    head -9 others | same - a
    tfm-export --to jsonl got | jq -c 'select(.shape) | .data[0][2] | all(. == 0)' >zeroes
    [ "$(sort -u zeroes)" = true ]
    tap 'blk.0.heads' --ablate blk.0.head.2 --at 1-2
    tfm-export --to jsonl got | jq -c 'select(.shape and .group == 0) | .data[0][2] | all(. == 0)' |
        head -3 | xargs >zeroes
    [ "$(cat zeroes)" = 'false true true' ]
}

@test "the mean of one row is that row; of several, what jq says" {
    tap 'blk.1.heads'
    tfm-select -g 0 --pos 0-0 got >single
    tap 'blk.1.heads' --ablate 'blk.1.head.*' --mean single
    tfm-export --to jsonl --base64 got | jq -r 'select(.shape) | .base64' | sort -u >all
    tfm-export --to jsonl --base64 single | jq -r 'select(.shape) | .base64' | same - all
    tap 'blk.1.heads'
    cp got several
    tfm-export --to jsonl several | jq -s 'map(select(.shape) | .data[0][3][7]) | add / length' >mean
    tap 'blk.1.heads' --ablate 'blk.1.head.3' --mean several
    tfm-export --to jsonl got | jq 'select(.shape) | .data[0][3][7]' | sort -u >set
    [ "$(wc -l <set)" -eq 1 ]
    paste mean set | awk '{exit !(($1 - $2) ^ 2 < 1e-12)}'
}

@test "skipping both parts of a block is skipping the block; all blocks leave the embedding" {
    tfm-run -m "$m" -n 6 --skip blk.1 tokens | tfm-show --ids >a
    tfm-run -m "$m" -n 6 --skip 'blk.1.attn' --skip 'blk.1.ffn' tokens | tfm-show --ids | same - a
    tfm-run -m "$m" -n 6 --skip 'blk.1.*' tokens | tfm-show --ids | same - a
    tfm-embed -m "$m" tokens >h
    tfm-attend -m "$m" --skip 'blk.?' h | tfm-cmp - h
    tfm-attend -m "$m" -L 0 h >h1
    tfm-attend -m "$m" --skip blk.1 h | tfm-cmp - h1
}

@test "steering adds the vector times the scale; by 0, or at no position, nothing" {
    tfm-run -m "$m" -n 0 --tap blk.0.resid --tap-out r tokens >none
    tfm-select -g 1 --pos 3-3 r >vector
    tfm-run -m "$m" -n 6 --steer vector --scale 0 tokens | tfm-show --ids >a
    tfm-run -m "$m" -n 6 tokens | tfm-show --ids | same - a
    tfm-run -m "$m" -n 6 --steer vector --scale 3 tokens | tfm-show --ids >b
    differs a b
    tfm-run -m "$m" -n 6 --steer vector --scale 3 --at 200-201 tokens | tfm-show --ids | same - a
    tap blk.0.resid
    cp got plain
    tap blk.0.resid --steer vector --scale 2 --at 0-0
    for f in plain vector got; do
        tfm-export --to jsonl $f | jq 'select(.shape) | .data[0][5]' | head -1
    done | xargs | awk '{d = $1 + 2 * $2 - $3; exit !(d * d < 1e-12)}'
    pipe 'tfm-run -m $m --steer r tokens'
    last_is 3
    err_has 'one is wanted'
}

@test "interventions do not depend on -b, -t or on processes" {
    local how
    tfm-run -m "$m" -n 0 --tap 'blk.*.resid' --tap-out r tokens >none
    tfm-select -g 1 --pos 2-3 r >rows
    tfm-select -g 0 --pos 1-1 --name blk.1.resid r >vector
    for how in '--ablate blk.*.head.1' '--skip blk.0.ffn' '--patch rows' '--steer vector --scale 2' \
        '--ablate blk.1.ffn_act --at 1-2'; do
        tfm-run -m "$m" -n 1 $how tokens >want
        tfm-run -m "$m" -n 1 -b 1 -t 1 $how tokens | same - want
        tfm-run -m "$m" -n 1 -b 2 -t 3 $how tokens | same - want
        tfm-show --ids want >ids
        tfm-embed -m "$m" tokens | tfm-attend -m "$m" $how | tfm-unembed -m "$m" |
            tfm-sample -m "$m" -n 1 | tfm-show --ids | same - ids
    done
    # one file for every stage: each takes what is of its blocks
    tfm-run -m "$m" -n 1 --patch r tokens | tfm-show --ids >ids
    tfm-embed -m "$m" tokens | tfm-attend -m "$m" -L 0 --patch r | tfm-attend -m "$m" -L 1 --patch r |
        tfm-unembed -m "$m" | tfm-sample -m "$m" -n 1 | tfm-show --ids | same - ids
}

@test "what matches nothing, and what cannot be: exit 2 and 3, with the nearest names" {
    pipe "tfm-run -m \$m --ablate blk.7.head.1 tokens"
    last_is 2
    one_line "$err"
    err_has 'blk.0.head.1'
    pipe "tfm-run -m \$m --skip blk.1.atn tokens"
    last_is 2
    err_has 'blk.1.attn'
    tfm-run -m "$m" -n 0 --tap 'blk.0.pattern' --tap-out p tokens >none
    pipe "tfm-run -m \$m --ablate blk.0.pattern --mean p tokens"
    last_is 2
    err_has 'rows of different lengths'
    tfm-select -g 0 --pos 1 p >vector
    pipe "tfm-run -m \$m --steer vector tokens"
    last_is 2
    err_has 'rows of different lengths'
    tfm-export vector | jq -c '.position = 2' | tfm-import >moved
    pipe "tfm-run -m \$m --patch moved tokens"
    last_is 3
    err_has '8 numbers; 4 heads and 3 keys make 12'
    tfm-run -m "$m" -n 0 --tap 'blk.0.resid' --tap-out r tokens >none
    pipe 'tfm-run -m $g/gpt2-f32.gguf --mean r --ablate blk.0.ffn_up tokens'
    last_is 3
    err_has 'has no rows of blk.0.ffn_up'
    tfm-run -m "$m" -n 0 --tap 'blk.0.ffn_gate' --tap-out gate tokens >none
    pipe 'tfm-run -m $g/gpt2-f32.gguf --patch gate tokens'
    last_is 3
    err_has 'blk.0.ffn_gate'
    pipe 'tfm-run -m $m --patch lines tokens'
    last_is 3
    pipe 'tfm-run -m $m --patch nowhere tokens'
    last_is 5
    for o in '--tap logits --tap-out -' '--save-cache -' '--patch=' '--load-cache='; do
        pipe "tfm-run -m \$m -n 1 $o tokens" # stdout has the tokens; no file has no name
        last_is 2
        one_line "$err"
        [ ! -e - ]
    done
    for o in '--mean r' '--scale 2' '--at 1-2'; do
        pipe "tfm-run -m \$m $o tokens"
        last_is 2
    done
    pipe 'tfm-run -m $m --ablate blk.0.q --at 3-1 tokens'
    last_is 2
}

# cache.bats - tfm-run --save-cache and --load-cache: the bits of recomputation, and what is refused.

load helper

setup() {
    m=$top/tests/golden/gguf/llama-f16.gguf
    cd "$tmp" || return
    printf 'abc abc' | tfm-tokenize -m "$m" >short
    printf 'abc abc abd, and then some more of it all' | tfm-tokenize -m "$m" >long
    printf 'abc abc\nabc abc abd, hello\nxyz\nabc\n' | tfm-tokenize -l -m "$m" >many
}

@test "a prompt that begins as the cache does: the same bits, on each device, with each type" {
    for how in '-d ref' '-d cpu' '-d cpu --kv f32' '-d ref --kv f32 -t 1'; do
        # shellcheck disable=SC2086
        tfm-run -m "$m" $how -n 9 --save-cache c short >a
        tfm-check c >/dev/null
        # shellcheck disable=SC2086
        tfm-run -m "$m" $how -n 9 short | tfm-cmp - a
        for file in short long many; do
            # shellcheck disable=SC2086
            tfm-run -m "$m" $how -n 12 -T 1 $file >want
            # shellcheck disable=SC2086
            tfm-run -m "$m" $how -n 12 -T 1 --load-cache c $file >got
            tfm-cmp got want
        done
    done
}

@test "a q8_0 cache: saved, loaded, half of f16; not for heads of another width" {
    s=$top/share/models/story.tfms
    head -c 300 "$top/LICENSE" | tfm-tokenize -m "$s" >big
    for device in ref cpu; do
        tfm-run -m "$s" -d $device --kv q8_0 -n 5 --save-cache c big >want
        tfm-check c >/dev/null
        tfm-run -m "$s" -d $device --kv q8_0 -n 5 --load-cache c --save-cache d big | tfm-cmp - want
        tfm-cmp c d
        tfm-show c | grep -q 'blk.0.k q8_0'
    done
    head -3 "$top/LICENSE" | tfm-tokenize -l -m "$s" >lines
    tfm-run -m "$s" --kv q8_0 -n 9 -b 1 -t 1 lines >want
    tfm-run -m "$s" --kv q8_0 -n 9 -b 3 -t 2 lines | tfm-cmp - want
    pipe 'tfm-run -m $m --kv q8_0 short'
    last_is 3
    one_line "$err"
    err_has 'give --kv f16'
}

@test "the cache is used, samples and batches included" {
    tfm-run -m "$m" -n 0 --save-cache c short >a
    tfm-show a | grep -q 'group-end .* length'
    pipe 'tfm-run -v -m $m -n 5 --load-cache c long | tfm-show --ids'
    err_has "group 0: $(tfm-show --ids short | wc -w) of $(tfm-show --ids long | wc -w) tokens are in the cache"
    tfm-run -m "$m" -n 9 -N 3 -T 1 -b 3 many >want
    tfm-run -m "$m" -n 9 -N 3 -T 1 -b 6 --load-cache c many | tfm-cmp - want
    # A cache whose numbers are others gives other text: nothing is computed behind its back.
    tfm-run -m "$top/tests/golden/gguf/llama-f16.gguf" -n 0 --save-cache d long >/dev/null
    [ "$(tfm-show d | grep -c 'blk\.[01]\.[kv] f16')" -eq 4 ]
}

@test "longer than pages: saved and loaded again" {
    m=$top/share/models/story.tfms
    head -c 300 "$top/LICENSE" | tfm-tokenize -m "$m" >big
    [ "$(tfm-show --ids big | wc -w)" -gt 130 ]
    tfm-run -m "$m" --ignore-end -n 5 --save-cache c big >want
    tfm-run -m "$m" --ignore-end -n 5 --load-cache c --save-cache d big | tfm-cmp - want
    tfm-cmp c d
    tfm-run -m "$m" --ignore-end -n 5 --load-cache c --kv-bytes 10000000 big | tfm-cmp - want
}

@test "a cache of another model, other numerics, or none at all: exit 3, both are named" {
    tfm-run -m "$m" -n 2 --save-cache c short >/dev/null
    pipe 'tfm-run -m $top/tests/golden/gguf/gpt2-f32.gguf --load-cache c short'
    last_is 3
    one_line "$err"
    err_has 'the cache is of model'
    err_has gpt2-f32.gguf
    pipe 'tfm-run -m $m --kv f32 --load-cache c short'
    last_is 3
    err_has 'kv=f16'
    err_has 'kv=f32'
    pipe 'tfm-run -m $m -c 77 --load-cache c short'
    last_is 3
    err_has 'ctx=77'
    pipe 'tfm-run -m $m --load-cache short short'
    last_is 3
    err_has 'kind tokens'
    pipe 'tfm-run -m $m --load-cache none short'
    last_is 5
    head -c 3000 c >cut
    pipe 'tfm-run -m $m --load-cache cut short'
    last_is 3
    tfm-select -p 0-2 c >part || true
    pipe 'tfm-run -m $m --load-cache part short'
    last_is 3
    pipe 'tfm-run -m $m --load-cache c --tap embed --tap-out x short'
    [ "${statuses[0]}" -eq 2 ]
}

@test "--save-cache FILE is whole or the old one" {
    echo old >c
    head -c 300 short >cut
    pipe 'tfm-run -m $m --save-cache c cut'
    last_is 3
    [ "$(cat c)" = old ]
    [ "$(echo c*)" = 'c cut' ]
    pipe 'tfm-run -m $m -c 2 --save-cache c short'
    last_is 4
    err_has 'not written'
    pipe 'tfm-run -m $m -n 2 --save-cache no/where short'
    last_is 5
}

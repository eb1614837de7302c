# cache.bats - tfm-run --save-cache and --load-cache: the bits of recomputation, and what is
# refused. (tests/fuzz/fuzz_cache.c reads damaged ones.)

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

@test "every group is saved; a prompt takes the cache that knows most of it" {
    printf 'abc\nabc abc abd\nhello there\nabc abc abd, hello you\nzzz\n' | tfm-tokenize -l -m "$m" >next
    tfm-run -m "$m" -n 0 --save-cache c many >/dev/null
    [ "$(tfm-show c | grep -c group-end)" -eq 4 ]
    tfm-show --ids c | same - <(tfm-show --ids many)
    tfm-run -m "$m" -n 12 -T 1 next >want
    pipe 'tfm-run -v -m $m -n 12 -T 1 --load-cache c next >got'
    status_is 0
    tfm-cmp got want
    # what each prompt has in common with the best of the four, but for its last token
    common() { # FILE_OF_CACHES FILE_OF_PROMPTS
        awk 'NR == FNR { cache[++n] = $0; next }
            { best = 0; np = split($0, p)
              for (i = 1; i <= n; i++) { nc = split(cache[i], c); k = 0
                  while (k < nc && k < np - 1 && c[k + 1] == p[k + 1]) k++
                  if (k > best) best = k }
              print best " of " np }' <(tfm-show --ids "$1") <(tfm-show --ids "$2")
    }
    sed -n 's/.*: \(.* of .*\) tokens are.*/\1/p' "$err" | same - <(common c next)
    # the file as any stream: some of it, two after one another, the answers as well
    tfm-select -g 1,3 c >some
    pipe 'tfm-run -v -m $m -n 12 -T 1 --load-cache some next | tfm-cmp - want'
    status_is 0 0
    sed -n 's/.*: \(.* of .*\) tokens are.*/\1/p' "$err" | same - <(common some next)
    tfm-run -m "$m" -n 30 --save-cache d -b 2 next >/dev/null
    cat d c | tfm-run -m "$m" -n 12 -T 1 --load-cache - next | tfm-cmp - want
    tfm-run -m "$m" -n 30 -N 3 -T 1 --save-cache e next >/dev/null # of the first sample
    [ "$(tfm-show e | grep -c group-end)" -eq 5 ]
}

@test "saving every group needs no more of the cache's budget" {
    seq 1 60 | tfm-tokenize -l -m "$m" >lines
    tfm-run -m "$m" -n 9 lines >want
    for kv in 20000 200000; do
        tfm-run -m "$m" -n 9 --kv-memory $kv --save-cache c lines | tfm-cmp - want
        [ "$(tfm-show c | grep -c group-end)" -eq 60 ]
    done
    tfm-run -m "$m" -n 9 --unordered --save-cache d lines >/dev/null
    tfm-run -m "$m" -n 9 --load-cache d lines | tfm-cmp - want
}

@test "a group of turns is saved when it has ended, with all its turns" {
    printf 'abc\nabc abd\n' | tfm-tokenize -l --turns -m "$m" >turns
    pipe 'tfm-run -v -m $m -n 3 --save-cache c turns >want'
    status_is 0
    [ "$(tfm-show c | grep -c group-end)" -eq 1 ]
    pipe 'tfm-run -v -m $m -n 3 --load-cache c turns | tfm-cmp - want'
    status_is 0 0
    [ "$(grep -c 'are in the cache' "$err")" -eq 2 ]
}

@test "longer than pages: saved and loaded again" {
    m=$top/share/models/story.tfms
    head -c 300 "$top/LICENSE" | tfm-tokenize -m "$m" >big
    [ "$(tfm-show --ids big | wc -w)" -gt 130 ]
    tfm-run -m "$m" --ignore-end -n 5 --save-cache c big >want
    tfm-run -m "$m" --ignore-end -n 5 --load-cache c --save-cache d big | tfm-cmp - want
    tfm-cmp c d
    tfm-run -m "$m" --ignore-end -n 5 --load-cache c --kv-memory 10000000 big | tfm-cmp - want
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
    pipe 'tfm-run -m $m --load-cache c --load-cache c short'
    last_is 2
    err_has 'given twice'
    head -c 3000 c >cut
    pipe 'tfm-run -m $m --load-cache cut short'
    last_is 3
    tfm-select --name tokens c >part
    pipe 'tfm-run -m $m --load-cache part short'
    last_is 3
    err_has 'blk.0.k'
    tfm-select --name 'blk.*' c >part
    pipe 'tfm-run -m $m --load-cache part short'
    last_is 3
    err_has 'a cache begins with its tokens'
    printf 'abc\nabd\n' | tfm-tokenize -l -m "$m" | tfm-run -m "$m" -n 2 --save-cache two >/dev/null
    head -c $(($(stat -c %s two) - 128)) two >cut # no END
    pipe 'tfm-run -m $m --load-cache cut short'
    last_is 3
    tfm-select -g 9 two >none
    pipe 'tfm-run -m $m --load-cache none short'
    last_is 3
    err_has 'no cache in it'
    pipe 'tfm-run -m $m --load-cache c --tap embed --tap-out x short'
    [ "${statuses[0]}" -eq 2 ]
}

@test "the seeds of the fuzz target are caches of its model" {
    m=$top/tests/fuzz/corpus/model/seed-rows.tfms
    echo 1 2 4 5 9 | tfm-tokenize -l --from-ids -m "$m" >p
    pipe 'tfm-run -v -d ref -m $m -n 1 --load-cache $top/tests/fuzz/corpus/cache/seed-two.tfms p >a'
    status_is 0
    err_has 'group 0: 4 of 5 tokens'
    tfm-run -d ref -m "$m" -n 1 p | tfm-cmp - a
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
    mkdir only
    seq 1 3000 | tfm-tokenize -l -m "$m" | tfm-run -m "$m" --save-cache only/c -o only/out 3>&- &
    local pid=$! status=0
    for _ in {1..200}; do
        [ "$(find only -type f | wc -l)" -lt 2 ] || break
        sleep 0.02
    done
    [ "$(find only -type f | wc -l)" -eq 2 ] # both are being written
    kill -TERM $pid
    wait $pid || status=$?
    [ $status = 143 ]
    [ -z "$(ls -A only)" ]
}

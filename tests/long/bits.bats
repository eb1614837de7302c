# bits.bats - tests/bits in a build whose cache has pages of 16 positions instead of 64: four times as
# many borders, forks that share more. The truths of both builds are the same, bit for bit.
LIMIT=${LIMIT:-600}
load ../helper

@test "pages of 16 positions give the bits of pages of 64" {
    unset LONG
    make -s -C "$top" BUILD="$tmp/small" CFLAGS="${CFLAGS:-} -DTFM_KV_PAGE=16u" \
        "$tmp"/small/tests/bits/test_bits{,_ref} >"$tmp/log" 2>&1 || { cat "$tmp/log"; return 1; }
    local name
    for name in test_bits test_bits_ref; do
        "$build/tests/bits/$name" >"$tmp/large" || { cat "$tmp/large"; return 1; }
        "$tmp/small/tests/bits/$name" >"$tmp/out" || { cat "$tmp/out"; return 1; }
        grep truth "$tmp/large" >"$tmp/want"
        grep truth "$tmp/out" | same - "$tmp/want"
    done
}

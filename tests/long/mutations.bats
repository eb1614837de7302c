# mutations.bats - 1,500 mutations of every fuzz target's corpus (more than 10,000 in all) under the
# address and undefined behaviour sanitizers: no crash, nothing over the time and memory limits of
# tests/fuzz/replay.c. The plain build does 10,000 for each target in the same run of check-long.
LIMIT=${LIMIT:-1200}
load ../helper

@test "mutated files, tokenizers, models and streams under the sanitizers" {
    cd "$top"
    env -u MAKEFLAGS -u MFLAGS make -s -j2 fuzzers BUILD=build-asan SAN=address,undefined \
        >"$tmp/make" 2>&1 ||
        { cat "$tmp/make"; false; }
    for source in tests/fuzz/fuzz_*.c; do
        name=$(basename "$source" .c)
        echo "$name"
        REPLAY_SAVE=$tmp/failed "build-asan/tests/fuzz/$name" -n 1500 \
            "tests/fuzz/corpus/${name#fuzz_}"
    done
}

#!/bin/bash
# fuzz.sh SECONDS - runs every tests/fuzz/fuzz_*.c under libFuzzer (clang, address and undefined
# behaviour sanitizers) for SECONDS each, starting from its corpus. New inputs go to build-fuzz/X,
# what crashed stands there as crash-*: fix, add the file to tests/fuzz/corpus/X, and `make check`
# replays it for ever. Without clang the deterministic mutator of replay.c runs instead.
set -u
seconds=${1:-60}
status=0
if command -v clang >/dev/null; then
    make -s lib BUILD=build-fuzz CC=clang SAN=address,undefined,fuzzer-no-link OPT=-O1 || exit 1
    pkgs='yaml-0.1 libpcre2-8 libutf8proc jansson zlib'
    for source in tests/fuzz/fuzz_*.c; do
        [ -e "$source" ] || { echo 'fuzz.sh: there is no fuzz target'; exit 1; }
        name=$(basename "$source" .c)
        # shellcheck disable=SC2046 # pkg-config prints words
        clang -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=address,undefined,fuzzer -Iinclude -Ilib \
            -o "build-fuzz/$name" "$source" build-fuzz/lib/libtfm.a \
            $(pkg-config --cflags --libs $pkgs) -lm -pthread || exit 1
        mkdir -p "build-fuzz/${name#fuzz_}"
        "build-fuzz/$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 \
            -artifact_prefix="build-fuzz/${name#fuzz_}/" -print_final_stats=0 \
            "build-fuzz/${name#fuzz_}" "tests/fuzz/corpus/${name#fuzz_}" || status=1
    done
else
    echo 'fuzz.sh: no clang here: running the mutations of replay.c'
    make -s fuzzers BUILD=build-asan SAN=address,undefined || exit 1
    for program in build-asan/tests/fuzz/fuzz_*; do
        case $program in *.[od]) continue ;; esac
        name=${program##*/fuzz_}
        timeout "$((seconds * 4))" "$program" -n 10000 -s "$RANDOM" "tests/fuzz/corpus/$name" ||
            status=1
    done
fi
exit "$status"

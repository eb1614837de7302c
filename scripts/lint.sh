#!/bin/bash
# lint.sh FILE.c... - runs the linters that are installed; names those that are not. Exit 1 on any
# finding. Which checks, and why some are off, stands here and in .clang-format, nowhere else.
set -u
status=0
ran=0

# The layout of a file whose tables were aligned by hand is switched off in the file itself
# (clang-format off), with the reason.
if command -v clang-format >/dev/null; then
    ran=1
    if ! clang-format --dry-run -Werror "$@" 2>/tmp/lint.$$; then
        grep 'error:' /tmp/lint.$$ | cut -d: -f1 | sort | uniq -c | sed 's/$/: not formatted: make fmt/'
        status=1
    fi
    rm -f /tmp/lint.$$
else
    echo 'lint: clang-format is not installed'
fi

sources=()
for file in "$@"; do
    [[ $file = lib/*.c || $file = tools/*.c ]] && sources+=("$file")
done
if command -v clang-tidy >/dev/null; then
    ran=1
    # .clang-tidy says what is looked for.
    printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 4 sh -c \
        'clang-tidy --quiet "$@" -- -std=c11 -D_GNU_SOURCE -DTFM_VERSION=\"0\" -Iinclude -Ilib 2>/dev/null' \
        sh || status=1
else
    echo 'lint: clang-tidy is not installed'
fi

if command -v cppcheck >/dev/null; then
    ran=1
    # warning,portability: real faults. missingInclude would ask for the system's headers.
    # What is suppressed it gets wrong: hex floats, _Noreturn functions, the #error for big-endian,
    # arrays that are filled in an unrolled loop, memory that leaves through a void * parameter.
    # (The compilers warn of uninitialised variables, the sanitizers of leaks.)
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingInclude --suppress=incorrectLogicOperator \
        --suppress=nullPointerRedundantCheck --suppress=preprocessorErrorDirective \
        --suppress=uninitvar --suppress=memleak -Iinclude -Ilib -D_GNU_SOURCE \
        -DTFM_VERSION='"0"' -j "$(nproc)" "${sources[@]}" || status=1
else
    echo 'lint: cppcheck is not installed'
fi

if command -v shellcheck >/dev/null; then
    ran=1
    shellcheck -S warning bootstrap .ci/run scripts/check-* scripts/*.sh scripts/*.bash tests/*.sh bench/*.sh \
        examples/*.sh || status=1
    # Its variables are used by the .bats files that load it.
    shellcheck -S warning -e SC2034 tests/helper.bash || status=1
fi

# The formatter leaves a comment as it is, however wide. In scripts a line may be long where it is
# data, a comment need not be.
wide() { # EXPRESSION FILE...
    LC_ALL=C.UTF-8 grep -HnE "$@" | cut -d: -f1,2 | sed 's/$/: wider than 100 columns/' | grep .
}
if wide '^.{101}' "$@"; then status=1; fi
if wide '^ *#.{100}|^ {4}#.{96}|^ {8}#.{92}' bootstrap Makefile scripts/* bench/*.{sh,py} examples/*.sh \
    tests/*.{bats,bash,sh}; then status=1; fi

# Marks of unfinished work, and paths of one person's machine, do not belong in the tree.
if grep -nwE 'TODO|FIXME|XXX' "$@"; then status=1; fi
for file in "$@"; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 800 ] || { echo "$file: $lines lines, the limit is 800"; status=1; }
done
[ "$ran" -eq 1 ] || { echo 'lint: no linter is installed'; status=1; }
exit "$status"

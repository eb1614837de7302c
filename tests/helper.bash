# helper.bash - what every .bats file loads: `load helper`.
#
#   @test "greedy text of the shipped model" {
#       needs_asset stories260K/expected.json
#       printf 'Once' >"$in"                      # optional: stdin of the first stage
#       pipe 'tfm-tokenize -m M | tfm-run | tfm-detok'
#       status_is 0 0 0                           # of every stage
#       same "$out" expected                      # bytes
#       [ ! -s "$err" ]
#   }
#
# Owns: the environment of a test (PATH, no TFM_* but TFM_ASSETS, C locale, time limit) and the one
# way to run a pipeline. `$output` of bats' own `run` drops NULs and final newlines, so bytes are
# compared in files. Use `run !` for what must fail, never a bare `! cmd`: bash lets that pass.
# Background jobs of a test close fd 3 (`cmd 3>&- &`), or bats waits for them.
#
# Known here: $top (the source tree), $build (its build folder), $tmp (an empty folder of this test,
# where pipelines run), $in $out $err (files in it), $statuses (array, after pipe).

bats_require_minimum_version 1.5.0

top=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
build=${BUILD:-build}
[[ $build = /* ]] || build=$top/$build
tmp=$BATS_TEST_TMPDIR
in=$tmp/in out=$tmp/out err=$tmp/err
statuses=()

# Seconds for one pipeline, and for one test; sanitizer builds are slower and set LIMIT.
pipe_limit=${LIMIT:-60}
test_limit=$((pipe_limit * 3))

# Ends what the test runs when its time is up; the test then fails by that command's status. (bats'
# own BATS_TEST_TIMEOUT makes bats wait for the whole time when a setup fails.) The watcher holds no
# file descriptor of the test and leaves within a second of its end.
_kill_below() {
    local child
    for child in $(pgrep -P "$1"); do
        _kill_below "$child"
        kill -KILL "$child"
    done
}
_watch_test() {
    (
        exec </dev/null >/dev/null 2>&1 3>&-
        (
            for ((s = 0; s < $1; s++)); do
                sleep 1
                kill -0 $$ || exit
            done
            while kill -0 $$; do
                _kill_below $$
                sleep 1
            done
        ) &
    )
}
[ -z "${BATS_TEST_NAME:-}" ] || _watch_test "$test_limit"

for name in "${!TFM_@}"; do
    [ "$name" = TFM_ASSETS ] || unset "$name"
done
# A make that a test starts is no part of the one that runs the tests.
unset name MAKEFLAGS MFLAGS MAKELEVEL
export LC_ALL=C TZ=UTC TERM=dumb

# Only programs of this build are found: a tool that is not built is a stub that says so and exits
# 99, even where an installed one stands further down in PATH.
_stubs=$build/tests/stubs
_make_stubs() {
    local tool
    mkdir -p "$_stubs.$$"
    printf '#!/bin/sh\necho "${0##*/}: not built; an installed one is never tested" >&2\nexit 99\n' \
        >"$_stubs.$$/stub"
    chmod +x "$_stubs.$$/stub"
    for tool in $(compgen -c tfm- | sort -u) tfm-{tokenize,detok,embed,attend,unembed,sample,run} \
        tfm-{score,pool,prompt,convert,vocab,train,show,export,import,cat,head,select,check} \
        tfm-{cmp,bench}; do
        ln -sf stub "$_stubs.$$/$tool"
    done
    # The first of several jobs wins; mv fails for the others, whose folder is the same.
    mv -T "$_stubs.$$" "$_stubs" 2>/dev/null || rm -rf "$_stubs.$$"
}
[ -d "$_stubs" ] || _make_stubs
export PATH="$build/bin:$_stubs:$PATH"

# pipe 'a | b | c': runs the pipeline in $tmp by bash, stdin from $in if that file exists (else
# empty), stdout to $out, stderr of all stages to $err, every stage's status to the array
# `statuses`. Variables and functions of the test are seen. Succeeds whatever the stages return;
# fails only when the time limit passed. `pipe` can be used for one command too, and for a list (`a;
# b | c`), whose last pipeline gives the statuses.
pipe() {
    local late=
    rm -f "$tmp/.statuses" "$tmp/.late"
    [ -e "$in" ] || : >"$tmp/.empty"
    (
        set +eETu
        trap - ERR DEBUG EXIT
        cd "$tmp" || exit
        # Job control gives the pipeline a process group of its own, so that all of it can be ended.
        set -m
        (
            exec <"$([ -e "$in" ] && echo "$in" || echo "$tmp/.empty")" >"$out" 2>"$err" 3>&-
            eval "$1"$'\n''printf "%s\n" "${PIPESTATUS[*]}" >"$tmp/.statuses"'
        ) &
        job=$!
        (
            sleep "$pipe_limit"
            : >"$tmp/.late"
            kill -KILL -- "-$job"
        ) 3>&- >/dev/null 2>&1 &
        watch=$!
        wait "$job"
        kill -KILL -- "-$watch"
    ) >/dev/null 2>&1 || :
    [ ! -e "$tmp/.late" ] || late=1
    statuses=(lost)
    [ ! -s "$tmp/.statuses" ] || read -r -a statuses <"$tmp/.statuses"
    if [ -n "$late" ]; then
        echo "time limit of $pipe_limit s passed: $1"
        _show_run
        return 1
    fi
}

_show_run() {
    echo "statuses: ${statuses[*]}"
    if [ -s "$err" ]; then
        echo "stderr:"
        head -c 2000 "$err"
    fi
}

# status_is 0 0 3: the statuses of all stages, exactly.
status_is() {
    [ "${statuses[*]}" = "$*" ] && return
    echo "expected: $*"
    _show_run
    return 1
}

# last_is 3: the status of the last stage, whatever the others gave.
last_is() {
    [ "${statuses[-1]}" = "$1" ] && return
    echo "expected of the last stage: $1"
    _show_run
    return 1
}

# same A B: the same bytes.
same() {
    cmp -- "$1" "$2" && return
    echo "--- $1"
    head -c 600 "$1" | od -An -c | head -20
    echo "--- $2"
    head -c 600 "$2" | od -An -c | head -20
    return 1
}

# out_is TEXT: $out holds exactly TEXT and one newline; err_is likewise for $err.
out_is() { printf '%s\n' "$1" | same "$out" -; }
err_is() { printf '%s\n' "$1" | same "$err" -; }

# err_has TEXT: $err is not empty and holds TEXT.
err_has() {
    grep -qF -- "$1" "$err" && return
    echo "expected in stderr: $1"
    _show_run
    return 1
}

# one_line FILE: exactly one line, ended by a newline.
one_line() {
    [ "$(wc -l <"$1")" -eq 1 ] && [ -z "$(tail -c1 "$1")" ] && return
    echo "not exactly one line: $1"
    head -c 2000 "$1"
    return 1
}

# needs_asset PATH: skips the test when $TFM_ASSETS/PATH is not there (with REQUIRE_ASSETS=1:
# fails); sets $asset to the full path.
needs_asset() {
    asset=${TFM_ASSETS:-}/$1
    [ -n "${TFM_ASSETS:-}" ] && [ -e "$asset" ] && return
    if [ "${REQUIRE_ASSETS:-0}" = 1 ]; then
        echo "missing, and REQUIRE_ASSETS=1: \$TFM_ASSETS/$1"
        return 1
    fi
    skip "needs \$TFM_ASSETS/$1"
}

# needs_numpy: sets $python to a python3 that has NumPy (the first in PATH may be one of the user's
# own that has not), else skips as needs_program does.
needs_numpy() {
    for python in python3 /usr/bin/python3; do
        ! "$python" -c 'import numpy' 2>/dev/null || return 0
    done
    if [ "${REQUIRE_ASSETS:-0}" = 1 ]; then
        echo 'missing, and REQUIRE_ASSETS=1: NumPy for python3'
        return 1
    fi
    skip 'needs NumPy for python3'
}

# needs_program NAME: skips when a program that is only needed for testing is not installed.
needs_program() {
    command -v "$1" >/dev/null && return
    if [ "${REQUIRE_ASSETS:-0}" = 1 ]; then
        echo "missing, and REQUIRE_ASSETS=1: program $1"
        return 1
    fi
    skip "needs the program $1"
}

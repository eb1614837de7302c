# house.bats - the tree itself: bootstrap, install, archive, layers, pages, and the test runner.
load helper

setup() {
    cd "$top"
}

# A PATH with every program of this machine but those named.
path_without() {
    mkdir "$tmp/bin"
    ln -s /usr/local/bin/* /bin/* /usr/bin/* "$tmp/bin/" 2>/dev/null || :
    for name in "$@" sudo apt-get; do rm -f "$tmp/bin/$name"; done
}

@test "make help names every target of the design" {
    pipe 'make -s -C "$top" help'
    status_is 0
    for target in all help check check-long check-gpu asan ubsan tsan fuzz lint fmt check-man \
        check-layers bench install uninstall dist clean demo print-tools; do
        grep -qE "^$target " "$out" || { echo "not there: $target"; return 1; }
    done
}

@test "bootstrap: no argument, or a wrong one, is a usage error" {
    run -2 ./bootstrap
    run -2 ./bootstrap everything
    [[ $output == "usage: "* ]]
}

@test "bootstrap: nothing missing, nothing done" {
    path_without nothing
    printf '#!/bin/sh\necho "$@" >>"%s/apt"\n' "$tmp" >"$tmp/bin/apt-get"
    chmod +x "$tmp/bin/apt-get"
    PATH=$tmp/bin run -0 ./bootstrap deps
    [ ! -e "$tmp/apt" ]
}

@test "bootstrap: without rights the exact line, exit 5" {
    path_without mandoc id
    printf '#!/bin/sh\necho 1000\n' >"$tmp/bin/id"
    printf '#!/bin/sh\nexit 99\n' >"$tmp/bin/apt-get"
    chmod +x "$tmp/bin/id" "$tmp/bin/apt-get"
    PATH=$tmp/bin run -5 ./bootstrap check
    [ "$output" = "bootstrap: missing packages, and no rights to install them: sudo apt-get \
install -y --no-install-recommends mandoc" ]
}

@test "bootstrap: without apt-get the names, exit 5" {
    path_without mandoc bats
    PATH=$tmp/bin run -5 ./bootstrap check
    [ "$output" = "bootstrap: please install (Debian names): bats mandoc" ]
}

@test "bootstrap: as root it runs the line that it prints" {
    path_without mandoc id
    printf '#!/bin/sh\necho 0\n' >"$tmp/bin/id"
    printf '#!/bin/sh\necho "$@" >>"%s/apt"\nprintf "#!/bin/sh\\n" >"%s/bin/mandoc"\nchmod +x "%s/bin/mandoc"\n' \
        "$tmp" "$tmp" "$tmp" >"$tmp/bin/apt-get"
    chmod +x "$tmp/bin/id" "$tmp/bin/apt-get"
    PATH=$tmp/bin run -0 ./bootstrap deps
    [ "$(cat "$tmp/apt")" = "install -y --no-install-recommends mandoc" ]
    [[ $output == "bootstrap: apt-get install -y --no-install-recommends mandoc"* ]]
}

@test "install gives a tree that works from there, uninstall takes it away" {
    root=$tmp/root
    make -s install DESTDIR="$root" PREFIX=/opt/tfm
    for tool in $(make -s print-tools); do
        run -0 "$root/opt/tfm/bin/$tool" -V
    done
    [ -e "$root/opt/tfm/lib/libtfm.so" ]
    [ -e "$root/opt/tfm/share/tfm/arch/llama.yaml" ]
    cmp share/models/story.tfms "$root/opt/tfm/share/tfm/models/story.tfms"
    [ -e "$root/opt/tfm/share/man/man7/tfm.7" ]
    # The architectures that a conversion needs are found beside the program.
    mv "$root" "$tmp/moved"
    PATH=$tmp/moved/opt/tfm/bin:$PATH
    pipe 'tfm-convert "$top/tests/golden/hf/llama-tied" -o m.tfms'
    status_is 0
    pipe 'echo hello | tfm-tokenize -m m.tfms | tfm-run -m m.tfms -n 3 | tfm-detok'
    status_is 0 0 0 0
    make -s uninstall DESTDIR="$tmp/moved" PREFIX=/opt/tfm
    [ -z "$(find "$tmp/moved" ! -type d)" ]
}

@test "a program can be built against what is installed" {
    root=$tmp/root
    make -s install DESTDIR="$root" PREFIX=/usr
    for header in include/tfm/*.h; do
        echo "#include \"tfm/${header##*/}\""
    done >"$tmp/use.c"
    cat >>"$tmp/use.c" <<'END'
#include <stdio.h>
int main(void)
{
    tfm_error err = {0};
    tfm_status st = tfm_fail(&err, TFM_FORMAT, "%s", "seen");
    printf("%s %d\n", err.message, tfm_status_exit(st));
    return 0;
}
END
    flags=$(PKG_CONFIG_PATH=$root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root \
        pkg-config --define-variable=prefix="$root/usr" --cflags --libs tfm | sed "s|$root$root|$root|g")
    # shellcheck disable=SC2086 # words
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror ${SAN:+-fsanitize=$SAN} "$tmp/use.c" -I"$root/usr/include" \
        -L"$root/usr/lib" $flags -o "$tmp/use"
    LD_LIBRARY_PATH=$root/usr/lib run -0 "$tmp/use"
    [ "$output" = "seen 3" ]
}

@test "dist: the same archive twice, with every tracked file" {
    git rev-parse --git-dir >/dev/null 2>&1 || skip "not a git checkout"
    make -s dist
    version=$(sed -n 's/^VERSION *:= *//p' Makefile)
    cp "$build/tfm-$version.tar.gz" "$tmp/first"
    make -s dist
    same "$tmp/first" "$build/tfm-$version.tar.gz"
    tar -tzf "$tmp/first" | sed "s,^tfm-$version/,," | sort >"$tmp/have"
    git ls-files | LC_ALL=C sort >"$tmp/want"
    same "$tmp/have" "$tmp/want"
}

@test "layers: this tree is clean" {
    run -0 bash scripts/check-layers "$build"
}

@test "layers: a breach of each kind is found" {
    mkdir "$tmp/tree"
    cp -r include lib tools scripts "$tmp/tree"
    cd "$tmp/tree"
    echo '#include "arch/arch_internal.h"' >>lib/stream/reader.c
    echo '#include "model/model_internal.h"' >>include/tfm/stream.h
    mkdir -p tools/new
    echo '#include "base/base_internal.h"' >tools/new/main.c
    touch lib/base/other.h
    cat >bad.c <<'END'
#include <stdio.h>
#include <stdlib.h>
void not_ours(void)
{
    puts(getenv("HOME"));
}
END
    mkdir -p b/lib
    cc -c -o bad.o bad.c
    ar rc b/lib/libtfm.a bad.o
    cc -shared -fPIC -o b/lib/libtfm.so bad.c
    run -1 bash scripts/check-layers b
    for breach in 'lib/stream/reader.c: includes "arch/arch_internal.h", a later layer' \
        'include/tfm/stream.h: includes "model/model_internal.h", a later layer' \
        'tools/new/main.c: a tool includes "base/base_internal.h"' \
        "lib/base/other.h: a private header's name ends in _internal.h" \
        'bad.o:: the library uses getenv' 'bad.o:: the library uses puts' \
        'b/lib/libtfm.a: not_ours does not start with tfm_' 'b/lib/libtfm.so: exports not_ours'; do
        [[ $output == *"$breach"* ]] || { echo "not found: $breach"; echo "$output"; return 1; }
    done
}

@test "pages: lint, options and examples" {
    needs_program mandoc
    run -0 bash scripts/check-man "$build"
    [[ $output == "check-man: good"* ]]
}

@test "pages: an option, an example and a macro that are wrong are found" {
    needs_program mandoc
    cat >"$tmp/bad.1" <<'END'
.Dd January 1, 2026
.Dt BAD 1
.Os
.Sh NAME
.Nm bad
.Nd wrong
.Sh EXAMPLES
.Bd -literal
$ printf 'one\entwo\en'
one
three
$ printf 'a\enb\enc\en'
a
\&...
$ echo \e
left
left
.Ed
.Xx
END
    run -1 bash scripts/check-man "$build" "$tmp/bad.1"
    [[ $output == *'-three'* ]]
    [[ $output == *'+two'* ]]
    [[ $output == *'unknown macro'* ]]
    run ! grep -xE -e '-(a|left)' <<<"$output"
}

@test "the runner: a job that tests nothing, hangs, or dies is a failure; a skip is named" {
    mkdir "$tmp/jobs" "$tmp/results"
    printf '#!/bin/sh\n' >"$tmp/jobs/nothing"
    printf '#!/bin/sh\necho "ok - one"\nkill -9 $$\n' >"$tmp/jobs/dies"
    printf '#!/bin/sh\necho "ok - one"\nsleep 20\n' >"$tmp/jobs/hangs"
    printf '#!/bin/sh\necho "ok - one"\necho "ok - two # SKIP why"\n' >"$tmp/jobs/skips"
    chmod +x "$tmp"/jobs/*
    for job in nothing dies hangs; do
        JOB_LIMIT=1 bash tests/run.sh "$tmp/jobs/$job" "$tmp/results/$job/r"
        run -1 bash tests/summary.sh "$tmp/results/$job"
        [[ ${lines[-1]} == *" 1 failed, 0 skipped" ]]
    done
    bash tests/run.sh "$tmp/jobs/skips" "$tmp/results/skips/r"
    REQUIRE_ASSETS=0 run -0 bash tests/summary.sh "$tmp/results/skips"
    [ "${lines[0]}" = "skipped: r: - two # SKIP why" ]
    [ "${lines[1]}" = "1 passed, 0 failed, 1 skipped" ]
    REQUIRE_ASSETS=1 run -1 bash tests/summary.sh "$tmp/results/skips"
    mkdir "$tmp/empty"
    run -1 bash tests/summary.sh "$tmp/empty"
}

@test "completion offers the options of the program itself, and files" {
    complete_words() { # WORD...: the completions of the last one
        bash --norc -c 'source "$0/scripts/completion.bash"; shift 0
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _tfm "$1"; printf "%s\n" "${COMPREPLY[@]}"' "$top" "$@"
    }
    cd "$tmp"
    touch one.tfms
    [ "$(complete_words tfm-cat --ou)" = --output ]
    [ "$(complete_words tfm-cat --output on)" = one.tfms ]
    [ "$(complete_words tfm-cat on)" = one.tfms ]
    [ -z "$(complete_words tfm-cat --no-such)" ]
    complete_words tfm-head - | grep -qx -e -g
}

@test "the demo writes text and shows the pipeline that did it" {
    pipe 'sh "$top/examples/demo.sh"'
    status_is 0
    [ ! -s "$err" ]
    [ "$(grep -c '^\$ echo .* | tfm-tokenize .* | tfm-run .* | tfm-detok$' "$out")" -eq 2 ]
    # What stands below the first of them is what it printed.
    command=$(sed -n 's/^\$ //p' "$out" | head -n 1)
    sed -n '/^\$ /,/^$/p' "$out" | sed '1d' | sed '/^$/,$d' >"$tmp/shown"
    (cd "$top/share/models" && eval "$command") | sed '/^$/,$d' >"$tmp/again"
    [ -s "$tmp/shown" ]
    same "$tmp/shown" "$tmp/again"
}

# contract.bats - DESIGN 8 over every program of `make print-tools`: options, messages, exit
# statuses, the output file, pipes that close, terminals. One table (use_of) says how each is
# called; a program that is not in it fails the first test. What a program computes is tested
# elsewhere.
load helper

setup_file() {
    export shared=$BATS_FILE_TMPDIR
    cd "$shared"
    tfm-convert "$top/tests/golden/hf/llama-tied" -o m.tfms
    seq 1 2000 >lines.txt
    tfm-tokenize -l -m m.tfms lines.txt -o tokens.tfms
    tfm-export tokens.tfms -o tokens.jsonl
    if [ -x "$build/bin/tfm-embed" ]; then
        tfm-embed -m m.tfms tokens.tfms -o hidden.tfms
        tfm-attend -m m.tfms hidden.tfms -o attended.tfms
    fi
    head -c 5000 /dev/zero | tr '\0' '\377' >garbage
    : >empty
    printf '[{"role": "user", "content": "%s"}]' "$(tr '\n' ' ' <lines.txt)" >chat.json
    TOOLS=$(make -s -C "$top" print-tools)
    export TOOLS
}

setup() {
    cd "$tmp"
    ln -s "$shared"/* .
    ln -s "$top/tests/contract/logits.tfms" logits.tfms
}

# use_of TOOL: sets how it is called so that it works and writes something.
#   args     with stdin from `from`
#   takes    what stdin is: stream (garbage and nothing are exit 3), text (any bytes are good),
#            answer (the verdict is the status: 1), json (garbage and nothing are exit 3),
#            file (an operand), model (nothing but what -m names)
#   writes   stream (binary), text, figures (text that is another each time), or nothing
use_of() {
    from=tokens.tfms takes=stream writes=stream
    case $1 in
    tfm-bench)
        args=(-m m.tfms --prompt 4 --generate 2 -b 1 --context 4 --repeat 1 --no-limits)
        from=empty takes=model writes=figures
        ;;
    tfm-attend) args=(-m m.tfms) from=hidden.tfms ;;
    tfm-cat) args=() ;;
    tfm-check) args=() takes=answer writes=nothing ;;
    tfm-cmp) args=(- tokens.tfms) writes=nothing ;;
    tfm-convert) args=(m.tfms) from=empty takes=file ;;
    tfm-detok) args=(-m m.tfms) writes=text ;;
    tfm-embed) args=(-m m.tfms) ;;
    tfm-export) args=(--to jsonl) writes=text ;;
    tfm-head) args=(-g 1500) ;;
    tfm-import) args=() from=tokens.jsonl ;;
    tfm-pool) args=() from=hidden.tfms ;;
    tfm-prompt) args=(-m m.tfms --template chatml) from=chat.json takes=json ;;
    tfm-run) args=(-m m.tfms -n 3) ;;
    tfm-sample) args=() from=logits.tfms ;;
    tfm-score) args=(-m m.tfms) writes=text ;;
    tfm-select) args=(-g 0-1500) ;;
    tfm-show) args=() writes=text ;;
    tfm-unembed) args=(-m m.tfms) from=attended.tfms ;;
    tfm-tokenize) args=(-l -m m.tfms) from=lines.txt takes=text ;;
    *)
        echo "$1 is not in the table of tests/contract.bats"
        return 1
        ;;
    esac
}

# each FUNCTION: runs it for every program and reports all that fail.
each() {
    local tool failed=0
    for tool in $TOOLS; do
        use_of "$tool" || { failed=1; continue; }
        if ! "$1" "$tool" >"$tmp/why" 2>&1; then
            echo "--- $tool"
            cat "$tmp/why"
            failed=1
        fi
    done
    [ -n "$TOOLS" ] && [ "$failed" -eq 0 ]
}

# call [STATUS ARGS...]: runs $tool with stdin from $from, expects the status.
call() {
    local want=$1 got=0
    shift
    timeout 60 "$tool" "$@" <"$from" >"$out" 2>"$err" || got=$?
    [ "$got" -eq "$want" ] && return
    echo "$tool $*: status $got, not $want"
    head -c 500 "$err"
    return 1
}

# same_bytes A B: figures are not compared, but there are some.
same_bytes() {
    if [ "$writes" = figures ]; then [ -s "$1" ] && [ -s "$2" ]; else cmp "$1" "$2"; fi
}

# One line on stderr that begins with the program's name.
one_message() {
    one_line "$err" && grep -q "^$tool: " "$err"
}

@test "the table knows every program, and its call works" {
    works() {
        call 0 "${args[@]}" || return
        [ ! -s "$err" ] || { cat "$err"; return 1; }
        if [ "$writes" = nothing ]; then [ ! -s "$out" ]; else [ -s "$out" ]; fi
    }
    each works
}

@test "-h, --help and -V: to stdout, exit 0" {
    helps() {
        call 0 -h && grep -q "^Usage: $tool" "$out" && [ ! -s "$err" ] &&
            cp "$out" "$tmp/short" && call 0 --help && cmp "$out" "$tmp/short" &&
            [ "$(awk 'length > 100' "$out" | wc -l)" -eq 0 ] || { echo 'help is wrong'; return 1; }
        call 0 -V && grep -qxE "$tool \(tfm\) [0-9]+\.[0-9]+\.[0-9]+" "$out" && [ ! -s "$err" ] &&
            cp "$out" "$tmp/short" && call 0 --version && cmp "$out" "$tmp/short"
    }
    each helps
}

@test "usage errors: exit 2, one line, nothing on stdout" {
    refuses() {
        local bad
        for bad in --no-such-option -% --no-such-option=3 --vers --outpu=x; do
            call 2 "$bad" && one_message && [ ! -s "$out" ] || { echo "$bad"; return 1; }
            grep -q -e "$tool: ${bad%%=*}: " "$err" || { cat "$err"; return 1; }
        done
        call 2 -o && one_message && call 2 --quiet=1 && one_message
    }
    each refuses
}

@test "every option that takes a whole number refuses what is none" {
    refuses() {
        local letter name arg
        while IFS=$'\t' read -r letter name arg _; do
            [ "$arg" = N ] || continue
            call 2 "${args[@]}" "--$name=12x" && one_message && [ ! -s "$out" ] || return
            call 2 "${args[@]}" "--$name=" && one_message || return
        done < <("$tool" --help-options | sed 's/^\t/-\t/')
    }
    each refuses
}

@test "a letter has one meaning over all programs" {
    for tool in $TOOLS; do "$tool" --help-options; done |
        awk -F'\t' '$1 != "" {print $1, $2}' | sort -u >"$tmp/meanings"
    [ -s "$tmp/meanings" ]
    [ -z "$(cut -d' ' -f1 "$tmp/meanings" | uniq -d)" ] || {
        cat "$tmp/meanings"
        return 1
    }
}

@test "/dev/full: exit 5 and one line" {
    full() {
        local status=0 option
        [ "$writes" != nothing ] || return 0
        "$tool" "${args[@]}" <"$from" >/dev/full 2>"$err" || status=$?
        [ "$status" -eq 5 ] && one_message || { echo "status $status"; cat "$err"; return 1; }
        for option in --help --version; do
            status=0
            "$tool" "$option" >/dev/full 2>"$err" || status=$?
            [ "$status" -eq 5 ] && one_message || { echo "$option: $status"; return 1; }
        done
    }
    each full
}

@test "a closed stdout or stdin is an error, not silence" {
    closed() {
        local status=0
        if [ "$writes" != nothing ]; then
            "$tool" "${args[@]}" <"$from" >&- 2>"$err" || status=$?
            [ "$status" -eq 5 ] && one_message || { echo "stdout: $status"; cat "$err"; return 1; }
        fi
        [ "$takes" != file ] && [ "$takes" != model ] || return 0
        status=0
        "$tool" "${args[@]}" <&- >"$out" 2>"$err" || status=$?
        [ "$status" -eq 5 ] && one_message || { echo "stdin: $status"; cat "$err"; return 1; }
    }
    each closed
}

@test "garbage input: exit 3 and one line" {
    garbage() {
        case $takes in
        stream | json) from=garbage && call 3 "${args[@]}" && one_message ;;
        file) call 3 garbage && one_message ;;
        model) call 3 -m garbage && one_message ;;
        answer) from=garbage && call 1 "${args[@]}" && [ ! -s "$err" ] && one_line "$out" ;;
        text) : ;;
        esac
    }
    each garbage
}

@test "input of no bytes: exit 3 and one line" {
    nothing() {
        case $takes in
        stream | json) from=empty && call 3 "${args[@]}" && one_message ;;
        file) call 3 empty && one_message ;;
        model) call 3 -m empty && one_message ;;
        answer) from=empty && call 1 "${args[@]}" && one_line "$out" ;;
        text) from=empty && call 3 --no-special -m m.tfms && one_message && call 0 "${args[@]}" ;;
        esac
    }
    each nothing
}

@test "a cut stream: exit 3, never less" {
    cut_short() {
        case $takes in
        stream)
            head -c 12000 "$from" >cut.tfms
            from=cut.tfms
            [ "$tool" != tfm-head ] && [ "$tool" != tfm-select ] || args=(-g 0-4294967294)
            [ "$tool" != tfm-head ] || args=(-g 4294967295)
            call 3 "${args[@]}" && one_message
            ;;
        answer) head -c 12000 "$from" >cut.tfms && from=cut.tfms && call 1 "${args[@]}" ;;
        file) head -c 3000 m.tfms >cut-model && call 3 cut-model && one_message ;;
        model) head -c 3000 m.tfms >cut-model && call 3 -m cut-model && one_message ;;
        esac
    }
    each cut_short
}

@test "a file that cannot be read: exit 5, one line that names it" {
    mkdir folder
    unreadable() {
        local path
        for path in no-such-file folder; do
            if [[ $tool = tfm-@(bench|convert) ]] && [ "$path" = folder ]; then continue; fi
            case $tool in
            tfm-cmp) call 5 "$path" tokens.tfms ;;
            tfm-convert) call 5 "$path" ;;
            tfm-bench) call 5 -m "$path" ;;
            *) call 5 "${args[@]}" "$path" ;;
            esac && one_message && grep -q "^$tool: $path: " "$err" || { cat "$err"; return 1; }
        done
    }
    each unreadable
}

@test "a reader that left: ended by SIGPIPE, quietly, even where it was ignored" {
    leaves() {
        local status
        [ "$writes" != nothing ] || return 0
        # A FIFO whose reader has gone before the program starts makes every write fail.
        rm -f fifo && mkfifo fifo
        (exec <fifo) 3>&- &
        exec 7>fifo
        wait "$!"
        status=0
        (
            trap '' PIPE
            exec "$tool" "${args[@]}" <"$from" >&7 2>"$err"
        ) || status=$?
        exec 7>&-
        [ "$status" -eq 141 ] && [ ! -s "$err" ] || { echo "status $status"; cat "$err"; return 1; }
    }
    each leaves
}

@test "-o FILE: the same bytes as stdout, nothing on stdout, no other file left" {
    to_file() {
        call 0 "${args[@]}" --no-prov || return
        cp "$out" want
        rm -rf o && mkdir o
        call 0 "${args[@]}" --no-prov -o o/file && [ ! -s "$out" ] && same_bytes o/file want &&
            [ "$(ls -A o)" = file ]
    }
    each to_file
}

@test "-o FILE after a failure: the file is the old one" {
    fails() {
        rm -rf o && mkdir o && echo old >o/file
        case $takes in
        stream | json) from=garbage && call 3 "${args[@]}" -o o/file ;;
        file) call 3 garbage -o o/file ;;
        model) call 3 -m garbage -o o/file ;;
        answer) return 0 ;;
        text) call 5 "${args[@]}" no-such-file -o o/file ;;
        esac && [ "$(cat o/file)" = old ] && [ "$(ls -A o)" = file ]
    }
    each fails
}

@test "-o FILE and SIGTERM: no partial file, nothing left beside it" {
    terminated() {
        local status=0 pid
        [ "$takes" != file ] && [ "$takes" != model ] || return 0
        rm -rf o fifo && mkdir o && mkfifo fifo
        "$tool" "${args[@]}" -o o/file <fifo >"$out" 2>"$err" 3>&- &
        pid=$!
        exec 7>fifo
        head -c 2000 "$(readlink -f "$from")" >&7
        # It has the temporary open, or will never have: both are seen in o/.
        for _ in $(seq 50); do
            [ -n "$(ls -A o)" ] && break
            sleep 0.02
        done
        kill -TERM "$pid"
        wait "$pid" || status=$?
        exec 7>&-
        [ "$status" -eq 143 ] && [ -z "$(ls -A o)" ] && [ ! -s "$err" ] ||
            { echo "status $status"; ls -A o; cat "$err"; return 1; }
    }
    each terminated
}

@test "binary output is refused on a terminal" {
    needs_program script
    terminal() {
        local status=0
        [ "$writes" = stream ] || return 0
        printf '%q ' "$tool" "${args[@]}" >line
        echo "<$from 2>$err" >>line
        script -qec "bash $tmp/line" /dev/null </dev/null >"$out" 2>&1 || status=$?
        [ "$status" -eq 2 ] && one_message && [ ! -s "$out" ] ||
            { echo "status $status"; cat "$err"; return 1; }
    }
    each terminal
}

@test "TFM_MODEL is the default of -m, and -m overrides it" {
    by_environment() {
        [[ " ${args[*]} " == *" -m "* ]] || return 0
        call 0 "${args[@]}" --no-prov || return
        cp "$out" want
        local i kept=()
        for ((i = 0; i < ${#args[@]}; i++)); do
            if [ "${args[i]}" = -m ]; then i=$((i + 1)); else kept+=("${args[i]}"); fi
        done
        TFM_MODEL=m.tfms call 0 "${kept[@]}" --no-prov && same_bytes "$out" want || return
        TFM_MODEL=no-such-file call 0 "${args[@]}" --no-prov && same_bytes "$out" want
    }
    each by_environment
}

@test "TFM_DEVICE and TFM_THREADS are defaults: a wrong one is named, an option overrides it" {
    by_environment() {
        if "$tool" --help-options | grep -q "^d	"; then
            ! TFM_DEVICE=abacus call 0 "${args[@]}" >/dev/null || return
            one_message && grep -q abacus "$err" || return
            TFM_DEVICE=abacus call 0 "${args[@]}" -d ref || return
        fi
        if "$tool" --help-options | grep -q "^t	"; then
            TFM_THREADS=many call 2 "${args[@]}" && one_message || return
            grep -q 'TFM_THREADS' "$err" || return
            TFM_THREADS=many call 0 "${args[@]}" -t 1 || return
        fi
    }
    each by_environment
}

@test "TFM_NO_PROV and --no-prov: no provenance; without them a line of this program" {
    provenance() {
        [ "$writes" = stream ] || return 0
        call 0 "${args[@]}" && grep -aq "^prov {\"tool\":\"$tool\"" "$out" || return
        call 0 "${args[@]}" --no-prov && ! grep -aq "^prov {\"tool\":\"$tool\"" "$out" || return
        cp "$out" want
        TFM_NO_PROV=1 call 0 "${args[@]}" && cmp "$out" want
    }
    each provenance
}

@test "the output does not depend on the locale, and no program needs HOME" {
    elsewhere() {
        call 0 "${args[@]}" || return
        cp "$out" want
        env -i PATH="$PATH" LC_ALL=de_DE.UTF-8 LANG=tr_TR.UTF-8 "$(command -v "$tool")" "${args[@]}" \
            <"$from" >"$out" 2>"$err" && same_bytes "$out" want
    }
    each elsewhere
}

@test "several files are one after the other, and - is stdin" {
    several() {
        # tfm-show names the file that it shows, tfm-cmp has two.
        [ "$takes" = stream ] && [ "$tool" != tfm-cmp ] && [ "$tool" != tfm-show ] || return 0
        cat "$(readlink -f "$from")" "$(readlink -f "$from")" >twice
        call 0 "${args[@]}" --no-prov "$from" - || return
        cp "$out" want
        from=twice call 0 "${args[@]}" --no-prov && cmp "$out" want
    }
    each several
}

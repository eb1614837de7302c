# stream.bats - the format's page, its reader, and damage seen through the programs.
load helper

streams=$top/tests/streams

# The reader that stands in tfm-stream(5), compiled; there is nothing in it to unescape.
make_reader() {
    awk '/^\.Bd -literal$/ {lit = 1; next} /^\.Ed/ {lit = 0} lit' "$top/man/tfm-stream.5" >tfms.c
    ${CC:-cc} -std=c99 -Wall -Werror -o tfms tfms.c
}

# The plain bytes of a file of the corpus: the reader of the page knows no gzip.
plain() {
    case $1 in *good-gzip*) gzip -dc "$1" ;; *) cat "$1" ;; esac
}

# What a file's name says: the exit status of a reader.
verdict() {
    case ${1##*/} in good-*) echo 0 ;; *) echo 3 ;; esac
}

@test "the page's reader has at most 100 lines of 80 columns and needs no unescaping" {
    cd "$tmp"
    awk '/^\.Bd -literal$/ {lit = 1; next} /^\.Ed/ {lit = 0} lit' "$top/man/tfm-stream.5" >tfms.c
    [ "$(wc -l <tfms.c)" -gt 50 ]
    [ "$(wc -l <tfms.c)" -le 100 ]
    run ! grep -nE '.{81}|\\' tfms.c
}

@test "the page's reader judges every stream of the corpus as its name says" {
    cd "$tmp"
    make_reader
    local file status n=0
    for file in "$streams"/*.tfms; do
        status=0
        plain "$file" | ./tfms 2>message || status=$?
        echo "$file: $status $(cat message)"
        [ "$status" -eq "$(verdict "$file")" ]
        n=$((n + 1))
    done
    [ "$n" -gt 60 ]
}

@test "the page's reader notices every flipped byte of a stream" {
    cd "$tmp"
    make_reader
    local file=$streams/good-tokens.tfms size i status byte
    size=$(stat -c %s "$file")
    for ((i = 0; i < size; i += 7)); do
        cp "$file" damaged
        byte=$(od -An -tu1 -j "$i" -N 1 "$file")
        printf "\\$(printf %o $((byte ^ (1 << i % 8))))" | dd of=damaged bs=1 seek="$i" conv=notrunc status=none
        status=0
        ./tfms <damaged 2>message || status=$?
        echo "byte $i: $status"
        [ "$status" -eq 3 ]
    done
}

@test "the page's header is that of a file of the corpus" {
    cd "$tmp"
    awk '/^\.Bd -literal -offset indent$/ {lit = 1; next} /^\.Ed/ {lit = 0} lit' \
        "$top/man/tfm-stream.5" >header
    head -n 7 "$streams/good-tokens.tfms" | same header -
}

@test "tfm-check and tfm-cat judge every stream of the corpus as its name says" {
    local file want
    for file in "$streams"/*.tfms; do
        want=$(verdict "$file")
        echo "$file"
        pipe "tfm-check '$file'"
        last_is $((want == 0 ? 0 : 1))
        pipe "tfm-cat '$file' >joined"
        last_is "$([ "$want" = 0 ] && case $file in *groups* | *joined* | *gzip*) echo 4 ;; *) echo 0 ;; esac || echo 3)"
        if [ "$want" = 0 ]; then
            pipe "tfm-check joined; tfm-cmp '$file' joined"
            last_is 0
        else
            one_line "$err"
        fi
    done
}

@test "the corpus is explained file by file" {
    cd "$streams"
    ls -- *.tfms >"$tmp/files"
    grep -oE '^[a-z0-9-]+\.tfms' README | sort >"$tmp/explained"
    same "$tmp/files" "$tmp/explained"
    run ! grep -E '^[a-z0-9-]+\.tfms *$' README
}

@test "a stream cut at 32 points is never a success, and the lost stage is named" {
    cd "$tmp"
    tfm-head -g 1 "$streams/good-tokens.tfms" >whole
    local size i cut
    size=$(stat -c %s whole)
    for ((i = 0; i < 32; i++)); do
        cut=$((size * i / 32))
        head -c "$cut" whole >part
        echo "cut at $cut of $size"
        pipe 'tfm-show part'
        status_is 3
        one_line "$err"
        pipe 'tfm-cat part | tfm-select --type tensor | tfm-show --ids'
        status_is 3 3 3
        [ "$cut" -lt 320 ] || grep -q 'tfm-head ends before its END' "$err"
    done
}

@test "a stage that dies is named by the last one" {
    cd "$tmp"
    local size
    size=$(stat -c %s "$streams/good-joined.tfms")
    head -c $((size - 64)) "$streams/good-joined.tfms" >cut
    pipe 'tfm-cat <cut | tfm-head | tfm-show'
    status_is 3 3 3
    grep -q '^tfm-show: upstream tfm-cat: .*tfm-tokenize ends before its END' "$err"
    # Nothing at all: the stage before died before its header.
    pipe 'exit 9 | tfm-cat | tfm-show'
    status_is 9 3 3
    grep -q '^tfm-show: upstream tfm-cat: .*no stream at all' "$err"
}

@test "file(1) knows a stream by the magic entry" {
    needs_program file
    pipe "file -b -m '$top/share/misc/tfm.magic' '$streams/good-model.tfms'"
    status_is 0
    out_is 'tfm tensor stream, kind model'
}

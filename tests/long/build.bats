# build.bats - two builds in different folders give the same bytes.
LIMIT=600
load ../helper

@test "programs and libraries do not depend on where they were built" {
    [ -z "${SAN:-}" ] || skip "a sanitizer build carries debug paths"
    for folder in a a/much/longer/path; do
        mkdir -p "$tmp/$folder/tree"
        (cd "$top" && cp -r Makefile mk include lib tools share "$tmp/$folder/tree")
        make -s -C "$tmp/$folder/tree" -j2 all BUILD=build >"$tmp/log" 2>&1 || { cat "$tmp/log"; return 1; }
    done
    one=$tmp/a/tree/build two=$tmp/a/much/longer/path/tree/build
    [ -e "$one/lib/libtfm.so" ]
    [ -n "$(ls "$one/bin")" ]
    for file in "$one"/bin/* "$one"/lib/*; do
        cmp "$file" "$two/${file#"$one"/}"
    done
}

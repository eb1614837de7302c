#!/bin/bash
# summary.sh FOLDER - reads what tests/run.sh left there: prints the output of the jobs that failed,
# the names of skipped tests, and last "N passed, N failed, N skipped". Exits 1 if anything failed,
# if nothing was run, or if something was skipped under REQUIRE_ASSETS=1. With $TALLY set, the three
# numbers and the skipped names are also added to that file (.ci/run sums several sets).
folder=$1
passed=0 failed=0 skipped=0
skips=()

while IFS= read -r -d '' file; do
    job=${file#"$folder"/}
    bad=0
    while IFS= read -r line; do
        case $line in
        'not ok '*) bad=$((bad + 1)) ;;
        'ok '*'# SKIP'* | 'ok '*'# skip'*)
            skipped=$((skipped + 1))
            skips+=("$job: ${line#ok }")
            ;;
        'ok '*) passed=$((passed + 1)) ;;
        esac
    done <"$file"
    if [ "$bad" -gt 0 ]; then
        failed=$((failed + bad))
        printf -- '--- %s\n' "$job"
        grep -vE '^(ok |1\.\.)' "$file" | head -n 300
    fi
done < <(find "$folder" -type f -print0 | sort -z)

for name in "${skips[@]}"; do
    echo "skipped: $name"
done
if [ -n "${TALLY:-}" ]; then
    echo "$passed $failed $skipped" >>"$TALLY"
    for name in "${skips[@]}"; do echo "skipped: $name" >>"$TALLY"; done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ] &&
    { [ "$skipped" -eq 0 ] || [ "${REQUIRE_ASSETS:-0}" != 1 ]; }

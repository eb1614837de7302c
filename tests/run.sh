#!/bin/bash
# run.sh PROGRAM|FILE.bats RESULT [ARG...] - runs one test job from the top of the source tree and
# leaves its "ok" and "not ok" lines in RESULT.
#
# Always exits 0: tests/summary.sh judges. A job that dies, hangs, or reports no test at all gets a
# "not ok" line of its own here, so that silence can never pass.
job=$1 result=$2
shift 2
limit=${JOB_LIMIT:-900}
mkdir -p "${result%/*}"
# A test of the runner must not add to the tally of the run that it is part of.
unset TALLY
start=$SECONDS

if [ ! -e "$job" ]; then
    echo "not ok - $job: there is no such test" >"$result"
    exit 0
fi
case $job in
*.bats) timeout -k 10 "$limit" bats --tap "$job" ;;
*) timeout -k 10 "$limit" "$job" "$@" ;;
esac </dev/null >"$result" 2>&1
status=$?

if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    echo "not ok - $job: stopped after $limit seconds" >>"$result"
elif [ "$status" -ne 0 ] && ! grep -q '^not ok ' "$result"; then
    echo "not ok - $job: exit status $status" >>"$result"
elif ! grep -qE '^(not )?ok ' "$result"; then
    echo "not ok - $job: ran no test" >>"$result"
fi
echo "# $job: $((SECONDS - start)) s" >>"$result"
exit 0

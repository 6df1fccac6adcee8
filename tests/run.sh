#!/bin/sh
# Runs every test of the workspace, streams what they say, and ends with `N passed, N failed`, summed over all test
# binaries and documentation examples. Exits with 1 when anything failed, crashed, did not build or was ignored.
#
# Arguments go to the test binaries: tests/run.sh layering
set -u
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A hang is a failure, not a stuck machine.
limit="timeout --foreground ${TEST_LIMIT_SECONDS:-3000}"
export CARGO_TERM_COLOR=never

threads=$(($(nproc) * 2))
[ "$threads" -le 8 ] || threads=8

{
    if cargo nextest --version >/dev/null 2>&1; then
        $limit cargo nextest run --workspace --locked --no-fail-fast "$@" 2>&1; echo "exit status $?"
        $limit cargo test --workspace --locked --no-fail-fast --doc "$@" 2>&1; echo "exit status $?"
    else
        # More threads than cores, because most of a test is waiting: for a service, a lease, a time that is tested. The
        # PKCS#11 library is one per process, and no test loads it: workers do, each of them for one token.
        $limit cargo test --workspace --locked --no-fail-fast -- --test-threads="${TEST_THREADS:-$threads}" "$@" 2>&1
        echo "exit status $?"
    fi
} | tee "$log" | grep --line-buffered -v '^exit status'

awk '
    # cargo test: "test result: ok. 3 passed; 0 failed; 0 ignored; ..."
    /^test result:/ {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^failed/) failed += $(i - 1)
            if ($i ~ /^ignored/) ignored += $(i - 1)
        }
    }
    # nextest: "Summary [ 1.2s] 20 tests run: 19 passed, 1 failed, 0 skipped"
    /^ *Summary \[/ {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^(failed|timed)/) failed += $(i - 1)
        }
    }
    /^exit status / { if ($3 != 0) broken = $3 }
    END {
        if (ignored) { printf "%d ignored: a test that does not run proves nothing, it counts as failed\n", ignored; failed += ignored }
        # A binary that crashed or did not build prints no result of its own.
        if (broken && !failed) { printf "cargo ended with status %s\n", broken; failed = 1 }
        if (!passed && !failed) failed = 1
        printf "%d passed, %d failed\n", passed, failed
        exit failed > 0
    }
' "$log"

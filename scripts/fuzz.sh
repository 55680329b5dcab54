#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fuzzes every decoder of the core with libFuzzer, ASan and UBSan.
#
#   scripts/fuzz.sh [--build | --smoke | TIME_S]
#                                         TIME_S per decoder, 600 by default
#
# Starts from the kept inputs in tests/fuzz/corpus/NAME and goes on from what
# earlier runs found (build/core-fuzz/corpus/NAME).  An input that crashes is
# left in build/results/ and named; copy it to the corpus, where the replay in
# `make check-fuzz` keeps it from coming back.  A smoke run starts afresh with
# a fixed seed, so that it tells the same on every machine.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
me=fuzz
. "$top/scripts/lib.sh"
cd "$top"

time_s=600
seed=$(date +%s)
smoke=no
only_build=no
case ${1:-} in
--build) only_build=yes ;;
--smoke)
    smoke=yes
    time_s=3
    seed=1
    ;;
'') ;;
*[!0-9]*) die "$1 is no time in seconds" "usage: make fuzz FUZZ_TIME_S=600" ;;
*) time_s=$1 ;;
esac

have clang || die "fuzzing needs clang" "run: ./configure --install-deps"
fuzz=$build/core-fuzz
if [ ! -f "$fuzz/build.ninja" ]; then
    run_step "Setting up the fuzz build" "$results/fuzz-setup.log" \
        env CC=clang meson setup "$fuzz" "$top" -Dlibfuzzer=true \
        -Db_sanitize=address,undefined -Db_lundef=false ||
        die "meson failed" "see $results/fuzz-setup.log"
fi
run_step "Building the fuzz targets" "$results/fuzz-build.log" \
    ninja -C "$fuzz" || die "the build failed" "see $results/fuzz-build.log"
[ "$only_build" = no ] || exit 0

# Fuzz $program, with what the loop below has set.
fuzz_one() {
    # Unquoted on purpose: no kept inputs, no argument.
    set -- "$program" -seed="$seed" -max_total_time="$time_s" -timeout=10 \
        -rss_limit_mb=1024 -artifact_prefix="$results/$name-" "$corpus" $kept
    if [ "$smoke" = yes ]; then
        "$@" > "$results/$name.log" 2>&1 < /dev/null
    else
        run_step "Fuzzing $name for $time_s s, seed $seed" \
            "$results/$name.log" "$@"
    fi
}

passed=0
failed=0
for program in "$fuzz"/tests/fuzz/fuzz-*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    name=$(basename "$program")
    # This one writes the corpus.
    [ "$name" != fuzz-seeds ] || continue
    corpus=$fuzz/corpus/$name
    [ "$smoke" = no ] || rm -rf "$corpus"
    mkdir -p "$corpus"
    kept=tests/fuzz/corpus/${name#fuzz-}
    [ -d "$kept" ] || kept=
    if fuzz_one; then
        passed=$((passed + 1))
        say "ok $((passed + failed)) - $name, $(sed -n \
            's/^Done \([0-9]*\) runs.*/\1/p' "$results/$name.log") inputs"
    else
        failed=$((failed + 1))
        say "not ok $((passed + failed)) - $name: $(ls -t \
            "$results/$name"-* 2> /dev/null | head -n 1)"
    fi
done
[ $((passed + failed)) -gt 0 ] || die "tests/fuzz builds no fuzz target"
say "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]

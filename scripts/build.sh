#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the emulators and tools, configuring first when that is due.
#
#   scripts/build.sh [--install-deps]
#
# On a terminal ninja shows its progress; in a log, one line each 30 s.
# The output of the last build is build/results/build.log.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
me=build
. "$top/scripts/lib.sh"

"$top/configure" --again "$@"

exec 9> "$build/.lock"
flock 9

# The same cache hits whatever directory this clone lies in.
export CCACHE_BASEDIR="$build" CCACHE_NOHASHDIR=1

target_list=$(sed -n 's/^--target-list=//p' "$state/qemu-options" | tail -n 1)
programs="qemu-img qemu-nbd qemu-io"
for target in $(printf '%s' "$target_list" | tr ',' ' '); do
    case $target in
    *-softmmu) programs="$programs qemu-system-${target%-softmmu}" ;;
    *) programs="$programs qemu-${target%-linux-user}" ;;
    esac
done

# Unquoted on purpose: one word per program.
if [ -t 1 ]; then
    ninja -C "$qemu" $programs storage-daemon/qemu-storage-daemon ||
        die "the build failed" "its first error is above"
else
    run_step "Building QEMU" "$results/build.log" \
        ninja -C "$qemu" $programs storage-daemon/qemu-storage-daemon || {
        grep -m 5 -A 8 -E '(^FAILED|error:)' "$results/build.log" >&2 || true
        die "the build failed" "see $results/build.log"
    }
fi

for program in $programs; do
    ln -sfn "qemu/$program" "$build/$program"
done
ln -sfn qemu/storage-daemon/qemu-storage-daemon "$build/qemu-storage-daemon"

# A QEMU that runs from its build directory looks for firmware in there.
bundle=$qemu/qemu-bundle/usr
mkdir -p "$bundle/share" "$bundle/lib/ipxe"
ln -sfn /usr/share/qemu "$bundle/share/qemu"
ln -sfn /usr/share/seabios "$bundle/share/seabios"
ln -sfn /usr/lib/ipxe/qemu "$bundle/lib/ipxe/qemu"
say "Built: $(for program in $programs; do printf 'build/%s ' "$program"; done)"

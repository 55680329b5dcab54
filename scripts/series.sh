#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# make series: our work as patches for git am, written to build/series/ and
# proved by applying them to a fresh unpack of the base source.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
me=series
. "$top/scripts/lib.sh"
. "$top/scripts/tree.sh"

"$top/configure" --again
have git || die "make series needs git" "run: ./configure --install-deps"

# The very source that the tree was made from, unpacked once more.
origin=$(cat "$state/origin")
[ -e "$origin" ] || die "$origin, which the tree was made from, is gone" \
    "run ./configure again"
proof=$state/series-proof
unpack_to "$proof"
status=0
/usr/bin/python3 "$top/scripts/series.py" "$top" "$proof" || status=$?
rm -rf "$proof"
exit "$status"

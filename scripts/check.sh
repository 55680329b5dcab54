#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# make check: installs what is missing, then runs the stages (all by default).
#
#   scripts/check.sh [STAGE...]

set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
me=check
. "$top/scripts/lib.sh"
. "$top/scripts/fetch.sh"
. "$top/scripts/deps.sh"
mkdir -p "$state" "$results"

if [ -n "$(missing_deps build check)" ] && ! (install_deps); then
    say "0 passed, 1 failed, 0 skipped"
    exit 1
fi
exec /usr/bin/python3 "$top/scripts/check.py" "$@"

# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What every script here shares: where things are, how to speak, how to fail.
# Sourced, never run.  The caller sets `top` to the root of this repository.

build=$top/build
state=$build/.state
results=$build/results
cache=${COLO_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-$build}/.cache}/colo-qemu}
base=$build/base
src=$build/src
qemu=$build/qemu

say() {
    printf '%s\n' "$*"
}

# die CAUSE [REMEDY]
die() {
    printf '%s: error: %s\n' "${me:-configure}" "$1" >&2
    if [ -n "${2:-}" ]; then
        printf '%s:        %s\n' "${me:-configure}" "$2" >&2
    fi
    exit 1
}

have() {
    command -v "$1" > /dev/null 2>&1
}

# ticker LABEL: show that a step is alive.  On a terminal the time that has
# passed, every 2 s; in a log one line every 30 s.
ticker() {
    passed_s=0
    # The sleep must not keep our lock or our output open after we are gone.
    while sleep 2 > /dev/null 2>&1 9>&-; do
        passed_s=$((passed_s + 2))
        if [ -t 1 ]; then
            printf '\r%s ... %d s' "$1" "$passed_s"
        elif [ $((passed_s % 30)) -eq 0 ]; then
            printf '%s ... still working, %d s\n' "$1" "$passed_s"
        fi
    done
}

# run_step LABEL LOG COMMAND...: run it with its output in LOG, show progress
# meanwhile, and say how long it took.  Returns the status of the command.
run_step() {
    step_label=$1
    step_log=$2
    shift 2
    mkdir -p "$(dirname "$step_log")"
    step_start=$(date +%s)
    say "$step_label ..."
    ticker "$step_label" &
    step_ticker=$!
    trap 'kill "$step_ticker" 2> /dev/null' EXIT
    trap 'exit 130' INT TERM
    step_status=0
    # In a subshell: a step may change its directory.
    ("$@") > "$step_log" 2>&1 < /dev/null || step_status=$?
    kill "$step_ticker" 2> /dev/null
    wait "$step_ticker" 2> /dev/null || true
    trap - EXIT INT TERM
    step_s=$(($(date +%s) - step_start))
    if [ -t 1 ]; then
        printf '\r'
    fi
    if [ "$step_status" -eq 0 ]; then
        if [ "$step_s" -ge 2 ]; then
            say "$step_label: done in $step_s s"
        fi
    else
        say "$step_label: failed after $step_s s; end of $step_log:"
        tail -n 25 "$step_log" | sed 's/^/    /'
    fi
    return "$step_status"
}

# as_root COMMAND...: as root, else through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# same FILE FILE: equal in content (both exist)?
same() {
    [ -f "$1" ] && [ -f "$2" ] && cmp -s "$1" "$2"
}

# The uncommented, non-empty lines of a data file.
data_lines() {
    sed -e 's/[[:space:]]*#.*$//' -e '/^[[:space:]]*$/d' "$1"
}

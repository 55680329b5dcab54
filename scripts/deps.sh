# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Finds out which packages of deps.list are missing, and installs them.
# Sourced; needs lib.sh and fetch.sh.

# version_at_least WANTED FOUND
version_at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# any_file PATTERN,PATTERN...: does any of these exist?
any_file() {
    for pattern in $(printf '%s' "$1" | tr ',' ' '); do
        # Unquoted on purpose: the pattern expands.
        for file in $pattern; do
            [ -e "$file" ] && return 0
        done
    done
    return 1
}

probe() {
    case $1 in
    cmd:*)
        have "${1#cmd:}" || [ -x "/usr/sbin/${1#cmd:}" ] ||
            [ -x "/sbin/${1#cmd:}" ]
        ;;
    pc:*) have pkg-config && pkg-config --exists "${1#pc:}" ;;
    file:*) any_file "${1#file:}" ;;
    py:*)
        [ -x /usr/bin/python3 ] &&
            /usr/bin/python3 -c "import ${1#py:}" 2> /dev/null
        ;;
    meson:*)
        have meson && version_at_least "${1#meson:}" "$(meson --version)"
        ;;
    *) die "deps.list: unknown probe $1" ;;
    esac
}

# missing_deps GROUP...: prints "package reason" per missing line.
missing_deps() {
    data_lines "$top/scripts/deps.list" |
        while read -r group package check reason; do
            case " $* " in
            *" $group "*)
                probe "$check" || printf '%s %s\n' "$package" "$reason"
                ;;
            esac
        done
}

print_deps() {
    printf '%s\n' "$1" | while read -r package reason; do
        printf '    %-20s %s\n' "$package" "$reason"
    done
}

# candidate PACKAGE: the version that this release would install, if any.
candidate() {
    apt-cache policy "$1" 2> /dev/null |
        sed -n 's/^ *Candidate: *//p' | grep -vx '(none)'
}

# by_its_name NAME|NAME...: what this release calls the package.
by_its_name() {
    for package_name in $(printf '%s' "$1" | tr '|' ' '); do
        [ -z "$(candidate "$package_name")" ] || break
    done
    printf '%s\n' "$package_name"
}

# A distribution's meson may be too old for QEMU; then its backport is used.
install_meson() {
    candidate=$(candidate meson | sed 's/[-~].*//')
    if [ -n "$candidate" ] && version_at_least 1.5.0 "$candidate"; then
        apt_install meson
        return
    fi
    say "This release's meson ($candidate) is older than QEMU needs (1.5.0)."
    fetch_backport meson
    apt_install "$(ls "$cache"/packages/meson_*.deb | tail -n 1)"
}

# apt reads local packages as a user of its own, so a private home is no place
# for them: hand it a copy.
apt_install() {
    case $1 in
    /*)
        apt_copy=$(mktemp -d)
        chmod 755 "$apt_copy"
        cp "$1" "$apt_copy/"
        set -- "$apt_copy/$(basename "$1")"
        ;;
    esac
    install_status=0
    install_label=$(basename "$1")
    [ $# -eq 1 ] || install_label="$# packages"
    run_step "Installing $install_label" "$state/install.log" \
        as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@" || install_status=1
    [ -z "${apt_copy:-}" ] || rm -rf "$apt_copy"
    apt_copy=
    [ "$install_status" -eq 0 ] || die "apt could not install: $*" \
        "see $state/install.log; then run ./configure --install-deps again"
}

# install_deps: installs whatever of deps.list is missing.
install_deps() {
    missing=$(missing_deps build check)
    if [ -z "$missing" ]; then
        say "All dependencies are installed."
        return
    fi
    have apt-get || die "--install-deps needs apt" \
        "install by hand: $(printf '%s\n' "$missing" | cut -d' ' -f1 | tr '\n' ' ')"
    say "Installing these packages:"
    print_deps "$missing"
    if [ "$(id -u)" -ne 0 ]; then
        # Ask for the password here, where the question can be seen.
        have sudo && sudo -v || die "installing packages needs root or sudo" \
            "run this once as root: ./configure --install-deps"
    fi
    run_step "Updating the system's package lists" "$state/apt-system.log" \
        as_root apt-get update ||
        say "(some list could not be read; going on with what is there)"
    plain=$(printf '%s\n' "$missing" | cut -d' ' -f1 | grep -vx meson |
        while read -r names; do by_its_name "$names"; done | sort -u)
    # Unquoted on purpose: one word per package.
    [ -z "$plain" ] || apt_install $plain
    if printf '%s\n' "$missing" | grep -q '^meson '; then
        install_meson
    fi
    missing=$(missing_deps build check)
    [ -z "$missing" ] || die "still missing after the installation:
$(print_deps "$missing")" "is another version first in PATH?"
}

# require_deps: stops when something that the build needs is missing, and
# mentions what the tests will need.
require_deps() {
    [ "${deps_checked:-no}" = no ] || return 0
    deps_checked=yes
    missing=$(missing_deps build)
    [ -z "$missing" ] || die "these packages are missing:
$(print_deps "$missing")" "run: ./configure --install-deps"
    missing=$(missing_deps check)
    [ -z "$missing" ] || say "The tests and the demo also need (./configure \
--install-deps installs them):
$(print_deps "$missing")"
}

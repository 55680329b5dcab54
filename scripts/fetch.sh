# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Gets packages from the distribution through a private apt directory: own
# sources list, own package lists, own cache.  The archive's address comes from
# the system's own apt configuration, its authenticity from the distribution's
# keyring; nothing of the system's apt configuration is read for writing.
# Sourced; needs lib.sh.

apt_dir=$cache/apt
apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
base_suite=trixie

private_apt() {
    apt_tool=$1
    shift
    "$apt_tool" \
        -o Dir::Etc::SourceList="$apt_dir/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State::Lists="$apt_dir/lists" \
        -o Dir::Cache="$apt_dir" \
        -o Dir::Cache::Archives="$apt_dir/archives" \
        -o APT::Sandbox::User=root \
        "$@"
}

# The address of the distribution's main archive, as this system has it.
# Before the first `apt-get update` the labels are not known yet; then the
# archive is the one that carries the release under its plain name.
archive_uri() {
    apt-get indextargets \
        --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' |
        awk '$2 == "Debian" { print $1; exit }'
}

archive_uri_before_update() {
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    apt-get indextargets \
        --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk -v release="$release" '$2 == release { print $1; exit }'
}

# private_apt_update DEB_LINE_SUITES: "deb SUITE" or "deb-src SUITE" per line
# on stdin.
private_apt_update() {
    have apt-get || die "there is no apt on this system to fetch QEMU with" \
        "give the source: ./configure --qemu-source=DIR|TARBALL|DSC"
    [ -r "$apt_keyring" ] || die "no $apt_keyring on this system" \
        "install debian-archive-keyring, or give --qemu-source="
    uri=$(archive_uri)
    [ -n "$uri" ] || uri=$(archive_uri_before_update)
    [ -n "$uri" ] || die "the system's apt configuration names no Debian archive" \
        "give the source: ./configure --qemu-source=DIR|TARBALL|DSC"
    mkdir -p "$apt_dir/lists/partial" "$apt_dir/archives/partial"
    : > "$apt_dir/sources.list"
    while read -r apt_kind apt_suite; do
        printf '%s [signed-by=%s] %s %s main\n' "$apt_kind" "$apt_keyring" \
            "$uri" "$apt_suite" >> "$apt_dir/sources.list"
    done
    run_step "Reading the distribution's package lists" \
        "$state/apt-update.log" \
        private_apt apt-get -o APT::Update::Error-Mode=any update
}

# The newest QEMU source description (.dsc) in the cache, if any.
cached_dsc() {
    ls "$cache"/source/qemu_*.dsc 2> /dev/null | sort -V | tail -n 1
}

download_source() {
    cd "$cache/source" && private_apt apt-get source --download-only qemu
}

# fetch_source: leaves a .dsc and what it lists in the cache.
fetch_source() {
    mkdir -p "$cache/source"
    printf 'deb-src %s\n' "$base_suite" > "$state/suites"
    private_apt_update < "$state/suites" ||
        die "cannot read the package lists of $base_suite" \
            "check the network, or give --qemu-source=DIR|TARBALL|DSC"
    run_step "Fetching the QEMU source package (about 40 MB)" \
        "$state/fetch.log" download_source ||
        die "cannot fetch the QEMU source package" \
            "check the network, or give --qemu-source=DIR|TARBALL|DSC"
}

download_backport() {
    cd "$cache/packages" && rm -f -- "$1"_*.deb &&
        private_apt apt-get download "$1/$2"
}

# fetch_backport PACKAGE: prints nothing, leaves PACKAGE_*.deb in the cache.
fetch_backport() {
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)-backports
    mkdir -p "$cache/packages"
    printf 'deb %s\n' "$suite" > "$state/suites"
    private_apt_update < "$state/suites" ||
        die "cannot read the package lists of $suite" "check the network"
    run_step "Fetching $1 of $suite" "$state/fetch-$1.log" \
        download_backport "$1" "$suite" ||
        die "cannot fetch $1 of $suite" "check the network"
}

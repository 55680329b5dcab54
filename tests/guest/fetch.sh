# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Part of build.sh: downloads packages into the cache with apt, from the
# sources which the system is configured for. The system's package lists are
# used when they are good enough; otherwise (never updated, outdated) fresh ones
# are fetched into the cache. Nothing of the system is changed. Variables not
# set here come from build.sh:
# shellcheck disable=SC2154,SC2086

private_apt_options() {
    own=$cache/apt
    mkdir -p "$own/lists/partial" "$own/archives/partial"
    echo "-o Dir::State::Lists=$own/lists -o Dir::Cache=$own" \
         "-o Dir::Cache::archives=$own/archives -o APT::Sandbox::User="
}

# resolve APT_OPTIONS PACKAGE: the versioned kernel package that a metapackage
# stands for.
resolve() {
    # shellcheck disable=SC2086
    apt-cache $1 depends "$2" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1
}

# download APT_OPTIONS PACKAGE KIND: leaves the file in $cache and its name in
# PACKAGE.name; KIND is "kernel" (a metapackage) or "plain".
download() {
    package=$2
    if [ "$3" = kernel ]; then
        package=$(resolve "$1" "$2")
        [ -n "$package" ] || return 1
    fi
    dir=$cache/download.$$
    rm -rf "$dir"
    mkdir "$dir"
    # shellcheck disable=SC2086
    (cd "$dir" && apt-get $1 -o APT::Sandbox::User= -q download "$package") \
        >"$cache/apt.log" 2>&1 || { rm -rf "$dir"; return 1; }
    file=$(cd "$dir" && ls)
    mv "$dir/$file" "$cache/"
    rmdir "$dir"
    echo "$file" >"$cache/$2.name.new"
    mv "$cache/$2.name.new" "$cache/$2.name"
}

lists_fetched=no
fetch_lists() {
    say "fetching fresh package lists into the cache"
    # shellcheck disable=SC2086
    apt-get $options -q update >"$cache/apt.log" 2>&1 ||
        fail "apt-get update failed, see $cache/apt.log;" \
             "check the network and the apt sources"
    lists_fetched=yes
}

# fetch_package PACKAGE KIND: as download, but only if needed.
fetch_package() {
    name=$(cat "$cache/$1.name" 2>/dev/null || :)
    if [ $refresh = no ] && [ -n "$name" ] && [ -f "$cache/$name" ]; then
        return
    fi
    command -v apt-get >/dev/null ||
        fail "apt-get is missing: this needs Debian;" \
             "elsewhere put $1 and a .name file into $cache"
    say "downloading $1"
    [ $refresh = no ] && download '' "$1" "$2" && return
    options=$(private_apt_options)
    [ $lists_fetched = yes ] || fetch_lists
    download "$options" "$1" "$2" ||
        fail "cannot download $1, see $cache/apt.log; it is in Debian's" \
             "'main': check that your apt sources have it"
}

# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Makes build/src: the base source, minus the files that ours replace, plus the
# series of hooks, plus our overlay.
#
#   build/base    the base as unpacked, never touched again
#   build/src     what is compiled
#
# The hooks are applied in a scratch directory that holds only the files which
# they touch.  Not before the whole series has applied there without fuzz does
# anything in build/src change, and then only files whose content differs, so
# ninja rebuilds what really changed.  A file in build/src that was edited by
# hand is never overwritten: the run stops and says so.
# Sourced; needs lib.sh, fetch.sh.

series=$top/patches/series
patched_list=$state/patched.list
overlay_now=$state/overlay.now
overlay_list=$state/overlay.laid
work=$state/work

# ---- the base ----

# find_source GIVEN: sets `origin` to what the base is unpacked from.
find_source() {
    origin=$1
    if [ -z "$origin" ]; then
        origin=$(cached_dsc)
    fi
    if [ -z "$origin" ]; then
        fetch_source
        origin=$(cached_dsc)
        [ -n "$origin" ] || die "apt fetched no QEMU source package" \
            "give the source: ./configure --qemu-source=DIR|TARBALL|DSC"
    fi
    [ -e "$origin" ] || die "--qemu-source: $origin does not exist"
    origin=$(readlink -f "$origin")
}

# A line that changes when the base has to be unpacked anew.
origin_id() {
    if [ -d "$origin" ]; then
        newest=$(find "$origin" \( -name .git -o -name build \) -prune -o \
            -type f -printf '%T@ %p\n' | sort -n | tail -n 1)
        printf '%s %s\n' "$origin" "$newest"
    else
        printf '%s %s\n' "$origin" "$(stat -c '%s %Y' "$origin")"
    fi
}

unpack_dir() {
    mkdir "$dest" &&
        (cd "$origin" && tar -cf - --exclude=./.git --exclude=./build .) |
        tar -xf - -C "$dest"
}

unpack_tarball() {
    mkdir "$dest" && tar -xf "$origin" -C "$dest" --strip-components=1
}

unpack_dsc() {
    dpkg-source --no-copy -x "$origin" "$dest"
}

# A Debian orig tarball alone lacks Debian's own changes.
prefer_dsc() {
    case $origin in
    */qemu_*.orig.tar.*)
        for dsc in "${origin%.orig.tar.*}"*.dsc; do
            [ -f "$dsc" ] || continue
            say "Using $(basename "$dsc") beside the tarball."
            origin=$dsc
        done
        ;;
    esac
}

# unpack_to DIRECTORY: what `origin` names, into a directory made for it.
unpack_to() {
    dest=$1
    rm -rf "$dest"
    if [ -d "$origin" ]; then
        unpack=unpack_dir
    else
        case $origin in
        *.dsc) unpack=unpack_dsc ;;
        *) unpack=unpack_tarball ;;
        esac
    fi
    run_step "Unpacking $(basename "$origin")" "$state/unpack.log" $unpack ||
        die "cannot unpack $origin" "is it complete, and a QEMU source?"
}

unpack_base() {
    prefer_dsc
    unpack_to "$base.new"
    [ -f "$base.new/VERSION" ] || die "$origin is no QEMU source: no VERSION" \
        "give a QEMU 10.0.x source directory, tarball or .dsc"
    found=$(cat "$base.new/VERSION")
    case $found in
    10.0.*) ;;
    *)
        rm -rf "$base.new"
        die "$origin is QEMU $found, and the hooks are for 10.0.x" \
            "give a QEMU 10.0.x source, or none to have one fetched"
        ;;
    esac
    # Debian's orig tarball has no Python wheels, and Debian's own changes,
    # which do without them, are not in it.
    if grep -qs '^pycotap' "$base.new/pythondeps.toml" &&
        ! ls "$base.new"/python/wheels/pycotap* > /dev/null 2>&1; then
        rm -rf "$base.new"
        die "$origin lacks what QEMU's configure needs (pycotap)" \
            "give the .dsc of the same package, its files beside it"
    fi
    rm -rf "$base"
    mv "$base.new" "$base"
    rm -f "$state/src-of"
}

# ---- the series ----

series_patches() {
    [ ! -f "$series" ] || data_lines "$series"
}

# The files that a patch touches, relative to the root of the tree.
patch_files() {
    sed -n -e 's|^--- a/\([^	]*\).*|\1|p' -e 's|^+++ b/\([^	]*\).*|\1|p' \
        "$@" | sort -u
}

removed_files() {
    data_lines "$top/scripts/overlay.list" | sed -n 's/^remove  *//p'
}

# Copy FILE of the base into the scratch directory, if it is there.
scratch_copy() {
    [ ! -e "$base/$1" ] || {
        mkdir -p "$work/$(dirname "$1")" && cp -p "$base/$1" "$work/$1"
    }
}

# explain_reject PATCH LOG: which files, which hunks.
explain_reject() {
    for file in $(patch_files "$1"); do
        [ -e "$work/$file" ] || grep -q '^--- /dev/null' "$1" ||
            say "    the base has no $file"
    done
    grep -E '^(patching file|Hunk #.*(FAILED|fuzz|ignored))' "$2" |
        sed 's/^/    /' || true
}

# The scratch directory is thrown away, so a failure half way does no harm.
apply_one() {
    patch_log=$state/patch.log
    patch -d "$work" -p1 -F0 --force --no-backup-if-mismatch \
        < "$top/patches/$1" > "$patch_log" 2>&1 ||
        die "patches/$1 does not apply to QEMU $(cat "$base/VERSION"):
$(explain_reject "$top/patches/$1" "$patch_log")" \
            "the base changed under this hook: carry it over by hand and \
refresh the patch (docs/hooks.md says what it is for), or give another \
10.0.x with --qemu-source=.  Log: $patch_log"
}

# Fill the scratch directory with every file the series touches, patched.
apply_series() {
    [ -f "$series" ] || die "there is no $series" \
        "is this copy of the repository complete?"
    rm -rf "$work"
    mkdir -p "$work"
    : > "$state/touched"
    for patch in $(series_patches); do
        [ -f "$top/patches/$patch" ] ||
            die "patches/series lists $patch, which does not exist"
        patch_files "$top/patches/$patch" >> "$state/touched"
    done
    sort -u -o "$state/touched" "$state/touched"
    while read -r file; do
        if grep -qxF "$file" "$overlay_now" ||
            removed_files | grep -qxF "$file"; then
            die "a patch touches $file, which is a file of ours" \
                "change the file itself; patches hold hooks only"
        fi
        scratch_copy "$file"
    done < "$state/touched"
    for patch in $(series_patches); do
        apply_one "$patch"
    done
}

# ---- build/src ----

# Was FILE of build/src changed by somebody else since we wrote it?
edited_by_hand() {
    [ -f "$src/$1" ] && [ ! -L "$src/$1" ] || return 1
    written=$(awk -v file="$1" '$2 == file { print $1 }' "$patched_list")
    if [ -n "$written" ]; then
        [ "$(sha256sum < "$src/$1" | cut -d' ' -f1)" != "$written" ]
    else
        ! same "$src/$1" "$base/$1"
    fi
}

refuse_edited() {
    edited=
    for file in $(cat "$state/touched" "$state/touched.before" | sort -u); do
        if [ -f "$work/$file" ]; then
            wanted=$work/$file
        else
            wanted=$base/$file
        fi
        if ! same "$src/$file" "$wanted" && edited_by_hand "$file"; then
            edited="$edited
    $src/$file"
        fi
    done
    [ -z "$edited" ] || die "edited by hand, and a patch wants to change it:\
$edited" "keep the edit: scripts/refresh PATCH FILE; drop it: delete the file"
}

# Bring one file of build/src to the content that it has in the scratch
# directory, or else in the base; do nothing if it has it already.
settle() {
    if [ -e "$work/$1" ]; then
        from=$work/$1
    else
        from=$base/$1
    fi
    if [ ! -e "$from" ]; then
        rm -f "$src/$1"
    elif [ -L "$src/$1" ] || ! same "$from" "$src/$1"; then
        mkdir -p "$src/$(dirname "$1")"
        rm -f "$src/$1"
        cp "$from" "$src/$1"
        [ ! -x "$from" ] || chmod +x "$src/$1"
    fi
}

copy_base() {
    rm -rf "$src.new" && cp -a --reflink=auto "$base" "$src.new" &&
        rm -rf "$src" && mv "$src.new" "$src"
}

# make_tree: build/src from build/base, the series and the overlay.
make_tree() {
    list_overlay > "$overlay_now"
    apply_series
    if [ "$(cat "$state/src-of" 2> /dev/null)" != "$(cat "$state/base-of")" ]; then
        rm -f "$patched_list" "$overlay_list"
        run_step "Copying the source" "$state/copy.log" copy_base ||
            die "cannot copy $base to $src" "is the disk full?"
    fi
    touch "$patched_list" "$overlay_list"
    sed 's/^[0-9a-f]*  //' "$patched_list" > "$state/touched.before"
    refuse_edited
    for file in $(cat "$state/touched" "$state/touched.before" | sort -u); do
        settle "$file"
    done
    (cd "$src" && xargs -r sha256sum < "$state/touched") > "$patched_list.new"
    mv "$patched_list.new" "$patched_list"
    cp "$state/base-of" "$state/src-of"
    lay_overlay
    rm -rf "$work"
}

# ---- the overlay ----

# Every file of ours that belongs into QEMU's tree.
list_overlay() {
    data_lines "$top/scripts/overlay.list" | sed -n 's/^lay  *//p' |
        while read -r dir; do
            [ ! -d "$top/$dir" ] || (cd "$top" && find "$dir" -type f \
                \( -name '*.[ch]' -o -name '*.inc' -o -name '*.json' -o \
                -name meson.build -o -name trace-events \) ! -name '.*')
        done | LC_ALL=C sort
}

# The way from build/src/FILE back to our file: one .. for each directory.
link_target() {
    printf '%s../../%s' \
        "$(dirname "$1" | sed -e 's|[^/][^/]*|..|g' -e 's|$|/|')" "$1"
}

lay_file() {
    if [ -e "$base/$1" ] && ! removed_files | grep -qxF "$1"; then
        die "the base source has a $1 of its own" \
            "list it as 'remove' in scripts/overlay.list, or rename ours"
    fi
    mkdir -p "$src/$(dirname "$1")"
    if [ "$copy" = yes ]; then
        if [ -L "$src/$1" ] || ! same "$top/$1" "$src/$1"; then
            rm -f "$src/$1"
            cp "$top/$1" "$src/$1"
        fi
    elif [ "$(readlink "$src/$1")" != "$(link_target "$1")" ]; then
        rm -f "$src/$1"
        ln -s "$(link_target "$1")" "$src/$1"
    fi
}

lay_overlay() {
    # What was laid before and is ours no more.
    LC_ALL=C comm -23 "$overlay_list" "$overlay_now" | while read -r file; do
        rm -f "$src/$file"
        [ ! -e "$base/$file" ] || cp -p "$base/$file" "$src/$file"
    done
    removed_files | while read -r file; do
        grep -qxF "$file" "$overlay_now" || rm -f "$src/$file"
    done
    while read -r file; do
        lay_file "$file"
    done < "$overlay_now"
    cp "$overlay_now" "$overlay_list"
}

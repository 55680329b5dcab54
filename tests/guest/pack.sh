# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154,SC2086,SC2013,SC2044
#
# Part of build.sh: unpacks the kernel and its modules, compiles the daemon and
# packs the initramfs. Uses nothing of the host but gcc, dpkg-deb, gzip and,
# only for modules compressed with zstd, the program zstd; xz if there, to
# unwrap the kernel; the rest is done by the guest's own busybox. Variables
# that are not set here come from build.sh.

# digest FILE...: one hash over names, sizes and contents.
digest() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }

# done_before STAMP HASH: true if the stage ran with the same inputs.
done_before() { [ "$(cat "$1" 2>/dev/null || :)" = "$2" ]; }

# find_module NAME: path of a module, however it is spelled or compressed.
find_module() {
    pattern=$(echo "$1" | sed 's/[-_]/[-_]/g')
    grep -E "/$pattern\.ko(\.xz|\.zst|\.gz)?\$" "$work/all" | head -n 1
}

decompress() {
    case $1 in
    *.ko) cat "$1" ;;
    *.xz) "$busybox" xzcat "$1" ;;
    *.gz) gzip -dc "$1" ;;
    *.zst) command -v zstd >/dev/null ||
               fail "modules are compressed with zstd: install package zstd"
           zstd -qdc "$1" ;;
    esac
}

# add_module NAME REQUIRED: stages a module after those that it depends on.
# Recursion is in subshells, because sh has no local variables.
add_module() {
    file=$(find_module "$1")
    if [ -z "$file" ]; then
        [ "$2" = no ] || fail "kernel $release has no module $1"
        return 0
    fi
    plain=${file##*/}
    plain=${plain%%.ko*}.ko
    [ ! -e "$work/stage/$plain" ] || return 0
    decompress "$file" >"$work/stage/$plain"
    needs=$(tr '\0' '\n' <"$work/stage/$plain" |
            sed -n 's/^depends=//p' | tr ',' ' ')
    for need in $needs; do
        (add_module "$need" yes) || exit 1
    done
    echo "$plain" >>"$work/stage/order"
}

stage_modules() {
    release=$1
    find "$work/unpacked" -name '*.ko*' >"$work/all"
    rm -rf "$work/stage"
    mkdir "$work/stage"
    : >"$work/stage/order"
    for list in $lists; do
        for module in $(sed 's/#.*//' "$here/$list"); do
            case $module in
            *\?) add_module "${module%\?}" no ;;
            *) add_module "$module" yes ;;
            esac
        done
    done
    echo "$release" >"$work/release"
}

# bzimage_number OFFSET SIZE: an unsigned little-endian field of the image.
bzimage_number() { od -An "-tu$2" -j "$1" -N "$2" "$image" | tr -d ' '; }

# copy_kernel BZIMAGE TARGET: the kernel, without its xz or zstd wrapping where
# that can be had. QEMU boots such an image directly (PVH entry), which spares
# an emulated machine 2 to 3 s of decompressing. The fields are those of the
# kernel's Documentation/arch/x86/boot.rst: setup_sects, payload_offset,
# payload_length; the payload ends with 4 bytes that are not part of it.
copy_kernel() {
    image=$1
    start=$((($(bzimage_number 497 1) + 1) * 512 + $(bzimage_number 584 4)))
    size=$(($(bzimage_number 588 4) - 4))
    tail -c +$((start + 1)) "$image" | head -c $size >"$work/payload"
    case $(od -An -tx1 -N4 "$work/payload" | tr -d ' ') in
    fd377a58) set -- "$@" xz ;;
    28b52ffd) set -- "$@" zstd ;;
    esac
    if [ $# -ne 3 ] || ! command -v "$3" >/dev/null ||
       ! "$3" -dc <"$work/payload" >"$2.new" 2>/dev/null; then
        cp "$image" "$2.new"
    fi
    mv "$2.new" "$2"
    rm -f "$work/payload"
}

unpack_busybox() {
    busybox=$out/work/busybox
    done_before "$out/work/busybox.stamp" "${busybox_deb##*/}" &&
        [ -x "$busybox" ] && return
    dpkg-deb -x "$busybox_deb" "$out/work/busybox-unpacked"
    found=$(find "$out/work/busybox-unpacked" -type f -name busybox -perm -100)
    mv "$found" "$busybox"
    rm -rf "$out/work/busybox-unpacked"
    echo "${busybox_deb##*/}" >"$out/work/busybox.stamp"
}

unpack_kernel() {
    hash=$(cd "$here" && echo "$kernel_deb $(wc -c <"$kernel_deb")" \
           "$(digest $lists pack.sh)")
    done_before "$work/kernel.stamp" "$hash" && return
    say "unpacking ${kernel_deb##*/}"
    rm -rf "$work/unpacked" "$work/kernel.stamp"
    dpkg-deb -x "$kernel_deb" "$work/unpacked"
    set -- "$work"/unpacked/boot/vmlinuz-*
    [ -f "$1" ] || fail "$kernel_deb holds no boot/vmlinuz-*"
    copy_kernel "$1" "$out/vmlinuz$suffix"
    stage_modules "${1##*/vmlinuz-}"
    rm -rf "$work/unpacked" "$work/all"
    echo "$hash" >"$work/kernel.stamp"
}

compile_daemon() {
    hash=$(digest "$here"/src/*)
    done_before "$out/work/daemon.stamp" "$hash" && return
    say "compiling colo-guest"
    gcc -static -O2 -g0 -std=gnu11 -Wall -Wextra -Werror -pthread \
        -o "$out/work/colo-guest" "$here"/src/*.c ||
        fail "cannot compile the daemon; it needs gcc and libc6-dev"
    echo "$hash" >"$out/work/daemon.stamp"
}

# package_of_library -lNAME: the package whose static library a static library
# may need. A newer OpenSSL compresses.
package_of_library() {
    case $1 in
    -lz) echo zlib1g-dev ;;
    -lzstd) echo libzstd-dev ;;
    -lbrotli*) echo libbrotli-dev ;;
    esac
}

# unpack_library PACKAGE FILE.pc: unpacks static libraries, and those that they
# need, to $out/work/PACKAGE; sets library_dir, and private: the options for
# linking them.
unpack_library() {
    unpacked=$out/work/$1
    deb=$(cat "$cache/$1.name")
    if ! done_before "$unpacked.stamp" "$deb"; then
        rm -rf "$unpacked" "$unpacked.stamp"
        dpkg-deb -x "$cache/$deb" "$unpacked"
        for library in $(find "$unpacked" -name "$2" -exec sed -n \
                         's/^Libs.private: *//p' {} +); do
            package=$(package_of_library "$library")
            [ -n "$package" ] || continue
            fetch_package "$package" plain
            dpkg-deb -x "$cache/$(cat "$cache/$package.name")" "$unpacked"
        done
        echo "$deb" >"$unpacked.stamp"
    fi
    library_dir=$(dirname "$(dirname "$(find "$unpacked" -name "$2")")")
    private=$(sed -n 's/^Libs.private: *//p' "$library_dir/pkgconfig/$2")
}

# compile_static PROGRAM LOG LIBRARIES SOURCE...: after unpack_library. The
# linker warns of name services in a static program; nothing uses them.
compile_static() {
    program=$out/work/$1
    log=$work/$2
    libraries="$3 $private"
    shift 3
    say "compiling ${program##*/}"
    gcc -static -O2 -g0 -s -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror \
        -pthread -isystem "$unpacked/usr/include" \
        -isystem "$unpacked/usr/include/${library_dir##*/}" \
        -o "$program" "$@" -L"$library_dir" $libraries >"$log" 2>&1 ||
        fail "cannot compile ${program##*/}, see $log"
}

compile_tls() {
    hash="${openssl_deb##*/} $(digest "$here"/tls/* "$here/pack.sh")"
    done_before "$out/work/tls.stamp" "$hash" && return
    compile_static colo-tls tls.log "-lssl -lcrypto" "$here"/tls/*.c
    mkdir -p "$out/tls"
    "$out/work/colo-tls" certificate "$out/tls" ||
        fail "colo-tls cannot make its certificate"
    echo "$hash" >"$out/work/tls.stamp"
}

compile_volumes() {
    hash="${sqlite_deb##*/} $(digest "$here"/volumes/* "$here/pack.sh" \
          "$here/src/crc32.h")"
    done_before "$out/work/volumes.stamp" "$hash" && return
    compile_static colo-volumes volumes.log -lsqlite3 "$here"/volumes/*.c
    echo "$hash" >"$out/work/volumes.stamp"
}

unpack_e2fsck() {
    deb=$(cat "$cache/e2fsck-static.name")
    done_before "$out/work/e2fsck.stamp" "$deb" &&
        [ -x "$out/work/e2fsck.static" ] && return
    dpkg-deb -x "$cache/$deb" "$out/work/e2fsck-unpacked"
    mv "$(find "$out/work/e2fsck-unpacked" -type f -name e2fsck.static)" \
        "$out/work/e2fsck.static"
    rm -rf "$out/work/e2fsck-unpacked"
    echo "$deb" >"$out/work/e2fsck.stamp"
}

# What only the full guest has.
add_full() {
    [ $flavour = full ] || return 0
    mkdir -p "$root/etc"
    cp "$out/work/colo-tls" "$out/work/colo-volumes" \
        "$out/work/e2fsck.static" "$root/bin/"
    cp -r "$out/tls" "$root/etc/"
}

pack_initramfs() {
    archive=$out/initramfs$suffix.cpio.gz
    hash=$(digest "$here/init" "$here/pack.sh" "$out/work/colo-guest" \
           "$busybox" "$work"/stage/* $full_files)
    done_before "$work/pack.stamp" "$hash" && [ -f "$archive" ] &&
        [ -f "$out/vmlinuz$suffix" ] &&
        { say "$archive is up to date"; return; }
    say "packing $archive"
    root=$work/root
    rm -rf "$root"
    mkdir -p "$root/bin" "$root/lib/modules" "$root/proc" "$root/sys" \
             "$root/dev" "$root/tmp"
    cp "$busybox" "$out/work/colo-guest" "$root/bin/"
    ln -s busybox "$root/bin/sh"
    cp "$work"/stage/* "$root/lib/modules/"
    cp "$here/init" "$root/init"
    add_full
    chmod 755 "$root/init" "$root"/bin/*
    find "$root" -exec touch -h -d @0 {} +
    (cd "$root" && find . | LC_ALL=C sort |
        "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) |
        gzip -n -6 >"$archive.new"
    mv "$archive.new" "$archive"
    rm -rf "$root"
    {
        echo "kernel $(cat "$work/release") from ${kernel_deb##*/}"
        echo "busybox from ${busybox_deb##*/}"
        echo "modules $(wc -l <"$work/stage/order")"
        echo "daemon sha256 $(digest "$out/work/colo-guest")"
        [ $flavour != full ] ||
            echo "volumes sha256 $(digest "$out/work/colo-volumes")"
    } >"$out/version$suffix.txt"
    echo "$hash" >"$work/pack.stamp"
    say "done: kernel $(cat "$work/release")," \
        "initramfs $(wc -c <"$archive") bytes"
}

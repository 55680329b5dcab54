# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# QEMU's own configure, with the lean option set that this project builds.
# Sourced; needs lib.sh, and the options that ./configure parsed.

# A line that changes when anything that build/src or build/qemu is made of
# does, our C files apart: those are links, and ninja looks at them itself.
tree_id() {
    origin_id
    cat "$top/scripts/overlay.list" "$top/scripts/tree.sh" \
        "$top/scripts/qemu.sh" 2> /dev/null
    [ ! -f "$series" ] || cat "$series"
    for patch in $(series_patches); do
        cat "$top/patches/$patch" 2> /dev/null || printf 'no %s\n' "$patch"
    done
    list_overlay
    if [ "$copy" = yes ]; then
        list_overlay | (cd "$top" && xargs -r sha256sum)
    fi
}

# The options, one per line, in the words of QEMU's configure.  Everything
# that is not named here is off; default devices stay, as --without-default-
# features leaves them in.
qemu_options() {
    cat << END
--cc=$cc
--python=/usr/bin/python3
--target-list=$target_list
--firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu
--without-default-features
--disable-download
--disable-install-blobs
--disable-docs
--enable-system
--enable-tcg
--enable-kvm
--enable-fdt=system
--enable-replication
--enable-colo-proxy
--enable-slirp
--enable-gnutls
--enable-tools
--enable-trace-backends=log
END
    if [ "$faults" = yes ]; then
        printf '%s\n' "--extra-cflags=-DCONFIG_COLO_FAULTS=1"
    fi
    if [ "$asan" = yes ]; then
        printf '%s\n' --enable-asan --enable-ubsan
    fi
}

run_qemu_configure() {
    cd "$qemu" && "$src/configure" "$@"
}

# configure_qemu EXTRA-OPTION...: unless it was run with these very options.
configure_qemu() {
    if [ -z "$cc" ]; then
        cc=gcc
        if have ccache; then
            cc='ccache gcc'
        fi
    fi
    mkdir -p "$qemu"
    {
        qemu_options
        printf '%s\n' "$@"
    } | sed '/^$/d' > "$state/qemu-options.new"
    if same "$state/qemu-options" "$state/qemu-options.new" &&
        [ -f "$qemu/build.ninja" ]; then
        return
    fi
    rm -f "$state/qemu-options"
    # One word per line becomes one argument.
    old_ifs=$IFS
    IFS='
'
    # shellcheck disable=SC2046
    set -- $(cat "$state/qemu-options.new")
    IFS=$old_ifs
    run_step "Running QEMU's configure" "$state/qemu-configure.log" \
        run_qemu_configure "$@" ||
        die "QEMU's configure failed" "see $state/qemu-configure.log and \
$qemu/config.log"
    mv "$state/qemu-options.new" "$state/qemu-options"
}

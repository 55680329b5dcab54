#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the test guest: kernel and initramfs, from packages of the
# distribution that are downloaded and unpacked, never installed.
#
# Stages, each skipped when its inputs are unchanged:
#   fetch    kernel image package, busybox-static and, for the full guest,
#            libssl-dev, libsqlite3-dev and e2fsck-static into the cache
#   unpack   kernel out of the package, the modules of modules*.list with what
#            they depend on, decompressed, in loading order
#   compile  colo-guest, static
#   tls      full only: colo-tls, static, and a certificate for it
#   volumes  full only: colo-volumes, static, and e2fsck
#   pack     initramfs.cpio.gz
# Needs no root. Works on Debian 12 and 13.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
out=$top/build/guest
cache=${COLO_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/colo-qemu}/guest
flavour=cloud
refresh=no
kernel_deb=

usage() {
    cat <<END
usage: build.sh [--full] [--out DIR] [--kernel-deb FILE] [--refresh]

  --full             build the guest with the drivers of real hardware too
                     (e1000, e1000e, rtl8139, ahci, usb), a TLS server, ext4
                     and loads on it: vmlinuz-full and
                     initramfs-full.cpio.gz, from a package of 70 to 110 MB
  --out DIR          where the guest goes (default: build/guest)
  --kernel-deb FILE  use this linux-image package instead of downloading one
  --refresh          look for newer packages than those in the cache

The cache is $cache
(set COLO_CACHE_DIR to move it).
END
}

say() { echo "guest: $*"; }

fail() {
    echo "guest: error: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --full) flavour=full ;;
    --out) out=${2:?--out needs a directory}; shift ;;
    --kernel-deb) kernel_deb=${2:?--kernel-deb needs a file}; shift ;;
    --refresh) refresh=yes ;;
    --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown argument: $1" ;;
    esac
    shift
done

case $flavour in
cloud) metapackage=linux-image-cloud-amd64 suffix='' lists=modules.list ;;
full) metapackage=linux-image-amd64 suffix=-full
      lists='modules.list modules-full.list' ;;
esac

for tool in gcc dpkg-deb gzip sha256sum flock; do
    command -v $tool >/dev/null || fail "$tool is missing;" \
        "install the packages gcc libc6-dev dpkg gzip coreutils util-linux"
done

mkdir -p "$cache" "$out/work/$flavour"
out=$(cd "$out" && pwd)
work=$out/work/$flavour

# Two runs at once (check and demo, say) take turns.
exec 9>"$out/work/lock"
flock 9

. "$here/fetch.sh"
. "$here/pack.sh"

if [ -z "$kernel_deb" ]; then
    fetch_package "$metapackage" kernel
    kernel_deb=$cache/$(cat "$cache/$metapackage.name")
fi
fetch_package busybox-static plain
busybox_deb=$cache/$(cat "$cache/busybox-static.name")

unpack_busybox
unpack_kernel
compile_daemon
full_files=
if [ $flavour = full ]; then
    fetch_package libssl-dev plain
    openssl_deb=$cache/$(cat "$cache/libssl-dev.name")
    unpack_library libssl-dev libcrypto.pc
    compile_tls
    fetch_package libsqlite3-dev plain
    sqlite_deb=$cache/$(cat "$cache/libsqlite3-dev.name")
    unpack_library libsqlite3-dev sqlite3.pc
    compile_volumes
    fetch_package e2fsck-static plain
    unpack_e2fsck
    full_files="$out/work/colo-tls $out/tls/certificate.pem
        $out/work/colo-volumes $out/work/e2fsck.static"
fi
pack_initramfs

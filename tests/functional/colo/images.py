# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images, made before a run and looked into after it.

Nothing is mounted and no root is needed: e2fsprogs works on files.  An image
is named as qemu-img takes it: a path, or `json:{...}` for a chain.  QEMU must
have ended before a file system is looked into.
"""

import json
import os
import shutil
import subprocess
from typing import List

from . import procs

SBIN = os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
BLOCK_BYTES = 4096              # of the file systems made here
PIECE_BYTES = 65536
SHOWN_BYTES = 16


def program(name: str) -> str:
    """The path of a program of e2fsprogs; the bare name if it is missing."""
    return shutil.which(name, path=os.environ.get("PATH", "") + SBIN) or name


def missing() -> str:
    """Why file systems cannot be made or looked into; empty if they can."""
    for name in ("mke2fs", "e2fsck", "debugfs"):
        if program(name) == name:
            return f"no {name}: install the package e2fsprogs"
    return ""


def create(qemu_img: str, paths: List[str], kind: str, size_mib: int,
           filesystem: bool) -> None:
    """Make images of equal content; kind is raw or qcow2."""
    if not filesystem:
        for path in paths:
            procs.run([qemu_img, "create", "-q", "-f", kind, path,
                       f"{size_mib}M"])
        return
    blank = paths[0] + ".ext4"
    with open(blank, "wb") as file:
        file.truncate(size_mib << 20)
    procs.run([program("mke2fs"), "-q", "-F", "-t", "ext4", "-b",
               str(BLOCK_BYTES), blank])
    for path in paths:
        procs.run([qemu_img, "convert", "-f", "raw", "-O", kind, blank, path])
    os.unlink(blank)


# -- comparison -----------------------------------------------------------

def compare(qemu_img: str, one: str, other: str) -> None:
    """Raise unless both have the same size and the same bytes.

    A QEMU may still have them open, if all is flushed and it writes nothing.
    Large images are copied to the working directory if they differ.
    """
    sizes = [_size(qemu_img, image) for image in (one, other)]
    if sizes[0] != sizes[1]:
        raise AssertionError(f"{one} has {sizes[0]} bytes, {other} has "
                             f"{sizes[1]}")
    done = subprocess.run([qemu_img, "compare", "-U", one, other], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, preexec_fn=procs.die_with_parent)
    if done.returncode == 0:
        return
    if done.returncode != 1:
        raise RuntimeError(f"qemu-img compare: {done.stdout.strip()}")
    raise AssertionError(_difference(qemu_img, one, other))


def _difference(qemu_img: str, one: str, other: str) -> str:
    """Words for the first difference, and how many there are."""
    copies = [f"compare-{number}.raw" for number in (1, 2)]
    for image, copy in zip((one, other), copies):
        procs.run([qemu_img, "convert", "-U", "-O", "raw", image, copy])
    first, count, start = "no difference", 0, 0
    with open(copies[0], "rb") as left, open(copies[1], "rb") as right:
        while True:
            pieces = left.read(PIECE_BYTES), right.read(PIECE_BYTES)
            if not pieces[0]:
                break
            if pieces[0] != pieces[1]:
                if not count:
                    first = _words(start, *pieces)
                count += 1
            start += PIECE_BYTES
    for copy in copies:
        os.unlink(copy)
    return (f"{one} and {other}: {first}; {count} pieces of {PIECE_BYTES} "
            "bytes differ")


def _words(start: int, left: bytes, right: bytes) -> str:
    at = next(i for i in range(len(left)) if left[i] != right[i])
    return (f"the first difference is at byte {start + at}: "
            f"{left[at:at + SHOWN_BYTES].hex()} and "
            f"{right[at:at + SHOWN_BYTES].hex()}")


def _size(qemu_img: str, image: str) -> int:
    text = procs.run([qemu_img, "info", "-U", "--output=json", image])
    return int(json.loads(text)["virtual-size"])


# -- file systems ---------------------------------------------------------

class FileSystem:
    """The ext4 of an image, through a raw copy that we may write to."""

    def __init__(self, qemu_img: str, image: str, scratch: str) -> None:
        self.path = scratch
        procs.run([qemu_img, "convert", "-O", "raw", image, scratch])

    def check(self) -> None:
        """Raise unless e2fsck finds nothing at all to complain of."""
        procs.run([program("e2fsck"), "-f", "-n", self.path])

    def recover(self) -> None:
        """Replay the journal, as a mount does after a power failure.

        Exit code 1 says that something was written, which the journal is;
        any real repair would say so in words.
        """
        done = subprocess.run([program("e2fsck"), "-p", self.path],
                              text=True, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT)
        if done.returncode not in (0, 1) or "UNEXPECTED" in done.stdout:
            raise AssertionError(f"e2fsck -p: {done.stdout.strip()}")

    def names(self, directory: str) -> List[str]:
        """The names in a directory, without `.` and `..`."""
        text = self._debug(f"ls -p {directory}")
        fields = (line.split("/") for line in text.splitlines())
        return [f[5] for f in fields
                if len(f) > 6 and f[5] not in ("", ".", "..")]

    def read(self, path: str) -> bytes:
        """A whole file."""
        copy = self.path + ".file"
        self.copy_out(path, copy)
        with open(copy, "rb") as file:
            data = file.read()
        os.unlink(copy)
        return data

    def copy_out(self, path: str, target: str) -> None:
        """Copy a file out of the file system."""
        self._debug(f"dump {path} {target}")
        if not os.path.exists(target):
            raise AssertionError(f"{path} cannot be read from the image")

    def offset_of(self, path: str, block: int = 0) -> int:
        """Where on the disk that block of a file lies, in bytes."""
        text = self._debug(f"bmap {path} {block}").split()[-1]
        return int(text) * BLOCK_BYTES

    def _debug(self, request: str) -> str:
        return procs.run([program("debugfs"), "-R", request, self.path])

    def close(self) -> None:
        """Remove the copy."""
        os.unlink(self.path)


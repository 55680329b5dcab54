# SPDX-License-Identifier: GPL-2.0-or-later
"""One image on storage that both hosts reach: two QEMUs have it open.

The primary writes to it; the secondary keeps what its guest must go on
seeing, writes nothing before it takes over, and nothing is ever copied.
"""

import os
from typing import Any

import diskimage
from colo import procs
from colo.case import Context, add, case, check, check_equal
from colo.vm import VM
from nbdclient import NBDClient
from primarylab import KIB, MIB, NODE, PrimaryLab, Server

SHARED = {"shared": True}


class OtherSide:
    """A second QEMU on the image of a PrimaryLab, as its secondary."""

    def __init__(self, lab: PrimaryLab, name: str = "other",
                 locking: str = "off") -> None:
        self.lab = lab
        self.kind = lab.setup.kind
        self.socket = lab.path(f"{name}.nbd")
        self.machine: VM = lab.context.machine(name, [
            "-machine", "none", "-nodefaults", "-display", "none",
            "-incoming", "defer"]).start()
        self.cmd = self.machine.qmp.cmd
        self.cmd("blockdev-add", {
            "driver": self.kind, "node-name": "parent0", "discard": "unmap",
            "file": {"driver": "file", "filename": lab.image,
                     "locking": locking},
            **diskimage.node_options(self.cmd, self.kind)})
        self.cmd("blockdev-add", {
            "driver": "replication", "node-name": NODE, "file": "parent0",
            **SHARED})
        self.cmd("nbd-server-start", {
            "addr": {"type": "unix", "data": {"path": self.socket}}})
        for export, node in (("other", "parent0"), ("guest", NODE)):
            self.cmd("block-export-add", {
                "type": "nbd", "id": export, "node-name": node,
                "name": export, "writable": True})

    @property
    def name(self) -> str:
        """Of the export, as with a Server."""
        return "other"

    def step(self, *steps: str) -> None:
        """What the session says."""
        for step in steps:
            self.cmd("x-colo-disk-step", {"step": step})

    def guest(self) -> NBDClient:
        """The secondary's guest."""
        made = NBDClient(self.socket, "guest")
        self.lab.context.at_end(made.close)
        return made

    def buffer(self) -> Any:
        """What it keeps."""
        return self.cmd("query-colo")["disks"][0].get("buffer")


def whole(client: NBDClient, size: int) -> bytes:
    """All that it sees."""
    return b"".join(bytes(client.read(offset, MIB))
                    for offset in range(0, size, MIB))


def content(lab: PrimaryLab) -> bytes:
    """All that the image holds."""
    path = lab.path("found.raw")
    diskimage.read(lab.tool_path("qemu-img"), lab.image, lab.setup.kind, path)
    with open(path, "rb") as file:
        return file.read()


def begin(lab: PrimaryLab, other: OtherSide) -> None:
    """A pair on one image."""
    target = lab.add_target(other)
    text = lab.refusal("colo-disk-attach", node=NODE, target=target,
                       sync="full")
    check("share" in text, text)
    lab.attach(target)
    check(lab.forward()["in-sync"], "not in sync at once")
    check_equal(lab.jobs(), [], "jobs")
    other.step("begin")
    lab.begin()


def checkpoint(lab: PrimaryLab, other: OtherSide) -> None:
    """All that the primary wrote is what the secondary's guest sees."""
    other.step("cut")
    lab.cmd("xen-colo-do-checkpoint")
    other.step("enter")


def primary_dies(context: Context, kind: str) -> None:
    """Checkpoints, then a takeover by the other host, and a new primary."""
    lab = PrimaryLab(context, kind=kind, options=SHARED)
    other = OtherSide(lab)
    guest = other.guest()
    begin(lab, other)
    for _ in range(3):
        before = whole(guest, lab.size)
        lab.work(20)
        guest.write(5 * MIB, b"own" * 1000)
        after = whole(guest, lab.size)
        check(after[:5 * MIB] == before[:5 * MIB] and
              after[5 * MIB + 3000:] == before[5 * MIB + 3000:],
              "the secondary's guest sees what the primary wrote")
        checkpoint(lab, other)
        check(whole(guest, lab.size) == whole(lab.guest, lab.size),
              "both guests see different disks after a checkpoint")
        check(content(lab) == whole(lab.guest, lab.size), "the image")
    lab.work(20)
    for offset in range(0, lab.size, 3 * MIB):
        guest.write(offset, lab.random.randbytes(100 * KIB))
    expected = whole(guest, lab.size)
    lab.machine.kill()
    other.step("take-over")
    check(whole(guest, lab.size) == expected, "after the takeover")
    procs.wait_until(lambda: (other.buffer() or {}).get("stage", "off")
                     in ("off", "alone"), 30, "the merge")
    guest.write(MIB, b"alone" * 1000)
    expected = whole(guest, lab.size)
    guest.flush()
    check(content(lab) == expected, "the image after the merge")
    other.cmd("quit")
    check_equal(other.machine.wait_exit(), 0, "exit code")
    check(content(lab) == expected, "the image at the end")


def secondary_dies(context: Context, kind: str) -> None:
    """The primary goes on, and gets another secondary without a copy."""
    lab = PrimaryLab(context, kind=kind, options=SHARED)
    for number in range(2):
        other = OtherSide(lab, f"other{number}")
        guest = other.guest()
        begin(lab, other)
        lab.work(10)
        checkpoint(lab, other)
        guest.write(0, b"lost" * 1000)
        check(whole(lab.guest, lab.size) == content(lab), "the image")
        other.machine.kill()
        lab.write(MIB)
        lab.end()
        lab.work(10)
        lab.guest.flush()
        check(whole(lab.guest, lab.size) == content(lab), "the image")
        lab.cmd("blockdev-del", {"node-name": "to-other"})
    lab.quit()


@case(linux=False, reference=False)
def disk_shared_locks(context: Context) -> None:
    """Without locking=off at the secondary no pair begins, and QEMU says why."""
    lab = PrimaryLab(context, options=SHARED)
    other = OtherSide(lab, "locking", locking="auto")
    target = lab.add_target(other)
    text = lab.refusal("colo-disk-attach", node=NODE, target=target)
    check("lock" in text, text)
    check("forward" not in lab.info(), "it is attached all the same")
    lab.work(5)
    other.machine.kill()
    lab.cmd("blockdev-del", {"node-name": target})
    other = OtherSide(lab)
    begin(lab, other)
    lab.work(5)
    lab.quit()


@case(linux=False, reference=False)
def disk_shared_and_cached(context: Context) -> None:
    """Caches of two hosts do not know of each other: QEMU warns."""
    lab = PrimaryLab(context, options=SHARED)
    check("cache.direct" in lab.machine.log_tail(), "no warning")
    lab.cmd("blockdev-add", {
        "driver": "file", "node-name": "file1", "locking": "off",
        "filename": lab.copy("direct"), "cache": {"direct": True}})
    lab.cmd("blockdev-add", {"driver": "replication", "node-name": "disk1",
                             "file": "file1", **SHARED})
    lab.quit()
    check_equal(lab.machine.log_tail().count("cache.direct"), 1, "warnings")


@case(linux=False, reference=False)
def disk_shared_by_the_primary_only(context: Context) -> None:
    """One side says shared, the other has an image of its own: refused."""
    lab = PrimaryLab(context, options=SHARED)
    server: Server = lab.serve()
    target = lab.add_target(server)
    for sync in ("full", "incremental"):
        text = lab.refusal("colo-disk-attach", node=NODE, target=target,
                           sync=sync, base="xen:protected")
        check("nothing to copy" in text, text)
    check(not os.path.exists(lab.image + ".colo"), "a label was made")
    lab.quit()


def _register() -> None:
    for kind in ("raw", "luks"):
        for function in (primary_dies, secondary_dies):
            def body(context: Context, kind: str = kind,
                     function: Any = function) -> None:
                function(context, kind)
            body.__doc__ = function.__doc__
            add(f"disk_shared_{kind}_{function.__name__}", body, linux=False,
                reference=False)


_register()

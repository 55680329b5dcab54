# SPDX-License-Identifier: GPL-2.0-or-later
"""Resize, snapshot, jobs, eject on either side of a pair: refused, or right.

What is refused says why, and nothing has changed; what is allowed leaves both
disks equal.  The older form with a quorum has its own ways out of a pair.
"""

import os
import threading
from typing import Any, Callable, List

from colo.case import Context, add, case, check, check_equal
from diskactions import Actor
from disklab import DISK_NODE, FILE_NODE, IMAGE_NODE, MIB, DiskLab
from primarylab import KIB, NODE, PrimaryLab, Server

PRIMARY_REASON = "has a copy at a secondary"
PAIR_REASON = "is replicated"


def protected(lab: PrimaryLab) -> Server:
    """The disk is in a pair."""
    server = lab.serve()
    lab.protect(lab.add_target(server))
    return server


def at_a_primary(context: Context, **changes: Any) -> None:
    """Disk, image, and the way to the copy are left alone until the end."""
    lab = PrimaryLab(context, **changes)
    actor = Actor(context, lab.machine, lab.size)
    protected(lab)
    for node in (NODE, "image0", "to-copy"):
        actor.expect_refusals(node, PRIMARY_REASON)
    lab.work(10)
    lab.cmd("xen-colo-do-checkpoint")
    lab.compare()
    lab.end()
    # Now it is allowed.
    lab.cmd("blockdev-snapshot", {"node": "image0", "overlay": "other0"})
    lab.work(5)
    lab.quit()


def at_a_secondary(context: Context, **changes: Any) -> None:
    """Likewise, in each stage, and after a takeover all is allowed."""
    lab = DiskLab(context, **changes)
    actor = Actor(context, lab.machine, lab.size)
    for step in ("begin", "cut", "enter"):
        lab.step(step)
        for node in (DISK_NODE, IMAGE_NODE):
            actor.expect_refusals(node, PAIR_REASON)
        lab.work(5)
    lab.step("take-over")
    lab.wait_merged()
    lab.cmd("blockdev-snapshot", {"node": IMAGE_NODE, "overlay": "other0"})
    lab.work(5)
    lab.quit()


def _register() -> None:
    rows: List[Any] = [
        ("primary", at_a_primary, {}),
        ("primary_iothread", at_a_primary, {"iothread": True}),
        ("primary_qcow2", at_a_primary, {"kind": "qcow2"}),
        ("primary_luks", at_a_primary, {"kind": "luks"}),
        ("secondary", at_a_secondary, {}),
        ("secondary_iothread", at_a_secondary, {"iothread": True}),
        ("secondary_qcow2", at_a_secondary, {"kind": "qcow2"}),
        ("secondary_luks", at_a_secondary, {"kind": "luks"}),
    ]
    for name, function, changes in rows:
        def body(context: Context, function: Callable[..., None] = function,
                 changes: Any = changes) -> None:
            function(context, **changes)
        body.__doc__ = function.__doc__
        add(f"disk_actions_{name}", body, linux=False, reference=False)


# -- what is allowed ------------------------------------------------------

@case(linux=False, reference=False)
def disk_backup_below(context: Context) -> None:
    """The file below may be read by a job; it is what the peer's disk is."""
    lab = DiskLab(context)
    actor = Actor(context, lab.machine, lab.size)
    lab.step("begin")
    lab.work(20)
    with open(actor.save(FILE_NODE, "saved"), "rb") as file:
        check(file.read() == lab.parent, "not what the peer has written")
    lab.work(5)
    lab.steps("cut", "enter")
    lab.quit()


@case(linux=False, reference=False)
def disk_layer_below(context: Context) -> None:
    """A snapshot below the image changes nothing of what either sees."""
    lab = DiskLab(context)
    actor = Actor(context, lab.machine, lab.size)
    check(actor.graph(), "no graph")
    lab.step("begin")
    lab.work(10)
    error = lab.machine.qmp.try_cmd("block_resize", {
        "node-name": FILE_NODE, "size": 2 * lab.size})
    check(error and "resize" in error.desc, f"resize below: {error}")
    lab.cmd("blockdev-snapshot", {"node": FILE_NODE, "overlay": "other0"})
    lab.work(10)
    lab.steps("cut", "roll-back", "cut", "enter")
    lab.work(10)
    lab.step("take-over")
    lab.wait_merged()
    lab.quit()


@case(linux=False, reference=False)
def disk_writer_beside_the_primary(context: Context) -> None:
    """Nobody writes to a primary's disk past the node that sends it."""
    lab = PrimaryLab(context)
    writer = {"type": "nbd", "id": "past", "node-name": "image0",
              "name": "past", "writable": True}
    target = lab.add_target(lab.serve())
    lab.cmd("block-export-add", writer)
    text = lab.refusal("colo-disk-attach", node=NODE, target=target)
    check("image0" in text and "write" in text, text)
    check("forward" not in lab.info(), "it is attached all the same")
    mark = lab.machine.qmp.mark()
    lab.cmd("block-export-del", {"id": "past"})
    lab.machine.qmp.wait_event("BLOCK_EXPORT_DELETED", since=mark)
    lab.protect(target)
    error = lab.machine.qmp.try_cmd("block-export-add", writer)
    check(error and "write" in error.desc, f"a writer past the node: {error}")
    lab.work(10)
    lab.compare()
    lab.end()
    lab.cmd("block-export-add", writer)
    lab.quit()


def move_between_threads(machine: Any, node: str, work: Any) -> None:
    """While somebody works, the disk gets and loses a thread."""
    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(6):
        for thread in ("io0", None):
            machine.qmp.cmd("x-blockdev-set-iothread", {
                "node-name": node, "iothread": thread, "force": True})
    worker.join()


@case(linux=False, reference=False)
def disk_moves_between_threads_secondary(context: Context) -> None:
    """In each stage of a pair; nobody sees anything of it."""
    lab = DiskLab(context)
    for step in ("begin", "cut", "enter", "take-over"):
        lab.step(step)
        move_between_threads(lab.machine, DISK_NODE, lambda: lab.work(15))
        lab.check()
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_moves_between_threads_primary(context: Context) -> None:
    """While it is copied and in a pair; both disks stay equal."""
    lab = PrimaryLab(context)
    lab.attach(lab.add_target(lab.serve()), speed=2 * MIB)
    move_between_threads(lab.machine, NODE, lambda: lab.work(40))
    lab.cmd("block-job-set-speed", {"device": NODE, "speed": 0})
    lab.wait_in_sync()
    lab.begin()
    move_between_threads(lab.machine, NODE, lambda: lab.work(40))
    lab.cmd("xen-colo-do-checkpoint")
    lab.compare()
    lab.quit()


# -- the older form -------------------------------------------------------

class QuorumLab(PrimaryLab):
    """The disk is a quorum whose second child sends to the peer."""

    def add_disk(self, **options: Any) -> None:
        self.cmd("blockdev-add", {
            "driver": "quorum", "node-name": NODE, "children": ["image0"],
            "read-pattern": "fifo", "vote-threshold": 1})

    def protect(self) -> None:
        """Equal images, and the second child."""
        server = self.serve(random_bytes=False)
        self.tool("qemu-img", "convert", "-U", "-n", "-O", "raw", self.image,
                  self.path("copy.raw"))
        self.cmd("blockdev-add", {
            "driver": "replication", "mode": "primary", "node-name": "sender",
            "file": self.add_target(server)})
        self.cmd("x-blockdev-change", {"parent": NODE, "node": "sender"})
        self.begin()

    def trouble(self) -> str:
        """Why no checkpoint may be taken; empty: it may."""
        status = self.cmd("query-xen-replication-status")
        return str(status["desc"]) if status["error"] else ""


@case(linux=False, reference=False)
def disk_actions_quorum(context: Context) -> None:
    """A quorum in a pair is left alone; afterwards it is not."""
    lab = QuorumLab(context)
    actor = Actor(context, lab.machine, lab.size)
    lab.protect()
    actor.expect_refusals(NODE, PAIR_REASON)
    lab.work(20)
    check_equal(lab.trouble(), "", "trouble")
    lab.compare()
    lab.end()
    lab.cmd("x-blockdev-change", {"parent": NODE, "child": "children.1"})
    lab.cmd("blockdev-del", {"node-name": "sender"})
    lab.cmd("blockdev-snapshot", {"node": NODE, "overlay": "other0"})
    lab.work(5)
    lab.quit()


def moved_away(context: Context, act: Callable[[QuorumLab], None]) -> None:
    """The sender gets nothing any more: no checkpoint passes that."""
    lab = QuorumLab(context)
    Actor(context, lab.machine, lab.size)
    lab.protect()
    lab.write(0, 64 * KIB)
    check_equal(lab.trouble(), "", "trouble")
    act(lab)
    lab.write(MIB, 64 * KIB)
    check("'sender' was moved" in lab.trouble(), lab.trouble())
    text = lab.refusal("xen-colo-do-checkpoint")
    check("'sender' was moved" in text, text)
    lab.end()
    lab.quit()


def _register_moves() -> None:
    for name, command, words in (
            ("child_removed", "x-blockdev-change",
             {"parent": NODE, "child": "children.1"}),
            ("snapshot_of_sender", "blockdev-snapshot",
             {"node": "sender", "overlay": "other0"}),
            ("snapshot_of_target", "blockdev-snapshot",
             {"node": "to-copy", "overlay": "other0"})):
        def body(context: Context, command: str = command,
                 words: Any = words) -> None:
            moved_away(context, lambda lab: lab.cmd(command, words))
        body.__doc__ = moved_away.__doc__
        add(f"disk_quorum_{name}", body, linux=False, reference=False)


# -- removable media ------------------------------------------------------

@case(linux=False, reference=False)
def disk_eject(context: Context) -> None:
    """The medium stays where it is while it is in a pair."""
    path = os.path.join(context.run_dir, "medium.raw")
    with open(path, "wb") as file:
        file.truncate(MIB)
    machine = context.machine("drive", [
        "-machine", "q35", "-m", "32", "-nodefaults", "-display", "none",
        "-S", "-blockdev", f"driver=file,node-name={FILE_NODE},"
        f"filename={path}", "-blockdev", f"driver=replication,node-name="
        f"{DISK_NODE},file={FILE_NODE}", "-device", "virtio-scsi",
        "-device", f"scsi-hd,removable=on,drive={DISK_NODE},id=drive0"])
    cmd = machine.start().qmp.cmd

    def eject() -> str:
        error = machine.qmp.try_cmd("eject", {"id": "drive0", "force": True})
        return error.desc if error else ""

    cmd("x-colo-disk-step", {"step": "begin"})
    check(PAIR_REASON in eject(), eject())
    for command in ("blockdev-remove-medium", "blockdev-change-medium"):
        words = {"id": "drive0"}
        if command == "blockdev-change-medium":
            words["filename"] = path
        error = machine.qmp.try_cmd(command, words)
        check(error and PAIR_REASON in error.desc, f"{command}: {error}")
    cmd("x-colo-disk-step", {"step": "end"})
    check_equal(eject(), "", "an eject after the pair")
    cmd("quit")
    check_equal(machine.wait_exit(), 0, "exit code")


_register()
_register_moves()

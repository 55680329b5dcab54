# SPDX-License-Identifier: GPL-2.0-or-later
"""What a disk is to its last peer, across whatever happens to its host."""

import json
import os
from typing import Any, Dict

from colo import disk, images, procs
from colo.case import Context, case, check, check_equal
from colo.qmp import QMPClosed
from colo.vm import VM
from disklab import DiskLab
from nbdclient import error_of
from primarylab import EIO, KIB, MIB, NODE, PrimaryLab

BASE = "xen:protected"


def label_of(image: str) -> Dict[str, Any]:
    """What lies beside the image."""
    path = image + ".colo"
    if not os.path.exists(path):
        return {}
    with open(path, encoding="ascii") as file:
        return dict(json.load(file))


def label(lab: PrimaryLab) -> Dict[str, Any]:
    """That of the lab's image."""
    return label_of(lab.image)


def set_label(lab: PrimaryLab, state: str) -> None:
    """As a crash may have left it."""
    with open(lab.image + ".colo", "w", encoding="ascii") as file:
        json.dump({"version": 1, "session": "s1", "role": "secondary",
                   "state": state}, file)


def remove_disk(lab: PrimaryLab) -> None:
    """Guest and node."""
    mark = lab.machine.qmp.mark()
    lab.cmd("block-export-del", {"id": "guest", "mode": "hard"})
    lab.machine.qmp.wait_event("BLOCK_EXPORT_DELETED", since=mark)
    lab.cmd("blockdev-del", {"node-name": NODE})


@case(linux=False, reference=False)
def disk_label_states(context: Context) -> None:
    """Each change is in the file before what it speaks of."""
    lab = PrimaryLab(context)
    target = lab.add_target(lab.serve())
    check_equal(label(lab), {}, "the label of a new disk")
    lab.attach(target)
    lab.wait_in_sync()
    check_equal(label(lab), {}, "before a session")
    lab.begin()
    expected = {"version": 1, "session": "xen", "role": "primary",
                "state": "protected"}
    check_equal(label(lab), expected, "in a session")
    lab.work(10)
    lab.end()
    check_equal(label(lab), expected, "nothing was written since")
    check_equal(lab.info()["state"], "xen:protected", "state")
    lab.guest.read(0, 512)
    lab.guest.flush()
    check_equal(label(lab), expected, "nothing was written since")
    lab.write(0)
    check_equal(label(lab)["state"], "alone", "after a write")
    lab.quit()


@case(linux=False, reference=False)
def disk_label_when_link_breaks(context: Context) -> None:
    """The first write that the peer lacks is not done before the label is."""
    lab = PrimaryLab(context)
    server = lab.serve()
    lab.protect(lab.add_target(server))
    server.kill()
    # Neither can the file be replaced, nor be removed.
    os.unlink(lab.image + ".colo")
    os.makedirs(lab.image + ".colo/x")
    before = lab.guest.read(MIB, 64 * KIB)
    check_equal(error_of(lambda: lab.write(MIB)), EIO, "the guest's error")
    check(lab.guest.read(MIB, 64 * KIB) == before, "it was written")
    os.rmdir(lab.image + ".colo/x")
    os.rmdir(lab.image + ".colo")
    lab.write(MIB)
    check_equal(label(lab)["state"], "alone", "the label")
    lab.quit()


@case(linux=False, reference=False)
def disk_label_after_a_crash(context: Context) -> None:
    """A host that comes back knows what its disk is, but not what differs."""
    lab = PrimaryLab(context, kind="qcow2")
    server = lab.serve()
    lab.protect(lab.add_target(server))
    lab.work(10)
    lab.machine.kill()
    lab.start()
    check_equal(lab.info()["state"], "xen:protected", "state")
    check_equal(lab.info()["differs"], lab.size, "what may differ")
    lab.attach(lab.add_target(server), sync="incremental", base=BASE)
    lab.wait_in_sync()
    lab.compare()
    lab.quit()


@case(linux=False, reference=False)
def disk_track_survives_a_restart(context: Context) -> None:
    """Ended in good order, an image keeps what differs; and only then."""
    lab = PrimaryLab(context, kind="qcow2")
    server = lab.serve()
    lab.protect(lab.add_target(server))
    lab.end()
    lab.write(2 * MIB)
    for number in range(3):
        differs = lab.info()["differs"]
        check_equal(differs, (number + 1) * 64 * KIB, "what differs")
        lab.quit()
        bitmaps = json.loads(lab.tool(
            "qemu-img", "info", "--output=json", lab.image))[
                "format-specific"]["data"].get("bitmaps", [])
        check_equal([entry["name"] for entry in bitmaps], ["colo-xen"],
                    "bitmaps of the image")
        lab.start()
        check_equal(lab.info()["state"], "xen:alone", "state")
        lab.write((4 + number) * MIB)
    lab.attach(lab.add_target(server), sync="incremental", base=BASE)
    lab.wait_in_sync()
    check_equal(lab.forward()["copied"], 4 * 64 * KIB, "bytes copied")
    lab.compare()
    lab.machine.kill()
    lab.start()
    check_equal(lab.info()["differs"], lab.size, "after a crash")
    lab.quit()


@case(linux=False, reference=False)
def disk_track_of_a_secondary(context: Context) -> None:
    """What a survivor merged and wrote is in its image when it ends."""
    lab = DiskLab(context, kind="qcow2", size=16 * MIB)
    lab.steps("begin", "cut", "enter")
    # Equal on both, but nobody has said that it is on stable storage.
    lab.write("peer", 0, lab.random.randbytes(64 * KIB))
    lab.steps("cut", "enter")
    lab.write("guest", 4 * MIB, lab.random.randbytes(64 * KIB))
    lab.write("peer", 8 * MIB, lab.random.randbytes(64 * KIB))
    lab.step("take-over")
    lab.write("guest", 12 * MIB, lab.random.randbytes(64 * KIB))
    lab.wait_merged()
    check_equal(lab.info()["differs"], 4 * 64 * KIB, "what differs")
    lab.quit()
    lab.check_image()
    survivor = PrimaryLab(context, kind="qcow2", size=lab.size,
                          image=lab.path)
    info = survivor.info()
    check_equal((info["state"], info["differs"]),
                ("test:alone", 4 * 64 * KIB), "state, what differs")
    survivor.quit()


@case(linux=False, reference=False)
def disk_track_without_the_node(context: Context) -> None:
    """Who writes to the image past the node is noted as well."""
    lab = PrimaryLab(context, kind="qcow2")
    server = lab.serve()
    lab.protect(lab.add_target(server))
    lab.end()
    lab.write(2 * MIB)
    lab.quit()
    lab.tool("qemu-io", "-c", f"write -P 7 {6 * MIB} 64k", lab.image)
    lab.start()
    check_equal(lab.info()["differs"], 128 * KIB, "what differs")
    lab.attach(lab.add_target(server), sync="incremental", base=BASE)
    lab.wait_in_sync()
    lab.compare()
    lab.quit()


@case(linux=False, reference=False)
def disk_merge_interrupted(context: Context) -> None:
    """A disk left in a merge is opened for nothing but a new copy."""
    lab = PrimaryLab(context)
    remove_disk(lab)
    set_label(lab, "merging")
    node = {"driver": "replication", "node_name": NODE, "file": "image0"}
    text = lab.refusal("blockdev-add", **node)
    check("middle of a merge" in text, text)
    lab.cmd("blockdev-add", {"driver": "replication", "node-name": NODE,
                             "file": "image0", "read-only": True})
    check(lab.info()["needs-resync"], "needs-resync is not set")
    lab.cmd("blockdev-del", {"node-name": NODE})
    lab.add_disk(**{"ignore-state": True})
    info = lab.info()
    check("state" not in info and not info["needs-resync"], f"{info}")
    check_equal(label(lab), {}, "the label")
    lab.quit()


def as_secondary(lab: Any, image: str, name: str = "again") -> VM:
    """A host that comes back and waits for the guest of another one."""
    machine: VM = lab.context.machine(name, [
        "-machine", "none", "-nodefaults", "-display", "none",
        "-incoming", "defer", "-blockdev",
        f"driver=file,node-name=file0,filename={image}", "-blockdev",
        "driver=raw,node-name=parent0,file=file0", "-blockdev",
        "driver=replication,node-name=disk0,file=parent0"])
    return machine.start()


def disk_of(machine: VM) -> Dict[str, Any]:
    """What query-colo says of its only disk."""
    return dict(machine.qmp.cmd("query-colo")["disks"][0])


def crash_in_the_merge(context: Context, step: str) -> DiskLab:
    """A host takes over, and dies; at the step the label cannot be made."""
    lab = DiskLab(context, size=16 * MIB, options={"merge-speed": MIB})
    lab.steps("begin", "cut", "enter")
    check_equal(label_of(lab.path), {
        "version": 1, "session": "test", "role": "secondary",
        "state": "protected"}, "the label in a pair")
    for offset in range(0, 8 * MIB, MIB):
        lab.write("guest", offset, lab.random.randbytes(MIB))
    if step:
        os.mkdir(lab.path + ".colo.new")
    lab.advance("take-over")
    check(not lab.is_merged(), "the merge was over too early for this case")
    lab.machine.kill()
    if step:
        os.rmdir(lab.path + ".colo.new")
    return lab


@case(linux=False, reference=False)
def disk_crash_in_the_merge(context: Context) -> None:
    """It is found at the next start; the disk is good for a copy only."""
    lab = crash_in_the_merge(context, "")
    check_equal(label_of(lab.path)["state"], "merging", "the label")
    with_guest = context.machine("guest", [
        "-machine", "none", "-nodefaults", "-display", "none", "-blockdev",
        f"driver=file,node-name=file0,filename={lab.path}", "-blockdev",
        "driver=replication,node-name=disk0,file=file0"])
    try:
        with_guest.start()
    except QMPClosed:
        pass
    check("middle of a merge" in with_guest.log_tail(), "it was started")
    machine = as_secondary(lab, lab.path)
    info = disk_of(machine)
    check_equal((info["state"], info["needs-resync"]),
                ("test:merging", True), "state, needs-resync")
    check_equal(info["differs"], lab.size, "what may differ")
    copy_whole(lab, machine)
    check_equal(disk_of(machine)["needs-resync"], False, "needs-resync")
    machine.qmp.cmd("quit")
    check_equal(machine.wait_exit(), 0, "exit code")
    check_equal(label_of(lab.path)["state"], "protected", "the label")


def copy_whole(lab: DiskLab, machine: VM) -> None:
    """Another host gives the disk all its content, and protects."""
    socket = os.path.join(lab.context.run_dir, "again.nbd")
    machine.qmp.cmd("nbd-server-start", {
        "addr": {"type": "unix", "data": {"path": socket}}})
    machine.qmp.cmd("block-export-add", {
        "type": "nbd", "id": "peer", "node-name": "parent0", "name": "peer",
        "writable": True})
    other = PrimaryLab(lab.context, size=lab.size)
    other.cmd("blockdev-add", {
        "driver": "nbd", "node-name": "to-again", "export": "peer",
        "server": {"type": "unix", "path": socket}})
    base = disk_of(machine)["state"]
    check("different protections" in other.refusal(
        "colo-disk-attach", node=NODE, target="to-again",
        sync="incremental", base=base), "an increment was not refused")
    other.attach("to-again")
    other.wait_in_sync()
    for step in ("begin", "cut", "enter"):
        machine.qmp.cmd("x-colo-disk-step", {"step": step})
    other.begin()
    other.write(0)
    other.guest.flush()
    machine.qmp.cmd("x-colo-disk-step", {"step": "end"})
    images.compare(disk.tool(lab.context.binary, "qemu-img"), other.image,
                   lab.path)
    other.quit()


@case(linux=False, reference=False)
def disk_crash_in_the_merge_no_room(context: Context) -> None:
    """No new file can be made beside the image: the old one tells of it."""
    lab = crash_in_the_merge(context, "take-over")
    check_equal(label_of(lab.path)["state"], "merging", "the label")
    machine = as_secondary(lab, lab.path)
    check(disk_of(machine)["needs-resync"], "needs-resync is not set")
    machine.qmp.cmd("quit")
    check_equal(machine.wait_exit(), 0, "exit code")


@case(linux=False, reference=False)
def disk_crash_before_and_after_the_merge(context: Context) -> None:
    """A crash at another time leaves a disk of one side."""
    for steps, state in ((("begin",), ""),
                         (("begin", "cut", "enter"), "protected"),
                         (("begin", "cut", "enter", "cut"), "protected"),
                         (("begin", "cut", "enter", "take-over"), "alone")):
        lab = DiskLab(context, name=f"disk{len(steps)}{state}")
        for step in steps:
            lab.step(step)
            if lab.stage == "running":
                lab.work(10)
        if state == "alone":
            lab.wait_merged()
        lab.machine.kill()
        check_equal(label_of(lab.path).get("state", ""), state, "the label")
        machine = as_secondary(lab, lab.path, f"again{len(steps)}{state}")
        info = disk_of(machine)
        check_equal(info.get("state"), f"test:{state}" if state else None,
                    "the state")
        check(not info["needs-resync"], "it needs a resync")
        machine.qmp.cmd("quit")
        check_equal(machine.wait_exit(), 0, "exit code")


@case(linux=False, reference=False)
def disk_no_room_for_a_label(context: Context) -> None:
    """A disk without a state file: the secondary's log warns of it."""
    lab = DiskLab(context)
    lab.step("begin")
    check("state file" not in lab.machine.log_tail(), "a warning")
    lab.step("end")
    lab.remove_disk()
    lab.cmd("blockdev-add", {"driver": "null-co", "node-name": "null0",
                             "size": MIB, "read-zeroes": True})
    lab.cmd("blockdev-add", {"driver": "replication", "node-name": "disk0",
                             "file": "null0"})
    lab.cmd("x-colo-disk-step", {"step": "begin"})
    check("state file" in lab.machine.log_tail(), "no warning")
    lab.cmd("x-colo-disk-step", {"step": "end"})
    lab.quit()


@case(linux=False, reference=False)
def disk_label_is_rubbish(context: Context) -> None:
    """A state file that is none is refused, with what to do."""
    lab = PrimaryLab(context)
    remove_disk(lab)
    for content in ("", "{", "[]", '{"version": 2}', "x" * 10000,
                    '{"version": 1, "session": "a", "role": "primary", '
                    '"state": "rubbish"}'):
        with open(lab.image + ".colo", "w", encoding="ascii") as file:
            file.write(content)
        text = lab.refusal("blockdev-add", driver="replication",
                           node_name=NODE, file="image0")
        check("no state file" in text, text)
    os.unlink(lab.image + ".colo")
    lab.add_disk()
    lab.quit()


@case(linux=False, reference=False)
def disk_state_file_elsewhere(context: Context) -> None:
    """The label lies where the user says, also for a disk without a file."""
    lab = PrimaryLab(context, options={"state-file": os.path.join(
        context.run_dir, "state")})
    target = lab.add_target(lab.serve())
    lab.attach(target, sync="none")
    lab.begin()
    lab.end()
    with open(lab.path("state"), encoding="ascii") as file:
        check_equal(json.load(file)["state"], "protected", "state")
    check_equal(label(lab), {}, "beside the image")
    procs.wait_until(lambda: not lab.jobs(), 5, "no job")
    lab.quit()

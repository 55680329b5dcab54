# SPDX-License-Identifier: GPL-2.0-or-later
"""A secondary's disk: every operation in every stage.

Random writes, zeroes, discards, flushes and reads at any offset, by the guest
and by the peer; after each step both must see exactly what they should.
"""

import os
from typing import Any

from colo import procs
from colo.case import Context, add, case, check, check_equal
from disklab import FILE_NODE, IMAGE_NODE, MIB, DiskLab, Setup

COUNT = 40
ROWS = {
    "raw": Setup(),
    "raw_direct": Setup(direct=True),
    "raw_iothread": Setup(iothread=True, seed=2),
    "raw_empty": Setup(empty=True, seed=3),
    "raw_odd_size": Setup(size=5 * MIB + 512 * 3, seed=4),
    "raw_spills": Setup(seed=5, options={"buffer-limit": MIB}),
    "raw_remote": Setup(seed=11, remote=True),
    "luks_remote_spills": Setup(kind="luks", seed=12, remote=True,
                                options={"buffer-limit": MIB}),
    "raw_shared": Setup(seed=8, options={"shared": True}),
    "luks": Setup(kind="luks", seed=9),
    "luks_iothread_spills": Setup(kind="luks", seed=10, iothread=True,
                                  options={"buffer-limit": MIB}),
    "qcow2": Setup(kind="qcow2", seed=6),
    "qcow2_spills": Setup(kind="qcow2", seed=7, empty=True, iothread=True,
                          options={"buffer-limit": MIB}),
}


def all_stages(context: Context, setup: Setup) -> None:
    """Through the life of a pair, to a takeover and the end of QEMU."""
    lab = DiskLab(context, setup)
    lab.work(COUNT)
    for step in ("begin", "cut", "enter", "cut", "roll-back", "cut", "enter",
                 "check", "take-over"):
        lab.step(step)
        context.step(f"{step}: {lab.buffer()}")
        lab.work(COUNT)
    lab.wait_merged()
    lab.work(COUNT)
    lab.quit()
    lab.check_image()


def not_survivor(context: Context, setup: Setup) -> None:
    """The other side goes on: its data remains, and the graph as it was."""
    lab = DiskLab(context, setup)
    before = graph(lab)
    for _ in range(2):
        lab.steps("begin", "cut", "enter")
        lab.work(COUNT)
        lab.step("end")
        check_equal(graph(lab), before, "the graph after the end")
        lab.work(COUNT)
    lab.quit()
    lab.check_image()


@case(linux=False, reference=False)
def disk_shared_is_left_alone(context: Context) -> None:
    """A shared image: nobody here wants to write to it before a takeover."""
    lab = DiskLab(context, options={"shared": True})
    lab.step("begin")
    writers = [edge for edge in graph(lab) if "write" in edge[3]
               and edge[1] in (IMAGE_NODE, FILE_NODE)]
    check_equal(writers, [], "who may write")
    with open(lab.path, "rb") as file:
        before = file.read()
    lab.peer.write(MIB, b"asked")
    lab.peer.zeroes(2 * MIB, MIB)
    lab.peer.trim(0, MIB)
    lab.peer.flush()
    with open(lab.path, "rb") as file:
        check(file.read() == before, "the image was written to")
    lab.check()
    lab.work(COUNT)
    lab.step("take-over")
    check([edge for edge in graph(lab) if "write" in edge[3]
           and edge[1] == FILE_NODE], "nobody may write after the takeover")
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_shared_must_be_raw(context: Context) -> None:
    """A qcow2 image cannot be shared, and that is said."""
    lab = DiskLab(context, kind="qcow2", options={"shared": True})
    error = lab.machine.qmp.try_cmd("x-colo-disk-step", {"step": "begin"})
    check(error and "raw" in error.desc, f"{error}")
    lab.work(5)
    lab.quit()


def graph(lab: DiskLab) -> Any:
    """Who uses whom, by name."""
    found = lab.cmd("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in found["nodes"]}
    return sorted((names[edge["parent"]], names[edge["child"]], edge["name"],
                   tuple(sorted(edge["perm"])),
                   tuple(sorted(edge["shared-perm"])))
                  for edge in found["edges"])


def _register() -> None:
    for name, setup in ROWS.items():
        for function, prefix in ((all_stages, "disk_stages_"),
                                 (not_survivor, "disk_ends_")):
            def body(context: Context, function: Any = function,
                     setup: Setup = setup) -> None:
                function(context, setup)
            body.__doc__ = function.__doc__
            add(prefix + name, body, linux=False, reference=False)


_register()


@case(linux=False, reference=False)
def disk_removed_from_survivor(context: Context) -> None:
    """Put above a disk in use, through a takeover, and away again."""
    path = os.path.join(context.run_dir, "disk.raw")
    with open(path, "wb") as file:
        file.truncate(MIB)
    qmp = context.machine("survivor", [
        "-machine", "pc", "-display", "none", "-nodefaults", "-S",
        "-blockdev", f"driver=file,node-name=parent0,filename={path}",
        "-device", "virtio-blk-pci,drive=parent0"]).start().qmp

    def node_of_device() -> str:
        return str(qmp.cmd("query-block")[0]["inserted"]["node-name"])

    def is_merged() -> bool:
        disk = qmp.cmd("query-colo")["disks"][0]
        return (disk.get("buffer") or {}).get("stage") in (None, "alone")

    qmp.cmd("colo-disk-insert", {"node": "parent0", "node-name": "disk0"})
    check_equal(node_of_device(), "disk0", "below the device")
    for step in ("begin", "cut", "enter", "take-over"):
        qmp.cmd("x-colo-disk-step", {"step": step})
    procs.wait_until(is_merged, 10, "the merge")
    context.step("a job takes the node below for the root")
    qmp.cmd("blockdev-add", {"driver": "null-co", "node-name": "null0",
                             "size": MIB, "read-zeroes": True})
    mark = qmp.mark()
    qmp.cmd("blockdev-mirror", {"job-id": "job0", "device": "parent0",
                                "target": "null0", "sync": "full"})
    qmp.wait_event("BLOCK_JOB_READY", since=mark)
    qmp.cmd("block-job-cancel", {"device": "job0"})
    qmp.wait_event("BLOCK_JOB_COMPLETED", since=mark)
    qmp.cmd("blockdev-del", {"node-name": "null0"})
    qmp.cmd("colo-disk-remove", {"node": "disk0"})
    check_equal(node_of_device(), "parent0", "below the device")
    check_equal([node["node-name"] for node in
                 qmp.cmd("query-named-block-nodes")], ["parent0"], "nodes")

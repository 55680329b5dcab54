# SPDX-License-Identifier: GPL-2.0-or-later
"""A secondary's disk and everything else that one can do with a disk.

While a pair exists nothing may pull the disk from under it or lay something
between; what is refused says why.  Afterwards all is allowed again.
"""

import os
import time
from typing import Any, List

from colo import disk, procs
from colo.case import Context, case, check, check_equal
from disklab import DISK_NODE, FILE_NODE, IMAGE_NODE, MIB, DiskLab
from nbdclient import STATE_HOLE, STATE_ZERO
from test_disk_stages import graph

MERGE_BYTES_S = 4 * MIB
ROUNDS_MAX = 10


def others(lab: DiskLab, name: str) -> str:
    """A node of the same size that nobody uses."""
    path = os.path.join(lab.context.run_dir, f"{name}.qcow2")
    procs.run([disk.tool(lab.context.binary, "qemu-img"), "create", "-q",
               "-f", "qcow2", path, str(lab.size)])
    lab.cmd("blockdev-add", {
        "driver": "qcow2", "node-name": name,
        "file": {"driver": "file", "filename": path}})
    return name


@case(linux=False, reference=False)
def disk_new_writer_refused(context: Context) -> None:
    """Nobody finds a way round the ingress."""
    lab = DiskLab(context)
    lab.step("begin")
    for name in (IMAGE_NODE, FILE_NODE):
        lab.cmd("blockdev-add", {"driver": "copy-on-read", "file": name,
                                 "node-name": f"over-{name}"})
        error = lab.machine.qmp.try_cmd("block-export-add", {
            "type": "nbd", "id": "x", "node-name": f"over-{name}",
            "writable": True})
        check(error and "write" in error.desc, f"over {name}: {error}")
        printed = lab.machine.qmp.hmp(f'qemu-io {name} "write 0 512"')
        check("rror" in printed or "onflict" in printed, printed)
    lab.work(5)
    lab.quit()


@case(linux=False, reference=False)
def disk_in_use_elsewhere(context: Context) -> None:
    """A job writes to the disk: no pair begins, and nothing has changed."""
    lab = DiskLab(context)
    lab.cmd("blockdev-add", {"driver": "null-co", "node-name": "source",
                             "size": lab.size, "read-zeroes": True,
                             "latency-ns": 100 * 1000 * 1000})
    lab.cmd("block-export-del", {"id": "peer", "mode": "hard"})
    lab.machine.qmp.wait_event("BLOCK_EXPORT_DELETED")
    lab.remove_disk()
    lab.cmd("blockdev-backup", {
        "job-id": "job0", "device": "source", "target": IMAGE_NODE,
        "sync": "full", "speed": 65536})
    lab.add_disk()
    before = graph(lab)
    error = lab.machine.qmp.try_cmd("x-colo-disk-step", {"step": "begin"})
    check(error and IMAGE_NODE in error.desc, f"begin: {error}")
    context.step(str(error))
    check_equal(graph(lab), before, "the graph")
    lab.cmd("block-job-cancel", {"device": "job0", "force": True})
    lab.machine.qmp.wait_event("BLOCK_JOB_CANCELLED")
    lab.cmd("x-colo-disk-step", {"step": "begin"})
    lab.quit()


@case(linux=False, reference=False)
def disk_export_made_later(context: Context) -> None:
    """The NBD server is started again in a pair: the guest is still safe."""
    lab = DiskLab(context)
    lab.advance("begin")
    lab.work(5)
    lab.cmd("nbd-server-stop")
    lab.serve()
    lab.export("peer", IMAGE_NODE)
    lab.export("guest", DISK_NODE)
    lab.peer, lab.guest = lab.connect("peer"), lab.connect("guest")
    lab.work(10)
    lab.steps("cut", "enter")
    lab.work(10)
    lab.step("end")
    lab.work(5)
    names = [node["node-name"] for node in
             lab.cmd("query-named-block-nodes", {"flat": True})]
    check(not [name for name in names if name.startswith("#")],
          f"an ingress stayed: {names}")
    lab.quit()
    lab.check_image()


@case(linux=False, reference=False)
def disk_quit_in_each_stage(context: Context) -> None:
    """QEMU ends in good order whatever the disk is doing."""
    for number, steps in enumerate(((), ("begin",), ("begin", "cut"),
                                    ("begin", "take-over"),
                                    ("begin", "end"))):
        lab = DiskLab(context, name=f"disk{number}",
                      options={"merge-speed": 65536})
        for step in steps:
            lab.step(step)
            if lab.stage == "running":
                lab.work(10)
        lab.quit()
        if lab.stage in ("off", "merging"):
            lab.check_image()


# -- the merge ------------------------------------------------------------

def merging(context: Context, **changes: Any) -> DiskLab:
    """A disk that is slowly being merged."""
    options = {"merge-speed": MERGE_BYTES_S}
    lab = DiskLab(context, size=16 * MIB, options=options, **changes)
    lab.advance("begin")
    for offset in range(0, 8 * MIB, MIB):
        lab.write("guest", offset, lab.random.randbytes(MIB))
        lab.write("peer", offset + 4 * MIB, lab.random.randbytes(MIB))
    lab.advance("take-over")
    return lab


@case(linux=False, reference=False)
def disk_merge_rate(context: Context) -> None:
    """The merge keeps to its speed, and tells how far it is."""
    lab = merging(context)
    start = time.monotonic()
    left = [lab.buffer()["merge-left"]]
    while not lab.is_merged():
        left.append(lab.buffer()["merge-left"])
        time.sleep(0.05)
    took_s = time.monotonic() - start
    context.step(f"{left[0]} bytes in {took_s:.2f} s")
    expected_s = left[0] / MERGE_BYTES_S
    check(took_s > 0.7 * expected_s,
          f"{took_s:.2f} s, not {expected_s:.2f} s")
    check_equal(left, sorted(left, reverse=True), "progress")
    check(len(set(left)) > 4, f"progress in too few steps: {left}")
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_merge_under_changes(context: Context) -> None:
    """While it is merged, the disk is written, drained and laid over."""
    lab = merging(context, kind="qcow2")
    others(lab, "other0")
    lab.work(10)
    lab.cmd("stop")
    lab.cmd("cont")
    lab.cmd("blockdev-snapshot", {"node": IMAGE_NODE, "overlay": "other0"})
    lab.work(10)
    check(not lab.is_merged(), "the merge was over too early for this case")
    lab.wait_merged()
    lab.work(5)
    lab.quit()


@case(linux=False, reference=False)
def disk_merge_moves_to_a_thread(context: Context) -> None:
    """The disk gets another thread while it is merged, and loses it."""
    lab = merging(context)
    lab.cmd("block-export-del", {"id": "guest", "mode": "hard"})
    lab.machine.qmp.wait_event("BLOCK_EXPORT_DELETED")
    for _ in range(3):
        for thread in ("io0", None):
            lab.cmd("x-blockdev-set-iothread", {
                "node-name": DISK_NODE, "iothread": thread, "force": True})
    check(not lab.is_merged(), "the merge was over too early for this case")
    lab.export("guest", DISK_NODE)
    lab.guest = lab.connect("guest")
    lab.finish_merge()


# -- what it takes --------------------------------------------------------

def allocated(path: str) -> int:
    """Bytes that the file has on the disk."""
    return os.stat(path).st_blocks * 512


@case(linux=False, reference=False)
def disk_provisioning_survives(context: Context) -> None:
    """Zeroes and discards take no memory, and leave holes behind."""
    lab = DiskLab(context, size=64 * MIB, empty=True)
    lab.guest.write(0, b"a" * MIB)
    lab.view[:MIB] = b"a" * MIB
    lab.advance("begin")
    lab.guest.zeroes(0, 32 * MIB)
    lab.view[:32 * MIB] = bytes(32 * MIB)
    lab.guest.trim(32 * MIB, 8 * MIB)
    lab.peer.zeroes(40 * MIB, 8 * MIB)
    lab.peer.trim(48 * MIB, 8 * MIB)
    lab.write("peer", 56 * MIB, b"b" * MIB)
    counts = lab.buffer()
    check_equal(counts["memory"], 0, "memory for zeroes")
    check(counts["own"] >= 40 * MIB, f"own {counts['own']}")
    lab.check()
    runs = lab.guest.status(0, 64 * MIB)
    check_equal(sum(size for size, state in runs if state & STATE_ZERO),
                64 * MIB, "zeroes the guest is told of")
    lab.step("take-over")
    lab.finish_merge()
    check(allocated(lab.path) <= MIB, f"{allocated(lab.path)} bytes are "
                                      "allocated, all of the disk is zero")


@case(linux=False, reference=False)
def disk_status_tells_the_truth(context: Context) -> None:
    """What block status calls zero is zero, in every stage."""
    lab = DiskLab(context, kind="qcow2")
    for step in ("begin", "cut", "enter", "take-over"):
        lab.step(step)
        lab.work(15)
        offset = 0
        for size, state in lab.guest.status(0, lab.size):
            if state & (STATE_ZERO | STATE_HOLE):
                check(not any(lab.view[offset:offset + size]),
                      f"{lab.stage}: no zeroes at {offset}+{size}")
            offset += size
        check_equal(offset, lab.size, "bytes with a status")
    lab.quit()


@case(timeout_s=120, linux=False, reference=False)
def disk_memory_is_bounded(context: Context) -> None:
    """Epoch after epoch: memory neither exceeds its limit nor is kept."""
    limit = 16 * MIB
    # Else malloc() keeps some megabytes of freed requests, or does not.
    os.environ.update(MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_="131072")
    lab = DiskLab(context, size=64 * MIB, options={
        "buffer-limit": limit, "spill-dir": context.run_dir})
    lab.check()
    # What QEMU needs for requests as such is no matter of the buffer.
    for offset in range(0, 16 * MIB, MIB):
        data = lab.random.randbytes(MIB)
        lab.write("guest", offset, data)
        lab.write("peer", offset, data)
    lab.advance("begin")
    before_kib = lab.machine.rss_kib()
    for _ in range(8):
        for offset in range(0, 32 * MIB, MIB):
            data = lab.random.randbytes(MIB)
            lab.write("guest", offset, data)
            lab.write("peer", offset + 16 * MIB, data)
        lab.advance("cut")
        lab.advance("enter")
    grown = (lab.machine.peak_rss_kib() - before_kib) * 1024
    context.step(f"limit {limit}, grown by {grown}")
    check(grown < limit * 1.05 + 2 * MIB, f"{grown} bytes for a limit of "
                                          f"{limit}")
    lab.check()
    lab.steps("cut", "enter", "cut", "enter", "end")
    kept = (lab.machine.rss_kib() - before_kib) * 1024
    context.step(f"{kept} bytes more than before")
    procs.wait_until(lambda: lab.machine.rss_kib() * 1024 < before_kib * 1024
                     + 8 * MIB, 5, "memory being given back", 0.05)
    lab.quit()


@case(linux=False, reference=False)
def disk_checkpoint_takes_no_time(context: Context) -> None:
    """What a checkpoint drops, be it much or little, is dropped at once."""
    lab = DiskLab(context, size=256 * MIB, empty=True)
    lab.advance("begin")
    data = lab.random.randbytes(MIB)
    empty_s: List[float] = []
    full_s: List[float] = []
    # A busy machine makes some of them long; never all.
    while not full_s or (len(full_s) < ROUNDS_MAX and
                         min(full_s) >= 2 * min(empty_s) + 0.008):
        empty_s.append(checkpoint_s(lab))
        for offset in range(0, 256 * MIB, MIB):
            lab.guest.write(offset, data)
        full_s.append(checkpoint_s(lab))
    context.step(f"empty {min(empty_s) * 1000:.2f} ms, 256 MiB "
                 f"{min(full_s) * 1000:.2f} ms")
    check(len(full_s) < ROUNDS_MAX, "it takes time with the amount")
    lab.quit()


def checkpoint_s(lab: DiskLab) -> float:
    """How long a checkpoint takes, monitor included."""
    start = time.monotonic()
    lab.cmd("x-colo-disk-step", {"step": "cut"})
    lab.cmd("x-colo-disk-step", {"step": "enter"})
    return time.monotonic() - start

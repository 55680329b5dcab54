# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk gets its copy: whole, where it differs, or as the user says.

Each time the guest writes while it is copied, and in the end both images are
compared byte by byte.
"""

import os
import threading
from typing import Any, Dict, List

from colo import procs
from colo.case import Context, add, case, check, check_equal
from primarylab import (IMAGE_NODE, KIB, MIB, NODE, PrimaryLab, Setup,
                        took_s)

GRAIN = 16 * KIB
SLOW_BYTES_S = 4 * MIB
BASE = "xen:protected"
FORMS: Dict[str, Setup] = {
    "raw": Setup(),
    "qcow2": Setup(kind="qcow2"),
    "luks": Setup(kind="luks"),
    "raw_iothread": Setup(iothread=True),
    "raw_odd_size": Setup(size=16 * MIB - 3 * 512),
}


def copied_under_load(lab: PrimaryLab, target: str) -> None:
    """Attach; the guest works until the copy is complete, and after."""
    lab.attach(target, speed=SLOW_BYTES_S, sync="full")
    check(not lab.forward()["in-sync"], "in sync at once")
    rounds = 0
    while not lab.forward()["in-sync"]:
        lab.work(5)
        rounds += 1
        if rounds == 20:
            lab.cmd("block-job-set-speed", {"device": NODE, "speed": 0})
    lab.work(30)
    lab.compare()


def whole(context: Context, setup: Setup) -> None:
    """All is copied, holes stay holes; the same while the guest writes."""
    lab = PrimaryLab(context, setup)
    target = lab.add_target(lab.serve())
    lab.attach(target)
    lab.wait_in_sync()
    lab.compare()
    check_equal(lab.forward()["copied"], lab.data_bytes(), "bytes copied")
    size = os.stat(lab.path("copy.raw")).st_blocks * 512
    check(size <= lab.data_bytes() + MIB,
          f"{lab.data_bytes()} bytes of data take {size} on the copy")
    lab.detach()
    copied_under_load(lab, target)
    lab.quit()


def differences(context: Context, setup: Setup) -> None:
    """After a parting only what differs is copied."""
    lab = PrimaryLab(context, setup)
    server = lab.serve()
    target = lab.add_target(server)
    lab.attach(target)
    lab.wait_in_sync()
    for parting in range(3):
        lab.begin()
        lab.write(parting * MIB)
        lab.end()
        check("forward" not in lab.info(), "the copy is still attached")
        lab.write(8 * MIB + parting * MIB)
        check_equal(lab.info()["state"], "xen:alone", "state")
        lab.attach(target, sync="incremental", base=BASE)
        lab.wait_in_sync()
        copied = lab.forward()["copied"]
        # Two writes of 64 KiB, and a grain more if they lie across.
        check(128 * KIB <= copied <= 128 * KIB + 2 * GRAIN,
              f"{copied} bytes copied")
        lab.work(10)
        lab.compare()
    lab.quit()


for _name, _setup in FORMS.items():
    def _whole(context: Context, setup: Setup = _setup) -> None:
        whole(context, setup)

    def _differences(context: Context, setup: Setup = _setup) -> None:
        differences(context, setup)

    _whole.__doc__ = whole.__doc__
    _differences.__doc__ = differences.__doc__
    add(f"disk_attach_full_{_name}", _whole, linux=False, reference=False)
    add(f"disk_attach_incremental_{_name}", _differences, linux=False,
        reference=False)


@case(linux=False, reference=False)
def disk_attach_none(context: Context) -> None:
    """Equal as the user says: nothing is copied, all writes go to both."""
    lab = PrimaryLab(context)
    server = lab.serve(random_bytes=False)
    lab.tool("qemu-img", "convert", "-U", "-n", "-O", "raw", lab.image,
             lab.path("copy.raw"))
    lab.attach(lab.add_target(server), sync="none")
    check(lab.forward()["in-sync"], "not in sync")
    check_equal(lab.jobs(), [], "jobs")
    lab.work(100)
    lab.compare()
    check_equal(lab.forward()["copied"], 0, "bytes copied")
    lab.quit()


@case(linux=False, reference=False)
def disk_attach_refusals(context: Context) -> None:
    """Whatever is wrong with a copy is said at once, and nothing changes."""
    lab = PrimaryLab(context)
    server = lab.serve()
    target = lab.add_target(server)
    small = lab.add_target(lab.serve("small", size=lab.size // 2,
                                     random_bytes=False))
    lab.cmd("blockdev-add", {"driver": "null-co", "node-name": "fixed",
                             "size": lab.size, "read-only": True})

    def refused(expected: str, **changes: Any) -> None:
        words = {"node": NODE, "target": target, **changes}
        text = lab.refusal("colo-disk-attach", **words)
        check(expected in text, f"'{text}' lacks '{expected}'")
        check("forward" not in lab.info(), "it is attached all the same")

    refused("no replication node", node=IMAGE_NODE)
    refused("nothing", node="nothing")
    refused("nothing", target="nothing")
    refused("part of disk", target=IMAGE_NODE)
    refused("part of disk", target=NODE)
    refused("read-only", target="fixed")
    refused(str(lab.size // 2), target=small)
    refused("needs base", sync="incremental")
    refused("SESSION:STATE", sync="incremental", base="rubbish")
    refused("different protections", sync="incremental", base=BASE)
    refused("incremental only", sync="full", base=BASE)
    lab.cmd("block-export-add", {"type": "nbd", "id": "other",
                                 "node-name": target, "name": "other",
                                 "writable": True})
    refused(f"conflict on node '{target}'")
    lab.cmd("block-export-del", {"id": "other"})
    lab.attach(target)
    text = lab.refusal("colo-disk-attach", node=NODE, target=small)
    check("has a copy already" in text, text)
    lab.wait_in_sync()
    lab.begin()
    for text in (lab.refusal("colo-disk-attach", node=NODE, target=small),
                 lab.refusal("colo-disk-detach", node=NODE)):
        check("protected" in text, text)
    lab.end()
    lab.refusal("colo-disk-detach", node=NODE)
    lab.quit()


@case(linux=False, reference=False)
def disk_attach_base_is_alone(context: Context) -> None:
    """A disk that was written behind our back is not taken for known."""
    lab = PrimaryLab(context)
    target = lab.add_target(lab.serve())
    lab.protect(target)
    lab.end()
    for base in ("xen:alone", "xen:merging"):
        text = lab.refusal("colo-disk-attach", node=NODE, target=target,
                           sync="incremental", base=base)
        check("does not know" in text, text)
    lab.attach(target, sync="full")
    lab.wait_in_sync()
    lab.compare()
    lab.quit()


@case(linux=False, reference=False)
def disk_attach_cancelled(context: Context) -> None:
    """Cancel or detach: the graph as before, and the track still complete."""
    lab = PrimaryLab(context)
    target = lab.add_target(lab.serve())

    def graph() -> List[str]:
        return sorted(node["node-name"]
                      for node in lab.cmd("query-named-block-nodes"))

    before = graph()
    lab.protect(target)
    lab.end()
    for offset in range(0, lab.size, MIB):
        lab.write(offset, 512 * KIB)
    for stop in ("block-job-cancel", "colo-disk-detach", "job-cancel"):
        lab.attach(target, sync="incremental", base=BASE, speed=MIB)
        lab.work(5)
        name = {"block-job-cancel": "device", "colo-disk-detach": "node",
                "job-cancel": "id"}[stop]
        lab.cmd(stop, {name: NODE})
        procs.wait_until(lambda: "forward" not in lab.info(), 5, stop)
        check_equal(lab.jobs(), [], "jobs")
        check_equal(graph(), before, "nodes")
        lab.work(5)
    lab.attach(target, sync="incremental", base=BASE)
    lab.wait_in_sync()
    lab.compare()
    lab.quit()


@case(linux=False, reference=False)
def disk_attach_paused_and_drained(context: Context) -> None:
    """A job that is paused copies nothing; whoever drains does not wait."""
    lab = PrimaryLab(context)
    lab.attach(lab.add_target(lab.serve()), speed=MIB, **{
        "id": "job0", "auto-dismiss": False})
    lab.cmd("job-pause", {"id": "job0"})
    procs.wait_until(lambda: lab.cmd("query-jobs")[0]["status"] == "paused",
                     5, "pause")
    # Pieces that are read or sent now are still counted when they arrive; a
    # transaction begins with a drain, which waits for them.
    lab.cmd("transaction", {"actions": []})
    copied = lab.forward()["copied"]
    lab.work(20)
    check_equal(lab.forward()["copied"], copied, "copied while paused")
    lab.cmd("job-resume", {"id": "job0"})
    # A transaction begins with a drain of all disks.
    check(took_s(lambda: lab.cmd("transaction", {"actions": []})) < 2,
          "the drain waited for the copy")
    lab.cmd("block-job-set-speed", {"device": "job0", "speed": 0})
    lab.wait_in_sync()
    job = lab.cmd("query-jobs")[0]
    check_equal((job["status"], job["type"]), ("concluded", "colo-resync"),
                "the job")
    check_equal(job["current-progress"], job["total-progress"], "progress")
    lab.cmd("job-dismiss", {"id": "job0"})
    lab.compare()
    lab.quit()


@case(linux=False, reference=False)
def disk_writes_that_overlap(context: Context) -> None:
    """Many writes of the same places at once leave both disks equal."""
    lab = PrimaryLab(context, iothread=True)
    lab.attach(lab.add_target(lab.serve()), sync="full")
    clients = [lab.connect() for _ in range(6)]
    failures: List[BaseException] = []

    def hammer(number: int) -> None:
        try:
            for turn in range(150):
                offset = (turn * 7919 + number * 512) % (256 * KIB)
                data = bytes([number * 40 + turn % 40]) * (
                    4096 * (1 + turn % 9))
                if turn % 10 == 9:
                    clients[number].zeroes(offset, len(data))
                elif turn % 10 == 5:
                    clients[number].trim(offset, len(data))
                else:
                    clients[number].write(offset, data)
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(number,))
               for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_equal(failures, [], "failures")
    lab.wait_in_sync()
    lab.compare()
    lab.quit()

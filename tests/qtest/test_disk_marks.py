# SPDX-License-Identifier: GPL-2.0-or-later
"""What two disks in a real session remember of each other.

Two QEMUs with the boot-sector guest, and a disk of which it knows nothing: an
NBD client at the primary's node plays its user.  What both sides have on
stable storage is forgotten by both; what a disk refused is not.
"""

import json
import os
import time
from typing import Any, Dict, List

from colo import bootsector, disk, images, procs
from colo import pair as pair_module
from colo.case import Context, case, check, check_equal
from colo.ending import end_side
from colo.pair import Pair
from colo.vm import VM, Spec
from nbdclient import NBDClient, NBDError
from primarylab import EIO, KIB, MIB
from test_disk_faults import once

SIZE = 16 * MIB
PLACE = 9 * MIB
# Two flushes of an idle disk, at most 5 s apart, each told at a checkpoint.
FORGET_LIMIT_S = 60.0
FLUSHES_S = 16.0


class DiskPair(Pair):
    """A pair with such a disk."""

    def path(self, name: str) -> str:
        """A file of this case."""
        return os.path.join(self.run_dir, name)

    def begin(self) -> None:
        for machine, node in ((self.p, "disk0"), (self.secondary(), "parent0")):
            machine.qmp.cmd("nbd-server-start", {"addr": {
                "type": "unix", "data": {
                    "path": self.path(f"{machine.name}.nbd")}}})
            machine.qmp.cmd("block-export-add", {
                "type": "nbd", "id": "export0", "node-name": node,
                "name": "disk", "writable": True})
        self.p.qmp.cmd("blockdev-add", {
            "driver": "nbd", "node-name": "to-copy", "export": "disk",
            "server": {"type": "unix", "path": self.path("s.nbd")}})
        self.p.qmp.cmd("colo-disk-attach", {
            "node": "disk0", "target": "to-copy", "sync": "none"})
        super().begin()


def disk_options(path: str, faults: List[Dict[str, Any]]) -> List[str]:
    """The replication node of one side, over an empty image."""
    with open(path, "wb") as file:
        file.truncate(SIZE)
    below: Dict[str, Any] = {"driver": "file", "filename": path,
                             "node-name": "file0"}
    if faults:
        below = {"driver": "blkdebug", "image": below, "inject-error": faults}
    return ["-blockdev", json.dumps({
        "driver": "replication", "node-name": "disk0",
        "state-file": path + ".state",
        "file": {"driver": "raw", "node-name": "parent0", "file": below}})]


def protected(context: Context, faults: List[Dict[str, Any]]) -> DiskPair:
    """In a session; the primary's disk has these faults."""
    config = pair_module.Config(
        spec=Spec(memory_mib=32, linux=False,
                  extra=bootsector.options(context.run_dir)),
        network=False, delay_ms=250)
    config.extra_primary = disk_options(
        os.path.join(context.run_dir, "p.raw"), faults)
    config.extra_secondary = disk_options(
        os.path.join(context.run_dir, "s.raw"), [])
    pair = DiskPair(context.binary, context.run_dir, context.log_dir, None,
                    config)
    context.at_end(pair.close)
    pair.start()
    pair.protect()
    return pair


def user_of(context: Context, pair: DiskPair, side: str = "p") -> NBDClient:
    """Who uses the disk of the primary, or looks at the other's."""
    made = NBDClient(pair.path(f"{side}.nbd"), "disk")
    context.at_end(made.close)
    return made


def entry(machine: VM) -> Dict[str, Any]:
    """What query-colo says of the disk."""
    return dict(machine.qmp.cmd("query-colo")["disks"][0])


def differs(pair: DiskPair) -> List[int]:
    """Bytes that may differ, as either side knows."""
    return [entry(machine)["differs"] for machine in
            (pair.p, pair.secondary())]


@case(timeout_s=120, linux=False, reference=False)
def disk_marks_forget(context: Context) -> None:
    """What is durable on both sides is in no map any more, on both sides."""
    pair = protected(context, [])
    user = user_of(context, pair)
    for number in range(2):
        user.write(number * 4 * MIB, b"new!" * (256 * KIB))
        check_equal(differs(pair), [MIB, MIB], "what may differ")
        procs.wait_until(lambda: differs(pair) == [0, 0], FORGET_LIMIT_S,
                         "the marks", 0.2)
    check_equal(entry(pair.p)["forward"]["in-sync"], True, "in sync")
    images.compare(disk.tool(context.binary, "qemu-img"), pair.path("p.raw"),
                   pair.path("s.raw"))


@case(timeout_s=120, linux=False, reference=False)
def disk_marks_keep_what_failed(context: Context) -> None:
    """A write that the primary's disk refused is remembered by both sides."""
    pair = protected(context, [once("write", PLACE)])
    user = user_of(context, pair)
    try:
        user.write(PLACE, b"new!" * (16 * KIB))
        raise AssertionError("the disk did not refuse it")
    except NBDError as error:
        check_equal(error.number, EIO, "the user's error")
    check("failed on this side" in entry(pair.p)["error"], "no reason")
    check_equal(entry(pair.p)["forward"]["in-sync"], False, "in sync")
    time.sleep(FLUSHES_S)
    pair.wait_checkpoints(2)
    check_equal(differs(pair), [64 * KIB, 64 * KIB], "what may differ")
    end_side(pair, "primary")
    survivor = entry(pair.secondary())
    check_equal(survivor["differs"], 64 * KIB, "what a copy will mend")
    check_equal(user_of(context, pair, "s").read(PLACE, 4), b"new!",
                "the survivor's disk")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks whose requests are carried out by a thread of their own.

A checkpoint stops and starts such a device, and in between nothing that it had
to tell the guest may be lost: a lost interrupt is a disk that hangs.
"""

import time
from typing import List

from colo import diskload
from colo.case import Context, add, case
from colo.ending import end_side
from colo.pair import Config

EXCHANGES = 60
STOPS = 150
RUN_S = 0.05
OBJECT = ["-object", "iothread,id=io0"]
CONTROLLER = ["-device", "virtio-scsi-pci,id=scsi0,iothread=io0"]


def config(context: Context, device: str, extra: List[str]) -> Config:
    """A pair with such a disk."""
    made = diskload.config(context, "symmetric", disk_device=device)
    made.spec.extra = extra
    return made


@case(timeout_s=150, reference=False)
def iothread_stopped_often(context: Context) -> None:
    """No interrupt is lost when the guest is stopped and goes on."""
    pair = context.booted_pair(config=config(
        context, "virtio-blk-pci,iothread=io0", OBJECT))
    client = context.client("kv,database")
    for _ in range(STOPS):
        pair.p.qmp.cmd("stop")
        pair.p.qmp.cmd("cont")
        time.sleep(RUN_S)
    client.wait_progress(EXCHANGES)
    client.check()


def primary_dies(name: str, words: str, work: str, device: str,
                 extra: List[str]) -> None:
    """A case of that kind of disk."""
    def body(context: Context) -> None:
        pair = context.protected_pair(config=config(context, device, extra))
        client = context.client(work)
        client.wait_progress(EXCHANGES)
        pair.wait_checkpoints(20)
        client.wait_progress(EXCHANGES)
        context.step("kill the primary")
        client.mark()
        end_side(pair, "primary")
        client.wait_progress(EXCHANGES)
        diskload.verify(context, pair, client)
    body.__doc__ = words
    add(f"iothread_{name}_primary_dies", body, timeout_s=150, reference=False)


primary_dies("blk", "virtio-blk in a thread of its own, the primary dies",
             "database,records", "virtio-blk-pci,iothread=io0", OBJECT)
primary_dies("scsi", "virtio-scsi in a thread of its own, the primary dies",
             "database:sda,records:sda", "scsi-hd,bus=scsi0.0",
             OBJECT + CONTROLLER)

# SPDX-License-Identifier: GPL-2.0-or-later
"""What replication costs the guest's disk, and what a resync copies.

writes: durable 4 KiB writes anywhere, and 1 MiB writes in sequence, in the
        guest: before protection, under it, and after the secondary was lost.
        One guest sees all three, so that a ratio is one of the same minute.
        Also the pause of an idle checkpoint, and the disk's part of it where
        QEMU tells.
resync: how much is copied when a secondary returns to a large disk of which
        the guest has changed little; seen by QEMU and on the wire.
"""

import time
from typing import Any, Dict, Tuple

from colo import diskload, status
from colo.case import Context
from colo.disk import Options
from colo.disk_symmetric import SymmetricDisk
from colo.ending import end_side
from colo.pair import Pair
from colo.traffic import Client
import measure

MIB = 1 << 20
DISK_MIB = 512
WINDOW_S = 5.0
# Memory and blocks of an image that is written for the first time cost more
# than what is measured, and each state has its images in its own condition.
WARM_UP_S = 3.0
IDLE_DELAY_MS = 500
LOAD_DELAY_MS = 1000
PAUSES_COUNT = 10
RESYNC_DISK_MIB = 4096
RESYNC_CHANGED_MIB = 64
# Figure of the client's load, its unit in the result, bytes of one unit.
LOADS: Tuple[Tuple[str, str, float], ...] = (
    ("blocks", "random-writes-per-s", 4096),
    ("bigblocks", "sequential-mb-per-s", 1e6))
Figures = Dict[str, Any]


def measure_writes(context: Context, prefix: str, out: Figures) -> None:
    """Both loads, one after the other."""
    for work, name, unit_bytes in LOADS:
        client: Client = context.client(work, pause_ms=0)
        time.sleep(WARM_UP_S)
        figures = measure.window(client, WINDOW_S)[work]
        out[f"{prefix}-{name}"] = (figures["bytes"] / unit_bytes
                                   / figures["window-s"])
        client.verify()
        client.close()


def writes(context: Context, kind: str) -> Figures:
    """See the top of the file; ratios are to the mean of before and after."""
    out: Figures = {}
    pair = context.booted_pair(config=diskload.config(
        context, kind, delay_ms=IDLE_DELAY_MS,
        disk_options=Options(size_mib=DISK_MIB)))
    measure_writes(context, "before", out)
    pair.protect(120)
    samples = measure.Sampler(pair).collect(PAUSES_COUNT)
    measure.summarize(samples, "idle", out)
    out["idle-disk-us"] = _disk_part(pair, out.pop("idle-phases-us", {}))
    pair.set_delay_ms(LOAD_DELAY_MS)
    measure_writes(context, "protected", out)
    end_side(pair, "secondary")
    measure_writes(context, "after", out)
    for _, name, _ in LOADS:
        plain = (out[f"before-{name}"] + out[f"after-{name}"]) / 2
        out[f"ratio-{name}"] = out[f"protected-{name}"] / plain
    return out


def _disk_part(pair: Pair, phases: Dict[str, float]) -> float:
    """The primary's medians, and the secondary's means of as many."""
    there = {t["name"]: t["mean-us"]
             for t in status.query(pair.secondary())["timings"]}
    return sum(us for side in (phases, there) for name, us in side.items()
               if name.endswith("-disks"))


def resync(context: Context) -> Figures:
    """Lose the secondary, change a little, take it back."""
    pair = context.protected_pair(config=diskload.config(
        context, "symmetric", disk_options=Options(
            size_mib=RESYNC_DISK_MIB, filesystem=True, relayed=True)))
    pair.wait_checkpoints(2)        # the first one names what both know
    end_side(pair, "secondary")
    calm = context.client("")
    calm.volume(f"WRITE vda sequential 1 {RESYNC_CHANGED_MIB}")
    pair.reprotect("n")
    assert isinstance(pair.disk, SymmetricDisk)
    out = {"changed-mib": RESYNC_CHANGED_MIB,
           "copied-mib": pair.disk.copied_bytes / MIB,
           "on-the-wire-mib": pair.disk.relay().passed_bytes / MIB}
    _compare(context, pair)
    return out


def _compare(context: Context, pair: Pair) -> None:
    pair.wait_checkpoints(2)
    diskload.compare_images(context, pair)

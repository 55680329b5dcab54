# SPDX-License-Identifier: GPL-2.0-or-later
"""Long runs: thousands of checkpoints, dozens of random kills."""

import time
from typing import Any, Dict

from colo import status
from colo.case import Context
from colo.vm import Spec

SOAK_DELAY_MS = 50
# A secondary has never booted: its code cache fills while it follows.
WARM_CHECKPOINTS = 600


BIG_KIB = 128 * 1024


def own_kib(pid: int) -> int:
    """Resident memory but for guest RAM and TCG's code cache.

    Those two are the mappings of more than BIG_KIB.  They fill up as the
    guest touches its memory and runs new code, with or without checkpoints.
    """
    total_kib = size_kib = 0
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        for line in smaps:
            name, _, rest = line.partition(":")
            if name == "Size":
                size_kib = int(rest.split()[0])
            elif name == "Rss" and size_kib < BIG_KIB:
                total_kib += int(rest.split()[0])
    return total_kib


def soak(context: Context, count: int) -> Dict[str, Any]:
    """`count` checkpoints at 50 ms with a busy client; RSS growth."""
    pair = context.protected_pair(delay_ms=SOAK_DELAY_MS,
                                  spec=Spec(memory_mib=256))
    client = context.client()
    client.control("DIRTY 10 8")
    pair.wait_checkpoints(WARM_CHECKPOINTS, 120)
    machines = {"primary": pair.p, "secondary": pair.secondary()}
    before = {name: m.rss_kib() for name, m in machines.items()}
    own_before = {name: own_kib(m.pid) for name, m in machines.items()}
    begin_s = time.monotonic()
    pair.wait_checkpoints(count, 60 + count * 0.5)
    length_s = time.monotonic() - begin_s
    out: Dict[str, Any] = {"checkpoints": count, "seconds": length_s}
    for name, machine in machines.items():
        out[f"{name}-rss-growth-kib"] = machine.rss_kib() - before[name]
        out[f"{name}-own-growth-kib"] = (own_kib(machine.pid)
                                         - own_before[name])
    out["memory-check"] = client.control("DIRTYCHECK")
    client.wait_progress(50)
    client.verify()
    out["end-state"] = status.describe(pair.p)
    return out

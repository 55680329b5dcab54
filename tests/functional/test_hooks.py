# SPDX-License-Identifier: GPL-2.0-or-later
"""Hooks that no other case would miss if they were not entered."""

import re

from colo.case import Context, case, check
from colo.vm import VM

MORE_CHECKPOINTS = 10


def code_cache(machine: VM) -> dict:
    """Counters of TCG's code cache, by name."""
    text = str(machine.qmp.cmd("human-monitor-command",
                               {"command-line": "info jit"}))
    return {name.strip(): int(value) for name, value in
            re.findall(r"^(TB count|TB flush count)\s+(\d+)", text, re.M)}


@case(timeout_s=60, reference=False)
def code_cache_survives(context: Context) -> None:
    """Loading a checkpoint does not throw translated code away."""
    pair = context.protected_pair(delay_ms=200)
    pair.wait_checkpoints(3)
    before = code_cache(pair.secondary())
    pair.wait_checkpoints(MORE_CHECKPOINTS)
    after = code_cache(pair.secondary())
    context.step(f"before {before}, after {after}")
    check(after["TB flush count"] == before["TB flush count"],
          "the code cache was flushed")
    check(after["TB count"] >= before["TB count"] > 1000,
          "the code cache is cold")

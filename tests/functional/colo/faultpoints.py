# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbered points of a checkpoint at which a side can be made to fail."""

import os
import re
from typing import List

from . import procs
from .case import Context
from .qmp import QMPClosed, QMPError
from .vm import TOP, VM

SOURCE = os.path.join(TOP, "migration", "colo-fault.c")
SKIP_CHECKPOINTS = 2
ONLY_IN_ROLLBACK = ("s-rollback",)
# Passed between two frames of pages: makes sure that there are two.
MANY_PAGES = {"p-pages-sent": {"page-hash": "off"}}
PASS_LIMIT_S = 15.0


def points(side: str) -> List[str]:
    """The fault points of one side ("p" or "s"), from the source."""
    try:
        with open(SOURCE, encoding="utf-8") as file:
            found = re.findall(r'"([ps]-[a-z-]+)"', file.read())
    except OSError:
        return []
    return [name for name in found if name.startswith(side + "-")
            and name not in ONLY_IN_ROLLBACK]


def arm(context: Context, machine: VM, point: str, action: str) -> None:
    """Arm a fault point, or skip where the build has none.

    action: kill, freeze or fail.
    """
    try:
        machine.qmp.cmd("x-colo-fault", {"point": point, "action": action,
                                         "skip": SKIP_CHECKPOINTS})
    except QMPError as error:
        if "build" in error.desc or "configure" in error.desc:
            context.skip(f"no fault points in this QEMU: {error.desc}")
        raise
    except QMPClosed:
        pass                    # it went off before the answer came


def is_frozen(machine: VM) -> bool:
    """True once the process has stopped itself."""
    return procs.stat_fields(machine.pid)[0] == "T"


def wait_passed(victim: VM, point: str, action: str) -> None:
    """Until the side is dead (kill) or has stopped itself (freeze)."""
    def passed() -> bool:
        return is_frozen(victim) if action == "freeze" else \
            not victim.alive()
    procs.wait_until(passed, PASS_LIMIT_S,
                     f"{victim.name} reaching {point}", 0.002)

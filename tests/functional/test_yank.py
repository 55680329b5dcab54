# SPDX-License-Identifier: GPL-2.0-or-later
"""`yank` tears the channel, on either side, in the middle of anything."""

from typing import Any, Dict, List

from colo import status
from colo.case import Context, case, check
from colo.ending import kill_and_verify
from colo.vm import VM


def yank_migration(machine: VM) -> None:
    """Out of band would do as well; the monitor is not blocked."""
    found: List[Dict[str, Any]] = machine.qmp.cmd("query-yank")
    mine = [one for one in found if one["type"] == "migration"]
    check(mine, f"{machine.name} offers no channel to yank: {found}")
    machine.qmp.cmd("yank", {"instances": mine})


@case(timeout_s=60, reference=False)
def yank_on_the_primary(context: Context) -> None:
    """Both sides report the loss; the secondary is told to take over."""
    pair = context.protected_pair(delay_ms=200)
    client = context.client()
    pair.wait_checkpoints(3)
    yank_migration(pair.p)
    for machine in (pair.p, pair.secondary()):
        pair.wait_peer_lost(machine)
        info = status.query(machine)
        check(info["cause"] == "peer-closed", f"{machine.name}: {info}")
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def yank_on_the_secondary_frozen_primary(context: Context) -> None:
    """A checkpoint whose sender is frozen is given up at once by yank."""
    pair = context.protected_pair(delay_ms=200,
                                  limits={"step-limit": 60000})
    client = context.client()
    pair.wait_checkpoints(3)
    pair.p.freeze()
    yank_migration(pair.secondary())
    pair.wait_peer_lost(pair.secondary())       # or in a minute
    cause = status.query(pair.secondary())["cause"]
    check(cause == "peer-closed", f"lost as {cause}")
    kill_and_verify(context, pair, client)

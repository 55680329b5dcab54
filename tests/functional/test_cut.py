# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a guest that stands still inside a checkpoint.

The secondary freezes itself when it has received a checkpoint, so that the
primary's guest is held for as long as the case wants.  What a user or the
guest asks for meanwhile must not touch the guest, and must be carried out
on both sides when the checkpoint is over.
"""

import time

from colo import procs, status
from colo.case import Context, case, check
from colo.ending import kill_and_verify
from colo.faultpoints import wait_passed
from colo.pair import Pair

LONG_MS = 59000
HOLD_S = 0.5
HELD = ("sent", "committing")


def hold(pair: Pair) -> None:
    """Take a checkpoint that the secondary does not answer for now."""
    pair.secondary().qmp.cmd("x-colo-fault", {
        "point": "s-end", "action": "freeze"})
    pair.p.qmp.cmd("migrate-set-parameters", {"x-checkpoint-delay": LONG_MS})
    # A checkpoint that was under way has no such end.
    wait_passed(pair.secondary(), "s-end", "freeze")
    procs.wait_until(lambda: phase(pair) in HELD, 10, "a held guest")


def phase(pair: Pair) -> str:
    return str(status.query(pair.p)["phase"])


def still_held(pair: Pair, runstates: tuple) -> None:
    """The guest is as it was; then the secondary wakes up."""
    limit = time.monotonic() + HOLD_S
    while time.monotonic() < limit:
        check(pair.p.runstate() in runstates,
              f"the held guest became {pair.p.runstate()}")
        check(phase(pair) in HELD, f"the cut ended: {phase(pair)}")
    pair.secondary().thaw()


def agree(pair: Pair, primary: str, secondary: str) -> None:
    procs.wait_until(lambda: (pair.p.runstate(),
                              pair.secondary().runstate())
                     == (primary, secondary), 10,
                     f"primary {primary}, secondary {secondary}")
    check(status.query(pair.p)["state"] in ("protected", "checkpoint"),
          "protection ended")


@case(timeout_s=60, reference=False)
def stop_in_a_cut(context: Context) -> None:
    """`stop` inside a checkpoint stops both guests at its end."""
    pair = context.protected_pair(delay_ms=LONG_MS)
    client = context.client()
    hold(pair)
    pair.p.qmp.cmd("stop")
    still_held(pair, ("colo",))
    agree(pair, "paused", "colo")
    pair.p.qmp.cmd("cont")
    agree(pair, "running", "running")
    pair.p.qmp.cmd("colo-checkpoint")
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def cont_in_a_cut(context: Context) -> None:
    """`cont` of a stopped guest inside a checkpoint waits for its end."""
    pair = context.protected_pair(delay_ms=LONG_MS)
    client = context.client()
    pair.p.qmp.cmd("stop")
    agree(pair, "paused", "colo")
    hold(pair)
    pair.p.qmp.cmd("cont")
    still_held(pair, ("paused",))
    agree(pair, "running", "running")
    pair.p.qmp.cmd("colo-checkpoint")
    kill_and_verify(context, pair, client)


@case(timeout_s=90, reference=False)
def reset_in_a_cut(context: Context) -> None:
    """A reset inside a checkpoint waits for its end, then reaches both."""
    pair = context.protected_pair(delay_ms=LONG_MS)
    hold(pair)
    pair.p.qmp.cmd("system_reset")
    still_held(pair, ("colo",))
    procs.wait_until(
        lambda: pair.p.console().count("colo-guest: ready") == 2, 60,
        "the second boot")
    agree(pair, "running", "running")


@case(timeout_s=60, reference=False)
def dump_is_refused(context: Context) -> None:
    """dump-guest-memory is refused on both sides and harms neither."""
    pair = context.protected_pair()
    client = context.client()
    for machine in (pair.p, pair.secondary()):
        error = machine.qmp.try_cmd("dump-guest-memory", {
            "paging": False, "protocol": "file:/dev/null"})
        check(error is not None, f"{machine.name} wrote a dump")
    agree(pair, "running", "running")
    pair.p.qmp.cmd("colo-checkpoint")
    kill_and_verify(context, pair, client)

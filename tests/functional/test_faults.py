# SPDX-License-Identifier: GPL-2.0-or-later
"""A side dies or freezes at each numbered point of a checkpoint.

The points are those that migration/colo-fault.c lists; a point that is added
there is tested here without more ado.  Needs a build with fault points.
"""

import secrets
from typing import Any

from colo import procs, status, storm
from colo.case import Context, add, case, check
from colo.ending import check_client, take_over
from colo.faultpoints import MANY_PAGES, arm, points, wait_passed
from colo.pair import Pair

# For a side that says nothing; one that dies is missed without them.
LIMITS = {"step-limit": 1500, "heartbeat": 300}
LOAD = "DIRTY 20 16"
DELAY_MS = 200


def at_point(context: Context, point: str, action: str,
             **limits: Any) -> Pair:
    """A pair of which one side has just died or frozen at the point."""
    pair = context.protected_pair(
        delay_ms=DELAY_MS, limits={**limits, **MANY_PAGES.get(point, {})})
    pair.wait_checkpoints(2)
    victim = pair.p if point.startswith("p-") else pair.secondary()
    context.client_at_work = context.client()
    context.client_at_work.control(LOAD)
    context.client_at_work.wait_progress(50)
    context.client_at_work.mark()
    arm(context, victim, point, action)
    wait_passed(victim, point, action)
    context.step(f"{action} at {point}")
    return pair


def finish(context: Context) -> None:
    """The guest's memory is sound and the client is content."""
    client = context.client_at_work
    assert client is not None
    answer = client.control("DIRTYCHECK")
    check(answer.startswith("OK"), f"guest memory: {answer}")
    check_client(context, client)


def killed(context: Context, point: str) -> None:
    """That side dies at the point, the other goes on."""
    pair = at_point(context, point, "kill")
    take_over(pair, "primary" if point.startswith("p-") else "secondary")
    finish(context)


def frozen(context: Context, point: str) -> None:
    """That side freezes at the point, is missed, fenced, replaced."""
    pair = at_point(context, point, "freeze", **LIMITS)
    take_over(pair, "primary" if point.startswith("p-") else "secondary")
    finish(context)


def orphaned(context: Context, point: str) -> None:
    """The primary dies while the secondary is at the point."""
    pair = at_point(context, point, "freeze")
    pair.p.kill()
    pair.secondary().thaw()
    take_over(pair, "primary")
    finish(context)


def _register() -> None:
    table = (("killed", killed, points("p") + points("s"), False),
             ("orphaned", orphaned, points("s"), False),
             ("frozen", frozen, points("p") + points("s"), True))
    for word, function, names, slow in table:
        for point in names:
            def body(context: Context, function=function,  # type: ignore
                     point: str = point) -> None:
                function(context, point)
            body.__doc__ = f"{word} at fault point {point}"
            add(f"{word}_at_{point.replace('-', '_')}", body, timeout_s=60,
                reference=False, slow=slow)


_register()


def failed_step(context: Context, point: str) -> None:
    """A step fails without a death: the primary goes on by itself."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client()
    client.control(LOAD)
    client.wait_progress(50)
    victim = pair.p if point.startswith("p-") else pair.secondary()
    arm(context, victim, point, "fail")
    procs.wait_until(lambda: status.query(pair.p)["state"] == "alone", 15,
                     "the primary going on alone")
    second = pair.secondary()
    check(second.wait_exit(10) == 1 and "without taking over" in
          second.log_tail(), "a secondary without a claim must end and say "
          "why\n" + second.log_tail())
    context.step(f"primary {status.describe(pair.p)}")
    pair.proxy.primary_failover(pair.p.qmp)
    context.client_at_work = client
    finish(context)


@case(timeout_s=60, reference=False)
def capture_fails(context: Context) -> None:
    """The primary cannot take its own state."""
    failed_step(context, "p-capture")


@case(timeout_s=60, reference=False)
def collect_fails(context: Context) -> None:
    """The secondary cannot take its own state."""
    failed_step(context, "s-collect")


@case(timeout_s=60, reference=False)
def apply_fails(context: Context) -> None:
    """The secondary cannot load a checkpoint and rolls it back."""
    failed_step(context, "s-apply-devices")


def random_kill(context: Context, side: str) -> None:
    """One kill at a moment that nobody chose."""
    storm.one_kill(context, side, secrets.randbelow(1 << 32))


for _side in ("primary", "secondary"):
    for _number in range(1, 4):
        def _body(context: Context, side: str = _side) -> None:
            random_kill(context, side)
        _body.__doc__ = f"the {_side} dies at a random moment"
        add(f"random_kill_{_side}_{_number}", _body, timeout_s=60)

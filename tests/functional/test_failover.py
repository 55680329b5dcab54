# SPDX-License-Identifier: GPL-2.0-or-later
"""One side dies or freezes; the client keeps its connection and its data."""

from colo import status
from colo.case import Context, add, check
from colo.pair import Pair
from colo.traffic import Client, longest_gap_ms

GAP_LIMIT_MS = 5000.0
FREEZE_GAP_LIMIT_MS = 15000.0
MORE = 200


def end_side(pair: Pair, side: str, how: str) -> None:
    """Kill or freeze one side; a frozen one is fenced once it is missed."""
    victim = pair.p if side == "primary" else pair.secondary()
    survivor = pair.secondary() if side == "primary" else pair.p
    if how == "kill":
        victim.kill()
    else:
        victim.freeze()
    pair.wait_peer_lost(survivor)
    victim.kill()
    if side == "primary":
        pair.failover_to_secondary()
    else:
        pair.failover_to_primary()
    pair.wait_alone(survivor)


def check_client(context: Context, client: Client, limit_ms: float) -> None:
    """All that was acknowledged is there, and nobody waited too long."""
    client.wait_progress(MORE)
    report = client.check()
    gap_ms = longest_gap_ms(report)
    context.step(f"longest gap {gap_ms:.0f} ms, revision "
                 f"{report['kv']['revision']}")
    check(gap_ms < limit_ms, f"the client waited {gap_ms:.0f} ms, limit "
                             f"{limit_ms:.0f} ms")
    client.verify()


def run_failover(context: Context, side: str, how: str, load: str) -> None:
    """Protect, work, lose a side, go on."""
    pair = context.protected_pair(delay_ms=500)
    client = context.client()
    if load:
        client.control(load)
    client.wait_progress(MORE)
    pair.wait_checkpoints(5)
    client.mark()
    context.step(f"{how} the {side}")
    end_side(pair, side, how)
    check_client(context, client,
                 GAP_LIMIT_MS if how == "kill" else FREEZE_GAP_LIMIT_MS)
    survivor = pair.secondary() if side == "primary" else pair.p
    if load:
        check_memory(client)
    check(not survivor.crashed(), f"{survivor.name} crashed")
    check(status.is_alone(survivor), status.describe(survivor))


def check_memory(client: Client) -> None:
    """The dirtied memory holds what the guest believes it wrote."""
    answer = client.control("DIRTYCHECK")
    check(answer.startswith("OK"), f"guest memory: {answer}")


def _register() -> None:
    loads = {"idle": "", "load": "DIRTY 20 16"}
    for side in ("primary", "secondary"):
        for how in ("kill", "freeze"):
            for name, load in loads.items():
                def body(context: Context, side: str = side, how: str = how,
                         load: str = load) -> None:
                    """A side is lost; the client does not notice."""
                    run_failover(context, side, how, load)
                body.__doc__ = f"{how} the {side}, guest under {name}"
                add(f"{how}_{side}_{name}", body, timeout_s=90,
                    reference=how == "kill")


_register()

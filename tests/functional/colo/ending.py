# SPDX-License-Identifier: GPL-2.0-or-later
"""How cases end: a side is lost, the other goes on, the client agrees."""

from . import status
from .case import Context, check
from .pair import Pair
from .traffic import Client, longest_gap_ms

MORE = 100


def end_side(pair: Pair, side: str, how: str = "kill") -> None:
    """Kill or freeze one side; a frozen one is fenced once it is missed."""
    victim = pair.p if side == "primary" else pair.secondary()
    if how == "kill":
        victim.kill()
    else:
        victim.freeze()
    take_over(pair, side)


def take_over(pair: Pair, side: str) -> None:
    """That side is dead or frozen: fence it and let the other go on."""
    survivor = pair.secondary() if side == "primary" else pair.p
    victim = pair.p if side == "primary" else pair.secondary()
    pair.wait_peer_lost(survivor)
    victim.kill()
    if side == "primary":
        pair.failover_to_secondary()
    else:
        pair.failover_to_primary()
    pair.wait_alone(survivor)
    check(not survivor.crashed(), f"{survivor.name} crashed")
    check(status.is_alone(survivor), status.describe(survivor))


def check_client(context: Context, client: Client,
                 limit_ms: float = 15000.0) -> float:
    """All that was acknowledged is there, and nobody waited too long."""
    client.wait_progress(MORE)
    gap_ms = longest_gap_ms(client.check())
    context.step(f"longest gap {gap_ms:.0f} ms")
    check(gap_ms < limit_ms, f"the client waited {gap_ms:.0f} ms, limit "
                             f"{limit_ms:.0f} ms")
    client.verify()
    return gap_ms


def kill_and_verify(context: Context, pair: Pair, client: Client,
                    side: str = "primary") -> None:
    """The end of most cases: one side dies, the client is content."""
    context.step(f"kill the {side}")
    client.mark()
    end_side(pair, side)
    check_client(context, client)

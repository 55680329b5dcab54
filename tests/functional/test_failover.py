# SPDX-License-Identifier: GPL-2.0-or-later
"""One side dies or freezes; the client keeps its connection and its data."""

from colo.case import Context, add, case, check
from colo.ending import check_client, end_side, kill_and_verify
from colo.traffic import Client

GAP_LIMIT_MS = 5000.0
FREEZE_GAP_LIMIT_MS = 15000.0
MORE = 200


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
    if load:
        check_memory(client)
    check_client(context, client,
                 GAP_LIMIT_MS if how == "kill" else FREEZE_GAP_LIMIT_MS)


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


@case(timeout_s=60, reference=False)
def kill_primary_behind_the_first_checkpoint(context: Context) -> None:
    """A client at work is taken over as soon as that is possible at all."""
    pair = context.booted_pair(delay_ms=150, form="direct")
    client = context.client()
    client.wait_progress(50)
    pair.protect()
    pair.wait_checkpoints(1)
    kill_and_verify(context, pair, client)


def protect_again(context: Context, side: str) -> None:
    """Lose a side, get a new secondary, lose the primary."""
    pair = context.protected_pair(delay_ms=300)
    client = context.client()
    pair.wait_checkpoints(3)
    context.step(f"kill the {side}")
    end_side(pair, side, "kill")
    client.wait_progress(50)
    context.step("a new secondary")
    pair.reprotect("n")
    pair.wait_checkpoints(5)
    client.wait_progress(50)
    client.mark()
    context.step("kill the primary")
    end_side(pair, "primary", "kill")
    check_client(context, client, GAP_LIMIT_MS)


@case(timeout_s=90)
def protect_again_after_secondary_died(context: Context) -> None:
    """The primary lost its secondary, gets another, then dies."""
    protect_again(context, "secondary")


@case(timeout_s=90)
def protect_again_after_primary_died(context: Context) -> None:
    """The secondary took over, gets a secondary of its own, then dies."""
    protect_again(context, "primary")

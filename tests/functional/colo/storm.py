# SPDX-License-Identifier: GPL-2.0-or-later
"""Kills at random moments, for the tests and for the benchmark.

The seed is printed with each round, so that a round can be had again; what
the seed cannot fix is where in a checkpoint the kill falls, and that is what
the many rounds are for.
"""

import random
import time
from typing import Any

from .case import Context
from .ending import check_client, end_side
from .pair import Pair

DELAY_MS = 100
WAIT_MAX_S = 0.6
LOADS = ("", "DIRTY 20 16", "DIRTY 60 32")


def start(context: Context, **settings: Any) -> Pair:
    """A pair as these rounds use it."""
    settings.setdefault("delay_ms", DELAY_MS)
    return context.protected_pair(**settings)


def one_kill(context: Context, side: str, seed: int,
             **settings: Any) -> float:
    """One round: protect, load, kill at a random moment; the gap in ms."""
    dice = random.Random(seed)
    pair = start(context, **settings)
    client = context.client()
    load = dice.choice(LOADS)
    if load:
        client.control(load)
    client.wait_progress(50)
    pair.wait_checkpoints(2)
    time.sleep(dice.uniform(0, WAIT_MAX_S))
    client.mark()
    context.step(f"seed {seed}: kill the {side}, load '{load}'")
    end_side(pair, side)
    if load:
        answer = client.control("DIRTYCHECK")
        if not answer.startswith("OK"):
            raise AssertionError(f"guest memory: {answer}")
    return check_client(context, client)

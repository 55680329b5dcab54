# SPDX-License-Identifier: GPL-2.0-or-later
"""What clients of a protected guest live through.

stream: one transfer of 96 MB with checkable content, and the primary killed
        at a random moment of it; whole or not.
mixed:  a minute of mixed TCP load without a loss; how many checkpoints were
        asked for by a mismatch.
"""

import random
import time
from typing import Any, Dict

from colo import procs, status
from colo.case import Context
from colo.workloads_stream import FIXED_BYTES

STREAM_DELAY_MS = 500
MIXED_DELAY_MS = 1000
MIXED_WORK = "kv,echo,source,sink,http"
MIXED_S = 60.0
# The guest's first seconds: services start, addresses are announced.
SETTLE_S = 3.0
PROGRESS_LIMIT_S = 60.0
NETWORK_REASONS = ("mismatch", "timeout", "queue-full")


def stream(context: Context, work: str, seed: int) -> Dict[str, Any]:
    """Kill the primary somewhere between a tenth and nine tenths."""
    share = random.Random(seed).uniform(0.1, 0.9)
    pair = context.protected_pair(delay_ms=STREAM_DELAY_MS, form="direct")
    client = context.client(work)
    procs.wait_until(
        lambda: client.check()[work]["bytes"] > FIXED_BYTES * share,
        PROGRESS_LIMIT_S, f"{share:.0%} of the transfer", 0.005)
    client.mark()
    pair.p.kill()
    pair.wait_peer_lost(pair.secondary())
    pair.failover_to_secondary()
    client.wait_finished()
    client.verify()
    return {"whole": 1, "share": share}


def mixed(context: Context) -> Dict[str, Any]:
    """Counts of checkpoints by reason in a minute."""
    pair = context.protected_pair(delay_ms=MIXED_DELAY_MS, form="direct")
    client = context.client(MIXED_WORK)
    time.sleep(SETTLE_S)
    before = status.query(pair.p)["checkpoints"]
    time.sleep(MIXED_S)
    after = status.query(pair.p)["checkpoints"]
    client.verify()
    return {f"{name}-checkpoints": after[name] - before[name]
            for name in ("periodic",) + NETWORK_REASONS}

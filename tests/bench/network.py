# SPDX-License-Identifier: GPL-2.0-or-later
"""What protection costs the guest's network.

Round trips, and bulk from the guest and to it, as a client sees them: before
protection, under it, and after the secondary was lost.  One guest sees all
three, so that a ratio is one of the same minute: two guests minutes apart
differ by more than what is to be measured.
"""

from typing import Any, Dict

from colo.case import Context
from colo.ending import end_side
import measure

# Of measure_traffic(): what is compared; a rate or a time.
NAMES = ("round-trip-p50-us", "bulk-source-mb-per-s", "bulk-sink-mb-per-s")
Figures = Dict[str, Any]


def measure_part(context: Context, plan: measure.Plan, prefix: str,
                 out: Figures) -> None:
    """What is compared, with names that begin with the prefix."""
    figures: Figures = {}
    measure.measure_traffic(context, plan, figures)
    out.update((f"{prefix}-{name}", figures[name]) for name in NAMES)


def traffic(context: Context) -> Figures:
    """See the top of the file; ratios are to the mean of before and after."""
    out: Figures = {}
    plan = measure.Plan()
    pair = measure.booted_pair(context, plan, measure.TRAFFIC_DELAY_MS)
    measure_part(context, plan, "before", out)
    pair.protect(180)
    pair.wait_checkpoints(measure.SETTLE_CHECKPOINTS)
    measure_part(context, plan, "protected", out)
    end_side(pair, "secondary")
    measure_part(context, plan, "after", out)
    measure.add_ratios(out, NAMES)
    return out

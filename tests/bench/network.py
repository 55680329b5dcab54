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
from colo.vm import Spec
import measure

# Of measure_traffic(): what is compared; a rate or a time.
NAMES = ("round-trip-p50-us", "bulk-source-mb-per-s", "bulk-sink-mb-per-s")
Figures = Dict[str, Any]


def traffic(context: Context) -> Figures:
    """See the top of the file; ratios are to the mean of before and after."""
    plan = measure.Plan()
    parts: Dict[str, Figures] = {"before": {}, "protected": {}, "after": {}}
    pair = context.booted_pair(
        spec=Spec(memory_mib=plan.memory_mib), channel=plan.channel,
        disk=plan.disk, delay_ms=measure.TRAFFIC_DELAY_MS,
        form="chardev" if context.is_reference else plan.form)
    measure.measure_traffic(context, plan, parts["before"])
    pair.protect(180)
    pair.wait_checkpoints(measure.SETTLE_CHECKPOINTS)
    measure.measure_traffic(context, plan, parts["protected"])
    end_side(pair, "secondary")
    measure.measure_traffic(context, plan, parts["after"])
    out = {f"{part}-{name}": figures[name]
           for part, figures in parts.items() for name in NAMES}
    for name in NAMES:
        plain = (parts["before"][name] + parts["after"][name]) / 2
        out[f"ratio-{name}"] = parts["protected"][name] / plain
    return out

# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of several rounds as medians, and the table for people."""

import statistics
from typing import Any, Dict, List, Optional, Tuple

Figures = Dict[str, Any]

# Figure, its words and unit, in the order of the table.
ROWS: Tuple[Tuple[str, str], ...] = (
    ("idle-pause-p50-ms", "pause, idle, p50 (ms)"),
    ("replicated-pause-p50-ms", "the same with a replicated disk (ms)"),
    ("dirty20-pause-p50-ms", "pause, 20 MiB/s dirtied, p50 (ms)"),
    ("dirty100-pause-p50-ms", "pause, 100 MiB/s dirtied, p50 (ms)"),
    ("idle-pause-max-ms", "pause, idle, longest (ms)"),
    ("idle-sent-bytes", "bytes of an idle checkpoint"),
    ("dirty20-sent-bytes", "bytes of it at 20 MiB/s"),
    ("dirty100-sent-bytes", "bytes of it at 100 MiB/s"),
    ("dirty20-dirty-pages", "pages dirtied at 20 MiB/s"),
    ("dirty20-sent-pages", "pages sent at 20 MiB/s"),
    ("dirty100-dirty-pages", "pages dirtied at 100 MiB/s"),
    ("dirty100-sent-pages", "pages sent at 100 MiB/s"),
    ("round-trip-p50-us", "round trip, p50 (us)"),
    ("round-trip-p99-us", "round trip, p99 (us)"),
    ("bulk-source-mb-per-s", "bulk guest to client (MB/s)"),
    ("bulk-sink-mb-per-s", "bulk client to guest (MB/s)"),
    ("secondary-extra-mib", "secondary's extra memory (MiB)"),
    ("staging-peak-mib", "staging, peak (MiB)"),
    ("protect-s", "time to protect (s)"),
)


def medians(rounds: List[Figures]) -> Figures:
    """The median of each figure over the rounds."""
    merged: Figures = {}
    for name in dict.fromkeys(n for figures in rounds for n in figures):
        values = [f[name] for f in rounds if name in f]
        if isinstance(values[0], dict):
            merged[name] = medians(values)
        else:
            merged[name] = statistics.median(values)
    return merged


def _cell(value: Optional[float]) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _ratio(top: Optional[float], bottom: Optional[float]) -> str:
    if top is None or not bottom:
        return "-"
    return f"{top / bottom:.2f}"


def render(merged: Dict[str, Figures]) -> str:
    """The table: one column per subject, then ratios."""
    names = list(merged)
    pairs = []
    if "ours" in merged:
        pairs = [("ours", other) for other in ("plain", "reference")
                 if other in merged]
    head = ["median of all rounds"] + names + [f"{a}/{b}" for a, b in pairs]
    lines = [head]
    for key, words in ROWS:
        values = {name: merged[name].get(key) for name in names}
        if all(value is None for value in values.values()):
            continue
        lines.append([words] + [_cell(values[name]) for name in names]
                     + [_ratio(values[a], values[b]) for a, b in pairs])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = []
    for number, line in enumerate(lines):
        text.append("  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]))
        if number == 0:
            text.append("  ".join("-" * w for w in widths))
    return "\n".join(text)


def render_ranges(rounds: List[Figures]) -> str:
    """Each figure's median over the rounds, and from where to where it goes."""
    lines = []
    for name in rounds[0]:
        values = sorted(figures[name] for figures in rounds)
        lines.append(f"{name:36} {statistics.median(values):10.2f}   from "
                     f"{values[0]:.2f} to {values[-1]:.2f}")
    return "\n".join(lines)

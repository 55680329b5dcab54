# SPDX-License-Identifier: GPL-2.0-or-later
"""The phases of a checkpoint as an SVG picture: one bar per load."""

from typing import Any, Dict, List, Tuple
from xml.sax.saxutils import escape

WIDTH = 900
BAR_LEFT = 190
BAR_RIGHT = 760
BAR_HEIGHT = 34
BAR_STEP = 64
TOP = 60
COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948",
           "#b07aa1", "#9c755f", "#ff9da7", "#bab0ac", "#2f4b7c", "#8cd17d")
LOADS = (("idle", "idle guest"), ("dirty20", "20 MiB/s dirtied"),
         ("dirty100", "100 MiB/s dirtied"))

# In these the guest still runs; in all others it stands still.
GUEST_RUNS = ("request", "prepare")
PALE = 0.35

Phases = List[Tuple[str, float]]


def _text(x: float, y: float, words: str, size: int = 13,
          anchor: str = "start") -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
            f'text-anchor="{anchor}">{escape(words)}</text>')


def _opacity(name: str) -> float:
    return PALE if name in GUEST_RUNS else 1.0


def _bar(phases: Phases, y: float, scale: float,
         colours: Dict[str, str]) -> List[str]:
    parts = []
    x = float(BAR_LEFT)
    for name, length_us in phases:
        width = length_us * scale
        parts.append(
            f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" '
            f'height="{BAR_HEIGHT}" fill="{colours[name]}" '
            f'fill-opacity="{_opacity(name)}"><title>'
            f'{escape(name)}: {length_us / 1000:.2f} ms</title></rect>')
        x += width
    pause_ms = sum(length for name, length in phases
                   if name not in GUEST_RUNS) / 1000
    parts.append(_text(x + 8, y + 22, f"pause {pause_ms:.1f} ms"))
    return parts


def _legend(names: List[str], y: float, colours: Dict[str, str]) -> List[str]:
    parts = []
    for number, name in enumerate(names):
        x = 20 + (number % 5) * 172
        row = y + (number // 5) * 24
        parts.append(f'<rect x="{x}" y="{row - 11}" width="13" height="13" '
                     f'fill="{colours[name]}" '
                     f'fill-opacity="{_opacity(name)}"/>')
        words = f"{name} (guest runs)" if name in GUEST_RUNS else name
        parts.append(_text(x + 19, row, words))
    return parts


def draw(figures: Dict[str, Any]) -> str:
    """The picture of all loads that were measured; '' if there is none."""
    bars = [(words, list(figures[f"{load}-phases-us"].items()))
            for load, words in LOADS if f"{load}-phases-us" in figures]
    longest = max((sum(us for _, us in phases) for _, phases in bars),
                  default=0)
    if not longest:
        return ""
    names = list(dict.fromkeys(n for _, phases in bars for n, _ in phases))
    colours = {n: COLOURS[i % len(COLOURS)] for i, n in enumerate(names)}
    scale = (BAR_RIGHT - BAR_LEFT) / longest
    legend_y = TOP + len(bars) * BAR_STEP + 20
    height = legend_y + (len(names) + 4) // 5 * 24 + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
             f'height="{height}" font-family="sans-serif">',
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
             _text(20, 32, "Phases of one checkpoint, median", 18)]
    for number, (words, phases) in enumerate(bars):
        y = TOP + number * BAR_STEP
        parts.append(_text(BAR_LEFT - 12, y + 22, words, 13, "end"))
        parts += _bar(phases, y, scale, colours)
    parts += _legend(names, legend_y, colours)
    return "\n".join(parts + ["</svg>", ""])

"""The figures as a picture: bars of the generator's times, and how the time of an image grows with the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from bench.cases import Case

WIDTH, BAR, GAP, LEFT = 860, 16, 26, 330
COLOURS = {"stedit": "#2a6fbb", "textbook": "#c98b2b"}
LINES = ("#2a6fbb", "#1f9e89", "#c98b2b", "#b5473c", "#6b4ba3")
PANEL = 260  # pixels: the height of the plot of growth


def plot(groups: dict[str, list[dict[str, Any]]]) -> str:
    """An SVG of the groups generator and growth, of those that are there."""
    parts: list[str] = []
    top = 20
    for draw, name in ((_bars, "generator"), (_growth, "growth")):
        if rows := groups.get(name):
            drawn, height = draw(rows, top)
            parts += drawn
            top += height + 30
    style = "text{font:12px sans-serif;fill:#444}"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">\n'
        f'<style>{style}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _case(row: dict[str, Any]) -> Case:
    return Case(**{key: row[key] for key in Case.__dataclass_fields__})


def _seconds(row: dict[str, Any]) -> float:
    """CPU time of an image."""
    return float(row["cpu"]["median"]) / int(row["batch"])


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _bars(rows: Sequence[dict[str, Any]], top: int) -> tuple[list[str], int]:
    """Each size has a scale of its own, since they are a hundred times apart."""
    parts = [_text(20, top, "Generator: CPU seconds for an image, less is better")]
    y, name = top + 12, ""
    for row in rows:
        case = _case(row)
        if case.name != name:
            name, y = case.name, y + 10
        longest = max(_seconds(other) for other in rows if other["size"] == case.size)
        width = _seconds(row) / longest * (WIDTH - LEFT - 80)
        label = f"{case.size} px, batch {case.batch}: {case.doer}"
        parts += [
            _text(LEFT - 8, y + 12, label, "end"),
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[case.side]}"/>',
            _text(LEFT + width + 6, y + 12, f"{_seconds(row):.3f}"),
        ]
        y += GAP - 6
    return parts, y - top


def _growth(rows: Sequence[dict[str, Any]], top: int) -> tuple[list[str], int]:
    """Lines over the batch, both axes logarithmic."""
    seconds = [_seconds(row) for row in rows]
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))
    batches = sorted({row["batch"] for row in rows})
    step = (WIDTH - 220) / max(1, len(batches) - 1)

    def place(row: dict[str, Any]) -> tuple[float, float]:
        height = (math.log10(_seconds(row)) - low) / (high - low)
        return 80 + step * batches.index(row["batch"]), top + 20 + PANEL * (1 - height)

    parts = [_text(20, top, "Growth: CPU seconds for an image, by the batch")]
    for power in range(low, high + 1):
        y = top + 20 + PANEL * (1 - (power - low) / (high - low))
        parts += [f'<path d="M80 {y:.1f}H{WIDTH - 140}" stroke="#ddd"/>', _text(72, y + 4, f"{10.0**power:g}", "end")]
    for batch in batches:
        parts.append(_text(80 + step * batches.index(batch), top + PANEL + 40, str(batch), "middle"))
    for colour, size in zip(LINES, sorted({row["size"] for row in rows}), strict=False):
        points = [place(row) for row in rows if row["size"] == size]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts += [
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
            _text(points[-1][0] + 8, points[-1][1] + 4, f"{size} px"),
        ]
    return parts, PANEL + 40

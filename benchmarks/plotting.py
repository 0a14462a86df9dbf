"""Curves with logarithmic axes as SVG: nothing but text, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, MARGIN = 360, 260, 48
COLOURS, DASHES = ("#1f5fa8", "#b3541e"), ("", "6 4")


@dataclass
class Curve:
    """A name and its points: (size, milliseconds)."""

    name: str
    points: list[tuple[int, float]]


@dataclass
class Panel:
    """Curves over the same sizes; `unit` is what the sizes count."""

    title: str
    unit: str
    curves: list[Curve]


class _Scale:
    """Maps values to pixels, by their logarithm."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        logs = [math.log10(value) for value in values]
        self.low, self.high = min(logs), max(max(logs), min(logs) + 0.1)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def draw(panels: list[Panel], columns: int = 3) -> str:
    """One picture of all panels."""
    rows = -(-len(panels) // columns)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * WIDTH, number // columns * HEIGHT
        lines += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    sizes = [size for size, _ in panel.curves[0].points]
    across = _Scale(sizes, MARGIN, WIDTH - 16)
    every = [value for curve in panel.curves for _, value in curve.points]
    up = _Scale(every, HEIGHT - MARGIN, 40)
    lines = [f'<text x="{MARGIN}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    lines += [
        f'<text x="{across(size)}" y="{HEIGHT - 30}" text-anchor="middle">{size}</text>'
        for size in sizes
    ]
    lines.append(
        f'<text x="{WIDTH - 16}" y="{HEIGHT - 14}" text-anchor="end">{escape(panel.unit)}</text>'
    )
    for value in (min(every), max(every)):
        lines.append(
            f'<text x="{MARGIN - 6}" y="{up(value) + 4}" text-anchor="end">{value:.0f} ms</text>'
        )
        lines.append(f'<path d="M{MARGIN} {up(value)}H{WIDTH - 16}" stroke="#dddddd" fill="none"/>')
    for number, curve in enumerate(panel.curves):
        colour, dash = COLOURS[number % 2], DASHES[number % 2]
        path = "L".join(f"{across(size)} {up(value)}" for size, value in curve.points)
        lines.append(
            f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none" '
            f'stroke-dasharray="{dash}"/>'
        )
        lines += [
            f'<circle cx="{across(size)}" cy="{up(value)}" r="3" fill="{colour}"/>'
            for size, value in curve.points
        ]
        lines.append(
            f'<text x="{MARGIN + number * 140}" y="32" fill="{colour}">{escape(curve.name)}'
            f"{' (dashed)' if dash else ''}</text>"
        )
    return lines

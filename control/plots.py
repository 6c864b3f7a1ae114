"""Small plots as SVG text: points, bars and bands on two axes; must not know what they show, nor pages.

Drawn by ourselves: matplotlib is 30 MB that nothing else of the core needs, and its SVG holds no classes to style.
Colours are classes of the page, so that a plot is readable on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 42
TICKS = 5
NAME_LENGTH = 18


@dataclass
class Plot:
    """One plot. `x` and `y` are (low, high); what lies outside is drawn at the edge.

    Args:
        said: what a person who cannot see it is told.
    """

    title: str
    x_name: str
    y_name: str
    x: tuple[float, float]
    y: tuple[float, float]
    said: str = ""
    _drawn: list[str] = field(default_factory=list)

    def at_x(self, value: float) -> float:
        return LEFT + _share(value, self.x) * (WIDTH - LEFT - RIGHT)

    def at_y(self, value: float) -> float:
        return HEIGHT - BOTTOM - _share(value, self.y) * (HEIGHT - TOP - BOTTOM)

    def dots(self, xs: Sequence[float], ys: Sequence[float], kind: str = "dot", radius: float = 2.2) -> None:
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                self._drawn.append(
                    f'<circle class="{kind}" cx="{self.at_x(x):.1f}" cy="{self.at_y(y):.1f}" r="{radius}"/>'
                )

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str = "line") -> None:
        """Broken where a value is not known."""
        runs: list[list[str]] = [[]]
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                runs[-1].append(f"{self.at_x(x):.1f},{self.at_y(y):.1f}")
            elif runs[-1]:
                runs.append([])
        self._drawn += [f'<polyline class="{kind}" points="{" ".join(run)}"/>' for run in runs if len(run) > 1]

    def upright(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], kind: str = "span") -> None:
        """A line from low to high at each x."""
        for x, low, high in zip(xs, lows, highs, strict=True):
            if math.isfinite(x) and math.isfinite(low) and math.isfinite(high):
                self._drawn.append(
                    f'<line class="{kind}" x1="{self.at_x(x):.1f}" x2="{self.at_x(x):.1f}" '
                    f'y1="{self.at_y(low):.1f}" y2="{self.at_y(high):.1f}"/>'
                )

    def level(self, y: float, name: str = "") -> None:
        """A dashed line across, with its name."""
        at = self.at_y(y)
        self._drawn.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        if name:
            above = at - 4 if at > TOP + 14 else at + 12
            self._drawn.append(
                f'<text class="note" x="{WIDTH - RIGHT}" y="{above:.1f}" text-anchor="end">{escape(name)}</text>'
            )

    def svg(self, x_ticks: Sequence[tuple[float, str]] = ()) -> str:
        """The whole plot; `x_ticks` replace round numbers."""
        marks = list(x_ticks) or [(v, _number(v)) for v in ticks(*self.x)]
        axes = "".join(
            f'<text class="tick" x="{self.at_x(v):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{escape(name)}</text>'
            for v, name in marks
        )
        for v in ticks(*self.y):
            at = f"{self.at_y(v):.1f}"
            axes += f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
            axes += f'<text class="tick" x="{LEFT - 6}" y="{at}" dy="4" text-anchor="end">{escape(_number(v))}</text>'
        middle = (TOP + HEIGHT - BOTTOM) / 2
        across = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}"'
        names = f'<text class="axis" {across} text-anchor="middle">{escape(self.x_name)}</text>'
        turned = f'transform="translate(13 {middle}) rotate(-90)"'
        names += f'<text class="axis" {turned} text-anchor="middle">{escape(self.y_name)}</text>'
        frame = f'<line class="frame" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
        label = escape(f"{self.title}. {self.said}".strip(), quote=True)
        return (
            f'<figure><figcaption>{escape(self.title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{label}">{axes}{frame}{"".join(self._drawn)}{names}</svg></figure>'
        )


def bars(title: str, x_name: str, rows: Sequence[tuple[str, float, str]], said: str = "") -> str:
    """Lying bars (name, value, class), from the top down."""
    high = max((v for _, v, _ in rows if math.isfinite(v)), default=1.0) or 1.0
    left, row = 130, 15
    height = TOP + row * len(rows) + BOTTOM
    wide = WIDTH - left - RIGHT
    drawn = []
    for v in ticks(0.0, high):
        at = f"{left + v / high * wide:.1f}"
        drawn.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        drawn.append(
            f'<text class="tick" x="{at}" y="{height - BOTTOM + 15}" text-anchor="middle">{escape(_number(v))}</text>'
        )
    for n, (name, value, kind) in enumerate(rows):
        y = TOP + n * row
        short = name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
        drawn.append(f'<text class="tick" x="{left - 6}" y="{y + 11}" text-anchor="end">{escape(short)}</text>')
        if math.isfinite(value):
            drawn.append(
                f'<rect class="{kind}" x="{left}" y="{y + 2}" width="{max(0.0, value) / high * wide:.1f}" height="{row - 4}">'
                f"<title>{escape(name)}: {value:.4g}</title></rect>"
            )
    drawn.append(
        f'<text class="axis" x="{left + wide / 2}" y="{height - 8}" text-anchor="middle">{escape(x_name)}</text>'
    )
    label = escape(f"{title}. {said}".strip(), quote=True)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{label}">{"".join(drawn)}</svg></figure>'
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers within."""
    if not high > low:
        return [low]
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def around(*values: Sequence[float]) -> tuple[float, float]:
    """The range of all known values, with a little room."""
    known = [v for each in values for v in each if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = 0.04 * (high - low) or max(1.0, abs(high)) * 0.05
    return low - room, high + room


def _share(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def _number(value: float) -> str:
    return f"{0.0 if abs(value) < 1e-12 else value:.6g}"

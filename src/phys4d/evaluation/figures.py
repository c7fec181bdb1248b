"""The drawings of a report's page: curves over the horizon and intervals, as SVG that takes the page's colours."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 24
"""Margins of a plot [px]."""
BAR_WIDTH, BAR_HEIGHT = 130, 18
OFF_SCALE = 3.0
"""Noise that would make the plot so many times higher is left out of it."""


def curve_svg(
    name: str,
    low: Sequence[float],
    mean: Sequence[float],
    high: Sequence[float],
    rivals: Mapping[str, Sequence[float]],
) -> tuple[str, list[str]]:
    """A metric against the frame: mean and band over worlds, and the baselines' means; NaN breaks a line.

    Returns the SVG, and the baselines that lie off its scale.
    """
    own = np.array([*low, *high, *mean], dtype=np.float64)
    bottom, top = _range(np.concatenate([own, *(rivals[name] for name in rivals if name != "noise")]))
    lowest, highest = _range(np.asarray(rivals.get("noise", ()), dtype=np.float64))
    off = ["noise"] if max(top, highest) - min(bottom, lowest) > OFF_SCALE * (top - bottom) else []
    if not off and math.isfinite(lowest):
        bottom, top = min(bottom, lowest), max(top, highest)
    ticks = _ticks(bottom, top)
    bottom, top = min(bottom, ticks[0]), max(top, ticks[-1])
    frames = max(len(mean), 2)

    def x(frame: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * frame / (frames - 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - bottom) / (top - bottom)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(name)} against the frame">']
    for tick in ticks:
        parts.append(f'<path class="axis" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(tick) + 3:.1f}" text-anchor="end">{_short(tick)}</text>')
    for frame in sorted({0, (frames - 1) // 2, frames - 1}):
        parts.append(f'<text x="{x(frame):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{frame}</text>')
    known = [t for t in range(len(mean)) if all(math.isfinite(v[t]) for v in (low, mean, high))]
    if len(known) > 1:
        outline = [f"{x(t):.1f} {y(high[t]):.1f}" for t in known]
        outline += [f"{x(t):.1f} {y(low[t]):.1f}" for t in reversed(known)]
        parts.append(f'<path class="band" d="M{"L".join(outline)}Z"/>')
    for rival, curve in rivals.items():
        if rival not in off:
            parts.append(f'<path class="rival {html.escape(rival)}" d="{_line(curve, x, y)}"/>')
    parts.append(f'<path class="mean" d="{_line(mean, x, y)}"/></svg>')
    return "".join(parts), off


def interval_svg(
    value: float, lo: float, hi: float, rivals: Mapping[str, float], shared: Sequence[float] = ()
) -> str:
    """A value and its interval on a line, and where the baselines lie; empty without a value.

    shared: values that the line spans beside its own, so that several lines have one scale. Baselines that are far
    off are left out, so that the interval can be seen.
    """
    if not math.isfinite(value):
        return ""
    own = [v for v in (value, lo, hi, *shared) if math.isfinite(v)]
    reach = max(4 * (max(own) - min(own)), abs(value), 1e-12)
    near = own + [v for v in rivals.values() if math.isfinite(v) and abs(v - value) <= reach]
    bottom, top = _range(np.array(near))

    def x(v: float) -> float:
        return 5 + (BAR_WIDTH - 10) * (v - bottom) / (top - bottom)

    middle = BAR_HEIGHT / 2
    size = f'viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" width="{BAR_WIDTH}" height="{BAR_HEIGHT}"'
    parts = [f'<svg {size} aria-hidden="true"><path class="axis" d="M5 {middle}H{BAR_WIDTH - 5}"/>']
    for rival, v in rivals.items():
        if math.isfinite(v) and abs(v - value) <= reach:
            parts.append(f'<path class="rival {html.escape(rival)}" d="M{x(v):.1f} 2V{BAR_HEIGHT - 2}"/>')
    if math.isfinite(lo) and math.isfinite(hi):
        parts.append(f'<path class="interval" d="M{x(lo):.1f} {middle}H{max(x(hi), x(lo) + 0.5):.1f}"/>')
    parts.append(f'<circle class="dot" cx="{x(value):.1f}" cy="{middle}" r="3.5"/></svg>')
    return "".join(parts)


def key_svg(kind: str) -> str:
    """A piece of line for a legend."""
    return f'<svg width="26" height="8" aria-hidden="true"><path class="{html.escape(kind)}" d="M0 4H26"/></svg>'


def _line(curve, x, y) -> str:
    words, pen = [], "M"
    for frame, value in enumerate(curve):
        if not math.isfinite(value):
            pen = "M"
            continue
        words.append(f"{pen}{x(frame):.1f} {y(value):.1f}")
        pen = "L"
    return "".join(words)


def _range(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest number, a little apart; NaN where there is none."""
    known = values[np.isfinite(values)]
    if not known.size:
        return math.nan, math.nan
    low, high = float(known.min()), float(known.max())
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        room = 0.5 * abs(low) or 0.5
        return low - room, high + room
    return low, high


def _ticks(low: float, high: float) -> list[float]:
    """Three to five round numbers that span a range."""
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next((k for k in (1, 2, 5) if (high - low) / (k * step) <= 4), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) > 1e-12 else "0"

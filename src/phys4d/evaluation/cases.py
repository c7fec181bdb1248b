"""The worst and the best worlds of a report, as moving pictures side by side."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from phys4d.evaluation.measure import Pair
from phys4d.evaluation.report import Case
from phys4d.pictures import DARK, depth_limits, depth_picture

CASES = 2
"""Worlds shown from either end."""
MOST_EDGE, MOST_FRAMES = 256, 120
"""Larger pictures and longer clips are shown by every k-th pixel and frame."""
MOST_ERROR = 0.25
"""Relative error of depth at the bright end of its colours."""


def case_of(pair: Pair, title: str) -> Case | None:
    """Reference, prediction, the prediction's depth and its error beside each other; None without any picture.

    The depth is aligned, in the colours of the reference's range; the error is |D / D* - 1|, from black at 0 to
    bright at MOST_ERROR, dark blue where there is nothing to compare.
    """
    frames = pair.raw.frames
    every = slice(None, None, math.ceil(frames / MOST_FRAMES))
    panels: dict[str, UInt8[np.ndarray, "T h w 3"]] = {}
    reference = pair.reference if pair.has_reference else None
    if reference is not None and reference.rgb is not None:
        panels["reference"] = _thinned(reference.rgb[every])
    if pair.raw.rgb is not None:
        panels["prediction"] = _thinned(pair.raw.rgb[every])
    depth = pair.prediction.depth
    if depth is not None:
        shown, true = _thinned(depth[every]), None
        if reference is not None and reference.depth is not None:
            true = _thinned(reference.depth[every])
        panels["predicted depth"] = depth_picture(shown, depth_limits(shown if true is None else true))
        if true is not None:
            panels[f"error of depth, 0 to {MOST_ERROR:.0%}"] = error_picture(shown, true)
    if not panels:
        return None
    return Case(title, np.concatenate(list(panels.values()), axis=2), pair.raw.fps / every.step, tuple(panels))


def error_picture(
    depth: Float[np.ndarray, "T H W"], reference: Float[np.ndarray, "T H W"]
) -> UInt8[np.ndarray, "T H W 3"]:
    """|D / D* - 1| in colours from black to bright; DARK where either has no surface."""
    both = (depth > 0) & (reference > 0)
    error = np.abs(np.where(both, depth, 1) / np.where(both, reference, 1) - 1)
    picture = _heat()[np.rint(255 * (error / MOST_ERROR).clip(0, 1)).astype(np.uint8)]
    picture[~both] = DARK
    return picture


class Gallery:
    """Keeps the pictures of the worst and the best worlds so far, and of no others."""

    def __init__(self, headlines: tuple[str, ...], better: dict[str, str]) -> None:
        self._kept: list[tuple[float, Case]] = []
        self._headlines, self._better, self._headline = headlines, better, ""

    def look(self, entry: dict[str, Any], case: Case | None, unit: dict[str, str]) -> None:
        """Consider a world, in its first run; the first headline that any world has ranks them all."""
        self._headline = self._headline or next((n for n in self._headlines if n in entry["metrics"]), "")
        value = entry["metrics"].get(self._headline, math.nan)
        if case is None or not math.isfinite(value) or entry["run"]:
            return
        badness = -value if self._better[self._headline] == "higher" else value
        title = f"{entry['world']}: {self._headline} {value:.3g} {unit[self._headline]}".strip()
        self._kept.append((badness, dataclasses.replace(case, title=title)))
        self._kept.sort(key=lambda kept: -kept[0])
        if len(self._kept) > 2 * CASES:
            del self._kept[CASES:-CASES]

    def cases(self) -> tuple[Case, ...]:
        """The worst, from the very worst, then the best."""
        split = (len(self._kept) + 1) // 2
        return tuple(
            dataclasses.replace(case, title=f"{'worst' if place < split else 'best'}: {case.title}")
            for place, (_, case) in enumerate(self._kept)
        )


def _thinned(values: np.ndarray) -> np.ndarray:
    step = math.ceil(max(values.shape[1:3]) / MOST_EDGE)
    return values[:, ::step, ::step]


@functools.cache
def _heat() -> UInt8[np.ndarray, "256 3"]:
    import matplotlib

    return np.rint(255 * matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)

"""Error against horizon: a curve over time, divided by what the physics itself leaves open.

Repetitions of an experiment whose parameters are known only as well as they can be measured drift apart by
themselves. An error is as small as it can be where it is as small as their spread, a ratio of 1; this generalises
Physics-IQ's division by the variance between two takes.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from phys4d.errors import InputError
from phys4d.evaluation.evaluate import CURVES, METRICS, evaluate
from phys4d.world import World4D

FLOOR = 0.05
"""Spreads are taken to be at least this share of their largest value: at first nothing has drifted apart yet."""
PREDICTABLE = 2.0
"""An error is still a prediction while it is below so many times the spread."""
WINDOW = 5
"""Frames over which curves are averaged before they are divided; single frames are noisy."""


@dataclasses.dataclass(frozen=True)
class Horizon:
    """One metric over time, as a loss: lower is better whatever the metric.

    error, spread, ratio: (T,), NaN where nothing is judged. mean_ratio: over the judged frames. predictable [s]:
    how long, from the first judged frame on, the ratio stays below PREDICTABLE; NaN without a spread.
    """

    name: str
    error: Float[np.ndarray, "T"]
    spread: Float[np.ndarray, "T"]
    ratio: Float[np.ndarray, "T"]
    mean_ratio: float
    predictable: float


def as_loss(name: str, curve: Sequence[float] | Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
    """A metric's curve such that 0 is perfect: 1 - x of shares, the root mean square error (of a range of 1)
    for PSNR [dB]."""
    values = np.asarray(curve, dtype=np.float64)
    if name == "psnr":
        return 10 ** (-values / 20)
    return 1 - values if METRICS[name].better == "higher" else values


def against_spread(
    name: str,
    error: Float[np.ndarray, "T"],
    members: Float[np.ndarray, "K T"],
    fps: float,
) -> Horizon:
    """An error's curve against those of K members of an ensemble, all as losses against one reference.

    spread: the members' root mean square, so that one wild member counts; both curves are averaged over WINDOW
    frames, without what lies outside the clip. Raises InputError without a member.
    """
    if not len(members):
        raise InputError("a spread needs at least one member of an ensemble")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Frames in which no member has anything to judge.
        spread = np.sqrt(np.nanmean(np.square(members), axis=0))
    error, spread = _smooth(error), _smooth(spread)
    known = np.isfinite(error) & np.isfinite(spread)
    if not known.any() or not np.nanmax(spread) > 0:
        return Horizon(name, error, spread, np.full(len(error), math.nan), math.nan, math.nan)
    ratio = np.where(known, error / np.maximum(spread, FLOOR * np.nanmax(spread)), math.nan)
    judged = np.flatnonzero(known)
    beyond = judged[ratio[judged] >= PREDICTABLE]
    end = beyond[0] if beyond.size else judged[-1] + 1
    return Horizon(name, error, spread, ratio, float(np.nanmean(ratio)), float((end - judged[0]) / fps))


def horizon_curves(
    prediction: World4D,
    reference: World4D,
    ensemble: Sequence[World4D],
    *,
    metrics: Sequence[str] = CURVES,
    context_frames: int | None = None,
    seed: int = 0,
) -> dict[str, Horizon]:
    """Every metric that has a curve over time, of a prediction and of an ensemble, against one reference.

    ensemble: worlds of the same scene with perturbed parameters, read by the instrument that read the prediction
    (its depth and motion by the same lifter, for instance), so that what the instrument adds is in both. Metrics
    that either side lacks are absent. Raises InputError for a metric without a curve and for an empty ensemble.
    """
    unknown = sorted(set(metrics) - set(CURVES))
    if unknown:
        raise InputError(f"no curve over time: {', '.join(unknown)}; those with one: {', '.join(CURVES)}")
    worlds = [prediction, *ensemble]
    context = context_frames
    if context is None:
        context = (
            int(reference.meta.get("context_frames") or 1) if prediction.meta.get("mode") == "generate" else 0
        )
    report = evaluate(
        worlds, [reference] * len(worlds), baselines=False, context_frames=context, seed=seed, metrics=metrics
    )
    curves = [entry["curves"] for entry in report.by_world]
    found = {}
    for name in metrics:
        if all(name in some for some in curves):
            first, *rest = (as_loss(name, some[name]) for some in curves)
            found[name] = against_spread(name, first, np.stack(rest), reference.fps)
    return found


def _smooth(curve: np.ndarray) -> np.ndarray:
    """Running mean over WINDOW frames, of those that have a number; NaN stays NaN."""
    known = np.isfinite(curve)
    kernel = np.ones(WINDOW)
    total = np.convolve(np.where(known, curve, 0), kernel, "same")[: len(curve)]
    count = np.convolve(known.astype(np.float64), kernel, "same")[: len(curve)]
    if len(curve) < WINDOW:
        total, count = np.where(known, curve, 0), known.astype(np.float64)
    return np.where(known, total / np.maximum(count, 1), math.nan)

"""How sure is a mean? Confidence intervals by bootstrap over scenes, never over frames or views of one scene."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over scenes and its confidence interval; lo and hi are NaN where one scene says nothing of spread."""

    value: float
    lo: float
    hi: float
    scenes: int


def scene_means(values: Sequence[float] | np.ndarray, scenes: Sequence[str]) -> Float[np.ndarray, "S"]:
    """The mean of each scene over its worlds (views, samples), leaving out NaN; scenes of NaN alone have none."""
    numbers = np.asarray(values, dtype=np.float64)
    known = np.isfinite(numbers)
    names, index = np.unique(np.asarray(scenes, dtype=object)[known].astype(str), return_inverse=True)
    if not len(names):
        return np.zeros(0)
    return np.bincount(index, numbers[known]) / np.bincount(index)


def interval(
    values: Sequence[float] | np.ndarray,
    scenes: Sequence[str],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean over scenes with its bootstrap interval.

    values: one a world. scenes: the scene of each world. The percentiles are expanded for small samples
    (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015), as plain ones are too narrow there.
    """
    means = scene_means(values, scenes)
    count = len(means)
    if count == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    if count == 1:
        return Interval(float(means[0]), math.nan, math.nan, 1)
    tail = _expanded_tail(count, confidence)
    lo, hi = np.quantile(_resampled(means, resamples, seed), [tail, 1 - tail])
    return Interval(float(means.mean()), float(lo), float(hi), count)


def spread_over_runs(values: Sequence[float] | np.ndarray, scenes: Sequence[str], runs: Sequence[int]) -> float:
    """The standard deviation (n - 1) of the runs' means over the scenes that every run has; NaN for one run.

    It says how far another seed would move the mean; the interval over scenes says how far other scenes would.
    """
    numbers, names, number = np.asarray(values, dtype=np.float64), np.asarray(scenes), np.asarray(runs)
    by_run = []
    for run in np.unique(number):
        chosen = (number == run) & np.isfinite(numbers)
        by_run.append({scene: numbers[chosen & (names == scene)].mean() for scene in set(names[chosen].tolist())})
    shared = sorted(set.intersection(*map(set, by_run))) if by_run else []
    if len(by_run) < 2 or not shared:
        return math.nan
    return float(np.std([np.mean([means[scene] for scene in shared]) for means in by_run], ddof=1))


def paired_interval(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    scenes: Sequence[str],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean difference second - first over the same worlds, with its interval; NaN in either leaves a world."""
    difference = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    return interval(difference, scenes, confidence=confidence, resamples=resamples, seed=seed)


def unpaired_interval(
    first: tuple[Sequence[float], Sequence[str]],
    second: tuple[Sequence[float], Sequence[str]],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The difference of two means, second - first, each (values, scenes) resampled on its own."""
    a, b = scene_means(*first), scene_means(*second)
    if not len(a) or not len(b):
        return Interval(math.nan, math.nan, math.nan, 0)
    value, count = float(b.mean() - a.mean()), min(len(a), len(b))
    if count == 1:
        return Interval(value, math.nan, math.nan, 1)
    tail = _expanded_tail(count, confidence)
    difference = _resampled(b, resamples, seed) - _resampled(a, resamples, seed + 1)
    lo, hi = np.quantile(difference, [tail, 1 - tail])
    return Interval(value, float(lo), float(hi), count)


def p_value(means: Float[np.ndarray, "S"], others: Float[np.ndarray, "R"] | None = None) -> float:
    """Two-sided p of a mean of 0 (one-sample t test), or of equal means (Welch); NaN for fewer than two scenes."""
    if min(len(means), len(means if others is None else others)) < 2:
        return math.nan
    if np.ptp(means) == 0 and (others is None or np.ptp(others) == 0):
        # No spread at all: the same everywhere, or different without a doubt.
        return float(means[0] == (0 if others is None else others[0]))
    test = stats.ttest_1samp(means, 0) if others is None else stats.ttest_ind(means, others, equal_var=False)
    return float(np.asarray(test)[1])


def holm(p_values: Sequence[float]) -> Float[np.ndarray, "M"]:
    """p values corrected for their number by Holm's step-down method; NaN are not counted and stay.

    The chance that any of them falls below a level without a difference is at most that level, however the tests
    depend on each other. Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = [i for i in np.argsort(p, kind="stable") if math.isfinite(p[i])]
    adjusted = np.full(len(p), math.nan)
    if order:
        factors = np.arange(len(order), 0, -1)
        adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted


def statistic_interval(
    statistic: Callable[[Int[np.ndarray, "R S"]], Float[np.ndarray, "R"]],
    count: int,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Any statistic of `count` scenes with its bootstrap interval, for those that are no mean over scenes.

    statistic: one number for each row of places of scenes, drawn with repetition.
    """
    value = float(statistic(np.arange(count)[None])[0])
    if count == 1:
        return Interval(value, math.nan, math.nan, 1)
    tail = _expanded_tail(count, confidence)
    drawn = statistic(np.random.default_rng(seed).integers(count, size=(resamples, count)))
    lo, hi = np.nanquantile(drawn, [tail, 1 - tail]) if np.isfinite(drawn).any() else (math.nan, math.nan)
    return Interval(value, float(lo), float(hi), count)


def _resampled(means: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    count = len(means)
    return means[np.random.default_rng(seed).integers(count, size=(resamples, count))].mean(axis=1)


def _expanded_tail(count: int, confidence: float) -> float:
    quantile = stats.t.ppf((1 - confidence) / 2, count - 1) * math.sqrt(count / (count - 1))
    return float(stats.norm.cdf(quantile))

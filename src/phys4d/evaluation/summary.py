"""From worlds to a report: means over scenes with their intervals, spreads over runs, curves of the baselines."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from phys4d.evaluation import bootstrap
from phys4d.evaluation.measure import Better

Row = dict[str, Any]


class Scaled(Protocol):
    """What a summary has to know of a metric."""

    @property
    def unit(self) -> str: ...

    @property
    def better(self) -> Better: ...


def summary(
    entries: Sequence[dict[str, Any]],
    metrics: Mapping[str, Scaled],
    seed: int,
    *,
    values_of: Callable[[dict[str, Any]], Mapping[str, float]] = lambda entry: entry["metrics"],
    coverage_of: Callable[[dict[str, Any]], Mapping[str, float]] = lambda entry: entry["coverage"],
) -> dict[str, Row]:
    """name -> {value, lo, hi, coverage, unit, better} of the metrics that any world has.

    Where the worlds were made in several runs, also std, the spread of the runs' means. values_of, coverage_of: a
    world's numbers by the names of their metrics.
    """
    rows: dict[str, Row] = {}
    scenes = [entry["scene_id"] for entry in entries]
    runs = [entry["run"] for entry in entries]
    for name, metric in metrics.items():
        values = [values_of(entry).get(name, math.nan) for entry in entries]
        if not np.isfinite(values).any():
            continue
        found = bootstrap.interval(values, scenes, seed=seed)
        rows[name] = {
            "value": found.value,
            "lo": found.lo,
            "hi": found.hi,
            "coverage": float(np.mean([coverage_of(entry).get(name, 0.0) for entry in entries])),
            "unit": metric.unit,
            "better": metric.better,
        }
        if len(set(runs)) > 1:
            rows[name]["std"] = bootstrap.spread_over_runs(values, scenes, runs)
    return rows


def tell_apart(entries: Sequence[dict[str, Any]]) -> None:
    """Several runs and several samples of one world are numbered."""
    count: dict[str, int] = {}
    for entry in entries:
        if entry["run"]:
            entry["world"] = f"{entry['world']}/run{entry['run']}"
        name = entry["world"]
        count[name] = count.get(name, 0) + 1
        if count[name] > 1:
            entry["world"] = f"{name}/sample{count[name] - 1}"


class MeanCurves:
    """Means over worlds of curves over frames, without keeping the worlds' own."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}

    def add(self, group: str, name: str, curve: Sequence[float]) -> None:
        """Another world's curve; NaN where it has nothing to say."""
        values = np.asarray(curve, dtype=np.float64)
        known = np.isfinite(values)
        total, count = self._sums.get((group, name), (np.zeros(0), np.zeros(0, dtype=int)))
        length = max(len(total), len(values))
        total, count = (np.concatenate([old, np.zeros(length - len(old), old.dtype)]) for old in (total, count))
        total[: len(values)][known] += values[known]
        count[: len(values)] += known
        self._sums[group, name] = total, count

    def by_group(self) -> dict[str, dict[str, list[float]]]:
        """group -> name -> the mean at each frame, NaN where no world has one."""
        found: dict[str, dict[str, list[float]]] = {}
        for (group, name), (total, count) in self._sums.items():
            mean = np.where(count > 0, total / np.maximum(count, 1), math.nan)
            found.setdefault(group, {})[name] = [float(value) for value in mean]
        return found


def versions() -> dict[str, str]:
    """Of Python and of what the numbers rest on."""
    packages = ("phys4d", "numpy", "torch", "scipy", "opencv-python-headless")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found

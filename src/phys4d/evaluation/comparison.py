"""Two reports against each other: which differences are more than chance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from phys4d.errors import InputError
from phys4d.evaluation.bootstrap import (
    CONFIDENCE,
    Interval,
    holm,
    p_value,
    paired_interval,
    scene_means,
    unpaired_interval,
)
from phys4d.evaluation.report import Report
from phys4d.evaluation.tables import aligned, interval_text, number_text, spread_text

SETTINGS = ("frames", "size", "fps", "alignment", "judged_from", "runs")
"""What two protocols should agree in."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One metric in two reports. change: b - a with its interval. verdict: which is better, or that none is.

    p: of no difference, by a t test over scenes (paired as the interval is). p_adjusted: by Holm's method, for as
    many metrics as were compared. std: over the runs of either report, NaN where there is one run. relative: the
    change as a share of a's mean over the same worlds, NaN where that is 0.
    """

    name: str
    first: float
    second: float
    change: Interval
    paired: bool
    verdict: str
    p: float = math.nan
    p_adjusted: float = math.nan
    std: tuple[float, float] = (math.nan, math.nan)
    relative: float = math.nan

    @property
    def beyond(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        return bool(self.change.lo > 0 or self.change.hi < 0)

    @property
    def holds(self) -> bool:
        """Whether it is beyond its interval, and more than chance among all the metrics that were compared."""
        return self.beyond and self.p_adjusted < 1 - CONFIDENCE


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two reports, metric by metric. notes: what differs in how they were measured."""

    differences: dict[str, Difference]
    notes: tuple[str, ...]

    def table(self) -> str:
        """The comparison as plain text, and how many of its differences chance alone would make."""
        found = list(self.differences.values())
        seeds = any(math.isfinite(std) for d in found for std in d.std)
        spread = ["a over seeds", "b over seeds"] if seeds else []
        header = ["metric", "a", "b", "b - a", "95 % interval", *spread, "p (Holm)", "verdict"]
        rows = [
            [d.name, number_text(d.first), number_text(d.second), f"{d.change.value:+.3g}"]
            + [interval_text(dataclasses.asdict(d.change))]
            + ([spread_text({"std": std}) for std in d.std] if seeds else [])
            + [_p_text(d.p_adjusted), d.verdict + ("" if d.paired else " (unpaired)")]
            for d in found
        ]
        lines = [f"note: {note}" for note in self.notes] + aligned([header, *rows])
        return "\n".join([*lines, "", self.chance()])

    def chance(self) -> str:
        """How many differences are beyond their intervals, how many chance alone puts there, and which hold."""
        tested = [d for d in self.differences.values() if math.isfinite(d.p)]
        if not tested:
            return "one scene says nothing of chance: no difference is tested"
        return chance_text(len(tested), sum(d.beyond for d in tested), [d.name for d in tested if d.holds])

    __str__ = table


def chance_text(tested: int, beyond: int, hold: Sequence[str]) -> str:
    """How many of so many differences are beyond their intervals, how many chance puts there, and which hold."""
    return (
        f"{tested} metrics compared: {beyond} beyond their 95 % intervals, where chance alone would "
        f"put about {(1 - CONFIDENCE) * tested:.1f};\n"
        f"after Holm's correction for {tested} comparisons {len(hold)} hold{': ' if hold else ''}{', '.join(hold)}"
    )


def compare(report_a: Report, report_b: Report, *, seed: int = 0) -> Comparison:
    """Whether each metric of b differs from a's beyond the 95 % interval of the difference.

    Paired over the worlds that both have, where all are the same; otherwise each report's scenes are resampled on
    their own. Several runs of a world are averaged first. Raises InputError where the two share no metric.
    """
    names = [name for name in report_a.metrics if name in report_b.metrics]
    if not names:
        raise InputError("the two reports share no metric")
    worlds_a, worlds_b = _by_world(report_a), _by_world(report_b)
    paired = worlds_a.keys() == worlds_b.keys()
    protocols = report_a.protocol, report_b.protocol
    notes = [
        f"{key} differs: {protocols[0].get(key)} and {protocols[1].get(key)}"
        for key in SETTINGS
        if protocols[0].get(key) != protocols[1].get(key)
    ]
    found = [_difference(name, report_a, report_b, worlds_a, worlds_b, paired, seed) for name in names]
    adjusted = holm([difference.p for difference in found])
    return Comparison(
        {d.name: dataclasses.replace(d, p_adjusted=float(p)) for d, p in zip(found, adjusted)}, tuple(notes)
    )


def _by_world(report: Report) -> dict[str, list[dict[str, Any]]]:
    """The entries of each world, one a run."""
    worlds: dict[str, list[dict[str, Any]]] = {}
    for entry in report.by_world:
        name = entry["world"].removesuffix(f"/run{entry.get('run', 0)}")
        worlds.setdefault(name, []).append(entry)
    return worlds


def _difference(
    name: str,
    report_a: Report,
    report_b: Report,
    worlds_a: dict[str, list[dict[str, Any]]],
    worlds_b: dict[str, list[dict[str, Any]]],
    paired: bool,
    seed: int,
) -> Difference:
    keys_a, keys_b = list(worlds_a), list(worlds_a if paired else worlds_b)
    a, b = _means(name, worlds_a, keys_a), _means(name, worlds_b, keys_b)
    scenes_a, scenes_b = _scenes(worlds_a, keys_a), _scenes(worlds_b, keys_b)
    if paired:
        change = paired_interval(a, b, scenes_a, seed=seed)
        p = p_value(scene_means(np.subtract(b, a), scenes_a))
        start = _mean(scene_means(np.where(np.isfinite(b), a, math.nan), scenes_a))
    else:
        change = unpaired_interval((a, scenes_a), (b, scenes_b), seed=seed)
        p = p_value(scene_means(b, scenes_b), scene_means(a, scenes_a))
        start = _mean(scene_means(a, scenes_a))
    row_a, row_b = report_a.metrics[name], report_b.metrics[name]
    if row_a["better"] == "one":
        gain = abs(row_a["value"] - 1) - abs(row_b["value"] - 1)
    else:
        gain = change.value if row_a["better"] == "higher" else -change.value
    if not (change.lo > 0 or change.hi < 0):
        verdict = "no difference shown"
    else:
        verdict = "b is better" if gain > 0 else "a is better"
    std = (row_a.get("std", math.nan), row_b.get("std", math.nan))
    relative = change.value / abs(start) if start else math.nan
    return Difference(name, row_a["value"], row_b["value"], change, paired, verdict, p, std=std, relative=relative)


def _means(name: str, worlds: dict[str, list[dict[str, Any]]], keys: Sequence[str]) -> list[float]:
    """A metric of each world, the mean over its runs that have it."""
    return [_mean(entry["metrics"].get(name, math.nan) for entry in worlds[key]) for key in keys]


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _scenes(worlds: dict[str, list[dict[str, Any]]], keys: Sequence[str]) -> list[str]:
    return [worlds[key][0]["scene_id"] for key in keys]


def _p_text(p: float) -> str:
    return "-" if not math.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"

"""From likenesses of views to a report: both scores, their intervals, categories, views, runs and baselines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from phys4d.evaluation import bootstrap
from phys4d.evaluation.bootstrap import Interval
from phys4d.evaluation.physics_iq.likeness import OTHER_TAKE, STATIC, Likeness
from phys4d.evaluation.physics_iq.scores import MEASURES, original_parts, original_score, verified_scores
from phys4d.evaluation.report import Report

ORIGINAL, VERIFIED = "physics_iq", "physics_iq_verified"
UNITS = {ORIGINAL: "%", VERIFIED: "%", **dict.fromkeys(MEASURES, "")}
"""The metrics of the report and their units."""
LOWER = ("mse",)
EXACT_DECIMALS = 4
"""To which the public code rounds every frame's number when it reads its own table."""
ALWAYS = (OTHER_TAKE, STATIC)
"""The baselines of every report."""


@dataclasses.dataclass(frozen=True)
class ViewResult:
    """One view of a scenario.

    found: what the runs' videos ("run 1", ...) and the baselines have in common with the first take; empty where
    `reason` says what kept it from being measured.
    """

    scenario: str
    view: str
    category: str
    found: Mapping[str, Likeness]
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.view}"


@dataclasses.dataclass(frozen=True)
class _Table:
    """The views that were measured: four numbers (MEASURES) a view of each run and baseline."""

    views: list[ViewResult]
    rows: dict[str, Float[np.ndarray, "N 4"]]

    @property
    def scenarios(self) -> list[str]:
        return [view.scenario for view in self.views]

    def part(self, kept: Sequence[bool]) -> _Table:
        """Some of the views."""
        places = np.flatnonzero(kept)
        return _Table([self.views[i] for i in places], {name: rows[places] for name, rows in self.rows.items()})

    def scores(self, name: str) -> dict[str, float]:
        """Every metric of a run or baseline, over all views."""
        rows, variance = self.rows[name], self.rows[OTHER_TAKE]
        means = rows.mean(0)
        found = {
            ORIGINAL: original_score(means, variance.mean(0)),
            VERIFIED: verified_scores(rows, variance).mean(),
        }
        return {key: float(value) for key, value in (found | dict(zip(MEASURES, means))).items()}

    def interval(self, metric: str, names: Sequence[str], seed: int) -> Interval:
        """A metric, its mean over runs, resampled over scenarios with all their views."""
        scenarios, place = np.unique(self.scenarios, return_inverse=True)
        counts = np.bincount(place)

        def sums(rows: np.ndarray) -> np.ndarray:
            total = np.zeros((len(scenarios), *rows.shape[1:]))
            np.add.at(total, place, rows)
            return total

        variance = self.rows[OTHER_TAKE]
        tables = [
            sums(verified_scores(self.rows[name], variance)[:, None] if metric == VERIFIED else self.rows[name])
            for name in names
        ]
        spread = sums(variance)

        def statistic(drawn: np.ndarray) -> np.ndarray:
            views = counts[drawn].sum(1)[:, None]
            means = [table[drawn].sum(1) / views for table in tables]
            if metric == VERIFIED:
                values = [mean[:, 0] for mean in means]
            elif metric == ORIGINAL:
                values = [original_score(mean, spread[drawn].sum(1) / views) for mean in means]
            else:
                values = [mean[:, MEASURES.index(metric)] for mean in means]
            return np.mean(values, axis=0)

        return bootstrap.statistic_interval(statistic, len(scenarios), seed=seed)

    def summary(self, names: Sequence[str], coverage: float, seed: int) -> dict[str, dict[str, Any]]:
        """metric -> {value, lo, hi, coverage, unit, better}, means over runs, and std, their spread (n - 1)."""
        rows = {}
        each = [self.scores(name) for name in names]
        for metric, unit in UNITS.items():
            found = self.interval(metric, names, seed)
            if math.isfinite(found.value):
                better = "lower" if metric in LOWER else "higher"
                rows[metric] = {"value": found.value, "lo": found.lo, "hi": found.hi, "coverage": coverage}
                rows[metric] |= {"unit": unit, "better": better}
                if len(names) > 1:
                    rows[metric]["std"] = float(np.std([scores[metric] for scores in each], ddof=1))
        return rows


def summarise(
    views: Sequence[ViewResult],
    runs: Sequence[str],
    protocol: Mapping[str, Any],
    *,
    baselines: Sequence[str] = ALWAYS,
    exact: bool = False,
    seed: int = 0,
) -> Report:
    """The report over all views. runs: names of the candidates in `ViewResult.found`, one a run.

    Views that could not be measured stand in by_world and skipped with their reasons, and are left out
    of every mean. by_category has the categories and, beside them, the views. A view's own `physics_iq` is what it
    contributes: the score, before it is clipped, is the mean over views. exact: round as the public code does.
    """
    measured = [view for view in views if view.found]
    names = [*runs, *baselines]
    decimals = EXACT_DECIMALS if exact else None
    shape = (len(measured), len(MEASURES))
    table = _Table(
        measured,
        {n: np.array([v.found[n].row(decimals) for v in measured]).reshape(shape) for n in names},
    )
    skipped = tuple((view.name, view.reason) for view in views if not view.found)
    told = {**protocol, "scenes": len({view.scenario for view in views}), "runs": len(runs)}
    told |= {"seed": seed, "rounding": f"{decimals} decimals a frame" if decimals else "none"}
    told["bootstrap"] = {
        "over": "scenarios", "resamples": bootstrap.RESAMPLES, "confidence": bootstrap.CONFIDENCE,
    }  # fmt: skip
    if not measured:
        reason = f"no view could be measured; the first: {skipped[0][1]}" if skipped else "there is no view"
        by_world = _entries(views, table, runs, baselines)
        return Report(told, {}, {}, {}, by_world, dict.fromkeys(UNITS, reason), skipped)
    coverage = len(measured) / len(views)
    metrics = table.summary(runs, coverage, seed)
    told["each_run"] = {name: [table.scores(run)[name] for run in runs] for name in (ORIGINAL, VERIFIED)}
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for attribute in ("category", "view"):
        labels = [getattr(view, attribute) for view in measured]
        for label in sorted(set(labels)):
            share = labels.count(label) / sum(getattr(view, attribute) == label for view in views)
            groups[label] = table.part([each == label for each in labels]).summary(runs, share, seed)
    return Report(
        protocol=told,
        metrics=metrics,
        baselines={name: table.summary([name], coverage, seed) for name in baselines},
        by_category=groups,
        by_world=_entries(views, table, runs, baselines),
        missing={name: "other takes never move where first takes do" for name in UNITS if name not in metrics},
        skipped=skipped,
    )


def _entries(
    views: Sequence[ViewResult], table: _Table, runs: Sequence[str], baselines: Sequence[str]
) -> list[dict[str, Any]]:
    """One entry for every view and run."""
    places = {view.name: i for i, view in enumerate(table.views)}
    means = table.rows[OTHER_TAKE].mean(0) if table.views else np.full(len(MEASURES), np.nan)
    entries = []
    for view in views:
        for number, run in enumerate(runs):
            place = places.get(view.name)
            entry: dict[str, Any] = {
                "world": view.name if len(runs) == 1 else f"{view.name}/{run}",
                "scene": view.scenario,
                "scene_id": view.scenario,
                "category": view.category,
                "run": number,
                "metrics": {},
                "coverage": dict.fromkeys(UNITS, float(place is not None)),
                "missing": dict.fromkeys(UNITS, view.reason) if place is None else {},
                "curves": {},
                "baselines": {},
            }
            if place is not None:
                entry["metrics"] = _numbers(table, run, place, means)
                entry["baselines"] = {name: _numbers(table, name, place, means) for name in baselines}
                curves = view.found[run]
                entry["curves"] = {"spatiotemporal_iou": curves.spatiotemporal_iou.tolist()}
                entry["curves"]["mse"] = curves.mse.tolist()
            entries.append(entry)
    return entries


def _numbers(table: _Table, name: str, place: int, means: np.ndarray) -> dict[str, float]:
    row, variance = table.rows[name][place], table.rows[OTHER_TAKE][place]
    scores = {ORIGINAL: original_parts(row, means), VERIFIED: verified_scores(row, variance)}
    return {key: float(value) for key, value in (scores | dict(zip(MEASURES, row))).items()}

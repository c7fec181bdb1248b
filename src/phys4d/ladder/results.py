"""`Results`: rungs against metrics, and against each other, over all worlds and over parts of them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phys4d.atomic import write_text
from phys4d.errors import InputError
from phys4d.evaluation import Report, bootstrap, compare
from phys4d.evaluation.evaluate import CURVES
from phys4d.evaluation.horizon import as_loss
from phys4d.evaluation.pooling import part, pooled
from phys4d.ladder.rungs import in_order, pairs_of

SCHEMA = 1
HEADLINES = (
    "chamfer_dynamic", "scene_flow_epe", "flow_epe_moving", "depth_warp_l1", "mask_iou", "sharpness_moving",
)  # fmt: skip
"""Metrics of the short tables."""
MOVING = ("chamfer_dynamic", "flow_epe_moving", "mask_iou")
"""Metrics that only what moves has a part in: a world that foretells nothing should lose in them."""
MUST_BEAT = ("static", "constant_velocity")
TRUTH = "truth"
COMMON, OWN = "common", "own"
"""Judged by the common lifter, and by the models' own heads."""
FILE = "results.json"


@dataclasses.dataclass(frozen=True)
class Group:
    """Some of the worlds. kind: "all", "rows" or "category".

    metrics: rung or rival -> metric -> {value, lo, hi, coverage, unit, better} and, of several seeds, std.
    differences: {first, second, metric, change, lo, hi, relative, beyond, verdict, p, p_adjusted, holds,
    seeds_better, seed_pairs}, the change being second - first with its interval over scenes, relative its share of
    first; verdict is "better", "worse" (the second) or "none shown"; p, p_adjusted and holds as in `Difference`;
    seeds_better of seed_pairs pairs of a seed of the second and one of the first put the second ahead.
    """

    name: str
    kind: str
    worlds: int
    scenes: int
    metrics: dict[str, dict[str, dict[str, Any]]]
    differences: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Judging:
    """What one way of judging found. groups: all worlds first. curves: rung -> metric -> {mean, lo, hi}, each a
    number a frame, as losses: 0 is perfect (1 - x of shares, the root mean square error for PSNR)."""

    groups: list[Group]
    curves: dict[str, dict[str, dict[str, list[float]]]]


@dataclasses.dataclass(frozen=True)
class Results:
    """What a ladder found.

    protocol: data, lifter, frames, size, limit, seed, versions, ... rungs: rung -> {title, seeds, runs}, in order.
    rivals: names of what needs no model. final: the rung that the comparisons are about. judgings: "common" (by
    the lifter) and, where a rung has heads, "own". notes: what makes one doubt the numbers. skipped: (name,
    reason) of worlds that could not be judged.
    """

    protocol: dict[str, Any]
    rungs: dict[str, dict[str, Any]]
    rivals: list[str]
    final: str
    judgings: dict[str, Judging]
    notes: list[str]
    skipped: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """The fields, with "schema" before them; NaN as None, numbers to six digits."""
        return {"schema": SCHEMA, **_plain(dataclasses.asdict(self))}

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a folder of results or its results.json. Raises InputError where there is none that can be read."""
        path = Path(path)
        file = path / FILE if path.is_dir() else path
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: no results there: {error}") from error
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise InputError(f"{file}: not the results of a ladder, or of another version of them")
        try:
            content["judgings"] = {
                name: Judging([Group(**group) for group in found["groups"]], found["curves"])
                for name, found in _with_nan(content["judgings"]).items()
            }
            content["skipped"] = [(name, reason) for name, reason in content["skipped"]]
            return cls(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file}: not the results of a ladder: {error}") from error

    def save(self, folder: str | Path) -> Path:
        """Write results.json, results.md and horizon.png into a folder, beside what else is there."""
        from phys4d.ladder.horizon import draw
        from phys4d.ladder.pages import markdown

        folder = Path(folder)
        draw(self, folder / "horizon.png")
        write_text(folder / "results.md", markdown(self))
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(folder / FILE, text + "\n")
        return folder

    def table(self) -> str:
        """The short tables as plain text."""
        from phys4d.ladder.pages import text

        return text(self)

    __str__ = table


def judging_of(
    reports: Mapping[str, Sequence[Report]], rivals: Mapping[str, Report], known_rows: Sequence[str], seed: int
) -> Judging:
    """Rungs and rivals against each other.

    reports: rung -> one report a seed, all of the same worlds. rivals: name -> report. known_rows: scenes that
    training knew; where there are others, they are a group of their own. Means are over seeds, then over scenes.
    """
    seeds = {**{rung: reports[rung] for rung in in_order(reports)}, **{name: [rivals[name]] for name in rivals}}
    whole = {name: pooled(some) for name, some in seeds.items()}
    # The final model is held against what it must beat, wherever that was judged.
    pairs = pairs_of(reports, [name for name in MUST_BEAT if name in rivals])
    # How much there is to gain, as far as the instrument can see.
    pairs += [(in_order(reports)[0], TRUTH)] if TRUTH in rivals else []
    entries = next(iter(whole.values())).by_world
    parts: list[tuple[str, str, Callable[[dict[str, Any]], bool]]] = [("all worlds", "all", lambda entry: True)]
    new = {entry["scene"] for entry in entries} - set(known_rows)
    if new and any(entry["scene"] not in new for entry in entries):
        parts.append(("rows that training knew, held-out seeds", "rows", lambda entry: entry["scene"] not in new))
        parts.append(("held-out rows", "rows", lambda entry: entry["scene"] in new))
    categories = sorted({entry["category"] for entry in entries})
    for category in categories if len(categories) > 1 else ():
        parts.append((category, "category", lambda entry, category=category: entry["category"] == category))
    groups = []
    for name, kind, chosen in parts:
        some = whole if kind == "all" else {rung: part(report, chosen) for rung, report in whole.items()}
        groups.append(_group(name, kind, some, pairs, seed))
    return Judging(groups, {name: _curves(report, seed) for name, report in whole.items()})


def _group(
    name: str, kind: str, reports: Mapping[str, Report], pairs: Sequence[tuple[str, str]], seed: int
) -> Group:
    differences = []
    for first, second in pairs:
        if set(reports[first].metrics) & set(reports[second].metrics):
            differences += _differences(first, second, reports[first], reports[second], seed)
    entries = next(iter(reports.values())).by_world
    return Group(
        name,
        kind,
        worlds=len({entry["world"].removesuffix(f"/run{entry['run']}") for entry in entries}),
        scenes=len({entry["scene_id"] for entry in entries}),
        metrics={rung: report.metrics for rung, report in reports.items()},
        differences=differences,
    )


def _differences(first: str, second: str, a: Report, b: Report, seed: int) -> list[dict[str, Any]]:
    found = []
    for name, d in compare(a, b, seed=seed).differences.items():
        verdict = {"b is better": "better", "a is better": "worse"}.get(d.verdict, "none shown")
        ahead = _seeds_ahead(name, a, b)
        row = {
            "first": first, "second": second, "metric": name, "change": d.change.value, "lo": d.change.lo,
            "hi": d.change.hi, "relative": d.relative, "beyond": d.beyond, "verdict": verdict, "p": d.p,
            "p_adjusted": d.p_adjusted, "holds": d.holds, "seeds_better": sum(ahead), "seed_pairs": len(ahead),
        }  # fmt: skip
        found.append(row)
    return found


def _seeds_ahead(name: str, a: Report, b: Report) -> list[bool]:
    """For every pair of a seed of each, whether b's is the better one."""
    better = a.metrics[name]["better"]
    loss = {"lower": lambda x: x, "higher": lambda x: -x, "one": lambda x: abs(x - 1)}[better]
    mine, theirs = ([loss(value) for value in _seed_means(name, report)] for report in (b, a))
    return [bool(x < y) for x in mine for y in theirs if math.isfinite(x) and math.isfinite(y)]


def _seed_means(name: str, report: Report) -> list[float]:
    means = []
    for run in sorted({entry["run"] for entry in report.by_world}):
        some = [entry for entry in report.by_world if entry["run"] == run]
        values = [entry["metrics"].get(name, math.nan) for entry in some]
        by_scene = bootstrap.scene_means(values, [entry["scene_id"] for entry in some])
        means.append(float(by_scene.mean()) if len(by_scene) else math.nan)
    return means


def _curves(report: Report, seed: int) -> dict[str, dict[str, list[float]]]:
    """Error against time: means over seeds, then over scenes, with their intervals over scenes."""
    found = {}
    scenes = [entry["scene_id"] for entry in report.by_world]
    for name in CURVES:
        some = [entry["curves"].get(name) for entry in report.by_world]
        length = max((len(curve) for curve in some if curve), default=0)
        if not length:
            continue
        values = np.full((len(some), length), math.nan)
        for row, curve in zip(values, some):
            row[: len(curve or ())] = as_loss(name, curve or [])
        frames = [bootstrap.interval(column, scenes, seed=seed) for column in values.T]
        found[name] = {
            "mean": [frame.value for frame in frames],
            "lo": [frame.lo for frame in frames],
            "hi": [frame.hi for frame in frames],
        }
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_nan(entry) for entry in value]
    return math.nan if value is None else value

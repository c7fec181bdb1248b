"""`evaluate`: predicted worlds in, a report out, which says what could be measured and what could not."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from phys4d.errors import InputError
from phys4d.evaluation import baselines as rivals
from phys4d.evaluation import (
    bootstrap,
    chamfer,
    geometry,
    motion,
    physics,
    points,
    probes,
    quality,
    reprojection,
    rigidity,
)
from phys4d.evaluation.alignment import Alignment
from phys4d.evaluation.measure import Measured, Metric, Pair, Truth
from phys4d.evaluation.report import Case, Report
from phys4d.world import World4D

METRICS: dict[str, Metric] = {
    row.name: row
    for rows in (
        *(geometry.ROWS, points.ROWS, reprojection.ROWS),
        *(motion.ROWS, rigidity.ROWS, chamfer.ROWS),
        *(physics.ROWS, probes.ROWS, quality.ROWS),
    )
    for row in rows
}
"""Every metric by its name, in the order of the tables; a new one is a row in the file that measures it."""

HEADLINES = ("chamfer_dynamic", "flow_epe", "abs_rel", "psnr", "depth_warp_l1")
"""The first of these that was measured ranks the worlds for the worst and best cases."""
CURVES = (
    "abs_rel", "flow_epe", "scene_flow_epe", "tapvid3d_apd", "chamfer_dynamic", "chamfer_background", "mask_iou",
    "psnr",
)  # fmt: skip
"""Metrics kept frame by frame: error against horizon."""
CASES = 2
"""Worlds shown from either end."""


def evaluate(
    prediction: World4D | Iterable[World4D],
    reference: World4D | Iterable[World4D] | None = None,
    *,
    baselines: bool = True,
    context_frames: int | None = None,
    seed: int = 0,
    alignment: Alignment = "scale",
    metrics: Sequence[str] | None = None,
) -> Report:
    """Judge predicted worlds, against references where there are any.

    prediction, reference: one world or equally many, in the same order; a longer world of a pair is cut to the
    shorter. A prediction is put into its reference's axes by camera 0. baselines: judge the trivial worlds beside
    it (needs references). context_frames: frames that were given to the prediction and are not judged; default,
    for predictions with meta["mode"] == "generate" what the reference's meta (or theirs) says, otherwise 0. seed:
    of the bootstrap, of thinned point sets, and of the noise baseline. alignment: of depth scale; "none", "scale"
    or "scale+shift" (depth metrics: one fit per video in disparity; 3D metrics: fitted on frame 0). metrics: names
    to measure, default all.

    Raises InputError where the numbers of worlds, their sizes or frame rates do not match, and for unknown names.
    """
    names = _chosen(metrics)
    if alignment not in ("none", "scale", "scale+shift"):
        raise InputError(f"alignment is none, scale or scale+shift, not {alignment!r}")
    entries: list[dict[str, Any]] = []
    best_and_worst = _Gallery()
    first: tuple[World4D, int] | None = None
    for mine, theirs in _pairs(prediction, reference):
        start = _judged_from(mine, theirs, context_frames)
        truth = None if theirs is None else Truth(theirs)
        pair = Pair(mine, truth, start=start, alignment=alignment, seed=seed)
        measured = {name: METRICS[name].measure(pair) for name in names}
        entry = _entry(len(entries), pair, measured)
        if baselines and pair.has_reference:
            entry["baselines"] = _rivals(pair, measured, context_frames)
        entries.append(entry)
        best_and_worst.look(entry, pair)
        first = first or (pair.raw, start)
    if first is None:
        raise InputError("there is no world to evaluate")
    _tell_apart(entries)
    protocol = {
        "worlds": len(entries),
        "scenes": len({entry["scene_id"] for entry in entries}),
        "frames": first[0].frames,
        "size": list(first[0].size) if _has_picture(first[0]) else None,
        "fps": first[0].fps,
        "alignment": alignment,
        "judged_from": first[1],
        "seed": seed,
        "bootstrap": {"over": "scenes", "resamples": bootstrap.RESAMPLES, "confidence": bootstrap.CONFIDENCE},
        "versions": _versions(),
    }
    summary = _summary(entries, names, "metrics", seed)
    categories = sorted({entry["category"] for entry in entries})
    return Report(
        protocol=protocol,
        metrics=summary,
        baselines=_baseline_summary(entries, list(summary), seed),
        by_category={
            category: _summary([e for e in entries if e["category"] == category], names, "metrics", seed)
            for category in categories
        },
        by_world=entries,
        missing={name: entries[0]["missing"][name] for name in names if name not in summary},
        cases=best_and_worst.cases(),
    )


def _chosen(metrics: Sequence[str] | None) -> list[str]:
    unknown = sorted(set(metrics or ()) - set(METRICS))
    if unknown:
        raise InputError(f"unknown metric {', '.join(unknown)}; known: {', '.join(METRICS)}")
    return [name for name in METRICS if metrics is None or name in metrics]


def _pairs(
    prediction: World4D | Iterable[World4D], reference: World4D | Iterable[World4D] | None
) -> Iterable[tuple[World4D, World4D | None]]:
    mine = iter([prediction] if isinstance(prediction, World4D) else prediction)
    if reference is None:
        yield from ((world, None) for world in mine)
        return
    theirs = iter([reference] if isinstance(reference, World4D) else reference)
    absent = object()
    while True:
        world, truth = next(mine, absent), next(theirs, absent)
        if world is absent and truth is absent:
            return
        if not isinstance(world, World4D) or not isinstance(truth, World4D):
            raise InputError("there must be one reference for each prediction; one list is longer than the other")
        _check(world, truth)
        yield world, truth


def _check(prediction: World4D, reference: World4D) -> None:
    if not prediction.fields or not reference.fields:
        raise InputError("a world without any field cannot be evaluated")
    sizes = [world.size if _has_picture(world) else None for world in (prediction, reference)]
    if None not in sizes and sizes[0] != sizes[1]:
        (a, b), (c, d) = (size or (0, 0) for size in sizes)
        raise InputError(
            f"the prediction is {a}x{b}, its reference {c}x{d}; make or resize one to the other's size"
        )
    if not math.isclose(prediction.fps, reference.fps, rel_tol=1e-3):
        raise InputError(
            f"the prediction runs at {prediction.fps:g} fps, its reference at {reference.fps:g}; "
            "resample one in time"
        )


def _has_picture(world: World4D) -> bool:
    return any(name not in ("camera", "tracks", "track_visibility") for name in world.fields)


def _judged_from(prediction: World4D, reference: World4D | None, context_frames: int | None) -> int:
    start = context_frames
    if start is None:
        generated = prediction.meta.get("mode") == "generate"
        start = _context(prediction, reference) if generated else 0
    frames = prediction.frames if reference is None else min(prediction.frames, reference.frames)
    if not 0 <= start < frames:
        raise InputError(f"context_frames must lie between 0 and {frames - 1} for {frames} frames, not {start}")
    return start


def _context(prediction: World4D, reference: World4D | None) -> int:
    known = {} if reference is None else reference.meta
    return int(known.get("context_frames") or prediction.meta.get("context_frames") or 1)


def _rivals(pair: Pair, measured: dict[str, Measured], context_frames: int | None) -> dict[str, dict[str, float]]:
    """Every baseline's values for the metrics that the prediction has."""
    names = [name for name, found in measured.items() if math.isfinite(found.value)]
    context = context_frames or _context(pair.raw, pair.reference)
    context = min(max(context, 1), pair.reference.frames)
    values: dict[str, dict[str, float]] = {}
    for rival in rivals.BASELINES:
        if context == 1 and rival in ("last_frame", "constant_velocity") and "static" in values:
            values[rival] = dict(values["static"])  # The same world: there was no motion to see.
            continue
        if rival == "constant_velocity" and not set(pair.reference.fields) >= rivals.VELOCITY_NEEDS:
            continue
        world = rivals.make(rival, pair.reference, context=context, seed=pair.seed)
        other = Pair(world, pair.truth, start=pair.start, alignment=pair.alignment, seed=pair.seed)
        values[rival] = {name: METRICS[name].measure(other).value for name in names}
    return values


def _entry(index: int, pair: Pair, measured: dict[str, Measured]) -> dict[str, Any]:
    meta = {**pair.raw.meta, **(pair.reference.meta if pair.has_reference else {})}
    scene = str(meta.get("scene") or meta.get("source") or "world")
    identity = str(meta.get("scene_id") or (f"{scene}-{index}"))
    found = {name: value for name, value in measured.items() if math.isfinite(value.value)}
    kept = {name: found[name].curve for name in CURVES if name in found}
    curves = {name: _by_frame(curve, pair.raw.frames) for name, curve in kept.items() if curve is not None}
    return {
        "world": f"{identity}/view{meta['view']}" if "view" in meta else identity,
        "scene": scene,
        "scene_id": identity,
        "category": str(meta.get("category") or "all"),
        "metrics": {name: value.value for name, value in found.items()},
        "coverage": {name: value.coverage for name, value in measured.items()},
        "missing": {name: value.reason for name, value in measured.items() if name not in found},
        "curves": curves,
        "baselines": {},
    }


def _by_frame(curve: np.ndarray, frames: int) -> list[float]:
    """A curve over all frames, NaN before the first judged one; a motion belongs to the frame it ends in."""
    return [math.nan] * (frames - len(curve)) + [float(value) for value in curve]


def _tell_apart(entries: list[dict[str, Any]]) -> None:
    """Several samples of one world are numbered."""
    count: dict[str, int] = {}
    for entry in entries:
        name = entry["world"]
        count[name] = count.get(name, 0) + 1
        if count[name] > 1:
            entry["world"] = f"{name}/sample{count[name] - 1}"


def _summary(
    entries: list[dict[str, Any]], names: Sequence[str], part: str, seed: int
) -> dict[str, dict[str, Any]]:
    """name -> {value, lo, hi, coverage, unit, better} of the metrics that any world has."""
    rows = {}
    scenes = [entry["scene_id"] for entry in entries]
    for name in names:
        values = [entry[part].get(name, math.nan) for entry in entries]
        if not np.isfinite(values).any():
            continue
        found = bootstrap.interval(values, scenes, seed=seed)
        rows[name] = {
            "value": found.value,
            "lo": found.lo,
            "hi": found.hi,
            "coverage": float(np.mean([entry["coverage"][name] for entry in entries])),
            "unit": METRICS[name].unit,
            "better": METRICS[name].better,
        }
    return rows


def _baseline_summary(
    entries: list[dict[str, Any]], names: Sequence[str], seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    present = [name for name in rivals.BASELINES if any(name in entry["baselines"] for entry in entries)]
    return {
        rival: _summary(
            [{**entry, "rival": entry["baselines"].get(rival, {})} for entry in entries], names, "rival", seed
        )
        for rival in present
    }


class _Gallery:
    """Keeps the pictures of the worst and the best worlds so far, and of no others."""

    def __init__(self) -> None:
        self.kept: list[tuple[float, Case]] = []
        self.headline = ""

    def look(self, entry: dict[str, Any], pair: Pair) -> None:
        if pair.raw.rgb is None:
            return
        self.headline = self.headline or next((name for name in HEADLINES if name in entry["metrics"]), "")
        value = entry["metrics"].get(self.headline, math.nan)
        if not math.isfinite(value):
            return
        badness = -value if METRICS[self.headline].better == "higher" else value
        title = f"{entry['world']}: {self.headline} {value:.3g} {METRICS[self.headline].unit}".strip()
        left = pair.reference.rgb if pair.has_reference else None
        frames = pair.raw.rgb if left is None else np.concatenate([left, pair.raw.rgb], axis=2)
        self.kept.append((badness, Case(title, frames, pair.raw.fps)))
        self.kept.sort(key=lambda kept: -kept[0])
        if len(self.kept) > 2 * CASES:
            del self.kept[CASES:-CASES]

    def cases(self) -> tuple[Case, ...]:
        split = (len(self.kept) + 1) // 2
        return tuple(
            dataclasses.replace(case, title=f"{'worst' if place < split else 'best'}: {case.title}")
            for place, (_, case) in enumerate(self.kept)
        )


def _versions() -> dict[str, str]:
    packages = ("phys4d", "numpy", "torch", "scipy", "opencv-python-headless")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found

"""`evaluate`: predicted worlds in, a report out, which says what could be measured and what could not."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from phys4d.data.processes import in_order
from phys4d.errors import InputError, Phys4DError
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
from phys4d.evaluation.cases import Gallery, case_of
from phys4d.evaluation.measure import Measured, Metric, Pair, Truth
from phys4d.evaluation.report import Case, Report
from phys4d.evaluation.summary import MeanCurves, summary, tell_apart, versions
from phys4d.evaluation.units import comparable, doubts
from phys4d.world import World4D

AXES: dict[str, tuple[Metric, ...]] = {
    "geometry": (*geometry.ROWS, *points.ROWS, *reprojection.ROWS),
    "motion": (*motion.ROWS, *rigidity.ROWS, *chamfer.ROWS),
    "physics": (*physics.ROWS, *probes.ROWS),
    "picture": tuple(quality.ROWS),
}
"""What of a world they judge."""
METRICS: dict[str, Metric] = {row.name: row for rows in AXES.values() for row in rows}
"""Every metric by its name, in the order of the tables; a new one is a row in the file that measures it."""

HEADLINES = ("chamfer_dynamic", "flow_epe", "abs_rel", "psnr", "depth_warp_l1")
"""The first of these that was measured ranks the worlds for the worst and best cases."""
CURVES = (
    "abs_rel", "flow_epe", "scene_flow_epe", "tapvid3d_apd", "chamfer_dynamic", "chamfer_background", "mask_iou",
    "psnr",
)  # fmt: skip
"""Metrics kept frame by frame: error against horizon."""

Source = World4D | Callable[[], World4D]
"""A world, or a function that loads it where and when it is judged."""


@dataclasses.dataclass(frozen=True)
class Item:
    """A prediction to judge, and its reference where there is one.

    name: what a report calls it if it must be skipped. place: the number of its world, default its own; several
    runs of one world share it. run: the number of the generation, from 0. problem: why it cannot be judged, where
    that is known beforehand. beside: further worlds, by name, to hold against the reference.
    """

    prediction: Source | None
    reference: Source | None = None
    name: str = ""
    place: int | None = None
    run: int = 0
    problem: str = ""
    beside: Mapping[str, Source] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How worlds are judged; see `evaluate`. names: of the metrics. skip: whether a bad world is left out."""

    names: tuple[str, ...]
    baselines: bool
    context_frames: int | None
    seed: int
    alignment: Alignment
    skip: bool


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is left of a world when it has been judged, or the problem that kept it from that."""

    name: str
    problem: str = ""
    entry: dict[str, Any] = dataclasses.field(default_factory=dict)
    extent: dict[str, Any] = dataclasses.field(default_factory=dict)
    rivals: dict[str, dict[str, Measured]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    case: Case | None = None


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

    Raises InputError for worlds that are not valid (NaN, wrong shapes), where the numbers of worlds, their sizes
    or frame rates do not match, and for unknown names.
    """
    return evaluate_items(
        _paired(prediction, reference),
        baselines=baselines,
        context_frames=context_frames,
        seed=seed,
        alignment=alignment,
        metrics=metrics,
    )


def evaluate_items(
    items: Iterable[Item],
    *,
    baselines: bool = True,
    context_frames: int | None = None,
    seed: int = 0,
    alignment: Alignment = "scale",
    metrics: Sequence[str] | None = None,
    skip: bool = False,
    workers: int = 1,
) -> Report:
    """`evaluate` for worlds that come one by one, are loaded when they are judged, or made in several runs.

    skip: leave out worlds that cannot be read or judged and list them in the report. workers: processes that judge
    (sources are then picklable); the report does not depend on them. No more than a few worlds are held at a time.

    Raises InputError as `evaluate` does, with `skip` only where no world is left.
    """
    if alignment not in ("none", "scale", "scale+shift"):
        raise InputError(f"alignment is none, scale or scale+shift, not {alignment!r}")
    names = _chosen(metrics)
    chosen = {name: METRICS[name] for name in names}
    settings = Settings(tuple(names), baselines, context_frames, seed, alignment, skip)
    entries: list[dict[str, Any]] = []
    coverage: list[dict[str, dict[str, float]]] = []
    skipped: list[tuple[str, str]] = []
    notes: collections.Counter[str] = collections.Counter()
    curves = MeanCurves()
    gallery = Gallery(HEADLINES, {name: row.better for name, row in METRICS.items()})
    units = {name: row.unit for name, row in METRICS.items()}
    extent: dict[str, Any] = {}
    verdicts = in_order(
        functools.partial(judge, settings),
        enumerate(items),
        workers,
        name=lambda task: task[1].name or f"world {task[0]}",
        ahead=2,
    )
    for verdict in verdicts:
        if verdict.problem:
            skipped.append((verdict.name, verdict.problem))
            continue
        extent = extent or verdict.extent
        entries.append(verdict.entry)
        coverage.append({r: {n: m.coverage for n, m in rows.items()} for r, rows in verdict.rivals.items()})
        notes.update(verdict.notes)
        for rival, rows in verdict.rivals.items():
            for name, curve in _curves(rows, verdict.extent["frames"]).items():
                curves.add(rival, name, curve)
        gallery.look(verdict.entry, verdict.case, units)
    if not entries and skipped:
        (name, reason), *others = skipped
        raise InputError(f"{name}: {reason}" + (f"\n(so are {len(others)} others)" if others else ""))
    if not entries:
        raise InputError("there is no world to evaluate")
    tell_apart(entries)
    metric_rows = summary(entries, chosen, seed)
    present = list(dict.fromkeys(name for entry in entries for name in entry["baselines"]))
    together = [{**entry, "rivals": covered} for entry, covered in zip(entries, coverage)]
    return Report(
        protocol={
            "worlds": len(entries),
            "scenes": len({entry["scene_id"] for entry in entries}),
            "runs": len({entry["run"] for entry in entries}),
            **extent,
            "alignment": alignment,
            "seed": seed,
            "bootstrap": {"over": "scenes", "resamples": bootstrap.RESAMPLES, "confidence": bootstrap.CONFIDENCE},
            "versions": versions(),
        },
        metrics=metric_rows,
        baselines={
            rival: summary(
                together,
                {name: chosen[name] for name in metric_rows},
                seed,
                values_of=lambda entry, rival=rival: entry["baselines"].get(rival, {}),
                coverage_of=lambda entry, rival=rival: entry["rivals"].get(rival, {}),
            )
            for rival in present
        },
        by_category={
            category: summary([e for e in entries if e["category"] == category], chosen, seed)
            for category in sorted({entry["category"] for entry in entries})
        },
        by_world=entries,
        missing={name: entries[0]["missing"][name] for name in names if name not in metric_rows},
        skipped=tuple(skipped),
        notes=tuple(f"{count} of {len(entries)} worlds: {note}" for note, count in sorted(notes.items())),
        baseline_curves=curves.by_group(),
        cases=gallery.cases(),
    )


def judge(settings: Settings, task: tuple[int, Item]) -> Verdict:
    """Measure one world; `task` is its number and the world. A top-level function, so that processes find it."""
    number, item = task
    name = item.name or f"world {number}"
    if item.problem:
        return Verdict(name, problem=item.problem)
    try:
        mine, theirs = _loaded(item.prediction), _loaded(item.reference)
        assert mine is not None
        if theirs is not None:
            mine = comparable(mine, theirs)
        _check(mine, theirs)
        start = _judged_from(mine, theirs, settings.context_frames)
        beside = {word: _loaded(world) for word, world in item.beside.items()}
    except Phys4DError as error:
        if not settings.skip:
            raise
        return Verdict(name, problem=error.line)
    truth = None if theirs is None else Truth(theirs)
    pair = Pair(mine, truth, start=start, alignment=settings.alignment, seed=settings.seed)
    measured = {metric: METRICS[metric].measure(pair) for metric in settings.names}
    entry = _entry(number if item.place is None else item.place, item.run, pair, measured)
    others: dict[str, dict[str, Measured]] = {}
    if pair.has_reference:
        others = _rivals(pair, measured, settings.context_frames) if settings.baselines else {}
        others |= {word: _rival(pair, measured, world) for word, world in beside.items() if world is not None}
        entry["baselines"] = {rival: {n: m.value for n, m in rows.items()} for rival, rows in others.items()}
    extent = {
        "frames": pair.raw.frames,
        "size": list(pair.raw.size) if _has_picture(pair.raw) else None,
        "fps": pair.raw.fps,
        "judged_from": start,
    }
    notes = tuple(doubts(pair.raw, pair.reference)) if pair.has_reference else ()
    return Verdict(name, "", entry, extent, others, notes, case_of(pair, name))


def _chosen(metrics: Sequence[str] | None) -> list[str]:
    unknown = sorted(set(metrics or ()) - set(METRICS))
    if unknown:
        raise InputError(f"unknown metric {', '.join(unknown)}; known: {', '.join(METRICS)}")
    return [name for name in METRICS if metrics is None or name in metrics]


def _paired(
    prediction: World4D | Iterable[World4D], reference: World4D | Iterable[World4D] | None
) -> Iterator[Item]:
    mine = [prediction] if isinstance(prediction, World4D) else prediction
    if reference is None:
        yield from (Item(world) for world in mine)
        return
    theirs = [reference] if isinstance(reference, World4D) else reference
    for world, truth in itertools.zip_longest(mine, theirs):
        if not isinstance(world, World4D) or not isinstance(truth, World4D):
            raise InputError("there must be one reference for each prediction; one list is longer than the other")
        yield Item(world, truth)


def _loaded(source: Source | None) -> World4D | None:
    """The world of a source, valid: what a file gave was checked as it was read."""
    return source.validate() if isinstance(source, World4D) else None if source is None else source()


def _check(prediction: World4D, reference: World4D | None) -> None:
    if reference is None:
        return
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


def _rivals(
    pair: Pair, measured: dict[str, Measured], context_frames: int | None
) -> dict[str, dict[str, Measured]]:
    """What every baseline scores in the metrics that the prediction has."""
    context = context_frames or _context(pair.raw, pair.reference)
    context = min(max(context, 1), pair.reference.frames)
    values: dict[str, dict[str, Measured]] = {}
    for rival in rivals.BASELINES:
        if context == 1 and rival in ("last_frame", "constant_velocity") and "static" in values:
            values[rival] = dict(values["static"])  # The same world: there was no motion to see.
            continue
        if rival == "constant_velocity" and not set(pair.reference.fields) >= rivals.VELOCITY_NEEDS:
            continue
        world = rivals.make(rival, pair.reference, context=context, seed=pair.seed)
        values[rival] = _rival(pair, measured, world)
    return values


def _rival(pair: Pair, measured: dict[str, Measured], world: World4D) -> dict[str, Measured]:
    """What another world scores in the metrics that the prediction has."""
    other = Pair(world, pair.truth, start=pair.start, alignment=pair.alignment, seed=pair.seed)
    return {name: METRICS[name].measure(other) for name, found in measured.items() if math.isfinite(found.value)}


def _entry(index: int, run: int, pair: Pair, measured: dict[str, Measured]) -> dict[str, Any]:
    meta = {**pair.raw.meta, **(pair.reference.meta if pair.has_reference else {})}
    scene = str(meta.get("scene") or meta.get("source") or "world")
    identity = str(meta.get("scene_id") or (f"{scene}-{index}"))
    found = {name: value for name, value in measured.items() if math.isfinite(value.value)}
    return {
        "world": f"{identity}/view{meta['view']}" if "view" in meta else identity,
        "scene": scene,
        "scene_id": identity,
        "category": str(meta.get("category") or "all"),
        "run": run,
        "metrics": {name: value.value for name, value in found.items()},
        "coverage": {name: value.coverage for name, value in measured.items()},
        "missing": {name: value.reason for name, value in measured.items() if name not in found},
        "curves": _curves(found, pair.raw.frames),
        "baselines": {},
    }


def _curves(found: dict[str, Measured], frames: int) -> dict[str, list[float]]:
    """Curves over all frames, NaN before the first judged one; a motion belongs to the frame it ends in."""
    kept = {name: found[name].curve for name in CURVES if name in found}
    return {
        name: [math.nan] * (frames - len(curve)) + [float(value) for value in curve]
        for name, curve in kept.items()
        if curve is not None
    }

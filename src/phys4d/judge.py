"""Models and stored worlds before the evaluation: what `phys4d evaluate` does."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from phys4d.data.opening import evenly, paired, stored_worlds
from phys4d.data.shards import WorldDataset, open_dataset
from phys4d.errors import InputError, MissingFieldError, Phys4DWarning, unknown_name
from phys4d.evaluation import Report, evaluate
from phys4d.evaluation.units import comparable
from phys4d.lifting import lifted
from phys4d.model import WorldModel
from phys4d.suites import SuiteRequest, suite_of
from phys4d.training.measures import generate_from, lift_all, relift
from phys4d.world import World4D

MODES = ("generate", "lift")
ASKED = "asked"
"""Where a report's protocol says what was asked for."""
_BATCH = 8


def evaluate_model(
    model: str,
    data: Path,
    out: Path,
    *,
    mode: str = "generate",
    lifter: str | None = None,
    limit: int | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Report:
    """Judge what a model makes of the first frames (generate) or the RGB (lift) of a data set's worlds.

    lifter: a model that reads depth and motion off what was generated, in place of the model's own heads; it is
    told nothing of the conditions. limit: at most so many worlds, evenly from the whole. A finished report of the
    same arguments is read, not made again. Raises InputError where `out` holds anything else, and for worlds that
    the model cannot make.
    """
    if mode not in MODES:
        raise InputError(unknown_name("mode", mode, MODES))
    if lifter and mode == "lift":
        raise InputError("a lifter reads what was generated; in mode lift the model itself reads")
    asked = {
        "model": model, "data": str(data), "mode": mode, "lifter": lifter, "limit": limit, "steps": steps,
        "seed": seed,
    }  # fmt: skip
    if (there := _finished(out, asked)) is not None:
        return there
    maker = WorldModel.from_pretrained(model)
    judge = WorldModel.from_pretrained(lifter) if lifter else None
    worlds = open_dataset(data)
    worlds = WorldDataset(worlds.index.take(evenly(len(worlds), limit)))
    _check_extents(maker, worlds, mode)
    if judge is not None:
        _check_extents(judge, worlds, "lift")
    fps = worlds.read(0, ()).fps
    if mode == "generate" and not math.isclose(fps, maker.backbone.fps, rel_tol=1e-3):
        raise InputError(f"this data set runs at {fps:g} fps, what the model makes at {maker.backbone.fps:g}")
    truths: list[World4D] = []
    made: list[World4D] = []
    with tqdm(total=len(worlds), desc=f"{mode} with {model}", unit="world") as progress:
        for places in _batches(worlds):
            some = [worlds[i].require("rgb") for i in places]
            if mode == "lift":
                found = lift_all(maker, some)
            else:
                found = generate_from(maker, some, steps, seed=seed + places[0])
                found = found if judge is None else relift(judge, found)
            truths += some
            made += found
            progress.update(len(places))
    return _saved(evaluate(made, truths, seed=seed), out, asked)


def evaluate_worlds(
    prediction: Path,
    reference: Path | None,
    out: Path,
    *,
    lifter: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Report:
    """Judge stored worlds, against references where there are any.

    Two folders of worlds (world folders, videos, point maps, recordings) pair up by names, anything else by order.
    lifter: a model that reads depth and motion off the predictions' RGB, as for videos; the same of the
    references' true RGB is then the baseline `lifter`: how far the instrument itself goes. Videos count as
    generated from the references' first frames, which are not judged. limit: at most so many, evenly from the
    whole. Raises InputError where they do not pair up, or `out` holds anything but this report.
    """
    asked = {
        "prediction": str(prediction), "reference": None if reference is None else str(reference),
        "lifter": lifter, "limit": limit, "seed": seed,
    }  # fmt: skip
    if (there := _finished(out, asked)) is not None:
        return there
    mine = stored_worlds(prediction)
    chosen = evenly(len(mine), limit)
    predictions: Iterable[World4D] = (mine[i].load() for i in chosen)
    judge = WorldModel.from_pretrained(lifter) if lifter else None
    if judge is not None:
        predictions = (world for world, _ in lifted(judge, map(_as_generated, predictions)))
    if reference is None:
        return _saved(evaluate(predictions, seed=seed), out, asked)
    theirs = paired(mine, stored_worlds(reference), (prediction, reference))
    notes: set[str] = set()
    references = (theirs[i].load() for i in chosen)
    # Both are taken in step, so that few worlds are held at a time.
    first, second = itertools.tee(_comparable(predictions, references, notes))
    report = evaluate((w for w, _ in first), (w for _, w in second), seed=seed)
    if judge is not None:
        try:
            first, second = itertools.tee(lifted(judge, (_as_generated(theirs[i].load()) for i in chosen)))
            own = evaluate((w for w, _ in first), (w for _, w in second), baselines=False, seed=seed)
            report = _beside(report, "lifter", own)
        except MissingFieldError:
            notes.add("the references have no rgb, so that there is no row of the lifter's own error")
    if notes:
        report = dataclasses.replace(report, protocol={**report.protocol, "notes": sorted(notes)})
    return _saved(report, out, asked)


def _as_generated(world: World4D) -> World4D:
    """A video that does not say how it was made counts as generated: its first frames may have been given."""
    if world.meta.get("mode") in MODES:
        return world
    return dataclasses.replace(world, meta={**world.meta, "mode": "generate"})


def _comparable(
    predictions: Iterable[World4D], references: Iterable[World4D], notes: set[str]
) -> Iterator[tuple[World4D, World4D]]:
    """Each prediction, ready to be held against its reference, and that."""
    for prediction, reference in zip(predictions, references, strict=True):
        world, note = comparable(prediction, reference)
        if note and note not in notes:
            warnings.warn(note, Phys4DWarning, stacklevel=2)
            notes.add(note)
        yield world, reference


def _beside(report: Report, name: str, other: Report) -> Report:
    """The report with another one of the same worlds among its baselines."""
    by_world = [
        {**entry, "baselines": {**entry["baselines"], name: its["metrics"]}}
        for entry, its in zip(report.by_world, other.by_world, strict=True)
    ]
    return dataclasses.replace(report, by_world=by_world, baselines={**report.baselines, name: other.metrics})


def evaluate_suite(name: str, request: SuiteRequest, out: Path) -> Report:
    """Run a suite, or read its finished report of the same request; see `phys4d.suites`."""
    suite = suite_of(name)
    asked = {"suite": name, **dataclasses.asdict(request)}
    if (there := _finished(out, _plain(asked))) is not None:
        return there
    return _saved(suite(request), out, asked)


def _extents(worlds: WorldDataset) -> list[tuple[int, int, int]]:
    rows = worlds.index.select(["frames", "height", "width"]).to_pylist()
    return [(row["frames"], row["height"] or 0, row["width"] or 0) for row in rows]


def _batches(worlds: WorldDataset) -> Iterator[list[int]]:
    """Places of neighbours of one number of frames and size, a few at a time."""
    extents = _extents(worlds)
    for _, places in itertools.groupby(range(len(worlds)), key=lambda i: extents[i]):
        same = list(places)
        yield from (same[i : i + _BATCH] for i in range(0, len(same), _BATCH))


def _check_extents(model: WorldModel, worlds: WorldDataset, mode: str) -> None:
    """Raise InputError, before any work, for worlds of which the model makes none like them."""
    if not len(worlds):
        raise InputError("this data set holds no world to evaluate on")
    for frames, height, width in sorted(set(_extents(worlds))):
        if (height, width) != model.backbone.size:
            own = "x".join(str(n) for n in model.backbone.size)
            raise InputError(f"this data set holds worlds of {height}x{width}, the model makes {own}")
        if mode == "generate":
            model.check_frames(frames)
        else:
            model.need_heads()
            model.window_of(frames)


def _finished(out: Path, asked: dict[str, Any]) -> Report | None:
    """The report, where it is there already. Raises InputError where `out` holds something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        report = Report.load(out)
    except InputError:
        raise InputError(f"{out}: exists and is no whole report; choose another place") from None
    there = report.protocol.get(ASKED)
    if not isinstance(there, dict):
        raise InputError(f"{out}: a report that was made otherwise is there; choose another --out")
    differ = [key for key in {**asked, **there} if there.get(key) != asked.get(key)]
    if differ:
        raise InputError(f"{out}: a report with other {', '.join(differ)} is there; choose another --out")
    return report


def _saved(report: Report, out: Path, asked: dict[str, Any]) -> Report:
    report = dataclasses.replace(report, protocol={**report.protocol, ASKED: _plain(asked)})
    report.save(out)
    return report


def _plain(asked: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return json.loads(json.dumps(asked, default=str))

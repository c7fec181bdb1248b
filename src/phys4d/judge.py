"""Models and stored worlds before the evaluation: what `phys4d evaluate` does."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from phys4d.data.opening import evenly, paired, stored_worlds
from phys4d.data.shards import WorldDataset, open_dataset
from phys4d.errors import InputError, MissingFieldError, Phys4DError, unknown_name
from phys4d.evaluation import Report
from phys4d.evaluation import baselines as baselines_of
from phys4d.evaluation.evaluate import Item, evaluate_items
from phys4d.lifting import tried
from phys4d.model import WorldModel
from phys4d.suites import SuiteRequest, suite_of
from phys4d.training.measures import generate_from, relift
from phys4d.world import World4D

MODES = ("generate", "lift")
RIVALS = (*baselines_of.BASELINES, "truth")
"""What can be judged without a model."""
ASKED = "asked"
"""Where a report's protocol says what was asked for."""
Load = Callable[[], World4D]
Make = Callable[[list[World4D], int, int], list[World4D]]
"""(references at neighbouring places, run, first place) -> a world for each."""
_BATCH = 8
_RUN_SEEDS = 1_000_003
"""How far the seeds of one run lie from those of the next. Torch's CPU generator takes their low 32 bits alone, so
that steps of a power of two would draw the same noise again."""


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
    runs: int = 1,
    workers: int = 1,
    baselines: bool = True,
) -> Report:
    """Judge what a model makes of the first frames (generate) or the RGB (lift) of a data set's worlds.

    lifter: a model that reads depth and motion off what was generated, in place of the model's own heads; it is
    told nothing of the conditions. limit: at most so many worlds, evenly from the whole. runs: generations of each
    world, with seeds of their own, for the spread between them. workers: processes that judge; the model works in
    this one, and the numbers do not depend on them. baselines: judge the trivial worlds, too. A finished report of
    the same arguments is read, not made again. Damaged worlds are skipped and listed. Raises InputError where
    `out` holds anything else, and for worlds that the model cannot make.
    """
    if mode not in MODES:
        raise InputError(unknown_name("mode", mode, MODES))
    if lifter and mode == "lift":
        raise InputError("a lifter reads what was generated; in mode lift the model itself reads")
    if runs > 1 and mode == "lift":
        raise InputError("--runs wants seeds to differ by; in mode lift nothing is drawn")
    _check_counts(runs=runs, workers=workers)
    asked = {
        "model": model, "data": str(data), "mode": mode, "lifter": lifter, "limit": limit, "steps": steps,
        "seed": seed, **({"runs": runs} if runs > 1 else {}), **({} if baselines else {"baselines": False}),
    }  # fmt: skip
    if (there := _finished(out, asked)) is not None:
        return there
    maker = WorldModel.from_pretrained(model)
    reader = WorldModel.from_pretrained(lifter) if lifter else None
    worlds = chosen_worlds(data, limit)
    check_fit(maker, worlds, mode, reader)

    def made(some: list[World4D], run: int, place: int) -> list[World4D]:
        if mode == "lift":
            return relift(maker, some)
        found = generate_from(maker, some, steps, seed=seed + run * _RUN_SEEDS + place)
        return found if reader is None else relift(reader, found)

    items = _made_items(worlds, made, runs, f"{mode} with {model}")
    report = evaluate_items(items, seed=seed, skip=True, workers=workers, baselines=baselines)
    return _saved(report, out, asked)


def evaluate_rival(
    rival: str, data: Path, out: Path, *, lifter: str, limit: int | None = None, seed: int = 0, workers: int = 1
) -> Report:
    """Judge what needs no model by the lifter that judges models: a baseline of `BASELINES`, or "truth" itself.

    The lifter sees its RGB alone, as it sees a model's, so that the instrument's own error is in all of them. The
    rest is as in `evaluate_model`.
    """
    if rival not in RIVALS:
        raise InputError(unknown_name("baseline", rival, RIVALS))
    _check_counts(workers=workers)
    asked = {"rival": rival, "data": str(data), "lifter": lifter, "limit": limit, "seed": seed}
    if (there := _finished(out, asked)) is not None:
        return there
    reader = WorldModel.from_pretrained(lifter)
    worlds = chosen_worlds(data, limit)
    check_fit(reader, worlds, "lift")

    def made(some: list[World4D], run: int, place: int) -> list[World4D]:
        return relift(reader, [rival_world(rival, world, seed=seed) for world in some])

    items = _made_items(worlds, made, 1, f"judging {rival}")
    return _saved(evaluate_items(items, seed=seed, skip=True, workers=workers, baselines=False), out, asked)


def rival_world(rival: str, world: World4D, *, seed: int = 0) -> World4D:
    """One of RIVALS beside a reference, as if it had been generated from the reference's first frames."""
    if rival == "truth":
        return dataclasses.replace(world, meta={**world.meta, "mode": "generate"})
    return baselines_of.make(rival, world, context=int(world.meta.get("context_frames") or 1), seed=seed)


def _made_items(worlds: WorldDataset, made: Make, runs: int, title: str) -> Iterator[Item]:
    """What is made of each world, with its reference, batch by batch; damaged worlds as items with a problem."""
    with tqdm(total=len(worlds) * runs, desc=title, unit="world") as progress:
        for places in _batches(worlds):
            truths, damaged = _read(worlds, places)
            yield from damaged
            # A world's seed goes with its place, whatever of its batch could be read.
            for first, some in _neighbours(truths):
                for run in range(runs):
                    for i, world in enumerate(made(some, run, first)):
                        yield Item(world, some[i], _label(worlds, first + i), place=first + i, run=run)
            progress.update(len(places) * runs)


def evaluate_worlds(
    prediction: Path,
    reference: Path | None,
    out: Path,
    *,
    lifter: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    workers: int = 1,
) -> Report:
    """Judge stored worlds, against references where there are any.

    Two folders of worlds (world folders, videos, point maps, recordings) pair up by names, anything else by order.
    lifter: a model that reads depth and motion off the predictions' RGB, as for videos; the same of the
    references' true RGB is then the baseline `lifter`: how far the instrument itself goes. Videos count as
    generated from the references' first frames, which are not judged. limit: at most so many, evenly from the
    whole. workers: processes that read and judge (a lifter works in this one); the numbers do not depend on them.
    Damaged worlds are skipped and listed. Raises InputError where they do not pair up, or `out` holds anything but
    this report.
    """
    _check_counts(workers=workers)
    asked = {
        "prediction": str(prediction), "reference": None if reference is None else str(reference),
        "lifter": lifter, "limit": limit, "seed": seed,
    }  # fmt: skip
    if (there := _finished(out, asked)) is not None:
        return there
    mine = stored_worlds(prediction)
    theirs = None if reference is None else paired(mine, stored_worlds(reference), (prediction, reference))
    chosen = evenly(len(mine), limit)
    loads = [(mine[i].load, None if theirs is None else theirs[i].load) for i in chosen]
    items = (Item(load, truth, mine[i].label) for i, (load, truth) in zip(chosen, loads))
    if lifter:
        reader = WorldModel.from_pretrained(lifter)
        reader.need_heads()
        items = _lifted_items(reader, loads, [mine[i].label for i in chosen])
    progress = tqdm(items, total=len(chosen), desc="judging", unit="world", disable=None)
    return _saved(evaluate_items(progress, seed=seed, skip=True, workers=workers), out, asked)


def _lifted_items(
    reader: WorldModel, loads: Sequence[tuple[Load, Load | None]], labels: Sequence[str]
) -> Iterator[Item]:
    """Predictions as the reader sees them and, beside them, what it sees in their references."""
    seen = tried(reader, (functools.partial(_as_generated, load) for load, _ in loads))
    own = tried(reader, (functools.partial(_as_generated, load) for _, load in loads if load is not None))
    for place, ((_, truth), label) in enumerate(zip(loads, labels)):
        found, beside = next(seen), None if truth is None else next(own)
        if isinstance(found, Phys4DError):
            yield Item(None, None, label, place=place, problem=found.line)
        elif isinstance(beside, Phys4DError) and not isinstance(beside, MissingFieldError):
            yield Item(None, None, label, place=place, problem=beside.line)
        else:
            # A reference without rgb leaves its world without the row of the lifter's own error.
            yield Item(
                found, truth, label, place=place, beside={"lifter": beside} if isinstance(beside, World4D) else {}
            )


def _as_generated(load: Load) -> World4D:
    """A video that does not say how it was made counts as generated: its first frames may have been given."""
    world = load()
    if world.meta.get("mode") in MODES:
        return world
    return dataclasses.replace(world, meta={**world.meta, "mode": "generate"})


def evaluate_suite(name: str, request: SuiteRequest, out: Path) -> Report:
    """Run a suite, or read its finished report of the same request; see `phys4d.suites`."""
    suite = suite_of(name)
    asked = {"suite": name, **dataclasses.asdict(request)}
    if (there := _finished(out, _plain(asked))) is not None:
        return there
    return _saved(suite(request), out, asked)


def _label(worlds: WorldDataset, i: int) -> str:
    return str(worlds.index.column("key")[i].as_py())


def _read(worlds: WorldDataset, places: list[int]) -> tuple[dict[int, World4D], list[Item]]:
    """The worlds at these places with their RGB, and those that cannot be read, as items with a problem."""
    found: dict[int, World4D] = {}
    damaged: list[Item] = []
    for i in places:
        try:
            found[i] = worlds[i].require("rgb")
        except Phys4DError as error:
            damaged.append(Item(None, None, _label(worlds, i), place=i, problem=error.line))
    return found, damaged


def _neighbours(worlds: dict[int, World4D]) -> Iterator[tuple[int, list[World4D]]]:
    """Runs of worlds at places that follow on each other: the first place, and its worlds."""
    for _, group in itertools.groupby(enumerate(worlds), key=lambda numbered: numbered[1] - numbered[0]):
        places = [place for _, place in group]
        yield places[0], [worlds[place] for place in places]


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"--{name} must be at least 1, not {count}")


def _extents(worlds: WorldDataset) -> list[tuple[int, int, int]]:
    rows = worlds.index.select(["frames", "height", "width"]).to_pylist()
    return [(row["frames"], row["height"] or 0, row["width"] or 0) for row in rows]


def _batches(worlds: WorldDataset) -> Iterator[list[int]]:
    """Places of neighbours of one number of frames and size, a few at a time."""
    extents = _extents(worlds)
    for _, places in itertools.groupby(range(len(worlds)), key=lambda i: extents[i]):
        same = list(places)
        yield from (same[i : i + _BATCH] for i in range(0, len(same), _BATCH))


def chosen_worlds(data: Path, limit: int | None) -> WorldDataset:
    """At most `limit` worlds of a data set, evenly from the whole."""
    worlds = open_dataset(data)
    return WorldDataset(worlds.index.take(evenly(len(worlds), limit)))


def check_fit(model: WorldModel, worlds: WorldDataset, mode: str, reader: WorldModel | None = None) -> None:
    """Raise InputError, before any work, for worlds that the model cannot make like, or the reader cannot read."""
    _check_extents(model, worlds, mode)
    if reader is not None:
        _check_extents(reader, worlds, "lift")
    for fps in sorted(set(worlds.index.column("fps").to_pylist())):
        if mode == "generate" and not math.isclose(fps, model.backbone.fps, rel_tol=1e-3):
            raise InputError(f"this data set runs at {fps:g} fps, what the model makes at {model.backbone.fps:g}")


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
    """The report, where it is there already and whole: what was skipped may have been mended since.

    Raises InputError where `out` holds something else.
    """
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
    return None if report.skipped else report


def _saved(report: Report, out: Path, asked: dict[str, Any]) -> Report:
    report = dataclasses.replace(report, protocol={**report.protocol, ASKED: _plain(asked)})
    report.save(out)
    return report


def _plain(asked: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return json.loads(json.dumps(asked, default=str))

"""Models and stored worlds before the evaluation: what `phys4d evaluate` does."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from phys4d.data.shards import WorldDataset, open_dataset
from phys4d.errors import InputError, unknown_name
from phys4d.evaluation import Report, evaluate
from phys4d.members import is_world_folder
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
    worlds = WorldDataset(worlds.index.take(_chosen(len(worlds), limit)))
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
    prediction: Path, reference: Path | None, out: Path, *, limit: int | None = None, seed: int = 0
) -> Report:
    """Judge stored worlds, against references where there are any.

    Two folders of world folders pair up by names, anything else by order. limit: at most so many, evenly from the
    whole. Raises InputError where they do not pair up, or `out` holds anything but this report.
    """
    asked = {
        "prediction": str(prediction), "reference": None if reference is None else str(reference), "limit": limit,
        "seed": seed,
    }  # fmt: skip
    if (there := _finished(out, asked)) is not None:
        return there
    mine = stored_worlds(prediction)
    chosen = _chosen(len(mine), limit)
    predictions = (mine[i].load() for i in chosen)
    if reference is None:
        return _saved(evaluate(predictions, seed=seed), out, asked)
    theirs = stored_worlds(reference)
    if len(mine) != len(theirs):
        raise InputError(f"{prediction} holds {len(mine)} worlds and {reference} {len(theirs)}; they must pair up")
    if mine[0].name and theirs[0].name:
        by_name = {world.name: world for world in theirs}
        lacking = sorted(world.name for world in mine if world.name not in by_name)
        if lacking:
            raise InputError(f"{reference}: has no world {lacking[0]}; folders of worlds pair up by their names")
        theirs = [by_name[world.name] for world in mine]
    references = (theirs[i].load() for i in chosen)
    return _saved(evaluate(predictions, references, seed=seed), out, asked)


def evaluate_suite(name: str, request: SuiteRequest, out: Path) -> Report:
    """Run a suite, or read its finished report of the same request; see `phys4d.suites`."""
    suite = suite_of(name)
    asked = {"suite": name, **dataclasses.asdict(request)}
    if (there := _finished(out, _plain(asked))) is not None:
        return there
    return _saved(suite(request), out, asked)


@dataclasses.dataclass(frozen=True)
class StoredWorld:
    """A world on disk. name: of its folder beside others, otherwise empty. load: reads it."""

    name: str
    load: Callable[[], World4D]


def stored_worlds(path: Path) -> list[StoredWorld]:
    """The worlds of a data set or shard, of one world folder, or of a folder of world folders.

    Raises InputError where there are none.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if is_world_folder(path):
        return [StoredWorld("", functools.partial(World4D.load, path))]
    folders = sorted(p for p in path.iterdir() if is_world_folder(p)) if path.is_dir() else []
    if folders:
        return [StoredWorld(p.name, functools.partial(World4D.load, p)) for p in folders]
    dataset = open_dataset(path)
    if not len(dataset):
        raise InputError(f"{path}: holds no world")
    return [StoredWorld("", functools.partial(dataset.read, i)) for i in range(len(dataset))]


def _chosen(count: int, limit: int | None) -> list[int]:
    """At most `limit` of so many worlds, evenly from the whole."""
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1, not {limit}")
    kept = count if limit is None else min(limit, count)
    return [i * count // kept for i in range(kept)]


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

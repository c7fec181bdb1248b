"""What the suites on worlds share: whom they judge, against what, and how a report is made of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from phys4d.data.opening import StoredWorld, evenly, paired, stored_worlds
from phys4d.errors import InputError
from phys4d.evaluation import Report, baselines, bootstrap
from phys4d.evaluation.measure import Better, Measured
from phys4d.evaluation.summary import summary, versions
from phys4d.evaluation.units import comparable, doubts
from phys4d.lifting import lifted
from phys4d.members import is_world_folder
from phys4d.model import WorldModel
from phys4d.suites.suite import SuiteRequest
from phys4d.world import World4D

RIVALS = ("static", "noise")
"""Baselines of a suite that reads true worlds: frame 0 for ever, and noise from frame 1 on."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A metric of a suite."""

    unit: str
    better: Better


@dataclasses.dataclass(frozen=True)
class Judged:
    """One item's values; baselines: those of its trivial rivals. notes: what a reader should know.

    curves: by name, one number a frame.
    """

    name: str
    scene: str
    scene_id: str
    category: str
    found: Mapping[str, Measured]
    baselines: Mapping[str, Mapping[str, Measured]]
    notes: tuple[str, ...] = ()
    curves: Mapping[str, list[float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Pairing:
    """A prediction and its reference, of one size, length and frame rate. notes: what makes one doubt units."""

    name: str
    prediction: World4D
    reference: World4D
    notes: tuple[str, ...]


def one_source(suite: str, request: SuiteRequest, *, exact: bool = False) -> None:
    """Raise InputError unless the suite has its truth and exactly one of --model and --videos, and no more.

    exact: whether the suite knows what --exact asks.
    """
    request.need(suite, "benchmark")
    if (request.model is None) == (request.videos is None):
        raise InputError(f"--suite {suite} needs --videos (what was made) or --model (which lifts), one of them")
    if request.runs != 1 or request.steps is not None:
        raise InputError(f"--suite {suite} generates nothing: --runs and --steps do not apply")
    request.refuse(suite, "workers", *(() if exact else ("exact",)))


def pairings(suite: str, request: SuiteRequest, *needs: str) -> Iterator[Pairing]:
    """Every chosen world of --benchmark and what --videos has, or --model lifts, of it.

    needs: fields that a prediction must have. Raises InputError where the two are not of one size, length and
    frame rate, for a reference that is not in metres, and for names in --subset that no world has.
    """
    assert request.benchmark is not None
    truths = stored_worlds(request.benchmark)
    if request.videos is None:
        chosen = _subset(truths, evenly(len(truths), request.limit), request)
        assert request.model is not None
        model = WorldModel.from_pretrained(request.model)
        found = lifted(model, (truths[i].load() for i in chosen))
        for i, (prediction, reference) in zip(chosen, found):
            yield _pairing(truths[i].name, prediction, reference, needs)
        return
    mine = stored_worlds(request.videos)
    theirs = paired(mine, truths, (request.videos, request.benchmark))
    for i in _subset(theirs, evenly(len(mine), request.limit), request):
        yield _pairing(mine[i].name, mine[i].load(), theirs[i].load(), needs)


def judge_worlds(
    suite: str,
    request: SuiteRequest,
    needs: tuple[str, ...],
    needs_reference: tuple[str, ...],
    measure: Callable[[World4D, World4D], Mapping[str, Measured]],
) -> list[Judged]:
    """Each pairing and its trivial rivals, measured."""
    judged = []
    for number, pair in enumerate(pairings(suite, request, *needs)):
        pair.reference.require(*needs_reference)
        meta = pair.reference.meta
        scene = str(meta.get("scene") or meta.get("source") or "world")
        identity = str(meta.get("scene_id") or pair.name or f"{scene}-{number}")
        view = f"/view{meta['view']}" if "view" in meta else ""
        rivals = {
            rival: measure(baselines.make(rival, pair.reference, seed=request.seed), pair.reference)
            for rival in RIVALS
        }
        found = measure(pair.prediction, pair.reference)
        category = str(meta.get("category") or "all")
        judged.append(Judged(f"{identity}{view}", scene, identity, category, found, rivals, pair.notes))
    return judged


def suite_report(
    judged: Sequence[Judged], rows: Mapping[str, Row], protocol: Mapping[str, Any], *, seed: int
) -> Report:
    """Means over scenes with their intervals, by category, and beside the baselines."""
    if not judged:
        raise InputError("there is nothing to judge")
    entries = [_entry(item, rows) for item in judged]
    rivals = list(dict.fromkeys(name for item in judged for name in item.baselines))
    metrics = summary(entries, rows, seed)
    categories = sorted({item.category for item in judged})
    notes = sorted({note for item in judged for note in item.notes})
    return Report(
        protocol={
            **protocol,
            "worlds": len(entries),
            "scenes": len({item.scene_id for item in judged}),
            "seed": seed,
            "bootstrap": {
                "over": "scenes",
                "resamples": bootstrap.RESAMPLES,
                "confidence": bootstrap.CONFIDENCE,
            },
            "versions": versions(),
        },
        metrics=metrics,
        baselines={
            rival: summary(
                entries, rows, seed, values_of=lambda entry, rival=rival: entry["baselines"].get(rival, {})
            )
            for rival in rivals
        },
        by_category={
            category: summary([e for e in entries if e["category"] == category], rows, seed)
            for category in categories
        },
        by_world=entries,
        missing={
            name: next((e["missing"][name] for e in entries if name in e["missing"]), "not measured")
            for name in rows
            if name not in metrics
        },
        notes=tuple(notes),
    )


def files_below(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of a kind in a folder and in its folders, by their relative name without suffix.

    Members of worlds are none.
    """
    found = sorted(path for depth in ("*", "*/*") for path in folder.glob(f"{depth}{suffix}"))
    worlds = {place for place in {path.parent for path in found} if is_world_folder(place)}
    found = [path for path in found if path.parent not in worlds]
    return {str(path.relative_to(folder).with_suffix("")): path for path in found}


def chosen_files(files: Mapping[str, Path], request: SuiteRequest) -> dict[str, Path]:
    """Those in the folders that --subset names (all, if it names none), at most --limit, evenly."""
    names = list(files)
    if request.subset:
        known = sorted({name.partition("/")[0] for name in names if "/" in name})
        _known_names(set(request.subset), set(known), request.benchmark)
        names = [name for name in names if name.partition("/")[0] in request.subset]
    return {names[i]: files[names[i]] for i in evenly(len(names), request.limit)}


def _pairing(name: str, prediction: World4D, reference: World4D, needs: tuple[str, ...]) -> Pairing:
    prediction = comparable(prediction.require(*needs), reference)
    what = f"{name}: " if name else ""
    for word, mine, theirs in (
        ("frames", prediction.frames, reference.frames),
        ("size", "x".join(map(str, prediction.size)), "x".join(map(str, reference.size))),
    ):
        if mine != theirs:
            raise InputError(f"{what}the prediction and its reference differ in {word}: {mine} and {theirs}")
    if not math.isclose(prediction.fps, reference.fps, rel_tol=1e-3):
        raise InputError(
            f"{what}the prediction runs at {prediction.fps:g} fps, its reference at {reference.fps:g}"
        )
    return Pairing(name, prediction, reference, tuple(doubts(prediction, reference)))


def _subset(worlds: Sequence[StoredWorld], places: Sequence[int], request: SuiteRequest) -> list[int]:
    """Those of the places whose world is of a category or scene that --subset names, all if it names none."""
    if not request.subset:
        return list(places)
    # Read twice rather than held all at once.
    metas = [worlds[i].load().meta for i in places]
    names = [{str(meta.get(key)) for key in ("category", "scene") if meta.get(key)} for meta in metas]
    _known_names(set(request.subset), set().union(*names), request.benchmark)
    return [i for i, own in zip(places, names) if own & set(request.subset)]


def _known_names(asked: set[str], known: set[str], place: Path | None) -> None:
    lacking = sorted(asked - known)
    if lacking:
        raise InputError(f"{place}: has no {', '.join(lacking)}; it has {', '.join(sorted(known)) or 'no names'}")


def _entry(item: Judged, rows: Mapping[str, Row]) -> dict[str, Any]:
    measured = {name: item.found[name] for name in rows if name in item.found}
    known = {name: value for name, value in measured.items() if math.isfinite(value.value)}
    return {
        "world": item.name,
        "scene": item.scene,
        "scene_id": item.scene_id,
        "category": item.category,
        "run": 0,
        "metrics": {name: value.value for name, value in known.items()},
        "coverage": {name: value.coverage for name, value in measured.items()},
        "missing": {name: value.reason for name, value in measured.items() if name not in known},
        "curves": dict(item.curves),
        "baselines": {
            rival: {name: value.value for name, value in found.items() if name in known}
            for rival, found in item.baselines.items()
        },
    }

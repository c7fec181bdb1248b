"""Suite `horizon`: how far ahead a model sees, against how far anybody can.

Scenes are simulated with an ensemble of repetitions whose parameters differ by what a measurement leaves open. The
model continues the first frames of each; its error is a curve over time, divided by the ensemble's spread, with
the static world and one more repetition beside it. Two instruments judge: colours alone, and, where it fits, the
lifter that ships with phys4d, which reads depth and motion off everybody's colours, the truth's included.
Nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from tqdm import tqdm

from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.evaluation import Report, baselines, bootstrap
from phys4d.evaluation.horizon import FLOOR, PREDICTABLE, WINDOW, Horizon, horizon_curves
from phys4d.model import WorldModel
from phys4d.sim.catalog import SCENES
from phys4d.sim.simulate import simulate
from phys4d.suites.suite import SUITES, SuiteRequest
from phys4d.training.measures import generate_from, relift
from phys4d.world import World4D

ROWS = ("ball_drop", "ball_bounce", "ball_collide", "pendulum", "roll_behind_box", "block_domino")
"""Scenes by default: from what can be foreseen for long to what cannot."""
FRAMES, MEMBERS = 65, 4
"""Frames of a clip; repetitions in an ensemble, besides the one that is held against it."""
LIFTER = "nano-lifter"
COLOURS = ("psnr", "mask_iou")
LIFTED = ("abs_rel", "flow_epe", "chamfer_dynamic", "chamfer_background")
RIVALS = ("static", "repetition")


@dataclasses.dataclass(frozen=True)
class _Item:
    """A scene's reference, its ensemble, and the worlds that are judged, by name."""

    reference: World4D
    ensemble: list[World4D]
    judged: dict[str, list[World4D]]


@SUITES.register("horizon")
def horizon(request: SuiteRequest) -> Report:
    """Run the suite: --model M, or --videos DATA with worlds of the same scenes (by their scene_id).

    subset: scenes; limit: at most so many of them; runs: generations of each, with seeds that count up from
    `seed`, which is also the scenes' own. Raises InputError for what it cannot use.
    """
    if request.benchmark is not None or request.exact:
        raise InputError("--suite horizon simulates its own truth: it takes no --benchmark and no --exact")
    if (request.model is None) == (request.videos is None):
        raise InputError("--suite horizon needs --model M, or --videos DATA with what was made of its scenes")
    names = list(request.subset) or list(ROWS)
    for name in names:
        SCENES[name]
    names = names[: request.limit]
    if not names:
        raise InputError(f"--limit must be at least 1, not {request.limit}")
    maker = WorldModel.from_pretrained(request.model) if request.model else None
    size, fps = (maker.backbone.size, maker.backbone.fps) if maker else _extent(request)
    frames = maker.check_frames(_longest(maker)) if maker else FRAMES
    lifter = WorldModel.from_pretrained(LIFTER)
    lifts = lifter.backbone.size == size
    entries = []
    for name in tqdm(names, desc="horizon", unit="scene"):
        item = _item(name, request, maker, size, fps, frames)
        entries.append(_entry(name, item, lifter if lifts else None, request.seed))
    return _report(entries, request, frames, size, fps, lifts)


def _longest(model: WorldModel) -> int:
    """FRAMES, or the nearest number that the model can make."""
    try:
        return model.check_frames(FRAMES)
    except InputError:
        return model.backbone.most_frames


def _extent(request: SuiteRequest) -> tuple[tuple[int, int], float]:
    worlds = open_dataset(str(request.videos))
    if not len(worlds):
        raise InputError(f"{request.videos}: holds no world")
    first = worlds.read(0, ("rgb",))
    return first.size, first.fps


def _item(
    name: str, request: SuiteRequest, maker: WorldModel | None, size: tuple[int, int], fps: float, frames: int
) -> _Item:
    options: dict[str, Any] = {"seed": request.seed, "size": size, "fps": fps}
    made = _made(request, f"{name}-{request.seed}") if maker is None else []
    if made:
        frames = min(frames, *(world.frames for world in made))
    repetitions = [simulate(name, frames=frames, perturb=k, **options) for k in range(MEMBERS + 2)]
    reference, rival, ensemble = repetitions[0], repetitions[1], repetitions[2:]
    context = int(reference.meta.get("context_frames") or 1)
    if maker is not None:
        silent = WorldModel(maker.backbone)
        for run in range(request.runs):
            made += generate_from(silent, [reference], request.steps, seed=request.seed + run)
    still = baselines.make("static", reference, context=context)
    return _Item(reference, ensemble, {"model": made, "static": [still], "repetition": [rival]})


def _made(request: SuiteRequest, scene_id: str) -> list[World4D]:
    worlds = open_dataset(str(request.videos))
    found = [world for world in worlds if str(world.meta.get("scene_id")) == scene_id]
    if not found:
        raise InputError(f"{request.videos}: has no world with the scene_id {scene_id}")
    return found


def _entry(name: str, item: _Item, lifter: WorldModel | None, seed: int) -> dict[str, Any]:
    """A row of the report: curves of the model, and mean ratios of all."""
    context = int(item.reference.meta.get("context_frames") or 1)

    def curves(worlds: list[World4D]) -> list[dict[str, Horizon]]:
        found = []
        for world in worlds:
            some = _judged(world, item, COLOURS, context, seed, None)
            if lifter is not None:
                some |= _judged(world, item, LIFTED, context, seed, lifter)
            found.append(some)
        return found

    every = {who: curves(worlds) for who, worlds in item.judged.items()}
    metrics = {who: _means(some) for who, some in every.items()}
    kept: dict[str, list[float]] = {}
    for metric in every["model"][0]:
        for part in ("error", "spread", "ratio"):
            rows = np.stack([getattr(run[metric], part) for run in every["model"] if metric in run])
            kept[f"{metric}_{part}"] = [float(v) for v in rows.mean(0)]
    wanted = {f"{m}_{part}" for m in (*COLOURS, *LIFTED) for part in ("ratio", "predictable")}
    missing = {m: _why(m, lifter) for m in sorted(wanted - set(metrics["model"]))}
    return {
        "world": item.reference.meta["scene_id"],
        "scene": name,
        "scene_id": item.reference.meta["scene_id"],
        "category": item.reference.meta["category"],
        "metrics": metrics["model"],
        "coverage": {m: 1.0 if m in metrics["model"] else 0.0 for m in wanted},
        "missing": missing,
        "curves": kept,
        "baselines": {who: metrics[who] for who in RIVALS},
    }


def _judged(
    world: World4D, item: _Item, metrics: tuple[str, ...], context: int, seed: int, lifter: WorldModel | None
) -> dict[str, Horizon]:
    """Curves by one instrument: colours alone, or what the lifter reads off them."""
    truth = item.reference
    seen = [_colours(w) for w in (world, *item.ensemble, truth)]
    if lifter is not None:
        seen = relift(lifter, seen)
        read = seen[-1]
        # What moves is for the truth to say; where it is, for the instrument that reads all the others.
        truth = dataclasses.replace(
            truth, depth=read.depth, flow=read.flow, visible=read.visible, camera=read.camera, tracks=None,
            track_visibility=None,
        )  # fmt: skip
    return horizon_curves(seen[0], truth, seen[1:-1], metrics=metrics, context_frames=context, seed=seed)


def _colours(world: World4D) -> World4D:
    (rgb,) = (world.require("rgb").rgb,)
    return World4D(rgb=rgb, fps=world.fps, meta={"scene_id": world.meta.get("scene_id", "")})


def _means(runs: list[dict[str, Horizon]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in runs[0]:
        some = [run[metric] for run in runs if metric in run and math.isfinite(run[metric].mean_ratio)]
        if some:
            found[f"{metric}_ratio"] = float(np.mean([h.mean_ratio for h in some]))
            found[f"{metric}_predictable"] = float(np.mean([h.predictable for h in some]))
    return found


def _why(metric: str, lifter: WorldModel | None) -> str:
    if lifter is None and metric.rpartition("_")[0] in LIFTED:
        return f"{LIFTER} does not read pictures of this size"
    return "no frame is judged in both, or the ensemble does not spread"


def _report(
    entries: list[dict[str, Any]],
    request: SuiteRequest,
    frames: int,
    size: tuple[int, int],
    fps: float,
    lifts: bool,
) -> Report:
    names = [f"{m}_{part}" for m in (*COLOURS, *LIFTED) for part in ("ratio", "predictable")]
    categories = sorted({entry["category"] for entry in entries})
    metrics = _summary(entries, names, lambda entry: entry["metrics"], request.seed)
    protocol = {
        "suite": "horizon", "worlds": len(entries), "scenes": len(entries), "frames": frames,
        "size": list(size), "fps": fps, "seed": request.seed, "runs": request.runs, "members": MEMBERS,
        "instruments": {"colours": list(COLOURS), LIFTER: list(LIFTED) if lifts else []},
        "ratio": {"floor": FLOOR, "predictable": PREDICTABLE, "window": WINDOW},
    }  # fmt: skip
    return Report(
        protocol=protocol,
        metrics=metrics,
        baselines={
            who: _summary(entries, list(metrics), lambda entry, who=who: entry["baselines"][who], request.seed)
            for who in RIVALS
        },
        by_category={
            category: _summary(
                [e for e in entries if e["category"] == category], names, lambda e: e["metrics"], request.seed
            )
            for category in categories
        },
        by_world=entries,
        missing={name: entries[0]["missing"][name] for name in names if name not in metrics},
    )


def _summary(entries: list[dict[str, Any]], names: list[str], part: Any, seed: int) -> dict[str, dict[str, Any]]:
    rows = {}
    for name in names:
        values = [part(entry).get(name, math.nan) for entry in entries]
        if not np.isfinite(values).any():
            continue
        found = bootstrap.interval(values, [entry["scene_id"] for entry in entries], seed=seed)
        rows[name] = {
            "value": found.value, "lo": found.lo, "hi": found.hi, "coverage": float(np.isfinite(values).mean()),
            "unit": "s" if name.endswith("_predictable") else "",
            "better": "higher" if name.endswith("_predictable") else "lower",
        }  # fmt: skip
    return rows

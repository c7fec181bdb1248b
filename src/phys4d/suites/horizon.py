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

from phys4d.data.opening import evenly
from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.evaluation import Report, baselines
from phys4d.evaluation.horizon import FLOOR, PREDICTABLE, WINDOW, Horizon, horizon_curves
from phys4d.evaluation.measure import Measured, nothing
from phys4d.model import WorldModel
from phys4d.sim.catalog import SCENES
from phys4d.sim.simulate import simulate
from phys4d.suites.pairs import Judged, Row, suite_report
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
METRIC_ROWS = {f"{name}_ratio": Row("", "lower") for name in (*COLOURS, *LIFTED)} | {
    f"{name}_predictable": Row("s", "higher") for name in (*COLOURS, *LIFTED)
}


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
    request.refuse("horizon", "benchmark", "exact", "workers")
    if (request.model is None) == (request.videos is None):
        raise InputError("--suite horizon needs --model M, or --videos DATA with what was made of its scenes")
    if request.videos is not None:
        request.refuse("horizon --videos", "steps", "runs")
    names = list(request.subset) or list(ROWS)
    for name in names:
        SCENES[name]
    names = [names[i] for i in evenly(len(names), request.limit)]
    maker = WorldModel.from_pretrained(request.model) if request.model else None
    size, fps = (maker.backbone.size, maker.backbone.fps) if maker else _extent(request)
    frames = maker.check_frames(_longest(maker)) if maker else FRAMES
    lifter = WorldModel.from_pretrained(LIFTER)
    lifts = lifter.backbone.size == size
    judged = []
    for name in tqdm(names, desc="horizon", unit="scene"):
        item = _item(name, request, maker, size, fps, frames)
        judged.append(_judge(name, item, lifter if lifts else None, request.seed))
    protocol = {
        "suite": "horizon", "frames": frames, "size": list(size), "fps": fps, "runs": request.runs,
        "members": MEMBERS, "instruments": {"colours": list(COLOURS), LIFTER: list(LIFTED) if lifts else []},
        "ratio": {"floor": FLOOR, "predictable": PREDICTABLE, "window": WINDOW},
    }  # fmt: skip
    return suite_report(judged, METRIC_ROWS, protocol, seed=request.seed)


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
    places = [i for i, known in enumerate(worlds.index.column("scene_id").to_pylist()) if known == scene_id]
    if not places:
        raise InputError(f"{request.videos}: has no world with the scene_id {scene_id}")
    return [worlds.read(i) for i in places]


def _judge(name: str, item: _Item, lifter: WorldModel | None, seed: int) -> Judged:
    """One scene: mean ratios of the model and its rivals, and the model's curves."""
    meta = item.reference.meta
    context = int(meta.get("context_frames") or 1)

    def curves(world: World4D) -> dict[str, Horizon]:
        found = _judged(world, item, COLOURS, context, seed, None)
        return found if lifter is None else found | _judged(world, item, LIFTED, context, seed, lifter)

    every = {who: [curves(world) for world in worlds] for who, worlds in item.judged.items()}
    found = {who: _means(runs, lifter) for who, runs in every.items()}
    own = found.pop("model")
    kept = {
        f"{metric}_{part}": [float(v) for v in np.mean([getattr(run[metric], part) for run in runs], axis=0)]
        for metric in every["model"][0]
        for runs in [[run for run in every["model"] if metric in run]]
        for part in ("error", "spread", "ratio")
    }
    return Judged(meta["scene_id"], name, meta["scene_id"], meta["category"], own, found, curves=kept)


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


def _means(runs: list[dict[str, Horizon]], lifter: WorldModel | None) -> dict[str, Measured]:
    """Every row of the suite, over the runs that have something to judge."""
    found: dict[str, Measured] = {}
    for metric in (*COLOURS, *LIFTED):
        some = [run[metric] for run in runs if metric in run and math.isfinite(run[metric].mean_ratio)]
        if some:
            ratio = float(np.mean([h.mean_ratio for h in some]))
            predictable = float(np.mean([h.predictable for h in some]))
            found |= {f"{metric}_ratio": Measured(ratio, 1.0), f"{metric}_predictable": Measured(predictable, 1.0)}
        else:
            found |= dict.fromkeys((f"{metric}_ratio", f"{metric}_predictable"), nothing(_why(metric, lifter)))
    return found


def _why(metric: str, lifter: WorldModel | None) -> str:
    if lifter is None and metric in LIFTED:
        return f"{LIFTER} does not read pictures of this size"
    return "no frame is judged in both, or the ensemble does not spread"

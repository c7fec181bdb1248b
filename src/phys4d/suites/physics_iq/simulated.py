"""The suite `physics-iq-sim`: the protocol of Physics-IQ on simulated scenes, with nothing to download.

Take 1 is a scene as its seed gives it, take 2 a member of its perturbed ensemble. Still cameras film both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from phys4d.data.opening import evenly
from phys4d.data.processes import in_order
from phys4d.errors import InputError, unknown_name
from phys4d.evaluation import Report
from phys4d.evaluation.physics_iq import (
    Glimpse,
    MotionMasks,
    ViewResult,
    glimpses,
    measure_view,
    summarise,
    through_codec,
)
from phys4d.evaluation.physics_iq.likeness import SHRINK
from phys4d.evaluation.physics_iq.summary import ALWAYS
from phys4d.model import WorldModel
from phys4d.sim.catalog import SCENES
from phys4d.sim.dataset import Clip, make_clip
from phys4d.suites.physics_iq.protocol import described
from phys4d.suites.suite import SUITES, SuiteRequest

ROWS = (
    "ball_ramp", "projectile", "ball_collide", "block_domino", "roll_behind_box", "ball_hits_duck",
    "pendulum", "newtons_cradle", "seesaw", "teapot_rotates", "rope_swings", "wrecking_ball",
)  # fmt: skip
"""Scenes in which something moves all the time, in both takes."""
SEED, MEMBER, VIEWS = 66_000, 1, 3
"""Of the scenes; of take 2 in the ensemble; cameras a scene."""
OWN_SIZE = "own_size"
"""The baseline that is take 1 as filmed at the model's size: what its pixels alone cost a model."""


@dataclasses.dataclass(frozen=True)
class Takes:
    """One view of a scene from its last given frame on. given: what a model sees first, at its own size."""

    row: str
    view: int
    category: str
    prompt: str
    first: UInt8[np.ndarray, "T H W 3"]
    second: UInt8[np.ndarray, "T H W 3"]
    small: UInt8[np.ndarray, "T h w 3"]
    given: UInt8[np.ndarray, "k h w 3"]


@SUITES.register("physics-iq-sim")
def physics_iq_sim(request: SuiteRequest) -> Report:
    """Judge what a model makes of the first frames of simulated scenes, by both scores of Physics-IQ.

    subset: names of scenes (any of `phys4d.scenes()`) or of categories among ROWS. limit: so many scenes, evenly.
    """
    request.need("physics-iq-sim", "model")
    assert request.model is not None
    if request.videos or request.benchmark:
        raise InputError("--suite physics-iq-sim makes its own scenes; it takes neither --videos nor --benchmark")
    rows = chosen_rows(request.subset, request.limit)
    model = WorldModel.from_pretrained(request.model)
    fps, frames = model.backbone.fps, model.backbone.most_frames
    height, width = model.backbone.size
    runs = [f"run {run}" for run in range(1, request.runs + 1)] if request.runs > 1 else ["run"]
    found = []
    for takes in tqdm(
        simulated(rows, model.backbone.size, frames, fps, request.workers),
        total=len(rows) * VIEWS,
        desc=f"physics-iq-sim with {request.model}",
        unit="view",
    ):
        made = model.generate_many(
            [takes.given] * len(runs),
            [takes.prompt] * len(runs),
            seeds=[request.seed + number for number in range(len(runs))],
            frames=frames,
            steps=request.steps,
        )
        start = len(takes.given) - 1
        videos = {run: world.rgb[start:] for run, world in zip(runs, made) if world.rgb is not None}
        found.append(measure(takes, videos, fps, request.exact))
    protocol = {
        "suite": "physics-iq-sim",
        "model": request.model,
        "steps": request.steps,
        "rows": rows,
        "scene_seed": SEED,
        "take_2": f"member {MEMBER} of the perturbed ensemble",
        "views": VIEWS,
        "camera": "static",
        "fps": fps,
        "frames": frames,
        "judged_from": "the last given frame",
        "size": [height, width],
        "truth_size": [SHRINK * height, SHRINK * width],
        "generated_size": [height, width],
        **described(request.exact),
    }
    baselines = (*ALWAYS, OWN_SIZE)
    return summarise(found, runs, protocol, baselines=baselines, exact=request.exact, seed=request.seed)


def chosen_rows(subset: Sequence[str], limit: int | None) -> list[str]:
    """Names of scenes. Raises InputError for an unknown name."""
    categories = {SCENES[row].category for row in ROWS}
    for name in subset:
        if name not in categories and name not in SCENES:
            raise InputError(unknown_name("scene or category", name, [*categories, *SCENES]))
    rows = [row for row in ROWS if not subset or row in subset or SCENES[row].category in subset]
    rows += [name for name in dict.fromkeys(subset) if name in SCENES and name not in rows]
    return [rows[i] for i in evenly(len(rows), limit)]


def simulated(
    rows: Sequence[str], size: tuple[int, int], frames: int, fps: float, workers: int = 1
) -> Iterator[Takes]:
    """Every view of every scene: both takes at SHRINK times a model's size, and take 1 at that size."""
    large = (SHRINK * size[0], SHRINK * size[1])
    clips = [
        Clip(row, SEED, view, member, extent, frames, fps, "static", None)
        for row, view, (member, extent) in itertools.product(
            rows, range(VIEWS), ((0, large), (MEMBER, large), (0, size))
        )
    ]
    with contextlib.closing(in_order(make_clip, clips, workers, ahead=2)) as worlds:
        for (row, view), films in zip(itertools.product(rows, range(VIEWS)), zip(worlds, worlds, worlds)):
            meta = films[0].meta
            context = int(meta["context_frames"])
            pictures = [film.rgb for film in films if film.rgb is not None]
            first, second, small = (rgb[context - 1 :] for rgb in pictures)
            given = pictures[2][:context]
            yield Takes(row, view, str(meta["category"]), str(meta["prompt"]), first, second, small, given)


def measure(
    takes: Takes, videos: dict[str, UInt8[np.ndarray, "T h w 3"]], fps: float, exact: bool = False
) -> ViewResult:
    """One view of a scene and what was made of it, enlarged to the size of the takes."""
    extent = takes.first.shape[1:3]
    size = extent[0] // SHRINK, extent[1] // SHRINK

    def seen(rgb: np.ndarray) -> Iterator[Glimpse]:
        frames = [
            frame if frame.shape[:2] == extent else cv2.resize(frame, extent[::-1], interpolation=cv2.INTER_CUBIC)
            for frame in rgb
        ]
        if not exact:
            return glimpses(frames, size)
        found = MotionMasks()
        return glimpses(frames, size, masks=through_codec((found.next(frame) for frame in frames), fps, extent))

    others = {name: seen(rgb) for name, rgb in {**videos, OWN_SIZE: takes.small}.items()}
    found = measure_view(seen(takes.first), seen(takes.second), others)
    return ViewResult(takes.row, f"view-{takes.view}", takes.category, found)

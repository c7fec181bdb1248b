"""Simulated data sets: which clips, in which order, under which keys."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from phys4d.data.writer import DatasetSummary, Item, write_dataset
from phys4d.errors import ExplodedError, InputError, WorkError
from phys4d.sim import mist
from phys4d.sim.caster import load_kernels
from phys4d.sim.catalog import SCENES, build, random_stream
from phys4d.sim.device import warp_device
from phys4d.sim.engines import engine_of, load_kernels_of
from phys4d.sim.simulate import check_parameters, simulate
from phys4d.world import World4D

MOST_SEED = 2**63
"""The index of a data set keeps seeds as 64-bit integers."""
MOST_WORLDS = 10_000_000
"""Worlds in one data set: their plan is held in memory."""
ATTEMPTS = 16
"""Seeds, and members of an ensemble, that are tried where scenes explode."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """One world to simulate: the arguments of `simulate`."""

    scene: str
    seed: int
    view: int
    perturb: int
    size: tuple[int, int]
    frames: int
    fps: float
    camera: str | None
    device: str | None

    @property
    def key(self) -> str:
        return f"{self.scene}-{self.seed:06d}-p{self.perturb}-v{self.view}"


def simulate_dataset(
    out: str | Path,
    names: Sequence[str],
    *,
    clips: int,
    seed: int = 0,
    size: tuple[int, int] = (64, 64),
    frames: int = 17,
    fps: float = 12.0,
    views: int = 1,
    perturb: int = 0,
    camera: str | None = None,
    device: str | None = None,
    workers: int = 1,
    shard_size: int = 64,
    ray: bool = False,
    progress: bool = True,
) -> DatasetSummary:
    """Simulate `clips` scenes, dealt in turn over `names`, each filmed by `views` cameras, into a data set.

    Scene number i has the seed `seed + i // len(names)`. With `perturb` K, K perturbed repetitions stand beside
    each; the set then holds clips x (1 + K) x views worlds. Continues or returns at once as `write_dataset` does,
    on one machine or, with `ray`, on a cluster; errors as there and in `simulate`. Scenes that explode are
    replaced as `make_clip` says; the summary and the record of their shard name them.
    """
    for name in names:
        SCENES[name]
    if not names:
        raise InputError("there is nothing to simulate: no scene is named")
    at_least = {"clips": (1, clips), "seed": (0, seed), "perturb": (0, perturb), "workers": (1, workers)}
    for name, (least, value) in at_least.items():
        if value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")
    if seed + clips > MOST_SEED:
        raise InputError(f"seed must stay below 2^63, not {seed}")
    check_parameters(size=size, frames=frames, fps=fps, views=views, camera=camera, workers=workers)
    worlds = clips * (1 + perturb) * views
    if worlds > MOST_WORLDS:
        raise InputError(
            f"clips x (1 + perturb) x views makes {worlds} worlds; a data set holds {MOST_WORLDS}: "
            "make several, each with its own seed"
        )
    warp_device(device)
    plan = [
        Clip(names[i % len(names)], seed + i // len(names), view, member, size, frames, fps, camera, device)
        for i in range(clips)
        for member in range(1 + perturb)
        for view in range(views)
    ]
    arguments = {
        "command": "simulate", "scenes": list(names), "clips": clips, "seed": seed, "size": list(size),
        "frames": frames, "fps": fps, "views": views, "perturb": perturb, "camera": camera, "device": device,
    }  # fmt: skip
    return write_dataset(
        out,
        [Item(clip.key, clip) for clip in plan],
        make_clip,
        arguments=arguments,
        workers=workers,
        shard_size=shard_size,
        ray=ray,
        progress=progress,
        # Compiled here, once, and not in every worker at the same time.
        prepare=functools.partial(_compile, names, device),
    )


def _compile(names: Sequence[str], device: str | None) -> None:
    """Compile every kernel that these scenes need."""
    load_kernels(device)
    engines = sorted({SCENES[name].engine for name in names})
    for engine in engines:
        load_kernels_of(engine)
    if "smoke" in engines:
        mist.load_kernels(device)


def make_clip(clip: Clip) -> World4D:
    """Simulate one clip; a top-level function, so that worker processes find it.

    Where its scene explodes, another seed takes its place: always the same one, whoever makes the clip, and the
    same one for all views and repetitions of the scene. Where only a perturbed repetition explodes, another
    repetition does. `meta["replaces"]` then says what it stands for. Raises WorkError where nothing helps.
    """
    causes: list[str] = []
    member = 0
    for attempt in range(ATTEMPTS):
        seed = replacement_seed(clip.scene, clip.seed, attempt)
        while member < ATTEMPTS:
            perturb = replacement_member(clip.perturb, member)
            try:
                world = simulate(**{**dataclasses.asdict(clip), "seed": seed, "perturb": perturb})
            except ExplodedError as error:
                causes.append(str(error))
            else:
                if causes:
                    world.meta["replaces"] = {"seed": clip.seed, "perturb": clip.perturb, "causes": causes}
                return world
            if not clip.perturb or not _is_sound(clip, seed):
                break
            member += 1
    raise WorkError(f"{causes[-1]}; so did what was tried in its place ({len(causes)} in all)")


def replacement_seed(scene: str, seed: int, attempt: int) -> int:
    """The seed itself, then those that take its place: far above every seed that people choose."""
    if not attempt:
        return seed
    return int(random_stream(scene, seed, f"replacement {attempt}").integers(MOST_SEED // 2, MOST_SEED - 1))


def replacement_member(perturb: int, attempt: int) -> int:
    """The number of a repetition, then those that take its place: beyond every number that a data set has."""
    return perturb + attempt * MOST_WORLDS


def _is_sound(clip: Clip, seed: int) -> bool:
    """Whether the unperturbed scene, for which all repetitions are filmed, does not explode."""
    spec = build(clip.scene, seed)
    try:
        engine_of(spec.engine)(spec, clip.frames, clip.fps)
    except ExplodedError:
        return False
    return True

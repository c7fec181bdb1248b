"""`simulate`: a scene's name and a seed in, worlds with every field out."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from phys4d.codecs import MAX_PIXELS
from phys4d.errors import InputError
from phys4d.sim import caster, filming
from phys4d.sim.catalog import SCENES, build, random_stream
from phys4d.sim.engines import engine_of
from phys4d.sim.motion import Motion
from phys4d.sim.scene import SceneSpec
from phys4d.world import World4D

LIMITS = {"size": (8, 4096), "frames": (1, 4096), "fps": (1.0, 1000.0), "views": (1, 64)}
BYTES_PER_PIXEL = 80
"""Memory that a pixel of a frame takes at the peak, while its world is filmed and encoded (76 were measured)."""


def simulate(
    scene: str,
    *,
    seed: int = 0,
    size: tuple[int, int] = (64, 64),
    frames: int = 17,
    fps: float = 12.0,
    view: int = 0,
    perturb: int = 0,
    camera: str | None = None,
    device: str | None = None,
) -> World4D:
    """Simulate and film one clip; the same arguments give the same world.

    scene: a name from `phys4d.scenes()`. size: (height, width) [px]. view: number of the camera; views of one
    seed film the same event. perturb: 0, or the number of a member of the scene's ensemble, filmed by the same
    camera. camera: "static", "orbit", "dolly", "handheld" or "free"; default, one of the first three, drawn by
    the seed. device: where rays are cast, "cpu" or "cuda:0".

    Raises InputError for an unknown scene (with the known ones) or an impossible parameter, WorkError where the
    simulation blows up.
    """
    check_parameters(size=size, frames=frames, fps=fps, views=view + 1, camera=camera)
    spec = build(scene, seed, perturb)
    engine = engine_of(spec.engine)
    motion = engine(spec, frames, fps)
    # An ensemble is filmed by one camera, placed for its unperturbed member.
    framing = motion if not perturb else engine(build(scene, seed), frames, fps)
    viewer = random_stream(scene, seed, f"camera {view}")
    path, move = filming.film(framing, spec.viewpoints, size, viewer, move=camera or spec.viewpoints.move)
    rng = random_stream(scene, seed, f"tracks {view}")
    world = caster.render(motion, path, size, spec.lights, spec.sky, rng=rng, device=device)
    world.meta = _meta(spec, motion, seed=seed, view=view, perturb=perturb, move=move)
    return world


def scenes() -> list[dict[str, Any]]:
    """The table of scene rows: name, category, engine, caption (a template), context_frames."""
    return [
        {key: getattr(SCENES[name], key) for key in ("name", "category", "engine", "caption", "context_frames")}
        for name in SCENES
    ]


def check_parameters(
    *, size: tuple[int, int], frames: int, fps: float, views: int, camera: str | None, workers: int = 1
) -> None:
    """Raise InputError for a parameter that no simulation can have, saying what it may be, and for a world that
    does not fit its codecs or, `workers` at a time, this machine's memory."""
    if len(size) != 2:
        raise InputError(f"size is two numbers, height and width, not {len(size)}")
    for name, values in {"size": size, "frames": (frames,), "fps": (fps,), "views": (views,)}.items():
        low, high = LIMITS[name]
        for value in values:
            if not low <= value <= high:
                raise InputError(f"{name} must lie between {low:g} and {high:g}, not {value}")
    if camera is not None:
        filming.MOVES[camera]
    pixels = frames * size[0] * size[1]
    if pixels > MAX_PIXELS:
        raise InputError(
            f"{frames} frames of {size[0]}x{size[1]} are {pixels / MAX_PIXELS:.2g} times what a world holds; "
            "ask for fewer frames or a smaller size"
        )
    needed, there = pixels * BYTES_PER_PIXEL * workers, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(
            f"{workers} x {frames} frames of {size[0]}x{size[1]} need about {needed / 1e9:.1f} GB of memory, "
            f"this machine has {there / 1e9:.1f}; ask for fewer frames, a smaller size or fewer workers"
        )


def _meta(spec: SceneSpec, motion: Motion, **source: Any) -> dict[str, Any]:
    seed, perturb = source["seed"], source["perturb"]
    meta = {
        "prompt": spec.caption,
        "scene": spec.name,
        "category": spec.category,
        "engine": spec.engine,
        "scene_id": f"{spec.name}-{seed}" + (f"-p{perturb}" if perturb else ""),
        "context_frames": spec.context_frames,
        "volumetric": bool(motion.volumes),
        "camera_move": source["move"],
        **{key: source[key] for key in ("seed", "view", "perturb")},
        "gravity": list(spec.gravity),
        "parameters": spec.parameters,
        "instances": {
            str(thing.instance): thing.name
            for thing in (*spec.bodies, *spec.ropes, *spec.elastics, *spec.media)
            if thing.instance
        },
        "light": [dataclasses.asdict(light) for light in spec.lights],
        "physics": motion.state,
    }
    # Tuples become lists now, as they would on the way through a file.
    return json.loads(json.dumps(meta))


__all__ = ["check_parameters", "scenes", "simulate"]

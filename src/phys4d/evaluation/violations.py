"""Worlds that break a law of physics on purpose: to see what a metric sees.

    broken = VIOLATIONS["teleport"](world, 0.5)

Each takes a world with every label and a dose from 0 (the world as it was) to 1, and breaks one thing for the
bodies that move. Frame 0 always stays as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
from scipy.interpolate import Akima1DInterpolator

from phys4d.errors import InputError, Registry
from phys4d.evaluation.alignment import take
from phys4d.evaluation.chamfer import surface_points
from phys4d.evaluation.measure import moving_pixels
from phys4d.evaluation.retell import NEEDS, Edit, retell
from phys4d.world import World4D

Violation = Callable[[World4D, float], World4D]
VIOLATIONS: Registry[Violation] = Registry("violation")
"""Violations by name; `violate` looks one up and checks the dose."""


def violate(world: World4D, name: str, dose: float) -> World4D:
    """The world with a violation of that name.

    Raises InputError for an unknown name, a dose outside 0..1, and a world in which there is nothing to break;
    MissingFieldError for one that lacks a field.
    """
    violation = VIOLATIONS[name]
    if not 0 <= dose <= 1:
        raise InputError(f"a dose lies between 0 and 1, not {dose:g}")
    return violation(world, dose)


@VIOLATIONS.register("frozen")
def frozen(world: World4D, dose: float) -> World4D:
    """Everything stops, in the air if need be, for the last share `dose` of the clip."""
    last = round((world.frames - 1) * (1 - dose))
    return _everywhere(world, lambda edit, _: _at(edit, np.minimum(edit.source, last)))


@VIOLATIONS.register("teleport")
def teleport(world: World4D, dose: float) -> World4D:
    """In the middle of the clip bodies jump aside, by up to four of their own radii."""
    right = _right(world)
    late = (np.arange(world.frames) >= world.frames // 2)[:, None]
    return _everywhere(world, lambda edit, size: _moved(edit, late * 4 * dose * size * right))


@VIOLATIONS.register("floating")
def floating(world: World4D, dose: float) -> World4D:
    """Bodies rise steadily above where they should be, by up to four of their own radii."""
    rise = np.linspace(0, 1, world.frames)[:, None] * _up(world)
    return _everywhere(world, lambda edit, size: _moved(edit, rise * 4 * dose * size))


@VIOLATIONS.register("interpenetration")
def interpenetration(world: World4D, dose: float) -> World4D:
    """Bodies sink steadily below where they should be, into what carries them, by up to their own radius."""
    rise = np.linspace(0, 1, world.frames)[:, None] * _up(world)
    return _everywhere(world, lambda edit, size: _moved(edit, -rise * dose * size))


@VIOLATIONS.register("time_reversed")
def time_reversed(world: World4D, dose: float) -> World4D:
    """The film runs back for the last share `dose` / 2 of the clip."""
    turn = round((world.frames - 1) * (1 - dose / 2))
    return _everywhere(world, lambda edit, _: _at(edit, turn - np.abs(edit.source - turn)))


@VIOLATIONS.register("weak_gravity")
def weak_gravity(world: World4D, dose: float) -> World4D:
    """Gravity is weaker, down to half: for what starts at rest that is the same world in slow motion.

    Under a gravity g' the motion x(t) of rigid bodies becomes x(t sqrt(g'/g)), with bounces and all.
    """
    time = np.arange(world.frames) * np.sqrt(1 - dose / 2)
    whole = np.round(time).astype(int)
    paths = _paths(world)
    edits = {}
    for instance, path in paths.items():
        # Exact on parabolas, and no farther off than its neighbours at a bounce.
        between = Akima1DInterpolator(np.arange(len(path)), path)(time) if len(path) > 2 else path[whole]
        edits[instance] = _moved(_at(Edit.none(world.frames), whole), between - path[whole])
    return retell(world, edits) if dose else world


@VIOLATIONS.register("jitter")
def jitter(world: World4D, dose: float) -> World4D:
    """Bodies tremble: every frame in another place, by up to a third of their radius (standard deviation)."""
    noise = np.random.default_rng(0).normal(size=(world.frames, 3)) / 3
    noise[0] = 0
    return _everywhere(world, lambda edit, size: _moved(edit, noise * dose * size))


@VIOLATIONS.register("vanished")
def vanished(world: World4D, dose: float) -> World4D:
    """Bodies are gone for the last share `dose` of the clip."""
    last = round((world.frames - 1) * (1 - dose))
    return _everywhere(world, lambda edit, _: _at(edit, np.where(edit.source > last, -1, edit.source)))


@VIOLATIONS.register("swelling")
def swelling(world: World4D, dose: float) -> World4D:
    """Bodies grow steadily, up to half as wide again."""
    scale = 1 + 0.5 * dose * np.linspace(0, 1, world.frames)
    return _everywhere(world, lambda edit, _: dataclasses.replace(edit, scale=scale))


@VIOLATIONS.register("swapped_identity")
def swapped_identity(world: World4D, dose: float) -> World4D:
    """The two largest bodies have changed places for the last share `dose` of the clip.

    Raises InputError for a world of fewer than two bodies.
    """
    paths = _paths(world, least=2)
    ids = take(world, "segmentation")[0]
    first, second = sorted(paths, key=lambda i: -int((ids == i).sum()))[:2]
    late = np.arange(world.frames) > (world.frames - 1) * (1 - dose)
    gap = late[:, None].astype(np.float64) * (paths[second] - paths[first])
    nothing = Edit.none(world.frames)
    return retell(world, {first: _moved(nothing, gap), second: _moved(nothing, -gap)}) if dose else world


@VIOLATIONS.register("scale_drift")
def scale_drift(world: World4D, dose: float) -> World4D:
    """Depth grows over time, by up to 30 %, while nothing moves so."""
    (depth,) = take(world, "depth")
    factor = 1 + 0.3 * dose * np.linspace(0, 1, world.frames, dtype=np.float32)
    return dataclasses.replace(world, depth=depth * factor[:, None, None])


@VIOLATIONS.register("blur")
def blur(world: World4D, dose: float) -> World4D:
    """The picture loses its detail, by a Gaussian of up to two pixels; frame 0 keeps it."""
    (rgb,) = take(world, "rgb")
    later = [cv2.GaussianBlur(frame, (0, 0), 2 * dose) for frame in rgb[1:]] if dose else list(rgb[1:])
    return dataclasses.replace(world, rgb=np.stack([rgb[0], *later]))


def _everywhere(world: World4D, change: Callable[[Edit, float], Edit]) -> World4D:
    """Retell the world with every moving body changed; `change` is told the body's radius [m]."""
    ids, depth, camera = take(world, "segmentation", "depth", "camera")
    edits = {}
    for instance in _paths(world):
        t = int(np.argmax((ids == instance).sum((1, 2))))
        mask = ids[t] == instance
        size = float(np.sqrt(mask.sum() / np.pi) * depth[t][mask].mean() / camera.intrinsics[t, 0, 0])
        edits[instance] = change(Edit.none(world.frames), size)
    return retell(world, edits)


def _paths(world: World4D, least: int = 1) -> dict[int, np.ndarray]:
    """Mean visible point (T,3) [m] of each body that moves; of every one where two are asked for."""
    (_, _, _, ids, _) = take(world, *NEEDS)
    known = np.unique(ids[moving_pixels(world)] if least == 1 else ids[ids > 0])
    if len(known) < least:
        raise InputError("nothing moves in this world" if least == 1 else "this world has fewer than two bodies")
    points, frames = surface_points(world), np.arange(world.frames)
    paths = {}
    for instance in known:
        seen = [t for t in frames if (ids[t] == instance).any()]
        means = np.stack([points[t][ids[t] == instance].mean(0) for t in seen])
        paths[int(instance)] = np.stack([np.interp(frames, seen, means[:, axis]) for axis in range(3)], axis=-1)
    return paths


def _at(edit: Edit, source: np.ndarray) -> Edit:
    return dataclasses.replace(edit, source=source)


def _moved(edit: Edit, shift: np.ndarray) -> Edit:
    return dataclasses.replace(edit, shift=shift)


def _up(world: World4D) -> np.ndarray:
    down = np.array(world.meta.get("gravity") or (0.0, 0.0, -1.0), dtype=np.float64)
    length = float(np.linalg.norm(down))
    return -down / length if length > 0 else np.array([0.0, 0.0, 1.0])


def _right(world: World4D) -> np.ndarray:
    return take(world, "camera")[0].world_from_camera[world.frames // 2, :3, 0].astype(np.float64)

"""Where to stand: the upright frame of a page's view, its centre, its ground, and what had to be assumed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from phys4d.geometry import intrinsics_from_fov, world_points
from phys4d.world import Camera, World4D

ASSUMED_FOV = math.radians(60)
"""Angle of view over the longer side where a world has no camera: that of a common wide lens."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A world ready to be looked at, upright and in metres.

    camera: given or assumed, in the upright frame. tracks: (N,T,3) [m] in that frame, or None.
    scene: centre [m], radius [m], ground height [m] and grid step [m], for the browser.
    notes: sentences for the reader about what was assumed or turned.
    """

    camera: Camera
    tracks: Float32[np.ndarray, "N T 3"] | None
    scene: dict[str, Any]
    notes: tuple[str, ...]


def set_stage(world: World4D) -> Stage:
    """Choose camera, upright frame, centre and ground of a world's view."""
    notes: list[str] = []
    tracks = world.tracks
    camera = world.camera
    if camera is None:
        camera = assumed_camera(world.frames, *world.size)
        if world.depth is not None:
            notes.append(
                f"No camera in this world: a still, level one with a {math.degrees(ASSUMED_FOV):.0f}° "
                "angle of view is assumed."
            )
        if tracks is not None:
            notes.append("Tracks are not shown: without a camera their place beside the points is unknown.")
            tracks = None
    elif _lies_on_its_side(camera):
        turn = _upright_turn(camera)
        poses = camera.world_from_camera.copy()
        poses[:, :3] = turn @ poses[:, :3]
        camera = Camera(camera.intrinsics, poses)
        tracks = None if tracks is None else tracks @ turn.T
        notes.append(
            "This world's z axis does not point up in its pictures; "
            "the view is turned upright with the first camera."
        )
    return Stage(camera, tracks, _scene(world, camera), tuple(notes))


def assumed_camera(frames: int, height: int, width: int) -> Camera:
    """A still camera at the origin that looks along +y, level in a z-up world."""
    fov_y = 2 * math.atan(math.tan(ASSUMED_FOV / 2) * height / max(height, width))
    intrinsics = intrinsics_from_fov(fov_y, height, width).numpy()
    pose = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float32)
    return Camera(np.tile(intrinsics, (frames, 1, 1)), np.tile(pose, (frames, 1, 1)))


def _lies_on_its_side(camera: Camera) -> bool:
    """Whether the first camera would look at the zenith or hang upside down: a sign of other world axes."""
    right_down_forward = camera.world_from_camera[0, :3, :3]
    return bool(right_down_forward[2, 2] > 0.8 or right_down_forward[2, 1] > 0.5)


def _upright_turn(camera: Camera) -> Float32[np.ndarray, "3 3"]:
    """The rotation that makes the first camera level and looking along +y."""
    level = assumed_camera(1, 1, 1).world_from_camera[0, :3, :3]
    return level @ camera.world_from_camera[0, :3, :3].T


def _scene(world: World4D, camera: Camera) -> dict[str, Any]:
    """Centre and radius of the middle nine tenths of the surface over time, and the ground under it."""
    points = _sample_points(world, camera)
    if not len(points):
        eye, forward = camera.world_from_camera[0, :3, 3], camera.world_from_camera[0, :3, 2]
        points = (eye + 2 * forward + np.array([[-1, 0, 0], [1, 0, 0], [0, 0, -1], [0, 0, 1]])).astype(np.float32)
    centre = np.median(points, axis=0)
    radius = max(float(np.percentile(np.linalg.norm(points - centre, axis=-1), 85)), 1e-3)
    floor = float(np.percentile(points[:, 2], 1))
    ground = 0.0 if abs(floor) < 0.15 * radius else floor
    step = 10 ** math.floor(math.log10(radius / 2))
    step *= max(factor for factor in (1, 2, 5) if factor * step <= radius / 2)
    return {
        "centre": [float(x) for x in centre],
        "radius": radius,
        "ground": ground,
        "gridStep": float(f"{step:.1g}"),
    }


def _sample_points(world: World4D, camera: Camera) -> Float32[np.ndarray, "N 3"]:
    """Some surface points of some frames [m]: enough for medians, cheap for any world."""
    if world.depth is None:
        return np.zeros((0, 3), dtype=np.float32)
    chosen = np.unique(np.linspace(0, world.frames - 1, 5).astype(int))
    depth = world.depth[chosen]
    points = world_points(
        *(
            torch.from_numpy(array)
            for array in (depth, camera.intrinsics[chosen], camera.world_from_camera[chosen])
        )
    ).numpy()
    return points[depth > 0][:: max(1, int((depth > 0).sum()) // 20_000)]

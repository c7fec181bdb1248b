"""Cameras for a motion: placed so that what matters stays in the picture, still or moving."""

from __future__ import annotations

import math

import numpy as np
import torch

from phys4d.errors import Registry
from phys4d.geometry import intrinsics_from_fov, look_at
from phys4d.sim.motion import Motion
from phys4d.sim.scene import Viewpoints
from phys4d.world import Camera

MARGIN = 0.12
"""Share of the picture's half width that is kept free around what matters."""

MOVES: Registry[tuple[float, float]] = Registry("camera")
"""How cameras move, by name: turn about the scene [rad] and relative change of distance, over a whole clip."""
MOVES.register("static")((0.0, 0.0))
MOVES.register("orbit")((math.radians(24), 0.0))
MOVES.register("dolly")((0.0, 0.25))


def film(
    motion: Motion,
    viewpoints: Viewpoints,
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    move: str | None = None,
) -> tuple[Camera, str]:
    """A camera that keeps every focus surface in the picture at every frame, and the name of its move.

    move: a name in MOVES, or None to draw one: three of five cameras stand still. Angles come from `viewpoints`,
    so the direction of a move and its start are random.
    """
    drawn = str(rng.choice(["static", "static", "static", "orbit", "dolly"]))
    turn, growth = MOVES[move or drawn]
    azimuth, elevation = rng.uniform(*viewpoints.azimuth), rng.uniform(*viewpoints.elevation)
    fov, sign = rng.uniform(*viewpoints.fov), rng.choice((-1.0, 1.0))
    points = _focus_points(motion)
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    share = np.linspace(-0.5, 0.5, motion.frames) if motion.frames > 1 else np.zeros(1)
    angles = azimuth + sign * turn * share
    outward = np.stack(
        [
            np.cos(angles) * math.cos(elevation),
            np.sin(angles) * math.cos(elevation),
            np.full_like(angles, math.sin(elevation)),
        ],
        axis=1,
    )
    intrinsics = intrinsics_from_fov(fov, *size)
    distance = max(_distance(points - target, -direction, intrinsics.numpy(), size) for direction in outward)
    # The near end of a dolly, its first or its last frame, just holds everything.
    distances = distance * (1 + growth * (0.5 - sign * share))
    eye = target + outward * distances[:, None]
    pose = look_at(torch.tensor(eye), torch.tensor(np.broadcast_to(target, eye.shape).copy()))
    camera = Camera(
        np.broadcast_to(intrinsics.numpy(), (motion.frames, 3, 3)).copy(), pose.numpy().astype(np.float32)
    )
    return camera, move or drawn


def _focus_points(motion: Motion) -> np.ndarray:
    surfaces = [s for s in motion.surfaces if s.focus] or list(motion.surfaces)
    return np.concatenate([s.vertices.reshape(-1, 3) for s in surfaces])


def _distance(offsets: np.ndarray, forward: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> float:
    """How far back a camera must stand so that all points, relative to its target, fit the picture [m]."""
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    z, x, y = offsets @ forward, offsets @ right, offsets @ down
    half_width = (1 - MARGIN) * size[1] / 2 / intrinsics[0, 0]
    half_height = (1 - MARGIN) * size[0] / 2 / intrinsics[1, 1]
    # x / (d + z) <= half_width, for every point.
    return float(max((np.abs(x) / half_width - z).max(), (np.abs(y) / half_height - z).max(), 0.5))

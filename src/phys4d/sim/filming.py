"""Cameras for a motion: placed so that what matters stays in the picture, still or moving."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from phys4d.errors import Registry
from phys4d.geometry import intrinsics_from_fov, look_at
from phys4d.sim.motion import Motion
from phys4d.sim.scene import Viewpoints
from phys4d.world import Camera

MARGIN = 0.12
"""Share of the picture's half width that is kept free around what matters."""
LOWEST = math.radians(3)
"""Least elevation of a camera that wanders [rad]: it stays above the floor."""


@dataclasses.dataclass(frozen=True)
class Wander:
    """How a camera departs from one that stands still, at every frame.

    azimuth, elevation [rad] and distance (relative): (T,) changes of the place about the target. turn: (T,3)
    rotations [rad] about the camera's right, down and forward axes, after it was pointed at the target.
    """

    azimuth: np.ndarray
    elevation: np.ndarray
    distance: np.ndarray
    turn: np.ndarray


Move = Callable[[int, float, float, np.random.Generator], Wander]
"""(frames, fps, sign, rng) -> Wander. sign: -1 or 1, the way a one-sided move goes."""
MOVES: Registry[Move] = Registry("camera")
DRAWN = ("static", "static", "static", "orbit", "dolly")
"""What is drawn from where no move is named; further moves are chosen by name, so that data stay as they were."""


@MOVES.register("static")
def static(frames: int, fps: float, sign: float, rng: np.random.Generator) -> Wander:
    return Wander(np.zeros(frames), np.zeros(frames), np.zeros(frames), np.zeros((frames, 3)))


@MOVES.register("orbit")
def orbit(frames: int, fps: float, sign: float, rng: np.random.Generator) -> Wander:
    """Around what matters by 24 degrees."""
    still = static(frames, fps, sign, rng)
    return dataclasses.replace(still, azimuth=sign * math.radians(24) * _share(frames))


@MOVES.register("dolly")
def dolly(frames: int, fps: float, sign: float, rng: np.random.Generator) -> Wander:
    """Nearer or farther by a quarter; the near end, its first or its last frame, just holds everything."""
    still = static(frames, fps, sign, rng)
    return dataclasses.replace(still, distance=0.25 * (0.5 - sign * _share(frames)))


@MOVES.register("handheld")
def handheld(frames: int, fps: float, sign: float, rng: np.random.Generator) -> Wander:
    """Held by someone who stands: slow sway of a percent of the distance, small turns, a fainter tremor."""
    times = np.arange(frames) / fps

    def sway(size: float) -> np.ndarray:
        return size * _band_noise(times, 0.25, 1.2, rng) + 0.15 * size * _band_noise(times, 2.5, 4.5, rng)

    degree = math.radians(1)
    azimuth, elevation, distance = sway(0.6 * degree), sway(0.4 * degree), sway(0.006)
    turn = np.stack([sway(0.45 * degree), sway(0.45 * degree), sway(0.6 * degree)], axis=1)
    return Wander(azimuth, elevation, distance, turn)


@MOVES.register("free")
def free(frames: int, fps: float, sign: float, rng: np.random.Generator) -> Wander:
    """On a smooth path of its own: around, up or down, nearer or farther, looking a little beside what matters."""
    degree = math.radians(1)
    share = _share(frames)

    def path(size: float) -> np.ndarray:
        """A smooth curve through four random places."""
        return CubicSpline(np.linspace(-0.5, 0.5, 4), rng.uniform(-size, size, 4), bc_type="natural")(share)

    azimuth = sign * rng.uniform(10, 26) * degree * share + path(4 * degree)
    turn = np.stack([path(2 * degree), path(2 * degree), path(3 * degree)], axis=1)
    return Wander(azimuth, path(7 * degree), path(0.12), turn)


def film(
    motion: Motion,
    viewpoints: Viewpoints,
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    move: str | None = None,
) -> tuple[Camera, str]:
    """A camera that keeps every focus surface in the picture at every frame, and the name of its move.

    move: a name in MOVES, or None to draw one: three of five cameras stand still, the others orbit or dolly.
    Angles come from `viewpoints`, so the direction of a move and its start are random.
    """
    drawn = str(rng.choice(DRAWN))
    wanders = MOVES[move or drawn]
    azimuth, elevation = rng.uniform(*viewpoints.azimuth), rng.uniform(*viewpoints.elevation)
    fov, sign = rng.uniform(*viewpoints.fov), rng.choice((-1.0, 1.0))
    wander = wanders(motion.frames, motion.fps, sign, rng)
    points, radii = _focus(motion)
    low, high = (points - radii[:, None]).min(axis=0), (points + radii[:, None]).max(axis=0)
    target = (low + high) / 2
    angles = azimuth + wander.azimuth
    heights = np.where(wander.elevation == 0, elevation, np.maximum(elevation + wander.elevation, LOWEST))
    outward = np.stack(
        [np.cos(angles) * np.cos(heights), np.sin(angles) * np.cos(heights), np.sin(heights)], axis=1
    )
    intrinsics = intrinsics_from_fov(fov, *size)
    axes = _axes(-outward) @ _rotations(wander.turn)
    growth = 1 + wander.distance
    # Every frame says how far back it must stand; the most demanding one decides for all.
    places = {a.tobytes() + g.tobytes(): (a, g, o) for a, g, o in zip(axes, growth, outward)}
    distance = max(
        _distance(points - target, radii, a, o * g, intrinsics.numpy(), size) for a, g, o in places.values()
    )
    eye = target + outward * (distance * growth)[:, None]
    pose = look_at(torch.tensor(eye), torch.tensor(np.broadcast_to(target, eye.shape).copy())).numpy()
    pose[:, :3, :3] = pose[:, :3, :3] @ _rotations(wander.turn)
    camera = Camera(np.broadcast_to(intrinsics.numpy(), (motion.frames, 3, 3)).copy(), pose.astype(np.float32))
    return camera, move or drawn


def _focus(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """(N,3) and (N,): centres and radii of balls that hold what matters, at all frames."""
    things = (*motion.surfaces, *motion.volumes)
    hulls = [s.hull() for s in things if s.focus] or [s.hull() for s in things]
    points = np.concatenate([centres.reshape(-1, 3) for centres, _ in hulls]).astype(float)
    return points, np.concatenate([np.tile(radii, len(centres)) for centres, radii in hulls]).astype(float)


def _distance(
    offsets: np.ndarray,
    radii: np.ndarray,
    axes: np.ndarray,
    outward: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
) -> float:
    """How far back a camera must stand so that all balls, relative to its target, fit the picture [m].

    axes: (3,3), its right, down and forward axes as columns; it stands at the distance times `outward`.
    """
    x, y, z = (offsets @ axes).T
    bx, by, bz = outward @ axes
    needed = [0.5]
    for across, back, half in ((x, bx, size[1] / 2 / intrinsics[0, 0]), (y, by, size[0] / 2 / intrinsics[1, 1])):
        half *= 1 - MARGIN
        # A ball is within a plane of the view's pyramid, (half, 1) / hypot from the axis, by its radius:
        # +-(across - d back) <= half (z - d bz) - radius hypot(half, 1), for every ball and both sides.
        thick = radii * math.hypot(half, 1)
        for side in (1, -1):
            needed.append(((side * across + thick - half * z) / (side * back - half * bz)).max())
    return float(max(needed))


def _axes(forward: np.ndarray) -> np.ndarray:
    """(T,3,3): right, down and forward axes as columns, of level cameras that look along unit vectors."""
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=-1)


def _rotations(turn: np.ndarray) -> np.ndarray:
    """(T,3,3) of (T,3) rotation vectors [rad]."""
    return Rotation.from_rotvec(turn).as_matrix()


def _share(frames: int) -> np.ndarray:
    """How far through the clip each frame is, from -0.5 to 0.5."""
    return np.linspace(-0.5, 0.5, frames) if frames > 1 else np.zeros(1)


def _band_noise(times: np.ndarray, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance at times [s]: eight waves of random phase between two frequencies [Hz]."""
    frequency, phase = rng.uniform(low, high, 8), rng.uniform(0, 2 * np.pi, 8)
    return math.sqrt(2 / 8) * np.sin(2 * np.pi * times[:, None] * frequency + phase).sum(axis=1)

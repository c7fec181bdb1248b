"""A studio for the caster: surfaces, cameras and lights set up by hand, and what a picture says of radiance."""

from __future__ import annotations

import math

import numpy as np
import torch
import trimesh
from bench import GREY

from phys4d.geometry import intrinsics_from_fov, look_at
from phys4d.sim import caster
from phys4d.sim.lights import AreaLight, Light, Sky
from phys4d.sim.materials import Look
from phys4d.sim.motion import Motion, Skin, Spheres, Surface
from phys4d.sim.shapes import Ground, Piece
from phys4d.world import Camera, World4D

SUN = (Light((0.4, 0.2, math.sqrt(0.8))),)
BLACK = Sky((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
MATTE = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), gloss=0.0)
DIFFUSE = 0.62
"""Share of light that the caster's white surfaces send back."""
STILL = np.zeros((1, 3))


def surface(piece: Piece, offsets: np.ndarray, look: Look = GREY, instance: int = 1) -> Surface:
    vertices = (piece.vertices[None] + offsets[:, None]).astype(np.float32)
    moves = bool(np.ptp(offsets, axis=0).any())
    return Surface("thing", piece.vertices, piece.faces, vertices, look, instance, moves, True)


def ball(radius: float, centres, look: Look = GREY, instance: int = 1, rotations=None) -> Spheres:
    """One sphere; centres: (T,3); rotations: (T,3,3), default none."""
    places = np.array(centres, dtype=np.float32).reshape(-1, 1, 3)
    turned = np.broadcast_to(np.eye(3), (len(places), 3, 3)) if rotations is None else rotations
    moves = bool(np.ptp(places, axis=0).any()) or rotations is not None
    matrices = np.array(turned, dtype=np.float32)[:, None]
    return Spheres("ball", np.array([radius], np.float32), places, matrices, look, instance, moves, True)


def floor(frames: int = 1, look: Look = GREY) -> Surface:
    return surface(Ground().pieces()[0], np.zeros((frames, 3)), look, instance=0)


def quad(corners, look: Look = GREY, instance: int = 1, frames: int = 1) -> Surface:
    """A flat rectangle by its four corners, counter-clockwise seen from its front."""
    piece = Piece(np.array(corners, np.float32), np.array([(0, 1, 2), (0, 2, 3)], np.int32))
    return surface(piece, np.zeros((frames, 3)), look, instance)


def points_on(s: Surface | Spheres | Skin) -> np.ndarray:
    """(T,P,3) points of the material, spread over the surface, at every frame; of a skin, at its first two."""
    if isinstance(s, Skin):
        return np.stack([s.meshes[0].vertices, s.meshes[0].ahead])
    if isinstance(s, Surface):
        return s.vertices
    directions = trimesh.creation.icosphere(subdivisions=1).vertices
    spread = np.einsum("tnij,pj->tnpi", s.rotations, directions) * s.radius[:, None, None]
    return (s.centres[:, :, None] + spread).reshape(s.frames, -1, 3).astype(np.float32)


def camera(eyes: np.ndarray, target, size: tuple[int, int], fov: float = 0.8) -> Camera:
    k = intrinsics_from_fov(fov, *size).numpy()
    pose = look_at(
        torch.tensor(eyes, dtype=torch.float64), torch.tensor(target, dtype=torch.float64).expand(len(eyes), 3)
    )
    return Camera(np.broadcast_to(k, (len(eyes), 3, 3)).copy(), pose.numpy().astype(np.float32))


def still_camera(eye, target, size: tuple[int, int], fov: float = 0.8, frames: int = 1) -> Camera:
    return camera(np.array([eye] * frames, dtype=float), target, size, fov)


def film(
    surfaces: list[Surface | Spheres | Skin],
    cam: Camera,
    size: tuple[int, int],
    lights: tuple[Light | AreaLight, ...] = SUN,
    sky: Sky | None = None,
    fps: float = 12.0,
) -> World4D:
    motion = Motion(tuple(surfaces), fps, {})
    rng = np.random.default_rng(0)
    return caster.render(motion, cam, size, lights, sky or Sky(), rng=rng).validate()


def rays(cam: Camera, size: tuple[int, int], frame: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """World origin and directions (H,W,3) with unit z in camera axes, written down anew."""
    k, pose = cam.intrinsics[frame].astype(float), cam.world_from_camera[frame].astype(float)
    j, i = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    local = np.stack([(j - k[0, 2]) / k[0, 0], (i - k[1, 2]) / k[1, 1], np.ones_like(i)], axis=-1)
    return pose[:3, 3], local @ pose[:3, :3].T


def pixel_of(cam: Camera, point, frame: int = 0) -> np.ndarray:
    """(x, y) [px] of a world point."""
    k, pose = cam.intrinsics[frame].astype(float), cam.world_from_camera[frame].astype(float)
    local = pose[:3, :3].T @ (np.array(point, dtype=float) - pose[:3, 3])
    return (k @ (local / local[2]))[:2]


def ground_of(cam: Camera, size: tuple[int, int], frame: int = 0) -> np.ndarray:
    """(H,W,3) points of the plane z = 0 behind each pixel [m]."""
    origin, direction = rays(cam, size, frame)
    return origin - origin[2] / direction[..., 2:] * direction


def cross_sphere(origin, direction, centre, radius: float) -> np.ndarray:
    """(...) ray parameter of the first crossing with a sphere, inf where there is none: a plain quadratic."""
    offset = origin - np.array(centre)
    a, b, c = (direction**2).sum(-1), (direction * offset).sum(-1), (offset**2).sum(-1) - radius**2
    root = b**2 - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def radiance(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB of sRGB bytes, the caster's shoulder over highlights undone."""
    value = rgb.astype(float) / 255
    y = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    over = np.clip((y - 0.6) / 0.4, 0, 0.999)
    return np.where(y > 0.6, 0.6 - 0.4 * np.log(1 - over), y)


def centroid(weight: np.ndarray) -> np.ndarray:
    """(x, y) [px] of the middle of a picture of weights (H,W)."""
    i, j = np.indices(weight.shape) + 0.5
    return np.array([(weight * j).sum(), (weight * i).sum()]) / weight.sum()

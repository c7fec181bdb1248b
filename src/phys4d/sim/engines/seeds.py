"""Where the parts of a medium begin: places that fill a region."""

from __future__ import annotations

import numpy as np

from phys4d.sim.rotations import inverse, rotate
from phys4d.sim.shapes import Collider


def inside(region: Collider, points: np.ndarray) -> np.ndarray:
    """(N,) signed distance of points to the border of a box, a cylinder, a sphere or an ellipsoid [m], < 0 within.

    Raises ValueError for a region that has no inside to fill.
    """
    p = rotate(inverse(np.array(region.rotation)), points - np.array(region.position))
    size = np.array(region.size)
    match region.kind:
        case "box":
            return (np.abs(p) - size).max(axis=1)
        case "cylinder":
            return np.maximum(np.hypot(p[:, 0], p[:, 1]) - size[0], np.abs(p[:, 2]) - size[1])
        case "sphere":
            return np.linalg.norm(p, axis=1) - size[0]
        case "ellipsoid":
            return (np.linalg.norm(p / size, axis=1) - 1) * size.min()
    raise ValueError(f"a {region.kind} cannot be filled")


def extent_of(region: Collider) -> np.ndarray:
    """(2,3): corners of a box about a region [m]."""
    size = np.array(region.size)
    half = {"cylinder": (size[0], size[0], size[1]), "sphere": (size[0],) * 3}.get(region.kind, tuple(size))
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    corners = rotate(np.array(region.rotation), corners) + np.array(region.position)
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def packed(region: Collider, radius: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N,3) float32 places and (N,) float32 radii of spheres on a loose, shaken lattice that fills a region.

    At least one, in the middle.
    """
    low, high = extent_of(region)
    pitch = 2.2 * radius
    steps = pitch * np.array([1.0, np.sqrt(3) / 2, np.sqrt(2 / 3)])
    counts = np.maximum(np.ceil((high - low) / steps).astype(int) + 1, 1)
    i, j, k = (grid.ravel() for grid in np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"))
    places = np.stack(
        [
            pitch * (i + 0.5 * (j % 2) + 0.5 * (k % 2)),
            steps[1] * (j + (k % 2) / 3),
            steps[2] * k,
        ],
        axis=1,
    )
    places += low + radius + rng.uniform(-0.05, 0.05, places.shape) * radius
    places = places[inside(region, places) < -0.98 * radius]
    if not len(places):
        places = np.array([region.position], dtype=float)
    sizes = radius * rng.uniform(0.9, 1.1, len(places))
    return places.astype(np.float32), sizes.astype(np.float32)

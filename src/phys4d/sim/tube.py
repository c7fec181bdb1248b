"""Smooth tubes of fixed topology around a chain of segments: the skin of a rope, handles and spouts."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float, Int

from phys4d.sim.rotations import product, rotate, shortest

AROUND = 12
"""Vertices around the tube."""
FINE = 3
"""Rings to a segment."""
CAP = np.radians([30.0, 60.0])
"""Latitudes of the rings of the round ends."""


def transported(path: Float[np.ndarray, "N1 3"]) -> Float[np.ndarray, "N 4"]:
    """Rotations of a path's segments: x along the segment, and no twist from one to the next."""
    steps = np.diff(np.asarray(path, dtype=np.float64), axis=0)
    along = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    frames = [shortest(np.array([1.0, 0.0, 0.0]), along[0])]
    for before, after in itertools.pairwise(along):
        frames.append(product(shortest(before, after), frames[-1]))
    return np.array(frames)


def tube(
    nodes: Float[np.ndarray, "T N1 3"],
    rotations: Float[np.ndarray, "T N 4"],
    radius: float | Float[np.ndarray, "N1"],
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Float[np.ndarray, "T V 3"]]:
    """The tube through a chain's nodes, at every frame.

    nodes: N + 1 ends of N segments, world axes [m]; rotations: of the segments, x along them; radius [m]: one, or
    one a node. Returns coordinates fixed to the material (the tube laid out straight along x), faces, and vertices
    in world axes. Its centre line is a Catmull-Rom spline through the nodes; what turns about it is the segments'
    own frame, so that the skin twists as they do.
    """
    segments = rotations.shape[1]
    at = np.arange(segments * FINE + 1) / FINE
    centre, tangent = _spline(nodes, at)
    across = _across(rotations, at, tangent)
    sideways = np.cross(tangent, across)
    thick = np.interp(at, np.arange(segments + 1), np.broadcast_to(radius, segments + 1))
    # Rings from the first pole to the last: (shift along the tangent, radius) in units of the radius.
    index = np.concatenate([[0, 0], np.arange(len(at)), [len(at) - 1] * 2])
    shift = np.concatenate([-np.sin(CAP[::-1]), np.zeros(len(at)), np.sin(CAP)]) * thick[index]
    wide = np.concatenate([np.cos(CAP[::-1]), np.ones(len(at)), np.cos(CAP)]) * thick[index]
    angle = 2 * np.pi * np.arange(AROUND) / AROUND
    hub = centre[:, index] + shift[:, None] * tangent[:, index]
    spokes = (
        np.cos(angle)[:, None] * across[:, index, None] + np.sin(angle)[:, None] * sideways[:, index, None]
    ) * wide[:, None, None]
    rings = hub[:, :, None] + spokes
    poles = centre[:, [0, -1]] + np.array([-thick[0], thick[-1]])[:, None] * tangent[:, [0, -1]]
    vertices = np.concatenate([rings.reshape(len(nodes), -1, 3), poles], axis=1)

    long = np.linalg.norm(np.diff(nodes[0], axis=0), axis=1)
    along = np.interp(at, np.arange(segments + 1), np.concatenate([[0], np.cumsum(long)]))
    flat = np.stack(
        [
            np.broadcast_to((along[index] + shift)[:, None], (len(index), AROUND)),
            wide[:, None] * np.cos(angle),
            wide[:, None] * np.sin(angle),
        ],
        axis=-1,
    )
    ends = np.array([(-thick[0], 0, 0), (along[-1] + thick[-1], 0, 0)])
    rest = np.concatenate([flat.reshape(-1, 3), ends])
    return rest.astype(np.float32), _faces(len(index)), vertices.astype(np.float32)


def _spline(nodes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit tangents (T, M, 3) of the spline through the nodes, at parameters from 0 to N."""
    slope = np.gradient(nodes, axis=1)
    k = np.minimum(at.astype(int), nodes.shape[1] - 2)
    u = (at - k)[:, None]
    p, q, m, n = nodes[:, k], nodes[:, k + 1], slope[:, k], slope[:, k + 1]
    point = (
        (2 * u**3 - 3 * u**2 + 1) * p + (u**3 - 2 * u**2 + u) * m + (3 * u**2 - 2 * u**3) * q + (u**3 - u**2) * n
    )
    tangent = (6 * u**2 - 6 * u) * (p - q) + (3 * u**2 - 4 * u + 1) * m + (3 * u**2 - 2 * u) * n
    return point, tangent / np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-12)


def _across(rotations: np.ndarray, at: np.ndarray, tangent: np.ndarray) -> np.ndarray:
    """Unit vectors (T, M, 3) across the centre line, fixed to the material: the y axes of the segments."""
    own = rotate(rotations, np.broadcast_to((0.0, 1.0, 0.0), (*rotations.shape[:2], 3)))
    # A segment's frame holds at its middle; between two middles it is mixed.
    middle = np.clip(at - 0.5, 0, rotations.shape[1] - 1)
    k = np.minimum(middle.astype(int), max(rotations.shape[1] - 2, 0))
    u = (middle - k)[:, None]
    mixed = (1 - u) * own[:, k] + u * own[:, np.minimum(k + 1, rotations.shape[1] - 1)]
    mixed -= (mixed * tangent).sum(-1, keepdims=True) * tangent
    return mixed / np.maximum(np.linalg.norm(mixed, axis=-1, keepdims=True), 1e-12)


def _faces(rings: int) -> np.ndarray:
    k, j = np.meshgrid(np.arange(rings - 1), np.arange(AROUND), indexing="ij")
    a, b = k * AROUND + j, k * AROUND + (j + 1) % AROUND
    sides = np.stack([a, b, b + AROUND, a, b + AROUND, a + AROUND], axis=-1).reshape(-1, 3)
    ring = np.arange(AROUND)
    first, last = rings * AROUND, rings * AROUND + 1
    top = (rings - 1) * AROUND
    caps = [
        np.stack([np.full(AROUND, first), (ring + 1) % AROUND, ring], axis=-1),
        np.stack([np.full(AROUND, last), top + ring, top + (ring + 1) % AROUND], axis=-1),
    ]
    # Seen from outside, along the tangent: across, then sideways, turns counter-clockwise about it.
    return np.concatenate([sides, *caps]).astype(np.int32)

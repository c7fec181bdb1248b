"""Rotations as unit quaternions (w, x, y, z) and as matrices; numpy, any number at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Vectors = Float[np.ndarray, "*n 3"]
Quaternions = Float[np.ndarray, "*n 4"]


def matrices(quaternions: Quaternions) -> Float[np.ndarray, "*n 3 3"]:
    """The rotation matrices of unit quaternions."""
    w, x, y, z = np.moveaxis(np.asarray(quaternions, dtype=np.float64), -1, 0)
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=-1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=-1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1),
        ],
        axis=-2,
    )


def inverse(quaternions: Quaternions) -> Quaternions:
    """The rotations back."""
    return np.asarray(quaternions, dtype=np.float64) * (1.0, -1.0, -1.0, -1.0)


def product(a: Quaternions, b: Quaternions) -> Quaternions:
    """The rotations b followed by the rotations a."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    w = a[..., :1] * b[..., :1] - (a[..., 1:] * b[..., 1:]).sum(-1, keepdims=True)
    v = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + np.cross(a[..., 1:], b[..., 1:])
    return np.concatenate([w, v], axis=-1)


def rotate(quaternions: Quaternions, vectors: Vectors) -> Vectors:
    """Vectors turned by rotations."""
    return (matrices(quaternions) @ np.asarray(vectors, dtype=np.float64)[..., None])[..., 0]


def shortest(start: Vectors, end: Vectors) -> Quaternions:
    """The smallest rotations that take unit vectors to unit vectors, not their opposites."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    w = 1 + (start * end).sum(-1, keepdims=True)
    opposite = w < 1e-9
    # Half a turn about any axis across the vector.
    across = np.cross(start, np.where(np.abs(start[..., :1]) < 0.9, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    turn = np.concatenate([np.where(opposite, 0, w), np.where(opposite, across, np.cross(start, end))], axis=-1)
    return turn / np.linalg.norm(turn, axis=-1, keepdims=True)

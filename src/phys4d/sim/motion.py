"""`Motion`: what an engine hands to the caster. Where every surface is at every frame, rigid or not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from phys4d.sim.scene import Look

CROWD = 64
"""So many spheres are filmed as a crowd, of which the share STRAY may leave the picture."""
STRAY = 0.03


@dataclasses.dataclass(frozen=True)
class Surface:
    """A triangle mesh that keeps its topology while its vertices move.

    rest: (V,3) float32, coordinates [m] fixed to the material, for textures that follow the surface.
    faces: (F,3) int32, counter-clockwise seen from outside. vertices: (T,V,3) float32, world axes [m].
    instance: id in the segmentation, 0 for background. moves: whether any vertex ever changes.
    focus: whether a camera should keep it in the picture. A surface of glass or of a liquid must be closed.
    """

    name: str
    rest: np.ndarray
    faces: np.ndarray
    vertices: np.ndarray
    look: Look
    instance: int
    moves: bool
    focus: bool

    @property
    def frames(self) -> int:
        return self.vertices.shape[0]

    @property
    def extent(self) -> float:
        """Length of the longest edge of the box about the resting surface [m]."""
        return float(np.ptp(self.rest, axis=0).max())

    def bounds(self) -> np.ndarray:
        """(T,2,3): the lowest and the highest corner of the box about it at every frame, world axes [m]."""
        return np.stack([self.vertices.min(axis=1), self.vertices.max(axis=1)], axis=1)

    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """(T,P,3) and (P,): centres and radii of balls that together hold it at every frame, world axes [m]."""
        return self.vertices, np.zeros(self.vertices.shape[1])

    def during(self, frames: slice) -> Surface:
        """The same surface over some of its frames."""
        return dataclasses.replace(self, vertices=self.vertices[frames])


@dataclasses.dataclass(frozen=True)
class Spheres:
    """Perfect spheres that share one look: a ball, or thousands of grains.

    radius: (N,) float32 [m]. centres: (T,N,3) float32, world axes [m]. rotations: (T,N,3,3) float32, from the axes
    of the resting sphere to the world's: a point p of the surface rests at R^T (p - c). The other fields are those
    of `Surface`.
    """

    name: str
    radius: np.ndarray
    centres: np.ndarray
    rotations: np.ndarray
    look: Look
    instance: int
    moves: bool
    focus: bool

    @property
    def frames(self) -> int:
        return self.centres.shape[0]

    @property
    def extent(self) -> float:
        """Diameter of the largest [m]."""
        return 2 * float(self.radius.max())

    def bounds(self) -> np.ndarray:
        """(T,2,3): the lowest and the highest corner of the box about them at every frame, world axes [m]."""
        r = self.radius[:, None]
        return np.stack([(self.centres - r).min(axis=1), (self.centres + r).max(axis=1)], axis=1)

    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """(T,P,3) and (P,): centres and radii of balls that together hold them at every frame, world axes [m].

        Of a crowd, without the few percent that stray farthest from the others.
        """
        if len(self.radius) < CROWD:
            return self.centres, self.radius
        middle = np.median(self.centres, axis=1, keepdims=True)
        away = np.linalg.norm(self.centres - middle, axis=-1).max(axis=0)
        kept = away <= np.quantile(away, 1 - STRAY)
        return self.centres[:, kept], self.radius[kept]

    def during(self, frames: slice) -> Spheres:
        """The same spheres over some of their frames."""
        return dataclasses.replace(self, centres=self.centres[frames], rotations=self.rotations[frames])


@dataclasses.dataclass(frozen=True)
class Motion:
    """Surfaces over T frames at `fps`, and the engine's own state: JSON, in SI units."""

    surfaces: tuple[Surface | Spheres, ...]
    fps: float
    state: dict[str, Any]

    @property
    def frames(self) -> int:
        return self.surfaces[0].frames

"""`Motion`: what an engine hands to the caster. Where every surface is at every frame, rigid or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from phys4d.sim.materials import Look

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
    shine: (T,V,3) float32, what its vertices glow with at every frame, linear RGB; None where it does not.
    """

    name: str
    rest: np.ndarray
    faces: np.ndarray
    vertices: np.ndarray
    look: Look
    instance: int
    moves: bool
    focus: bool
    shine: np.ndarray | None = None

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
        shine = None if self.shine is None else self.shine[frames]
        return dataclasses.replace(self, vertices=self.vertices[frames], shine=shine)


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
class SkinMesh:
    """A skin at one frame.

    vertices: (V,3) float32, world axes [m]. faces: (F,3) int32, counter-clockwise seen from outside. ahead: (V,3)
    float32, where the material at the vertices is one frame later. rest: (V,3) float32, coordinates for textures.
    """

    vertices: np.ndarray
    faces: np.ndarray
    ahead: np.ndarray
    rest: np.ndarray


@dataclasses.dataclass(frozen=True)
class Skin:
    """A closed surface that is found anew at every frame: of a liquid, or of something that melts.

    Its topology changes, so the material on it is followed by what moves beneath it. follow: (frame, (N,3) points
    of that frame's surface [m]) -> (T,N,3), where that material is at every frame. slack: how far a point of it
    may be from the surface of the next frame and still lie on it [m]. The other fields are those of `Surface`.
    """

    name: str
    meshes: tuple[SkinMesh, ...]
    follow: Callable[[int, np.ndarray], np.ndarray]
    look: Look
    instance: int
    slack: float
    moves: bool
    focus: bool

    @property
    def frames(self) -> int:
        return len(self.meshes)

    @property
    def extent(self) -> float:
        """Length of the longest edge of the box about it in the first frame [m]."""
        return float(np.ptp(self.bounds()[0], axis=0).max())

    def bounds(self) -> np.ndarray:
        """(T,2,3): the lowest and the highest corner of the box about it at every frame, world axes [m]."""
        return np.stack([[m.vertices.min(axis=0), m.vertices.max(axis=0)] for m in self.meshes])

    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """(T,8,3) and (8,): corners of the boxes about it, and no radii."""
        bounds = self.bounds()
        picks = np.array(list(np.ndindex(2, 2, 2)))
        return np.stack([bounds[:, picks[:, axis], axis] for axis in range(3)], axis=-1), np.zeros(8)

    def during(self, frames: slice) -> Skin:
        """The same skin over some of its frames, one after another."""
        first = range(self.frames)[frames][0]

        def follow(frame: int, points: np.ndarray) -> np.ndarray:
            return self.follow(frame + first, points)[frames]

        return dataclasses.replace(self, meshes=self.meshes[frames], follow=follow)

    def volumes(self) -> np.ndarray:
        """(T,) volumes that it encloses [m^3]."""
        corners = [np.moveaxis(m.vertices.astype(float)[m.faces], 1, 0) for m in self.meshes]
        return np.array([(a * np.cross(b, c)).sum() / 6 for a, b, c in corners])


@dataclasses.dataclass(frozen=True)
class Volume:
    """What light passes in part: smoke. It has no surface; its labels are means along the ray, by opacity.

    extinction: (T,X,Y,Z) float32 at the middles of cells [1/m]. shift: (T-1,X,Y,Z,3) float32, how far what is
    there moves to the next frame [m]. low: lowest corner [m]; cell: edge of a cell [m]. colour: linear RGB of what
    light it sends back.
    """

    name: str
    extinction: np.ndarray
    shift: np.ndarray
    low: np.ndarray
    cell: float
    colour: tuple[float, float, float]
    instance: int
    focus: bool

    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """(1,8,3) and (8,): corners of the box about all that can be seen of it at any frame, and no radii."""
        seen = self.extinction.max(axis=0) > 0.15 * self.extinction.max()
        places = np.argwhere(seen) if seen.any() else np.array([[0, 0, 0], self.extinction.shape[1:]])
        low, high = self.low + self.cell * places.min(axis=0), self.low + self.cell * (places.max(axis=0) + 1)
        corners = np.array([np.where(pick, high, low) for pick in np.ndindex(2, 2, 2)])
        return corners[None], np.zeros(8)

    def follow(self, frame: int, points: np.ndarray) -> np.ndarray:
        """(T,N,3): where the smoke at points (N,3) of a frame is at every frame, world axes [m]."""
        path = {frame: np.asarray(points, dtype=np.float64)}
        for t in range(frame, len(self.extinction) - 1):
            path[t + 1] = path[t] + self._moved(t, path[t])
        for t in range(frame, 0, -1):
            before = path[t]
            for _ in range(4):
                before = path[t] - self._moved(t - 1, before)
            path[t - 1] = before
        return np.stack([path[t] for t in range(len(self.extinction))])

    def _moved(self, t: int, points: np.ndarray) -> np.ndarray:
        places = ((points - self.low) / self.cell - 0.5).T
        parts = [ndimage.map_coordinates(self.shift[t, ..., k], places, order=1, mode="nearest") for k in range(3)]
        return np.stack(parts, axis=1)


@dataclasses.dataclass(frozen=True)
class Motion:
    """Surfaces over T frames at `fps`, and the engine's own state: JSON, in SI units."""

    surfaces: tuple[Surface | Spheres | Skin, ...]
    fps: float
    state: dict[str, Any]
    volumes: tuple[Volume, ...] = ()

    @property
    def frames(self) -> int:
        return self.surfaces[0].frames

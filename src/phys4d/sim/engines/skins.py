"""Surfaces found anew at every frame about a crowd of particles, and how what lies on them is carried along."""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from phys4d.sim.device import wp
from phys4d.sim.materials import Look
from phys4d.sim.motion import Skin, SkinMesh
from phys4d.sim.shapes import Vector

BLUR = 1.15
"""Width of the Gaussian that makes particles a continuum, in nodes of the fine grid."""
LEVEL = 0.5
"""How full it is at the surface: half, on a plane."""
LEAST = 0.2
"""Nodes with less room than this around them are not corrected for it: they lie within bodies."""


class Carrier:
    """The continuum that particles stand for, on a grid of half the solver's cells.

    places: (T,N,3) of the particles [m]; eight of them fill a cell. solids: (T,X,Y,Z) signed distances of the
    corners of cells to bodies [cells]. low: the domain's lowest corner [m]; cell: of the solver's grid [m].
    """

    def __init__(self, places: np.ndarray, solids: np.ndarray, low: Vector, cell: float) -> None:
        self._places, self._low, self._step = places.astype(np.float64), np.array(low), cell / 2
        self._shape = tuple(2 * n - 1 for n in solids.shape[1:])
        self._full = [self._fullness(t, solids[t]) for t in range(len(places))]
        self._shifts: dict[tuple[int, int], np.ndarray] = {}

    @property
    def frames(self) -> int:
        return len(self._places)

    def skin(self, name: str, look: Look, instance: int, *, focus: bool) -> Skin:
        """The surface at every frame, with the motion of the particles under it."""
        meshes = tuple(self._mesh(t) for t in range(self.frames))
        return Skin(name, meshes, self.follow, look, instance, 0.6 * self._step, moves=True, focus=focus)

    def follow(self, frame: int, points: np.ndarray) -> np.ndarray:
        """(T,N,3): where the material at points (N,3) of a frame's surface is at every frame [m]."""
        path: dict[int, np.ndarray] = {frame: np.asarray(points, dtype=np.float64)}
        for t in range(frame, self.frames - 1):
            path[t + 1] = self._carried(t, t + 1, path[t])
        for t in range(frame, 0, -1):
            path[t - 1] = self._carried(t, t - 1, path[t])
        return np.stack([path[t] for t in range(self.frames)])

    def _carried(self, start: int, end: int, points: np.ndarray) -> np.ndarray:
        """Points moved as the particles around them from one frame to the next, and put onto the surface there.

        What was folded under is farther from the surface than it may be moved, and stays where it is.
        """
        moved = points + self._sampled(self._shift(start, end), points)
        full = self._full[end]
        high = self._low + self._step * (np.array(self._shape) - 1)
        wall = np.minimum(points - self._low, high - points).min(axis=1) < 0.1 * self._step
        guess = moved.copy()
        for _ in range(3):
            value = self._sampled(full[..., None], guess)[:, 0]
            slope = self._slope(full, guess)
            guess = guess - ((value - LEVEL) / np.maximum((slope**2).sum(1), 1e-12))[:, None] * slope
        near = (np.linalg.norm(guess - moved, axis=1) < self._step) & ~wall
        moved[near] = guess[near]
        return np.clip(moved, self._low, high)

    def _nodes(self, points: np.ndarray) -> np.ndarray:
        """(3,N) places in units of the fine grid."""
        return ((points - self._low) / self._step).T

    def _sampled(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        """(N,C) values of a field (X,Y,Z,C) at points, trilinear."""
        g = np.clip(self._nodes(points).T, 0, np.array(self._shape) - 1 - 1e-6)
        base = g.astype(int)
        f = g - base
        total = np.zeros((len(points), field.shape[-1]))
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, f, 1 - f), axis=1)
            i, j, k = (base + corner).T
            total += weight[:, None] * field[i, j, k]
        return total

    def _slope(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        """(N,3) gradient of a scalar field, over two nodes [1/m]."""
        slopes = []
        for axis in range(3):
            off = np.zeros(3)
            off[axis] = self._step
            ahead, behind = (self._sampled(field[..., None], points + s * off)[:, 0] for s in (1, -1))
            slopes.append((ahead - behind) / (2 * self._step))
        return np.stack(slopes, axis=1)

    def _deposited(self, t: int, values: np.ndarray | None) -> np.ndarray:
        """Particles of a frame, or what they carry, spread over the nodes around and blurred."""
        g = np.clip(self._nodes(self._places[t]).T, 0, np.array(self._shape) - 1 - 1e-6)
        base = g.astype(int)
        f = g - base
        size = int(np.prod(self._shape))
        total = np.zeros(size)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, f, 1 - f), axis=1)
            rows = np.ravel_multi_index(tuple((base + corner).T), self._shape)
            total += np.bincount(rows, weight if values is None else weight * values, minlength=size)
        field = total.reshape(self._shape).astype(np.float32)
        return ndimage.gaussian_filter(field, BLUR, mode="constant", truncate=2.5)

    def _fullness(self, t: int, solids: np.ndarray) -> np.ndarray:
        """How full of particles each node's surroundings are, of what room there is."""
        fine = solids
        for axis in range(3):
            ends = [np.take(fine, range(a, fine.shape[axis] + a - 1), axis=axis) for a in (0, 1)]
            doubled = np.repeat(fine, 2, axis=axis)
            between: list[Any] = [slice(None)] * 3
            between[axis] = slice(1, -1, 2)
            doubled[tuple(between)] = (ends[0] + ends[1]) / 2
            last: list[Any] = [slice(None)] * 3
            last[axis] = slice(0, -1)
            fine = doubled[tuple(last)]
        room = np.clip(0.5 + 2 * fine, 0, 1).astype(np.float32)
        for axis in range(3):
            # Half of what the nodes on a wall stand for lies behind it.
            for edge in (0, -1):
                side: list[Any] = [slice(None)] * 3
                side[axis] = edge
                room[tuple(side)] *= 0.5
        room = ndimage.gaussian_filter(room, BLUR, mode="constant", truncate=2.5)
        return self._deposited(t, None) / np.maximum(room, LEAST)

    def _shift(self, start: int, end: int) -> np.ndarray:
        """(X,Y,Z,3) mean displacement of the particles around each node from one frame to another [m]."""
        if (start, end) not in self._shifts:
            moved = self._places[end] - self._places[start]
            weight = np.maximum(self._deposited(start, None), 1e-6)
            parts = [self._deposited(start, moved[:, axis]) / weight for axis in range(3)]
            self._shifts[start, end] = np.stack(parts, axis=-1)
        return self._shifts[start, end]

    def _mesh(self, t: int) -> SkinMesh:
        from warp.geometry import IsoSurfaceMarchingCubes

        # Just outside the domain nothing is full, so that the surface closes on its walls.
        padded = np.pad(LEVEL - self._full[t], 1, constant_values=1e3)
        field: Any = wp.array(padded.astype(np.float32), device="cpu")
        found, indices = IsoSurfaceMarchingCubes.extract(field, 0.0)
        if not len(found):
            raise ValueError("there is nothing to be seen of it")
        vertices = self._low + self._step * (found.numpy().astype(np.float64) - 1)
        faces: np.ndarray = indices.numpy().reshape(-1, 3)
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        if (a * np.cross(b, c)).sum() < 0:
            faces = np.flip(faces, axis=1)
        ahead = self._carried(t, t + 1, vertices) if t + 1 < self.frames else vertices
        vertices = vertices.astype(np.float32)
        return SkinMesh(vertices, np.ascontiguousarray(faces, np.int32), ahead.astype(np.float32), vertices)


class Remains(Carrier):
    """What is left of something that melts away, followed as it sinks and shrinks.

    What has melted is followed to the surface under it. full: (T,X,Y,Z), how solid each node is at every frame;
    low, step: of their grid [m]; fall: (T,3), how far the material has moved by then [m].
    """

    def __init__(self, full: np.ndarray, low: Vector, step: float, fall: np.ndarray) -> None:
        self._low, self._step, self._shape = np.array(low), step, full.shape[1:]
        self._full = [ndimage.gaussian_filter(each.astype(np.float32), 0.8) for each in full]
        self._fall = fall

    @property
    def frames(self) -> int:
        return len(self._full)

    def _shift(self, start: int, end: int) -> np.ndarray:
        return np.broadcast_to(self._fall[end] - self._fall[start], (*self._shape, 3))

    def _mesh(self, t: int) -> SkinMesh:
        mesh = super()._mesh(t)
        return SkinMesh(mesh.vertices, mesh.faces, mesh.ahead, (mesh.vertices - self._fall[t]).astype(np.float32))

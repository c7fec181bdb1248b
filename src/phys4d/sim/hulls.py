"""Closed skins with enough vertices to bend: what solids and inflatables look like at rest.

Every shape here is one watertight `Piece` about its centre; seen by itself it is also what a rigid body may wear.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import trimesh

from phys4d.sim.shapes import Collider, Duck, Piece, Vector, lathe


@dataclasses.dataclass(frozen=True)
class RoundedBox:
    """size: full extents [m]; rounding: radius of its edges [m]; spacing: of vertices [m]."""

    size: Vector
    rounding: float
    spacing: float = 0.015

    def pieces(self) -> list[Piece]:
        def place(cube: np.ndarray) -> np.ndarray:
            half = np.array(self.size) / 2
            # Spread so that flat parts and rounded edges both get their vertices.
            inner = np.clip(cube * half, -(half - self.rounding), half - self.rounding)
            away = cube * half - inner
            length = np.linalg.norm(away, axis=1, keepdims=True)
            return inner + self.rounding * away / np.maximum(length, 1e-12)

        counts = tuple(max(4, round(edge / self.spacing)) for edge in self.size)
        return [_from_cube(counts, place)]  # type: ignore[arg-type]

    def colliders(self) -> list[Collider]:
        return [Collider("box", (self.size[0] / 2, self.size[1] / 2, self.size[2] / 2))]


@dataclasses.dataclass(frozen=True)
class BallHull:
    """A sphere of triangles of nearly the same size. radius, spacing of vertices [m]."""

    radius: float
    spacing: float = 0.02

    def pieces(self) -> list[Piece]:
        count = max(6, round(self.radius * math.pi / 2 / self.spacing))

        def place(cube: np.ndarray) -> np.ndarray:
            bent = np.tan(cube * math.pi / 4)
            return self.radius * bent / np.linalg.norm(bent, axis=1, keepdims=True)

        return [_from_cube((count, count, count), place)]

    def colliders(self) -> list[Collider]:
        return [Collider("sphere", (self.radius, 0.0, 0.0))]


@dataclasses.dataclass(frozen=True)
class Pillow:
    """A stuffed cushion: thick in the middle, its sides meeting in a seam. size: full extents [m]."""

    size: Vector
    spacing: float = 0.02

    def pieces(self) -> list[Piece]:
        count = _even(max(self.size[:2]) / self.spacing)
        side = np.linspace(-1, 1, count + 1)
        x, y = (a.reshape(-1) for a in np.meshgrid(side, side, indexing="ij"))
        # Corners stand out, sides are drawn in a little, as the stuffing pulls on the seam.
        bulge = ((1 - x**4) * (1 - y**4)) ** 0.45
        half = np.array(self.size) / 2
        flat = np.column_stack([x * (1 - 0.06 * (1 - y**2)), y * (1 - 0.06 * (1 - x**2))]) * half[:2]
        return [_two_sheets(flat, half[2] * bulge, count)]

    def colliders(self) -> list[Collider]:
        return [Collider("ellipsoid", (self.size[0] / 2, self.size[1] / 2, self.size[2] / 2))]


@dataclasses.dataclass(frozen=True)
class Sleeve:
    """Two flat rectangles sewn together at their border: an air cushion without air, `gap` [m] thick."""

    size: tuple[float, float]
    spacing: float = 0.025
    gap: float = 0.012

    def pieces(self) -> list[Piece]:
        count = _even(max(self.size) / self.spacing)
        side = np.linspace(-1, 1, count + 1)
        x, y = (a.reshape(-1) for a in np.meshgrid(side, side, indexing="ij"))
        flat = np.column_stack([x * self.size[0] / 2, y * self.size[1] / 2])
        thick = self.gap / 2 * np.minimum(1, 4 * np.minimum(1 - np.abs(x), 1 - np.abs(y)))
        return [_two_sheets(flat, thick, count)]

    def colliders(self) -> list[Collider]:
        return [Collider("box", (self.size[0] / 2, self.size[1] / 2, self.gap / 2))]


@dataclasses.dataclass(frozen=True)
class Turned:
    """A solid of revolution about z: outline (radius, height) [m] from the bottom's centre to the top's, with
    `flutes` waves of the share `depth` of the radius around it."""

    outline: tuple[tuple[float, float], ...]
    sections: int = 64
    flutes: int = 0
    depth: float = 0.0

    def pieces(self) -> list[Piece]:
        made = lathe([list(self.outline)], self.sections)
        points = made.vertices.astype(float)
        angle = np.arctan2(points[:, 1], points[:, 0])
        points[:, :2] *= (1 + self.depth * np.cos(self.flutes * angle))[:, None]
        return [welded(points, made.faces)]

    def colliders(self) -> list[Collider]:
        radii, heights = np.array(self.outline).T
        return [Collider("cylinder", (float(radii.max()), float(np.ptp(heights)) / 2, 0.0))]


@dataclasses.dataclass(frozen=True)
class DuckHull:
    """The body of a bath duck without beak and eyes; length [m]."""

    length: float

    def pieces(self) -> list[Piece]:
        made = Duck(self.length).pieces()[0]
        assert isinstance(made, Piece)
        return [dataclasses.replace(made, tint=None)]

    def colliders(self) -> list[Collider]:
        return Duck(self.length).colliders()


@dataclasses.dataclass(frozen=True)
class Ring:
    """A swim ring about z. radius: of its centre line, tube: of its section, spacing of vertices [m]."""

    radius: float
    tube: float
    spacing: float = 0.025

    def pieces(self) -> list[Piece]:
        around, across = (round(2 * math.pi * r / self.spacing) for r in (self.radius, self.tube))
        made = trimesh.creation.torus(self.radius, self.tube, major_sections=around, minor_sections=across)
        return [welded(made.vertices, made.faces)]

    def colliders(self) -> list[Collider]:
        return [Collider("cylinder", (self.radius + self.tube, self.tube, 0.0))]


def rounded_profile(
    radius: float, height: float, rounding: float, spacing: float = 0.015
) -> list[tuple[float, float]]:
    """The outline of an upright cylinder with rounded edges about its centre, for `Turned`."""
    h, inner = height / 2, radius - rounding
    arc = np.linspace(0, math.pi / 2, 5)
    flat = np.linspace(0, inner, max(3, round(inner / spacing)))[:-1]
    side = np.linspace(-(h - rounding), h - rounding, max(3, round((height - 2 * rounding) / spacing)))[1:-1]
    low = [(inner + rounding * math.sin(a), -h + rounding * (1 - math.cos(a))) for a in arc]
    points = [*((r, -h) for r in flat), *low, *((radius, z) for z in side)]
    points += [(r, -z) for r, z in reversed(low)] + [(r, h) for r in flat[::-1]]
    return [(float(r), float(z)) for r, z in points]


def hull_of(shape: object) -> Piece:
    """The one closed mesh of a shape made here. Raises ValueError for anything else."""
    pieces = shape.pieces()  # type: ignore[attr-defined]
    if len(pieces) != 1 or not isinstance(pieces[0], Piece):
        raise ValueError(f"{type(shape).__name__} is not one closed skin, see hulls.py")
    return pieces[0]


def welded(vertices: np.ndarray, faces: np.ndarray) -> Piece:
    """Equal vertices made one, triangles without area left out, outside turned outward."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.merge_vertices(digits_vertex=7)
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.remove_unreferenced_vertices()
    if mesh.volume < 0:
        mesh.invert()
    return Piece(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))


def _from_cube(counts: tuple[int, int, int], place: Callable[[np.ndarray], np.ndarray]) -> Piece:
    """A skin from the surface of the cube [-1, 1]^3, its edges cut into `counts` parts."""
    vertices, faces, start = [], [], 0
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        u, v = np.meshgrid(np.linspace(-1, 1, counts[b] + 1), np.linspace(-1, 1, counts[c] + 1), indexing="ij")
        quads = grid_faces(counts[b] + 1, counts[c] + 1)
        for side in (-1, 1):
            points = np.empty((u.size, 3))
            points[:, axis], points[:, b], points[:, c] = side, u.reshape(-1), v.reshape(-1)
            vertices.append(points)
            faces.append((quads if side > 0 else quads[:, ::-1]) + start)
            start += u.size
    return welded(place(np.concatenate(vertices)), np.concatenate(faces))


def _even(count: float) -> int:
    """Cells along the side of two sheets: with an even number, no diagonal cuts off a corner, where both would
    meet."""
    return 2 * max(2, round(count / 2))


def _two_sheets(flat: np.ndarray, thick: np.ndarray, count: int) -> Piece:
    """A grid of (count + 1)^2 places, once above and once below, sewn together at the border."""
    quads = grid_faces(count + 1, count + 1)
    above = np.column_stack([flat, thick])
    below = np.column_stack([flat, -thick])
    return welded(np.concatenate([above, below]), np.concatenate([quads, quads[:, ::-1] + len(flat)]))


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """(F,3) triangles of a grid, counter-clockwise seen from (row axis) x (column axis), diagonals alternating."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = i * columns + j
    b, c, d = a + columns, a + columns + 1, a + 1
    even = ((i + j) % 2 == 0)[..., None]
    one = np.where(even, np.stack([a, b, c], -1), np.stack([a, b, d], -1))
    two = np.where(even, np.stack([a, c, d], -1), np.stack([b, c, d], -1))
    return np.stack([one, two], axis=2).reshape(-1, 3)


@dataclasses.dataclass(frozen=True)
class Finer:
    """A mesh cut once by Loop's scheme: its vertices are `matrix` times the coarse ones."""

    matrix: sp.csr_matrix
    faces: np.ndarray


def finer(faces: np.ndarray, count: int) -> Finer:
    """Loop's subdivision (1987) of a mesh of `count` vertices, with creases along its borders.

    It is linear, so that one matrix serves every frame: the finer surface moves with the material of the coarse
    one.
    """
    corner = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, index, uses = np.unique(corner, axis=0, return_inverse=True, return_counts=True)
    index = index.reshape(-1, 3)
    border = uses == 1
    opposite = faces[:, [2, 0, 1]].reshape(-1)
    inner = ~border[index.reshape(-1)]
    rows = [np.repeat(np.arange(len(edges)), 2), index.reshape(-1)[inner]]
    columns = [edges.reshape(-1), opposite[inner]]
    values = [np.repeat(np.where(border, 0.5, 0.375), 2), np.full(int(inner.sum()), 0.125)]
    odd = sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (len(edges), count)
    )

    def neighbours(which: np.ndarray) -> sp.csr_matrix:
        a, b = edges[which].T
        ones = np.ones(2 * len(a))
        return sp.csr_matrix((ones, (np.concatenate([a, b]), np.concatenate([b, a]))), (count, count))

    around, along = neighbours(np.ones(len(edges), bool)), neighbours(border)
    degree = np.asarray(around.sum(axis=1)).reshape(-1)
    on_border = np.asarray(along.sum(axis=1)).reshape(-1) > 0
    n = np.maximum(degree, 1)
    beta = (0.625 - (0.375 + 0.25 * np.cos(2 * math.pi / n)) ** 2) / n
    weight = np.where(on_border, 0.0, beta)
    even = sp.diags(weight) @ around + sp.diags(np.where(on_border, 0.125, 0.0)) @ along
    even = even + sp.diags(np.where(on_border, 0.75, 1 - n * beta))
    ab, bc, ca = (index[:, k] + count for k in range(3))
    a, b, c = faces.T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    made = np.concatenate([np.stack(part, axis=1) for part in parts])
    return Finer(sp.csr_matrix(sp.vstack([even, odd])), made.astype(np.int32))


@functools.lru_cache(maxsize=64)
def cached_hull(shape: object) -> Piece:
    """`hull_of`, kept: many seeds share a shape, and a scene asks for one several times."""
    return hull_of(shape)

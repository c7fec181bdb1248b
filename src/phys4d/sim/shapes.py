"""What a body looks like (triangle meshes, balls) and what it collides with (primitives), from a few numbers.

A shape has its own axes, with the origin at its centre unless said otherwise. To add one, write a dataclass with
`pieces` and `colliders`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import trimesh

Colour = tuple[float, float, float]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
"""(w, x, y, z), unit length."""
UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A triangle mesh in the shape's axes; vertices shared by triangles are shaded smooth.

    vertices: (V,3) float32 [m]; faces: (F,3) int32, counter-clockwise seen from outside.
    tint: linear RGB that replaces the body's own colours, e.g. a duck's beak.
    """

    vertices: np.ndarray
    faces: np.ndarray
    tint: Colour | None = None


@dataclasses.dataclass(frozen=True)
class Ball:
    """A perfect sphere in the shape's axes. radius, centre [m]; tint: as of a `Piece`."""

    radius: float
    centre: Vector = (0.0, 0.0, 0.0)
    tint: Colour | None = None


@dataclasses.dataclass(frozen=True)
class Collider:
    """A convex primitive in the shape's axes; `size` as in MuJoCo (half extents, radius, radius + half height)."""

    kind: Literal["plane", "sphere", "box", "cylinder", "ellipsoid", "capsule"]
    size: Vector
    position: Vector = (0.0, 0.0, 0.0)
    rotation: Quaternion = UPRIGHT


class Shape(Protocol):
    """Anything that can be seen and touched."""

    def pieces(self) -> Sequence[Piece | Ball]: ...

    def colliders(self) -> list[Collider]: ...


@dataclasses.dataclass(frozen=True)
class Sphere:
    """radius [m]."""

    radius: float

    def pieces(self) -> list[Ball]:
        return [Ball(self.radius)]

    def colliders(self) -> list[Collider]:
        return [Collider("sphere", (self.radius, 0.0, 0.0))]


@dataclasses.dataclass(frozen=True)
class Box:
    """size: full extents (x, y, z) [m]."""

    size: Vector

    def pieces(self) -> list[Piece]:
        return [flat(trimesh.creation.box(extents=self.size))]

    def colliders(self) -> list[Collider]:
        return [Collider("box", (self.size[0] / 2, self.size[1] / 2, self.size[2] / 2))]


@dataclasses.dataclass(frozen=True)
class Cylinder:
    """radius, height along z [m]."""

    radius: float
    height: float

    def pieces(self) -> list[Piece]:
        r, h = self.radius, self.height / 2
        return [lathe([[(0, -h), (r, -h)], [(r, -h), (r, h)], [(r, h), (0, h)]])]

    def colliders(self) -> list[Collider]:
        return [Collider("cylinder", (self.radius, self.height / 2, 0.0))]


@dataclasses.dataclass(frozen=True)
class Ground:
    """A level plane through the origin, drawn out to `extent` [m] and touched everywhere."""

    extent: float = 40.0

    def pieces(self) -> list[Piece]:
        e = self.extent
        corners = np.array([(-e, -e, 0), (e, -e, 0), (e, e, 0), (-e, e, 0)], dtype=np.float32)
        return [Piece(corners, np.array([(0, 1, 2), (0, 2, 3)], dtype=np.int32))]

    def colliders(self) -> list[Collider]:
        return [Collider("plane", (self.extent, self.extent, 1.0))]


@dataclasses.dataclass(frozen=True)
class Basket:
    """A round open bin that widens upward; the origin is the centre of its underside. All in [m]."""

    radius: float
    height: float
    thickness: float = 0.02
    flare: float = 0.2
    """How much wider the rim is than the foot, as a share of the radius."""
    staves: int = 20

    def pieces(self) -> list[Piece]:
        foot, rim, h, wall = self.radius, self.radius * (1 + self.flare), self.height, self.thickness
        return [
            lathe(
                [
                    [(0, 0), (foot, 0)],
                    [(foot, 0), (rim, h)],
                    [(rim, h), (rim - wall, h)],
                    [(rim - wall, h), (foot - wall, wall)],
                    [(foot - wall, wall), (0, wall)],
                ]
            )
        ]

    def colliders(self) -> list[Collider]:
        lean = math.atan2(self.radius * self.flare, self.height)
        slant = math.hypot(self.height, self.radius * self.flare) / 2
        centre = self.radius * (1 + self.flare / 2) - self.thickness / 2
        # Each stave is as wide as the rim needs, so that neighbours overlap at the foot and leave no gap.
        width = self.radius * (1 + self.flare) * math.tan(math.pi / self.staves)
        parts = [Collider("cylinder", (self.radius, self.thickness / 2, 0.0), (0.0, 0.0, self.thickness / 2))]
        for k in range(self.staves):
            angle = 2 * math.pi * k / self.staves
            place = (centre * math.cos(angle), centre * math.sin(angle), self.height / 2)
            turn = multiply(about_axis((0, 0, 1), angle), about_axis((0, 1, 0), lean))
            parts.append(Collider("box", (self.thickness / 2, width, slant), place, turn))
        return parts


@dataclasses.dataclass(frozen=True)
class Duck:
    """A bath duck that looks along +x; `length` from breast to tail [m]; the origin is the centre of its body."""

    length: float

    # Ellipsoids (centre, half axes) of a duck of length 1: what it is made of, and what it collides with.
    TRUNK = ((0.0, 0.0, 0.0), (0.46, 0.34, 0.24))
    HEAD = ((0.20, 0.0, 0.36), (0.21, 0.20, 0.20))
    TAIL = ((-0.40, 0.0, 0.13), (0.16, 0.17, 0.10))
    BEAK = ((0.42, 0.0, 0.33), (0.12, 0.10, 0.045))
    EYES = ((0.335, 0.115, 0.43), (0.335, -0.115, 0.43))

    @property
    def rest_height(self) -> float:
        """Height of the body's centre above the floor it stands on [m]."""
        return 0.24 * self.length

    def pieces(self) -> list[Piece | Ball]:
        skin = [_duck_body(), ellipsoid(*self.BEAK, tint=(0.9, 0.22, 0.02))]
        scaled = [dataclasses.replace(p, vertices=p.vertices * np.float32(self.length)) for p in skin]
        eyes = [Ball(0.035 * self.length, _scaled(eye, self.length), tint=(0.01, 0.01, 0.01)) for eye in self.EYES]
        return [*scaled, *eyes]

    def colliders(self) -> list[Collider]:
        parts = [
            Collider("ellipsoid", _scaled(axes, self.length), _scaled(centre, self.length))
            for centre, axes in (self.TRUNK, self.HEAD, self.TAIL)
        ]
        # A flat foot: without it the duck would stand on the single lowest point of an ellipsoid.
        foot = Collider("cylinder", (0.2 * self.length, 0.03 * self.length, 0.0), (0.0, 0.0, -0.21 * self.length))
        return [*parts, foot]


def about_axis(axis: Vector, angle: float) -> Quaternion:
    """The rotation by `angle` [rad] about a unit axis."""
    s = math.sin(angle / 2)
    return (math.cos(angle / 2), axis[0] * s, axis[1] * s, axis[2] * s)


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """The rotation b followed by the rotation a."""
    (aw, ax, ay, az), (bw, bx, by, bz) = a, b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


@functools.cache
def unit_sphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    # Scaled so that the facets lie about the true sphere and not inside it: half the sagitta of an edge.
    edge = np.linalg.norm(mesh.vertices[mesh.edges_unique[:, 0]] - mesh.vertices[mesh.edges_unique[:, 1]], axis=1)
    return mesh.vertices * (1 + edge.mean() ** 2 / 12), mesh.faces.astype(np.int32)


def ellipsoid(centre: Vector, axes: Vector, tint: Colour | None = None) -> Piece:
    vertices, faces = unit_sphere(3)
    return Piece((vertices * axes + centre).astype(np.float32), faces, tint)


def flat(mesh: trimesh.Trimesh) -> Piece:
    """A mesh with its own vertices for every face, so that edges stay sharp."""
    vertices = mesh.vertices[mesh.faces].reshape(-1, 3).astype(np.float32)
    return Piece(vertices, np.arange(len(vertices), dtype=np.int32).reshape(-1, 3))


def lathe(profiles: list[list[tuple[float, float]]], sections: int = 64) -> Piece:
    """Turn (radius, z) polylines about the z axis: each is smooth, an edge between two of them stays sharp.

    Walked so that the outside is on the right, e.g. from the bottom's centre outward and up.
    """
    angles = 2 * np.pi * np.arange(sections) / sections
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices, faces, start = [], [], 0
    for profile in profiles:
        vertices += [np.column_stack([r * circle, np.full(sections, z)]) for r, z in profile]
        for (r0, _), (r1, _) in itertools.pairwise(profile):
            a = start + np.arange(sections)
            b = start + (np.arange(sections) + 1) % sections
            if r0 > 0:
                faces.append(np.column_stack([a, b, b + sections]))
            if r1 > 0:
                faces.append(np.column_stack([a, b + sections, a + sections]))
            start += sections
        start += sections
    return Piece(np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32))


@functools.cache
def _duck_body() -> Piece:
    """Trunk, head and tail of a duck of length 1, blended into one smooth skin and cut flat at the foot."""
    from phys4d.sim.device import wp  # first: it keeps Warp quiet
    from warp.geometry import IsoSurfaceMarchingCubes  # isort: skip

    steps = 56
    low, high = np.array([-0.64, -0.42, -0.34]), np.array([0.54, 0.42, 0.64])
    grid = np.stack(np.meshgrid(*(np.linspace(low[k], high[k], steps) for k in range(3)), indexing="ij"), axis=-1)
    distances = []
    for centre, axes in (Duck.TRUNK, Duck.HEAD, Duck.TAIL):
        scaled = (grid - centre) / np.array(axes)
        norm = np.linalg.norm(scaled, axis=-1)
        # First-order distance to an ellipsoid: value over gradient.
        gradient = np.linalg.norm(scaled / np.array(axes), axis=-1)
        distances.append(norm * (norm - 1) / np.maximum(gradient, 1e-6))
    sharpness = 28.0
    blended = -np.log(np.exp(-sharpness * np.stack(distances)).sum(0)) / sharpness
    # The blend swells the skin a little; the floor cuts it flat.
    field: Any = wp.array(np.maximum(blended, -(grid[..., 2] + 0.24)).astype(np.float32), device="cpu")
    verts, indices = IsoSurfaceMarchingCubes.extract(field, 0.0)
    vertices = low + verts.numpy() * (high - low) / (steps - 1)
    faces = indices.numpy().reshape(-1, 3)
    mesh = trimesh.Trimesh(vertices, faces, process=True)
    mesh.fix_normals()
    return Piece(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))


def _scaled(v: Vector, factor: float) -> Vector:
    return (v[0] * factor, v[1] * factor, v[2] * factor)

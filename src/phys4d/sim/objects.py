"""Everyday things, put together from shapes: mugs, bowls, boxes, teapots, weights, and whatever has parts."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from phys4d.sim.rotations import rotate
from phys4d.sim.shapes import (
    UPRIGHT,
    Ball,
    Box,
    Collider,
    Colour,
    Cylinder,
    Piece,
    Quaternion,
    Shape,
    Sphere,
    Vector,
    about_axis,
    ellipsoid,
    lathe,
    multiply,
)
from phys4d.sim.tube import transported, tube


@dataclasses.dataclass(frozen=True)
class Part:
    """A shape somewhere on a body. tint: linear RGB of its own; what is not solid has no weight either."""

    shape: Shape
    position: Vector = (0.0, 0.0, 0.0)
    rotation: Quaternion = UPRIGHT
    tint: Colour | None = None
    solid: bool = True


def _placed(piece: Piece | Ball, part: Part) -> Piece | Ball:
    turn, tint = np.array(part.rotation), part.tint or piece.tint
    if isinstance(piece, Ball):
        return Ball(piece.radius, _sum(rotate(turn, np.array(piece.centre)), part.position), tint)
    return Piece((rotate(turn, piece.vertices) + part.position).astype(np.float32), piece.faces, tint)


@dataclasses.dataclass(frozen=True)
class Compound:
    """Several shapes as one body."""

    parts: tuple[Part, ...]

    def pieces(self) -> list[Piece | Ball]:
        return [_placed(piece, part) for part in self.parts for piece in part.shape.pieces()]

    def colliders(self) -> list[Collider]:
        return [
            dataclasses.replace(
                each,
                position=_sum(rotate(np.array(part.rotation), np.array(each.position)), part.position),
                rotation=multiply(part.rotation, each.rotation),
            )
            for part in self.parts
            if part.solid
            for each in part.shape.colliders()
        ]


@dataclasses.dataclass(frozen=True)
class Wire:
    """A round bar bent along a path of points [m]: strings, handles. It is touched as a chain of capsules."""

    path: tuple[Vector, ...]
    radius: float | tuple[float, ...]

    def pieces(self) -> list[Piece]:
        path = np.array(self.path)
        radius = self.radius if isinstance(self.radius, float) else np.array(self.radius)
        _, faces, vertices = tube(path[None], transported(path)[None], radius)
        return [Piece(vertices[0], faces)]

    def colliders(self) -> list[Collider]:
        path, turns = np.array(self.path), transported(np.array(self.path))
        radii = np.broadcast_to(self.radius, len(path))
        return [
            Collider(
                "capsule",
                (float(radii[k : k + 2].min()), float(np.linalg.norm(b - a)) / 2, 0.0),
                _sum((a + b) / 2, (0.0, 0.0, 0.0)),
                multiply(_quaternion(turn), about_axis((0, 1, 0), math.pi / 2)),
            )
            for k, (a, b, turn) in enumerate(zip(path, path[1:], turns))
        ]


@dataclasses.dataclass(frozen=True)
class Vessel:
    """A round pot, open at the top; the origin is the centre of its underside.

    outline: (radius, height) [m] of the outer wall from the foot to the rim, wall: its thickness [m].
    """

    outline: tuple[tuple[float, float], ...]
    wall: float
    staves: int = 16

    def pieces(self) -> list[Piece]:
        outer = list(self.outline)
        (foot, low), (rim, high) = outer[0], outer[-1]
        inner = [(r - self.wall, max(z, low + self.wall)) for r, z in reversed(outer)]
        inner[-1] = (foot - self.wall, low + self.wall)
        return [
            lathe(
                [
                    [(0.0, low), (foot, low)],
                    _smooth(outer),
                    [(rim, high), (rim - self.wall, high)],
                    _smooth(inner),
                    [inner[-1], (0.0, low + self.wall)],
                ]
            )
        ]

    def colliders(self) -> list[Collider]:
        foot, low = self.outline[0]
        parts = [Collider("cylinder", (foot, self.wall / 2, 0.0), (0.0, 0.0, low + self.wall / 2))]
        for (r0, z0), (r1, z1) in zip(self.outline, self.outline[1:]):
            lean, slant = math.atan2(r1 - r0, z1 - z0), math.hypot(r1 - r0, z1 - z0) / 2
            # As wide as the wider end needs, so that neighbours leave no gap.
            width = max(r0, r1) * math.tan(math.pi / self.staves)
            # The outer face of a stave is the outline: its middle lies half a wall inside.
            middle = (r0 + r1) / 2 - self.wall / 2 * math.cos(lean)
            level = (z0 + z1) / 2 + self.wall / 2 * math.sin(lean)
            for k in range(self.staves):
                angle = 2 * math.pi * k / self.staves
                place = (middle * math.cos(angle), middle * math.sin(angle), level)
                turn = multiply(about_axis((0, 0, 1), angle), about_axis((0, 1, 0), lean))
                parts.append(Collider("box", (self.wall / 2, width, slant), place, turn))
        return parts


@dataclasses.dataclass(frozen=True)
class Turned:
    """A solid of revolution: polylines as in `lathe`, touched as stacked cylinders (radius, bottom, top) [m]."""

    profiles: tuple[tuple[tuple[float, float], ...], ...]
    stack: tuple[tuple[float, float, float], ...]

    def pieces(self) -> list[Piece]:
        return [lathe([list(profile) for profile in self.profiles])]

    def colliders(self) -> list[Collider]:
        return [Collider("cylinder", (r, (b - a) / 2, 0.0), (0.0, 0.0, (a + b) / 2)) for r, a, b in self.stack]


@dataclasses.dataclass(frozen=True)
class Smiley:
    """A ball with a face that looks along -y."""

    radius: float

    def pieces(self) -> list[Piece | Ball]:
        r, dark = self.radius, (0.01, 0.01, 0.01)
        # On the sphere, at a longitude from -y and a latitude; half sunk into it.
        eyes = [ellipsoid(self._on(side * 24, 22, 0.97), (0.1 * r, 0.05 * r, 0.17 * r), dark) for side in (-1, 1)]
        mouth = [self._on(a, -6 - 20 * math.cos(math.radians(a) * 1.9), 0.98) for a in np.linspace(-42, 42, 13)]
        smile = [dataclasses.replace(p, tint=dark) for p in Wire(tuple(mouth), 0.05 * r).pieces()]
        return [*Sphere(r).pieces(), *eyes, *smile]

    def colliders(self) -> list[Collider]:
        return Sphere(self.radius).colliders()

    def _on(self, longitude: float, latitude: float, share: float) -> Vector:
        a, b, r = math.radians(longitude), math.radians(latitude), share * self.radius
        return (r * math.cos(b) * math.sin(a), -r * math.cos(b) * math.cos(a), r * math.sin(b))


@dataclasses.dataclass(frozen=True)
class Potato:
    """An uneven ellipsoid, one of many; length [m] along x; it is touched as the ellipsoid that it is about."""

    length: float
    seed: int = 0

    @property
    def axes(self) -> Vector:
        return (0.5 * self.length, 0.36 * self.length, 0.31 * self.length)

    def pieces(self) -> list[Piece]:
        rng = np.random.default_rng(self.seed)
        whole = ellipsoid((0.0, 0.0, 0.0), self.axes)
        way = whole.vertices / np.linalg.norm(whole.vertices, axis=1, keepdims=True)
        bumps = sum(
            0.03 * np.sin(way @ rng.normal(size=3) * (2 + k) + rng.uniform(0, 6)) / (1 + 0.5 * k) for k in range(4)
        )
        return [Piece((whole.vertices * (1 + np.asarray(bumps)[:, None])).astype(np.float32), whole.faces)]

    def colliders(self) -> list[Collider]:
        return [Collider("ellipsoid", self.axes)]


@dataclasses.dataclass(frozen=True)
class Aquarium:
    """A tank whose panes are so clear that only its frame and its base are seen; the origin is under its base.

    inner: width, depth and height of its inside [m]; bar: how thick base, bars and panes are [m].
    """

    inner: Vector
    bar: float

    def pieces(self) -> list[Piece | Ball]:
        (x, y, z), b = self.inner, self.bar
        base = Part(Box((x + 2 * b, y + 2 * b, b)), (0.0, 0.0, b / 2))
        posts = [
            Part(Box((b, b, z)), (s * (x + b) / 2, t * (y + b) / 2, b + z / 2)) for s in (-1, 1) for t in (-1, 1)
        ]
        rails = [Part(Box((x + 2 * b, b, b)), (0.0, s * (y + b) / 2, 1.5 * b + z)) for s in (-1, 1)]
        rails += [Part(Box((b, y, b)), (s * (x + b) / 2, 0.0, 1.5 * b + z)) for s in (-1, 1)]
        return Compound((base, *posts, *rails)).pieces()

    def colliders(self) -> list[Collider]:
        return open_box(
            (self.inner[0] + 2 * self.bar, self.inner[1] + 2 * self.bar, self.inner[2] + self.bar), self.bar
        ).colliders()


@dataclasses.dataclass(frozen=True)
class MirrorBall:
    """A ball of flat tiles, as hang over dance floors: `rows` of them from pole to pole, cut flat at the foot.

    radius: of the sphere that the tiles' corners lie on [m]; the origin is its centre.
    """

    radius: float
    rows: int = 8

    def pieces(self) -> list[Piece]:
        columns = 2 * self.rows
        latitude = np.linspace(-0.5, 0.5, self.rows + 1) * math.pi
        longitude = np.arange(columns + 1) * 2 * math.pi / columns
        b, a = np.meshgrid(latitude, longitude, indexing="ij")
        corners = self.radius * np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], axis=-1)
        tiles = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], axis=2)
        vertices = tiles.reshape(-1, 3).astype(np.float32)
        first = 4 * np.arange(len(vertices) // 4)[:, None]
        # At the poles one of a tile's two triangles is empty.
        faces = np.concatenate([first + (0, 1, 2), first + (0, 2, 3)])
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        return [Piece(vertices, faces[area > 1e-9].astype(np.int32))]

    def colliders(self) -> list[Collider]:
        # A foot keeps it from rolling off what turns it.
        r = self.radius
        foot = Collider("cylinder", (0.4 * r, 0.06 * r, 0.0), (0.0, 0.0, -0.94 * r))
        return [Collider("sphere", (0.98 * r, 0.0, 0.0)), foot]


def open_box(size: Vector, wall: float) -> Compound:
    """A box without a lid; size: outer extents [m]; the origin is the centre of its underside."""
    x, y, z = size
    return Compound(
        (
            Part(Box((x, y, wall)), (0.0, 0.0, wall / 2)),
            Part(Box((x, wall, z - wall)), (0.0, (y - wall) / 2, (z + wall) / 2)),
            Part(Box((x, wall, z - wall)), (0.0, -(y - wall) / 2, (z + wall) / 2)),
            Part(Box((wall, y - 2 * wall, z - wall)), ((x - wall) / 2, 0.0, (z + wall) / 2)),
            Part(Box((wall, y - 2 * wall, z - wall)), (-(x - wall) / 2, 0.0, (z + wall) / 2)),
        )
    )


def channel(length: float, width: float, rail: float = 0.05, thick: float = 0.03) -> Compound:
    """A straight gutter along x, open at both ends; the origin is the middle of the surface that balls roll on."""
    side = thick + rail
    return Compound(
        (
            Part(Box((length, width, thick)), (0.0, 0.0, -thick / 2)),
            *(Part(Box((length, thick, side)), (0.0, s * (width + thick) / 2, side / 2 - thick)) for s in (-1, 1)),
        )
    )


def mug(radius: float, height: float) -> Compound:
    """A cup with one handle on +x; the origin is the centre of its underside."""
    wall = 0.09 * radius
    turn = np.linspace(-0.5, 0.5, 9) * math.pi * 1.05
    loop = [
        (radius * 0.97 + 0.62 * radius * math.cos(t), 0.0, height * 0.5 + 0.3 * height * math.sin(t)) for t in turn
    ]
    body = Vessel(((0.94 * radius, 0.0), (radius, 0.06 * height), (radius, 0.94 * height), (radius, height)), wall)
    return Compound((Part(body), Part(Wire(tuple(loop), 0.11 * radius))))


def bowl(radius: float, height: float) -> Vessel:
    """A round bowl; a low one is a plate. The origin is the centre of its underside."""
    curve = tuple(
        (radius * (0.45 + 0.55 * math.sin(t)), height * (1 - math.cos(t))) for t in np.linspace(0, math.pi / 2, 5)
    )
    return Vessel(curve, max(0.12 * height, 0.012))


def weight(radius: float, height: float) -> Turned:
    """A laboratory weight: a cylinder with a knob; the origin is the centre of its underside."""
    body, neck, knob = 0.72 * height, 0.3 * radius, 0.45 * radius
    profiles = (
        ((0.0, 0.0), (radius, 0.0)),
        ((radius, 0.0), (radius, body)),
        ((radius, body), (neck, body)),
        ((neck, body), (neck, 0.8 * height)),
        ((neck, 0.8 * height), (knob, 0.85 * height), (knob, 0.95 * height), (0.5 * knob, height), (0.0, height)),
    )
    return Turned(profiles, ((radius, 0.0, body), (neck, body, 0.8 * height), (knob, 0.8 * height, height)))


def top(radius: float, height: float) -> Turned:
    """A spinning top that stands on its tip, the origin; its disc lies at half its height."""
    low, high, stem = 0.42 * height, 0.58 * height, 0.09 * radius
    profiles = (
        ((0.0, 0.0), (0.12 * radius, 0.1 * height), (0.35 * radius, 0.3 * height), (radius, low)),
        ((radius, low), (radius, high)),
        ((radius, high), (0.3 * radius, 0.64 * height), (stem, 0.7 * height), (stem, height)),
        ((stem, height), (0.0, height)),
    )
    return Turned(profiles, ((radius, low, high), (stem, high, height)))


def teapot(size: float) -> Compound:
    """A pot with a lid, a spout on +x and a handle on -x; size: of its belly [m]; the origin is its foot."""
    r = size / 2
    belly = _smooth([(0.62, 0.0), (0.86, 0.22), (1.0, 0.55), (0.93, 0.92), (0.7, 1.2), (0.52, 1.3)])
    lid = _smooth([(0.52, 1.3), (0.36, 1.42), (0.12, 1.48)])
    knob = _smooth([(0.12, 1.48), (0.1, 1.52), (0.17, 1.6), (0.13, 1.7), (0.0, 1.73)])
    profiles = tuple(
        tuple((r * a, r * b) for a, b in part) for part in ([(0.0, 0.0), (0.62, 0.0)], belly, lid, knob)
    )
    stack = tuple(
        (r * a, r * b, r * c)
        for a, b, c in ((0.8, 0.0, 0.3), (0.96, 0.3, 0.9), (0.7, 0.9, 1.25), (0.3, 1.25, 1.6))
    )
    spout = [(0.8, 0.45), (1.08, 0.55), (1.3, 0.78), (1.42, 1.05), (1.62, 1.26)]
    handle = [(-0.84, 1.02), (-1.16, 1.14), (-1.46, 1.04), (-1.52, 0.76), (-1.32, 0.46), (-0.92, 0.3)]
    return Compound(
        (
            Part(Turned(profiles, stack)),
            Part(
                Wire(
                    tuple((r * x, 0.0, r * z) for x, z in spout),
                    tuple(r * w for w in (0.26, 0.22, 0.16, 0.12, 0.1)),
                )
            ),
            Part(Wire(tuple((r * x, 0.0, r * z) for x, z in handle), 0.1 * r)),
        )
    )


def sculpture(height: float, seed: int = 0) -> Compound:
    """An abstract figure of stacked, twisted blocks on a plinth, one of many; the origin is its foot."""
    rng = np.random.default_rng(seed)
    count, plinth = 5, 0.12 * height
    parts = [Part(Box((0.5 * height, 0.5 * height, plinth)), (0.0, 0.0, plinth / 2))]
    step = (height - plinth) / count
    for k in range(count):
        wide = height * (0.34 - 0.035 * k) * float(rng.uniform(0.8, 1.2))
        turn = about_axis((0, 0, 1), 0.45 * k + float(rng.uniform(-0.2, 0.2)))
        shape: Shape = Box((wide, 0.6 * wide, step)) if k % 2 == 0 else Cylinder(0.42 * wide, step)
        parts.append(Part(shape, (0.0, 0.0, plinth + (k + 0.5) * step), turn))
    return Compound(tuple(parts))


@functools.cache
def _spread(count: int, fine: int) -> np.ndarray:
    return np.linspace(0, count - 1, (count - 1) * fine + 1)


def _smooth(points: list[tuple[float, float]], fine: int = 5) -> list[tuple[float, float]]:
    """A curve through points, for polylines that are turned: a monotone spline of the way between them."""
    from scipy.interpolate import PchipInterpolator

    array = np.array(points, dtype=np.float64)
    if len(array) < 3:
        return points
    curve = PchipInterpolator(np.arange(len(array)), array)(_spread(len(array), fine))
    return [(max(float(r), 0.0), float(z)) for r, z in curve]


def _sum(a: np.ndarray, b: Vector) -> Vector:
    x, y, z = (float(v) for v in np.asarray(a) + np.asarray(b))
    return (x, y, z)


def _quaternion(array: np.ndarray) -> Quaternion:
    w, x, y, z = (float(v) for v in array)
    return (w, x, y, z)

"""Lights and the sky: suns, lamps with an area, soft boxes. All in linear RGB.

One scale for all of them: a white matte surface under a whole sky of radiance 1 is as bright as one that faces a
light of `colour` 1 (a sun), or one that an area light or a soft box of radiance 1 covers from horizon to horizon.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Literal, get_args

import numpy as np
from scipy.interpolate import PchipInterpolator

from phys4d.errors import InputError, unknown_name
from phys4d.sim.shapes import Colour, Vector

Path = tuple[tuple[float, Vector], ...]
"""Where a light is at some times [s], in order of time: a smooth curve between them, at rest before and after."""

Outline = Literal["rectangle", "disc"]


@dataclasses.dataclass(frozen=True)
class Light:
    """A far light such as the sun. direction: unit vector toward it; radius: angular, half width [rad].

    path: directions at given times, for a sun that moves; it then replaces `direction`.
    """

    direction: Vector
    colour: Colour = (3.0, 2.9, 2.7)
    radius: float = 0.06
    path: Path = ()

    def __post_init__(self) -> None:
        _check_path(self.path)

    def directions(self, times: np.ndarray) -> np.ndarray:
        """(T,3) unit vectors toward it at times [s]."""
        return _unit(_along(self.path, self.direction, times))


@dataclasses.dataclass(frozen=True)
class AreaLight:
    """A lamp at a place: a rectangle or a disc that shines to one side, with soft shadows.

    position: its middle [m]. normal: the way it faces, unit. size: full width and height [m]; the width lies
    level. colour: the radiance it sends out. path: positions at given times, for a lamp that moves; it then
    replaces `position`. A camera does not see the lamp itself, but mirrors show it; a glowing body can be filmed.
    """

    position: Vector
    normal: Vector = (0.0, 0.0, -1.0)
    size: tuple[float, float] = (0.6, 0.6)
    colour: Colour = (12.0, 11.5, 11.0)
    outline: Outline = "rectangle"
    path: Path = ()

    def __post_init__(self) -> None:
        _check_path(self.path)
        if self.outline not in get_args(Outline):
            raise InputError(unknown_name("outline", self.outline, get_args(Outline)))
        if min(self.size) <= 0:
            raise InputError(f"an area light has a width and a height, not {self.size}")

    def positions(self, times: np.ndarray) -> np.ndarray:
        """(T,3) places of its middle at times [s], world axes [m]."""
        return _along(self.path, self.position, times)

    def half_edges(self) -> np.ndarray:
        """(2,3) vectors from its middle to the middles of its right and its upper edge [m]."""
        return spanned(np.array(self.normal), *self.size)


@dataclasses.dataclass(frozen=True)
class SoftBox:
    """A bright rectangle in the sky, as of a studio: it lights the scene, and mirrors and polish show it.

    direction: unit vector toward its middle. size: full width and height [rad]; the width lies level.
    colour: its radiance. soft: share of its half width over which its border fades.
    """

    direction: Vector
    size: tuple[float, float] = (0.8, 0.5)
    colour: Colour = (4.0, 4.0, 4.0)
    soft: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < min(self.size) <= max(self.size) < np.pi:
            raise InputError(f"a soft box is wider than 0 and narrower than pi, not {self.size}")

    def half_edges(self) -> np.ndarray:
        """(2,3) vectors from the unit vector toward its middle to the middles of two edges, on a tangent plane."""
        return spanned(-np.array(self.direction), *(2 * np.tan(np.array(self.size) / 2)))


@dataclasses.dataclass(frozen=True)
class Sky:
    """Radiance of the sky in linear RGB, from the horizon to the zenith; it also lights the scene.

    boxes: what else stands in it. glow: brightness of the suns' discs and of the haze about them, as a share of
    what the sun is to be; 0 leaves the suns out of the picture.
    """

    horizon: Colour = (0.80, 0.86, 0.92)
    zenith: Colour = (0.30, 0.50, 0.85)
    boxes: tuple[SoftBox, ...] = ()
    glow: float = 0.0


def spanned(normal: np.ndarray, width: float, height: float) -> np.ndarray:
    """(2,3) half edges of a rectangle that faces along `normal`: the first one is level."""
    normal = normal / np.linalg.norm(normal)
    level = np.cross((0.0, 0.0, 1.0), normal) if abs(normal[2]) < 0.999 else np.array([1.0, 0.0, 0.0])
    level /= np.linalg.norm(level)
    return np.stack([level * width / 2, np.cross(normal, level) * height / 2])


def _along(path: Path, still: Vector, times: np.ndarray) -> np.ndarray:
    if not path:
        return np.broadcast_to(np.array(still, dtype=float), (len(times), 3))
    knots, places = np.array([t for t, _ in path]), np.array([place for _, place in path], dtype=float)
    if len(path) == 1:
        return np.broadcast_to(places[0], (len(times), 3))
    # Shape-preserving: the light never swings beyond its places.
    return PchipInterpolator(knots, places)(np.clip(times, knots[0], knots[-1]))


def _check_path(path: Path) -> None:
    times = [time for time, _ in path]
    if any(b <= a for a, b in itertools.pairwise(times)):
        raise InputError(f"the times of a light's path must increase, not {times}")


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

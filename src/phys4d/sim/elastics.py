"""What bends, swells and blows: cloth, elastic solids, inflatables, and the wind. SI units, world axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from phys4d.sim.materials import Look, Material
from phys4d.sim.shapes import UPRIGHT, Quaternion, Shape, Vector


@dataclasses.dataclass(frozen=True)
class Hold:
    """What keeps some nodes of a cloth: "world", a body's name, or "rail", along which they slide in x.

    nodes: their numbers, row by row.
    """

    nodes: tuple[int, ...]
    by: str = "world"


@dataclasses.dataclass(frozen=True)
class Cloth:
    """A woven sheet: thin, the same on both sides, stiff along its threads, soft in shear and in bending.

    start: places [m] of a grid of nodes as the scene begins, row by row; spacing: of the grid at rest [m]. The
    material's density times `thickness` is the mass of an area. stretch, shear: stiffness of a width [N/m];
    bending: of a plate [N m]; lag: over how long bending dies away [s]. self_contact: whether folds lie on folds,
    or pass through each other.
    """

    name: str
    grid: tuple[int, int]
    spacing: float
    start: tuple[Vector, ...]
    thickness: float
    material: Material
    look: Look
    stretch: float
    shear: float
    bending: float
    lag: float = 0.03
    holds: tuple[Hold, ...] = ()
    self_contact: bool = False
    focus: bool = True
    instance: int = 0

    def varied(self, factor: Callable[[], float]) -> Cloth:
        """The same, its stiffness known only as well as it can be measured."""
        return dataclasses.replace(self, bending=self.bending * factor(), shear=self.shear * factor())


@dataclasses.dataclass(frozen=True)
class Solid:
    """A viscoelastic solid. young [Pa] and poisson: of small strains that last; against sudden ones it is stiffer
    by the share `loss`, which is gone after `relaxation` [s].

    cell: edge of the cubes that carry its strain [m]. glued: the body on which its lowest cells stick. The other
    fields are those of a `Body`; its shape must be one closed skin, see `hulls.py`.
    """

    name: str
    shape: Shape
    material: Material
    look: Look
    young: float
    poisson: float
    cell: float
    loss: float = 0.0
    relaxation: float = 0.02
    position: Vector = (0.0, 0.0, 0.0)
    rotation: Quaternion = UPRIGHT
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    glued: str | None = None
    focus: bool = True
    instance: int = 0

    def varied(self, factor: Callable[[], float]) -> Solid:
        """The same, its stiffness known only as well as it can be measured."""
        return dataclasses.replace(self, young=self.young * factor(), loss=self.loss * factor())


@dataclasses.dataclass(frozen=True)
class Inflatable:
    """A closed skin of rubber or vinyl, filled with gas at constant temperature.

    young [Pa] and thickness [m] of the skin; bending: stiffness of a plate [N m]; pressure: above that of the air
    around, as the scene begins [Pa]. valve: area through which gas leaves [m^2]. pump: volume that is blown in
    [m^3/s], less as the pressure nears `pump_limit` [Pa]. litres: of the air around that are in it [l]; then it
    may be slack, and its pressure is what comes of them. The other fields are those of a `Body`.
    """

    name: str
    shape: Shape
    material: Material
    look: Look
    thickness: float
    young: float
    pressure: float
    bending: float = 1e-5
    valve: float = 0.0
    pump: float = 0.0
    pump_limit: float = 1.0
    litres: float | None = None
    position: Vector = (0.0, 0.0, 0.0)
    rotation: Quaternion = UPRIGHT
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    focus: bool = True
    instance: int = 0

    def varied(self, factor: Callable[[], float]) -> Inflatable:
        """The same, its stiffness and pressure known only as well as it can be measured."""
        return dataclasses.replace(self, young=self.young * factor(), pressure=self.pressure * factor())


Elastic = Cloth | Solid | Inflatable


@dataclasses.dataclass(frozen=True)
class Wind:
    """Air that moves: velocity [m/s], times 1 + gust sin(2 pi t / period)."""

    velocity: Vector
    gust: float = 0.0
    period: float = 1.0

    def at(self, time: float) -> Vector:
        """Velocity at a time [m/s]."""
        share = 1 + self.gust * math.sin(2 * math.pi * time / self.period)
        x, y, z = self.velocity
        return (share * x, share * y, share * z)

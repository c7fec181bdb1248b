"""What is not a body: grains, liquids, smoke, heat. SI units, kelvin, world axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from phys4d.sim.materials import Look, Material
from phys4d.sim.shapes import Collider, Vector


@dataclasses.dataclass(frozen=True)
class Grains:
    """Round grains that fill a region, settled before the scene begins.

    material: density of a grain, friction and restitution of grain on grain. radius: mean [m]; radii spread evenly
    by +-10 %. rolling: coefficient of rolling resistance, which stands for the corners of real grains.
    region: where they are seeded; `held`: whether its walls hold them until the scene begins.
    velocity: [m/s] at the start.
    """

    name: str
    material: Material
    look: Look
    region: Collider
    radius: float
    rolling: float = 0.1
    held: bool = True
    velocity: Vector = (0.0, 0.0, 0.0)
    focus: bool = True
    instance: int = 0

    def varied(self, factor: Callable[[], float]) -> Grains:
        """The same, known only as well as it can be measured."""
        return dataclasses.replace(self, material=_varied(self.material, factor), rolling=self.rolling * factor())

    def coarser(self, by: float) -> Grains:
        """The same stuff in fewer and larger pieces."""
        return dataclasses.replace(self, radius=self.radius * by)


@dataclasses.dataclass(frozen=True)
class Liquid:
    """A liquid that fills regions at the start, within a domain whose walls and floor hold it.

    viscosity: dynamic [Pa s]. domain: lowest and highest corner of the box that it may reach [m]; whole cells fit.
    cell: edge of a cell of the grid [m]; eight particles fill one. velocity: [m/s] at the start.
    """

    name: str
    density: float
    viscosity: float
    look: Look
    regions: tuple[Collider, ...]
    domain: tuple[Vector, Vector]
    cell: float
    velocity: Vector = (0.0, 0.0, 0.0)
    focus: bool = True
    instance: int = 0

    def varied(self, factor: Callable[[], float]) -> Liquid:
        """The same, known only as well as it can be measured."""
        return dataclasses.replace(self, density=self.density * factor(), viscosity=self.viscosity * factor())

    def coarser(self, by: float) -> Liquid:
        """The same liquid on a coarser grid; the domain keeps its floor and becomes no smaller."""
        return dataclasses.replace(self, cell=self.cell * by)


@dataclasses.dataclass(frozen=True)
class Block:
    """A solid block that conducts heat, glows, and may melt; what melts runs off, and what is left sinks.

    region: a box or a standing cylinder. density [kg/m^3], conductivity [W/(m K)], capacity [J/(kg K)], latent
    heat [J/kg] and melting point [K]; infinite where it does not melt. temperature: at the start [K]. air, bed:
    the temperature of what surrounds it and of what it stands on [K], and how well heat passes there [W/(m^2 K)];
    `top`, the same for its upper face, where a flame burns on it. end: temperature at which its end at -x is kept
    [K]. cell: of the grid [m]. lapse: by how much time is sped up.
    rider: name of a body that stays on top.
    """

    name: str
    look: Look
    region: Collider
    density: float
    conductivity: float
    capacity: float
    temperature: float
    cell: float
    latent: float = math.inf
    melting: float = math.inf
    air: tuple[float, float] = (293.15, 10.0)
    bed: tuple[float, float] = (293.15, 0.0)
    top: tuple[float, float] | None = None
    end: float | None = None
    lapse: float = 1.0
    rider: str | None = None
    focus: bool = True
    instance: int = 0

    def varied(self, factor: Callable[[], float]) -> Block:
        """The same, known only as well as it can be measured."""
        return dataclasses.replace(
            self,
            density=self.density * factor(),
            conductivity=self.conductivity * factor(),
            capacity=self.capacity * factor(),
            air=(self.air[0], self.air[1] * factor()),
            bed=(self.bed[0], self.bed[1] * factor()),
        )

    def coarser(self, by: float) -> Block:
        """The same block in fewer and larger cells."""
        return dataclasses.replace(self, cell=self.cell * by)


@dataclasses.dataclass(frozen=True)
class Smoke:
    """Smoke in air within a closed box, fed by a source.

    source: where it comes from, at a rate [kg/(m^3 s)] and so much hotter than the room [K], until a moment [s];
    blown: the velocity at which it leaves, None where it only rises [m/s]. colour: linear RGB of its particles.
    extinction: of light, by mass [m^2/kg]; 8700 is that of smoke from flames (Mulholland and Croarkin 2000).
    domain: lowest and highest corner of the box [m]; cell: of the grid [m].
    """

    name: str
    source: Collider
    rate: float
    heat: float
    domain: tuple[Vector, Vector]
    cell: float
    colour: tuple[float, float, float] = (0.8, 0.8, 0.8)
    until: float = math.inf
    blown: Vector | None = None
    extinction: float = 8700.0
    focus: bool = True
    instance: int = 0

    def varied(self, factor: Callable[[], float]) -> Smoke:
        """The same, known only as well as it can be measured."""
        return dataclasses.replace(self, rate=self.rate * factor(), heat=self.heat * factor())

    def coarser(self, by: float) -> Smoke:
        """The same smoke on a coarser grid."""
        return dataclasses.replace(self, cell=self.cell * by)


def _varied(material: Material, factor: Callable[[], float]) -> Material:
    return dataclasses.replace(
        material,
        density=material.density * factor(),
        friction=material.friction * factor(),
        restitution=min(material.restitution * factor(), 1.0),
    )


Medium = Grains | Liquid | Block | Smoke

"""What is not a body: grains, liquids, smoke, heat. SI units, kelvin, world axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from phys4d.sim.shapes import Collider, Vector

if TYPE_CHECKING:
    from phys4d.sim.scene import Look, Material


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
        return dataclasses.replace(
            self, material=_varied(self.material, factor), rolling=self.rolling * factor()
        )

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
        return dataclasses.replace(
            self, density=self.density * factor(), viscosity=self.viscosity * factor()
        )

    def coarser(self, by: float) -> Liquid:
        """The same liquid on a coarser grid; the domain keeps its floor and becomes no smaller."""
        return dataclasses.replace(self, cell=self.cell * by)


def _varied(material: Material, factor: Callable[[], float]) -> Material:
    return dataclasses.replace(
        material,
        density=material.density * factor(),
        friction=material.friction * factor(),
        restitution=min(material.restitution * factor(), 1.0),
    )


Medium = Grains | Liquid

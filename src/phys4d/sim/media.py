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


def _varied(material: Material, factor: Callable[[], float]) -> Material:
    return dataclasses.replace(
        material,
        density=material.density * factor(),
        friction=material.friction * factor(),
        restitution=min(material.restitution * factor(), 1.0),
    )


Medium = Grains

"""Conduction of heat in a solid that may melt: explicit finite volumes, and the enthalpy method for melting.

The enthalpy of a cell is measured from the solid at its melting point, so that -1 < H / (rho L) says how far it is
from it, and 0 to 1 how much of it has melted (Voller and Cross 1981).
"""

from __future__ import annotations

import math

import numpy as np

from phys4d.sim.media import Block

COURANT = 0.15
"""Of the longest stable step, what is taken: alpha dt / dx^2."""


class Conductor:
    """Cells of a block. solid: (X,Y,Z) whether there is anything; heat: (X,Y,Z) enthalpy [J/m^3].

    drains: whether what has melted runs off; otherwise it stays and conducts as the solid does. lost: what ran off
    took along, given: what came in through the surface [J].
    """

    def __init__(self, block: Block, solid: np.ndarray, *, drains: bool = True) -> None:
        self.block, self.solid, self.drains = block, solid.copy(), drains
        self.melts = math.isfinite(block.melting)
        self._origin = block.melting if self.melts else 0.0
        self._volumetric = block.density * block.capacity
        self.latent = block.density * block.latent if self.melts else math.inf
        self.heat = np.full(solid.shape, self._volumetric * (block.temperature - self._origin))
        self.given = self.lost = 0.0
        diffusivity = block.conductivity / self._volumetric
        self.longest = COURANT * block.cell**2 / diffusivity

    def temperature(self) -> np.ndarray:
        """(X,Y,Z) [K]."""
        warm = np.minimum(self.heat, 0.0)
        if self.melts:
            warm = warm + np.maximum(self.heat - self.latent, 0.0)
            return self._origin + warm / self._volumetric
        return self.heat / self._volumetric

    def left(self) -> np.ndarray:
        """(X,Y,Z) share of every cell that is still solid."""
        melted = np.clip(self.heat / self.latent, 0, 1) if self.melts else 0.0
        return self.solid * (1 - melted)

    def energy(self) -> float:
        """Enthalpy of what is there [J]."""
        return float(self.heat[self.solid].sum() * self.block.cell**3)

    def advance(self, seconds: float) -> None:
        """Conduct for so many seconds, and let run off what has melted."""
        count = max(math.ceil(seconds / self.longest), 1)
        for _ in range(count):
            self._step(seconds / count)

    def _step(self, dt: float) -> None:
        block, solid = self.block, self.solid
        temperature, cell = self.temperature(), block.cell
        flux = np.zeros(solid.shape)
        for axis in range(3):
            lower: list[slice] = [slice(None)] * 3
            upper: list[slice] = [slice(None)] * 3
            lower[axis], upper[axis] = slice(0, -1), slice(1, None)
            a, b = tuple(lower), tuple(upper)
            both = solid[a] & solid[b]
            through = block.conductivity * (temperature[b] - temperature[a]) / cell * both
            flux[a] += through
            flux[b] -= through
            # From cells whose neighbour is gone, and from those at the border of the grid.
            flux[a] += self._exchange(temperature[a], solid[a] & ~solid[b], axis, 1)
            flux[b] += self._exchange(temperature[b], solid[b] & ~solid[a], axis, -1)
            for edge, way in ((0, -1), (-1, 1)):
                rim: list[slice | int] = [slice(None)] * 3
                rim[axis] = edge
                r = tuple(rim)
                flux[r] += self._exchange(temperature[r], solid[r], axis, way)
        self.given += self._entered * cell**2 * dt
        self._entered = 0.0
        self.heat += flux * dt / cell
        if self.melts and self.drains:
            gone = solid & (self.heat >= self.latent)
            self.lost += float(self.heat[gone].sum()) * cell**3
            self.solid = solid & ~gone

    _entered = 0.0

    def _exchange(self, temperature: np.ndarray, bare: np.ndarray, axis: int, way: int) -> np.ndarray:
        """Flux into bare cells [W/m^2]: through half a cell and then what surrounds the block."""
        block = self.block
        outside, passing = block.air
        if axis == 2 and way < 0:
            outside, passing = block.bed
        elif axis == 2 and block.top is not None:
            outside, passing = block.top
        half = 2 * block.conductivity / block.cell
        if axis == 0 and way < 0 and block.end is not None:
            outside, passing = block.end, math.inf
        rate = half if math.isinf(passing) else half * passing / (half + passing)
        flux = rate * (outside - temperature) * bare
        self._entered += float(flux.sum())
        return flux

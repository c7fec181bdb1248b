"""Air on a staggered grid in a closed box: incompressible, buoyant, with solids in its way.

Velocities are carried by MacCormack's scheme (Selle and others 2008), pressure is solved by cosine transforms, and
what the air carries moves by fluxes (van Leer 1974), so that none of it is lost.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft, ndimage

AXES = (0, 1, 2)


def along(axis: int, part: slice) -> tuple[slice, ...]:
    """An index of one axis, all of the others."""
    index = [slice(None)] * 3
    index[axis] = part
    return tuple(index)


class Air:
    """velocity: by axis, across the faces of cells [m/s]. solid: by axis, the faces that solids cover."""

    def __init__(self, shape: tuple[int, int, int], cell: float, solid: list[np.ndarray]) -> None:
        self.shape, self.cell, self.solid = shape, cell, solid
        self.velocity = [np.zeros(tuple(n + (k == axis) for k, n in enumerate(shape))) for axis in AXES]
        waves = [(2 - 2 * np.cos(math.pi * np.arange(n) / n)) for n in shape]
        total = waves[0][:, None, None] + waves[1][None, :, None] + waves[2][None, None, :]
        total[0, 0, 0] = 1.0
        self._inverse = -1.0 / total
        self._faces = [np.indices(v.shape).astype(np.float64) for v in self.velocity]

    def fastest(self) -> float:
        return max(float(np.abs(v).max()) for v in self.velocity)

    def centred(self) -> np.ndarray:
        """(X,Y,Z,3) velocities at the middles of cells."""
        parts = [
            (v[along(k, slice(0, -1))] + v[along(k, slice(1, None))]) / 2 for k, v in enumerate(self.velocity)
        ]
        return np.stack(parts, axis=-1)

    def divergence(self) -> np.ndarray:
        """(X,Y,Z) [1/s]."""
        total = np.zeros(self.shape)
        for axis, v in enumerate(self.velocity):
            total += v[along(axis, slice(1, None))] - v[along(axis, slice(0, -1))]
        return total / self.cell

    def project(self) -> None:
        """Make it free of divergence, but for what solids, pushed out in turn, leave of it."""
        for turn in range(3 if any(s.any() for s in self.solid) else 1):
            self._shut(solids=turn > 0)
            right = self.divergence() * self.cell
            spectrum = np.asarray(fft.dctn(right, type=2, norm="ortho")) * self._inverse
            spectrum[0, 0, 0] = 0.0
            pressure = np.asarray(fft.idctn(spectrum, type=2, norm="ortho"))
            for axis, v in enumerate(self.velocity):
                v[along(axis, slice(1, -1))] -= np.diff(pressure, axis=axis)
        self._shut(solids=True)

    def _shut(self, *, solids: bool) -> None:
        for axis, v in enumerate(self.velocity):
            if solids:
                v[self.solid[axis]] = 0.0
            v[along(axis, slice(0, 1))] = 0.0
            v[along(axis, slice(-1, None))] = 0.0

    def carry_velocity(self, dt: float) -> None:
        """Self-advection: there and back again, and half of what was missed added."""
        old = [v.copy() for v in self.velocity]
        fresh = []
        for axis, v in enumerate(old):
            back = self._traced(old, axis, -dt)
            once = ndimage.map_coordinates(v, back, order=1, mode="nearest")
            again = ndimage.map_coordinates(once, self._traced(old, axis, dt), order=1, mode="nearest")
            better = once + (v - again) / 2
            low, high = (f(once, size=3, mode="nearest") for f in (ndimage.minimum_filter, ndimage.maximum_filter))
            fresh.append(np.clip(better, low, high))
        self.velocity = fresh

    def _traced(self, velocity: list[np.ndarray], axis: int, dt: float) -> np.ndarray:
        """(3, ...) where the faces across an axis are after dt, in units of their own grid."""
        places = self._faces[axis]
        moved = []
        for k, v in enumerate(velocity):
            moved.append(v if k == axis else self._onto(v, k, axis))
        return places + np.stack(moved) * (dt / self.cell)

    def _onto(self, v: np.ndarray, own: int, axis: int) -> np.ndarray:
        """A component at the faces across another axis: the mean of the four around."""
        middle = (v[along(own, slice(0, -1))] + v[along(own, slice(1, None))]) / 2
        pad = [(0, 0)] * 3
        pad[axis] = (1, 1)
        wide = np.pad(middle, pad, mode="edge")
        return (wide[along(axis, slice(0, -1))] + wide[along(axis, slice(1, None))]) / 2

    def carry(self, amount: np.ndarray, dt: float) -> np.ndarray:
        """What the air carries, moved along one axis after the other by limited fluxes: its sum stays."""
        for axis, v in enumerate(self.velocity):
            share = v * (dt / self.cell)
            before = np.pad(amount, [(2, 2) if k == axis else (0, 0) for k in AXES], mode="edge")
            step = np.diff(before, axis=axis)
            n = amount.shape[axis]
            # Monotonised slopes of all cells and of one more at either end.
            a, b = step[along(axis, slice(0, n + 2))], step[along(axis, slice(1, n + 3))]
            product = a * b
            slope = np.where(product > 0, 2 * product / np.where(product > 0, a + b, 1.0), 0.0)
            value = before[along(axis, slice(1, n + 3))]
            left, right = (along(axis, s) for s in (slice(0, n + 1), slice(1, n + 2)))
            flux = np.where(
                share > 0,
                share * (value[left] + (1 - share) * slope[left] / 2),
                share * (value[right] - (1 + share) * slope[right] / 2),
            )
            # What the other axes bring is made up for there: each pass leaves an even amount even.
            stretch = amount * np.diff(share, axis=axis)
            amount = amount - np.diff(flux, axis=axis) + stretch
            self._owed = stretch if axis == 0 else self._owed + stretch
        return amount - self._owed

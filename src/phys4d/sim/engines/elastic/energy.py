"""Energies of elastic bodies, written down anew from their formulas: what the record says, and what forces are the
gradients of."""

from __future__ import annotations

import math

import numpy as np

from phys4d.sim.engines.elastic.build import Part
from phys4d.sim.kernels.elastic.arrays import AMBIENT


def membrane_energy(part: Part, place: np.ndarray) -> float:
    """Of stretch and shear [J]; place: (N,3) of the part's nodes [m]."""
    strain = membrane_strain(part, place)
    k1, k2, k12, g = part.stiffness
    density = 0.5 * (k1 * strain[:, 0] ** 2 + k2 * strain[:, 1] ** 2) + k12 * strain[:, 0] * strain[:, 1]
    return float((part.area * (density + 2 * g * strain[:, 2] ** 2)).sum())


def membrane_strain(part: Part, place: np.ndarray) -> np.ndarray:
    """(F,3) Green's strain along, across and of shear."""
    x = place[part.triangles]
    f = np.stack([x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]], axis=-1) @ part.inverse
    green = 0.5 * (f.swapaxes(1, 2) @ f - np.eye(2))
    return np.stack([green[:, 0, 0], green[:, 1, 1], green[:, 0, 1]], axis=-1)


def stretch_of(part: Part, place: np.ndarray) -> np.ndarray:
    """(F,) by how much the threads of a cloth are longer than at rest, along or across, whichever is more. On the
    bias a woven sheet gives by shear, and its threads do not."""
    return np.sqrt(np.maximum(1 + 2 * membrane_strain(part, place)[:, :2].max(1), 0)) - 1


def bending_energy(part: Part, place: np.ndarray) -> float:
    """[J]"""
    if part.bending is None:
        return 0.0
    return float(0.5 * (place * (part.bending @ place)).sum())


def gradients(part: Part, place: np.ndarray) -> np.ndarray:
    """(C,3,3) deformation gradients at the middles of the cells, columns by axis of the material."""
    sign = np.array([[2 * (k >> axis & 1) - 1 for axis in range(3)] for k in range(8)])
    return np.einsum("ckx,ka->cxa", place[part.cells], sign) / (4 * part.edge)


def solid_energy(part: Part, place: np.ndarray) -> float:
    """Of a solid's cells, with that of the modes that their middles do not see [J]."""
    if not len(part.cells):
        return 0.0
    f = gradients(part, place)
    lam, mu = part.lame
    j = np.linalg.det(f)
    density = mu / 2 * ((f**2).sum((1, 2)) - 3) - mu * (j - 1) + (lam + mu) / 2 * (j - 1) ** 2
    x, y, z = np.array([[2 * (k >> axis & 1) - 1 for axis in range(3)] for k in range(8)]).T
    modes = np.einsum("ckx,mk->cmx", place[part.cells], np.stack([y * z, x * z, x * y, x * y * z])) / 8
    warped = 0.5 * part.warp * ((modes**2).sum(-1) @ np.array([1, 1, 1, 1 / 3]))
    return float((part.share * (part.edge**3 * density + warped)).sum())


def gas_energy(amount: float, volume: float) -> float:
    """What a gas at constant temperature can still do against the air around it [J]; amount: n R T [J]."""
    pressure = amount / volume
    return amount * math.log(pressure / AMBIENT) - (pressure - AMBIENT) * volume

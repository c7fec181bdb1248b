"""What cloths, solids and inflatables are made of, and how that looks. Constants are of the order of handbook
values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from phys4d.sim.dressing import Draw, hsv, pick
from phys4d.sim.elastics import Cloth, Inflatable, Solid
from phys4d.sim.materials import Look, Material
from phys4d.sim.shapes import Shape, Vector

STRETCH_SPEED = 40.0
"""Speed of sound along the threads of a cloth [m/s]. A real one is stiffer; at this speed a metre of it stretches
by 0.6 % under its own weight, which nobody sees, and steps need not be shorter than that asks for."""


@dataclasses.dataclass(frozen=True)
class Fabric:
    """thickness [m]; bending: stiffness of a plate [N m]; shear: its stiffness over that of stretch; look: from
    the hue's generator and the hue."""

    material: Material
    thickness: float
    bending: float
    shear: float
    look: Callable[[np.random.Generator], Look]


def _silk(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.7, 0.85), hsv(hue + 0.08, 0.45, 0.98), pick(rng, "stripes", "dots", "plain"), 0.3, 0.55)


def _cotton(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.75, 0.8), hsv(hue, 0.08, 0.97), pick(rng, "checker", "stripes", "dots"), 0.2, 0.0)


def _denim(rng: np.random.Generator) -> Look:
    blue = hsv(rng.uniform(0.58, 0.64), 0.7, rng.uniform(0.35, 0.6))
    r, g, b = blue
    return Look(blue, (0.5 * r, 0.5 * g, 0.55 * b), "weave", 0.1, 0.0, relief=0.0008)


def _wool(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.55, 0.6), hsv(hue + 0.5, 0.4, 0.75), pick(rng, "tiles", "checker"), 0.35, 0.0)


def _terry(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(
        hsv(hue, 0.5, 0.9), hsv(hue, 0.1, 0.98), "stripes", 0.3, 0.0, relief=0.0015, relief_texture="speckle"
    )


FABRICS: dict[str, Fabric] = {
    "silk": Fabric(Material("silk", 400.0, 0.25, 0.02), 1.6e-4, 2e-6, 0.03, _silk),
    "cotton": Fabric(Material("cotton cloth", 480.0, 0.45, 0.02), 3e-4, 1.0e-5, 0.04, _cotton),
    "wool": Fabric(Material("wool", 300.0, 0.55, 0.02), 1e-3, 3e-5, 0.03, _wool),
    "denim": Fabric(Material("denim", 500.0, 0.55, 0.02), 8e-4, 1.2e-4, 0.08, _denim),
    "terry": Fabric(Material("terry", 190.0, 0.6, 0.02), 2e-3, 6e-5, 0.04, _terry),
}


@dataclasses.dataclass(frozen=True)
class Stuff:
    """young: range of Young's modulus [Pa]; poisson, loss and relaxation [s] as of a `Solid`."""

    material: Material
    young: tuple[float, float]
    poisson: float
    loss: float
    relaxation: float
    look: Callable[[np.random.Generator], Look]


def _foam(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.4, 0.95), hsv(hue, 0.5, 0.7), "speckle", 0.2, 0.0)


def _gel(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.8, 0.9), hsv(hue + 0.06, 0.5, 0.98), pick(rng, "dots", "noise", "stripes"), 0.25, 0.8)


def _jelly(rng: np.random.Generator) -> Look:
    hue = float(rng.choice((0.0, 0.08, 0.3, 0.9)) + rng.uniform(-0.02, 0.02))
    return Look(hsv(hue, 0.9, 0.85), hsv(hue + 0.03, 0.75, 0.95), pick(rng, "marble", "noise"), 0.2, 1.0)


def _soft_rubber(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.85, 0.85), hsv(hue, 0.1, 0.95), pick(rng, "stripes", "dots", "checker"), 0.3, 0.35)


def _down(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.35, 0.95), hsv(hue + 0.4, 0.5, 0.7), pick(rng, "stripes", "checker", "dots"), 0.25, 0.0)


SOLIDS: dict[str, Stuff] = {
    "foam": Stuff(Material("soft foam", 60.0, 0.8, 0.05), (9e3, 3e4), 0.25, 1.5, 0.02, _foam),
    "gel": Stuff(Material("gel", 950.0, 0.7, 0.3), (2e4, 6e4), 0.45, 0.25, 0.01, _gel),
    "jelly": Stuff(Material("jelly", 1050.0, 0.4, 0.2), (4e3, 8e3), 0.45, 0.25, 0.02, _jelly),
    "soft rubber": Stuff(Material("soft rubber", 900.0, 0.8, 0.6), (8e4, 2e5), 0.45, 0.1, 0.01, _soft_rubber),
    "down": Stuff(Material("down", 70.0, 0.6, 0.02), (6e3, 9e3), 0.1, 3.0, 0.03, _down),
}


@dataclasses.dataclass(frozen=True)
class Sheeting:
    """What inflatables are made of."""

    material: Material
    thickness: float
    young: float
    look: Callable[[np.random.Generator], Look]


def _vinyl(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.8, 0.9), hsv(hue + 0.5, 0.15, 0.98), pick(rng, "stripes", "checker", "dots"), 0.4, 0.7)


def _latex(rng: np.random.Generator) -> Look:
    hue = rng.uniform()
    return Look(hsv(hue, 0.85, 0.9), hsv(hue + 0.02, 0.6, 0.98), pick(rng, "plain", "dots", "stripes"), 0.4, 0.9)


SHEETINGS: dict[str, Sheeting] = {
    "rubber": Sheeting(Material("rubber skin", 1100.0, 0.7, 0.5), 1e-3, 2e6, _soft_rubber),
    "vinyl": Sheeting(Material("vinyl", 1200.0, 0.5, 0.5), 5e-4, 8e6, _vinyl),
    "latex": Sheeting(Material("latex", 950.0, 0.7, 0.5), 2.5e-4, 1.2e6, _latex),
}


def cloth_of(draw: Draw, name: str, stuff: str, start: np.ndarray, spacing: float, **settings: Any) -> Cloth:
    """A cloth of a fabric; start: (rows, columns, 3) places of its nodes [m]. Bending varies by a tenth."""
    fabric = FABRICS[stuff]
    heavy = fabric.material.density * fabric.thickness
    stretch = round(heavy * STRETCH_SPEED**2, 2)
    places = tuple((float(x), float(y), float(z)) for x, y, z in np.round(start.reshape(-1, 3), 6))
    return Cloth(
        name,
        (start.shape[0], start.shape[1]),
        spacing,
        places,
        fabric.thickness,
        fabric.material,
        fabric.look(draw.looks),
        stretch=stretch,
        shear=round(fabric.shear * stretch, 3),
        bending=float(f"{fabric.bending * draw.uniform(0.9, 1.1):.3g}"),
        self_contact=True,
        **settings,
    )


def solid_of(draw: Draw, name: str, shape: Shape, stuff: str, cell: float, **settings: Any) -> Solid:
    """A solid of a stuff; Young's modulus is drawn, to two digits."""
    made_of = SOLIDS[stuff]
    young = settings.pop("young", None) or float(f"{draw.uniform(*made_of.young):.2g}")
    look = made_of.look(draw.looks)
    return Solid(
        name,
        shape,
        made_of.material,
        look,
        young,
        made_of.poisson,
        cell,
        made_of.loss,
        made_of.relaxation,
        **settings,
    )


def inflatable_of(draw: Draw, name: str, shape: Shape, stuff: str, pressure: float, **settings: Any) -> Inflatable:
    sheeting = SHEETINGS[stuff]
    thickness = settings.pop("thickness", sheeting.thickness)
    look = sheeting.look(draw.looks)
    return Inflatable(name, shape, sheeting.material, look, thickness, sheeting.young, pressure, **settings)


def sheet(
    origin: Vector, along: Vector, across: Vector, size: tuple[float, float], spacing: float
) -> tuple[np.ndarray, float]:
    """A flat rectangle: (rows, columns, 3) places [m], centred on `origin`, rows stepping by `along`; and the
    exact spacing, with which the first edge is met."""
    rows = round(size[0] / spacing) + 1
    step = size[0] / (rows - 1)
    columns = round(size[1] / step) + 1
    u = step * (np.arange(rows) - (rows - 1) / 2)
    v = step * (np.arange(columns) - (columns - 1) / 2)
    a, b = np.array(along, float), np.array(across, float)
    return np.array(origin) + u[:, None, None] * a + v[None, :, None] * b, step


def bent(curve: np.ndarray, count: int, step: float) -> np.ndarray:
    """(count, 2) places at equal ways `step` along a planar curve (M, 2) [m], gone on straight where it ends: a
    sheet that is bent so is not stretched."""
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    asked = step * np.arange(count)
    inside = np.stack([np.interp(asked, way, curve[:, axis]) for axis in range(2)], axis=1)
    last = (curve[-1] - curve[-2]) / np.linalg.norm(curve[-1] - curve[-2])
    return inside + np.maximum(asked - way[-1], 0)[:, None] * last

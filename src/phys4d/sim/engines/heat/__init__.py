"""Heat: blocks that cool, warm, glow, and melt away, sped up as far as the caption says.

Nothing moves by itself here but what melts, so that a grid of enthalpies is all there is: see `conduction.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from phys4d.errors import ExplodedError
from phys4d.sim.engines import ENGINES
from phys4d.sim.engines.heat.conduction import Conductor
from phys4d.sim.engines.mujoco.coupled import RigidPart
from phys4d.sim.engines.seeds import extent_of, inside
from phys4d.sim.engines.skins import Remains
from phys4d.sim.media import Block
from phys4d.sim.motion import Motion, Skin, Surface
from phys4d.sim.scene import SceneSpec

MARGIN = 3
"""Empty cells around a block that melts."""


@ENGINES.register("heat")
def run(spec: SceneSpec, frames: int, fps: float) -> Motion:
    """Simulate the heat of a block. The bodies stand still, but for one that rides on what melts.

    The state has for the block its instance, mass [kg], volume [m^3], mean temperature [K], its lowest and highest
    one, and its enthalpy [J] at every frame, what came in through its surface and what ran off with the melt [J],
    and the place of its top [m]. Energies and momenta of bodies are those of things at rest.
    """
    (block,) = (medium for medium in spec.media if isinstance(medium, Block))
    rigid = RigidPart(spec, 1 / fps)
    grid = _Grid(block)
    conductor = Conductor(block, grid.solid)
    rows, fields, temperatures = [], [], []
    for frame in range(frames):
        if frame:
            conductor.advance(block.lapse / fps)
            rigid.data.time += 1 / fps
        rigid.note()
        fields.append(conductor.left())
        if not (fields[-1] > 0.5).any():
            raise ExplodedError(f"scene {spec.name} exploded: {block.name} has melted away")
        temperatures.append(conductor.temperature())
        rows.append(_row(conductor, fields[-1], temperatures[-1]))
    fall = grid.falls(np.array(fields)) if conductor.melts else np.zeros((frames, 3))
    if conductor.melts:
        thing: Skin | Surface = grid.remains(np.array(fields), fall).skin(
            block.name, block.look, block.instance, focus=block.focus
        )
    else:
        thing = grid.surface(np.array(temperatures))
    state = rigid.state(fps)
    top = grid.tops(np.array(fields)) + fall[:, 2]
    series = {key: [row[key] for row in rows] for key in rows[0]}
    state["media"] = {
        block.name: {"instance": block.instance, "lapse": block.lapse, "top": np.round(top, 5).tolist(), **series}
    }
    surfaces = [_ridden(s, top - top[0]) if s.name == block.rider else s for s in rigid.surfaces()]
    return Motion((*surfaces, thing), fps, state)


def _row(conductor: Conductor, left: np.ndarray, temperature: np.ndarray) -> dict[str, float]:
    volume = float(left.sum()) * conductor.block.cell**3
    there = left > 0
    weight = left[there] if there.any() else np.ones(1)
    values = temperature[there] if there.any() else np.array([conductor.block.melting])
    return {
        "mass": round(volume * conductor.block.density, 6),
        "volume": round(volume, 9),
        "temperature": round(float(np.average(values, weights=weight)), 3),
        "coldest": round(float(values.min()), 3),
        "hottest": round(float(values.max()), 3),
        "enthalpy": round(conductor.energy(), 3),
        "given": round(conductor.given, 3),
        "lost": round(conductor.lost, 3),
    }


def _ridden(surface: Any, rise: np.ndarray) -> Any:
    """A surface lifted by so much at every frame."""
    moved = surface.vertices.copy()
    moved[..., 2] += rise[:, None]
    return dataclasses.replace(surface, vertices=moved.astype(np.float32), moves=True)


class _Grid:
    """The cells about a block. solid: (X,Y,Z) those within it."""

    def __init__(self, block: Block) -> None:
        self.block, self.cell = block, block.cell
        low, high = extent_of(block.region)
        counts = np.maximum(np.round((high - low) / self.cell).astype(int), 1)
        self.low = low
        centres = np.stack(
            np.meshgrid(*((np.arange(n) + 0.5) * self.cell for n in counts), indexing="ij"), axis=-1
        )
        self.solid = (inside(block.region, (centres + low).reshape(-1, 3)) < 0).reshape(tuple(counts))

    def tops(self, left: np.ndarray) -> np.ndarray:
        """(T,) height of the highest that is left, had nothing sunk [m]."""
        levels: np.ndarray = np.any(left > 0.5, axis=(1, 2))
        count = left.shape[3]
        highest = np.where(levels.any(axis=1), count - levels[:, ::-1].argmax(axis=1), 0)
        # Within the highest layer, as much as its middle cells hold; smooth in time.
        share = np.array([each[..., max(h - 1, 0)].max() for each, h in zip(left, highest)])
        smooth = self.low[2] + self.cell * (highest - 1 + share)
        return np.minimum.accumulate(smooth)

    def falls(self, left: np.ndarray) -> np.ndarray:
        """(T,3) how far what is left has sunk, because it melted from below [m]."""
        whole = np.maximum(self.solid.sum(axis=(0, 1)), 1)
        share = left.sum(axis=(1, 2)) / whole
        # A layer is gone as far as its middle is.
        middle = np.array([[each[..., k].max() for k in range(each.shape[2])] for each in left])
        gone = 1 - np.where(share > 0, middle, 0.0)
        lowest = np.minimum.accumulate(np.where(np.arange(gone.shape[1]) >= 0, gone, 0), axis=1)
        fall = np.zeros((len(left), 3))
        fall[:, 2] = -np.maximum.accumulate(lowest.sum(axis=1) * self.cell)
        return fall

    def remains(self, left: np.ndarray, fall: np.ndarray) -> Remains:
        padded = np.pad(left, ((0, 0), *((MARGIN, MARGIN),) * 3))
        sunk = [ndimage.shift(each, (0, 0, f[2] / self.cell), order=1) for each, f in zip(padded, fall)]
        low = self.low + (0.5 - MARGIN) * self.cell
        x, y, z = (float(v) for v in low)
        return Remains(np.array(sunk), (x, y, z), self.cell, fall)

    def surface(self, temperature: np.ndarray) -> Surface:
        """The faces of a box, cell by cell, that glow by their temperature."""
        vertices, faces, nearest = [], [], []
        counts = np.array(self.solid.shape)
        for axis in range(3):
            b, c = (axis + 1) % 3, (axis + 2) % 3
            for way in (0, 1):
                i, j = (g.ravel() for g in np.meshgrid(*(np.arange(counts[k] + 1) for k in (b, c)), indexing="ij"))
                corner = np.zeros((len(i), 3))
                corner[:, axis], corner[:, b], corner[:, c] = way * counts[axis], i, j
                start = sum(len(v) for v in vertices)
                vertices.append(corner)
                across = counts[c] + 1
                p = (start + np.arange(counts[b])[:, None] * across + np.arange(counts[c])[None]).ravel()
                quad = np.stack([p, p + across, p + across + 1, p + 1], axis=1)
                quad = quad if way else quad[:, ::-1]
                faces += [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]
                nearest.append(np.clip(corner - 0.5, 0, counts - 1))
        places = np.concatenate(nearest).T
        heat = np.stack([ndimage.map_coordinates(each, places, order=1) for each in temperature])
        rest = (self.low + self.cell * np.concatenate(vertices)).astype(np.float32)
        still = np.broadcast_to(rest, (len(temperature), *rest.shape)).copy()
        block = self.block
        return Surface(
            block.name, rest, np.concatenate(faces).astype(np.int32), still, block.look, block.instance,
            moves=False, focus=block.focus, shine=glow_of(heat),
        )  # fmt: skip


def glow_of(temperature: np.ndarray) -> np.ndarray:
    """(...,3) what a body glows with, linear RGB: Planck's law at 610, 550 and 465 nm, exposed for 1300 K."""
    waves = np.array([610e-9, 550e-9, 465e-9])
    second = 0.014388
    kelvin = np.maximum(np.asarray(temperature, dtype=np.float64), 250.0)[..., None]
    # The same white balance for all: equal at 5500 K.
    radiance = np.exp(-second / (waves * kelvin)) / np.exp(-second / (waves * 5500.0))
    exposed = np.exp(-second / (610e-9 * 1300.0)) / np.exp(-second / (610e-9 * 5500.0))
    # An eye, or a camera, takes in wide differences compressed.
    return (2.2 * (radiance / exposed) ** 0.6).astype(np.float32)

"""Smoke that rises in air, drawn as a volume; see `air.py` for how the air moves."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from phys4d.errors import ExplodedError
from phys4d.sim.engines import ENGINES
from phys4d.sim.engines.mujoco.coupled import RigidPart
from phys4d.sim.engines.seeds import inside
from phys4d.sim.engines.smoke.air import AXES, Air
from phys4d.sim.media import Smoke
from phys4d.sim.motion import Motion, Volume
from phys4d.sim.rotations import rotate
from phys4d.sim.scene import SceneSpec
from phys4d.sim.shapes import Collider, Ground, multiply

ROOM = 293.15
"""Temperature of the room [K]."""
COURANT = 0.8
"""How many cells the air may travel in a step."""
LONGEST = 1 / 40
"""Longest step [s]."""
BRISK = 0.05
"""How fast a source reaches its temperature and velocity [s]."""


@ENGINES.register("smoke")
def run(spec: SceneSpec, frames: int, fps: float) -> Motion:
    """Simulate smoke among bodies at rest. Raises ExplodedError where the air is not to be believed.

    The state has for the smoke its instance, its mass and what its source gave [kg], the volume that holds nine
    tenths of it [m^3], the mean and the highest temperature of the air where there is smoke [K], and the height of
    its top [m] at every frame.
    """
    (smoke,) = (medium for medium in spec.media if isinstance(medium, Smoke))
    rigid = RigidPart(spec, 1 / fps)
    plume = Plume(spec, smoke)
    density, speed, rows = [], [], []
    for frame in range(frames):
        if frame:
            plume.advance(1 / fps)
            rigid.data.time += 1 / fps
        rigid.note()
        density.append(plume.density.astype(np.float32))
        speed.append(plume.air.centred().astype(np.float32))
        rows.append(plume.row())
        if not np.isfinite(rows[-1]["mass"]):
            raise ExplodedError(f"scene {spec.name} exploded: the air is nowhere")
    shift = [(a + b) / (2 * fps) for a, b in pairwise(speed)]
    extinction = np.array(density) * smoke.extinction
    volume = Volume(
        smoke.name, extinction, np.array(shift).reshape(-1, *extinction.shape[1:], 3), plume.low, smoke.cell,
        smoke.colour, smoke.instance, smoke.focus,
    )  # fmt: skip
    state = rigid.state(fps)
    series: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    state["media"] = {smoke.name: {"instance": smoke.instance, **series}}
    return Motion(tuple(rigid.surfaces()), fps, state, (volume,))


class Plume:
    """The air and what it carries. density [kg/m^3] and warmth above the room [K], (X,Y,Z)."""

    def __init__(self, spec: SceneSpec, smoke: Smoke) -> None:
        self.smoke, self.gravity = smoke, spec.gravity
        self.low = np.array(smoke.domain[0])
        x, y, z = np.round((np.array(smoke.domain[1]) - self.low) / smoke.cell).astype(int)
        self.shape = (int(x), int(y), int(z))
        self.air = Air(self.shape, smoke.cell, [self._covered(spec, axis) for axis in AXES])
        self.density, self.warmth = np.zeros(self.shape), np.zeros(self.shape)
        self._source = self._within(-1)
        self._blown = [self._within(axis) for axis in AXES]
        self.time = self.given = 0.0

    def _places(self, axis: int) -> np.ndarray:
        """(...,3) middles of the faces across an axis, or of cells for -1 [m]."""
        counts = [n + (k == axis) for k, n in enumerate(self.shape)]
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).astype(float)
        return self.low + self.smoke.cell * (grid + [0.0 if k == axis else 0.5 for k in AXES])

    def _within(self, axis: int) -> np.ndarray:
        places = self._places(axis)
        depth = inside(self.smoke.source, places.reshape(-1, 3)).reshape(places.shape[:-1])
        # Smooth across a cell, so that it does not matter where the grid lies.
        return np.clip(0.5 - depth / self.smoke.cell, 0, 1)

    def _covered(self, spec: SceneSpec, axis: int) -> np.ndarray:
        places = self._places(axis)
        flat, covered = places.reshape(-1, 3), np.zeros(places[..., 0].size, dtype=bool)
        for body in spec.bodies:
            if not body.solid or isinstance(body.shape, Ground):
                continue
            for part in body.shape.colliders():
                at = np.array(body.position) + rotate(np.array(body.rotation), np.array(part.position))
                turn = multiply(body.rotation, part.rotation)
                x, y, z = (float(c) for c in at)
                if part.kind != "plane":
                    covered |= inside(Collider(part.kind, part.size, (x, y, z), turn), flat) < 0
        return covered.reshape(places.shape[:-1])

    def advance(self, seconds: float) -> None:
        done = 0.0
        while done < seconds - 1e-9:
            fastest = self.air.fastest() + 0.1
            count = math.ceil((seconds - done) / min(COURANT * self.smoke.cell / fastest, LONGEST))
            dt = (seconds - done) / count
            self._step(dt)
            done += dt

    def _step(self, dt: float) -> None:
        air, smoke = self.air, self.smoke
        if self.time < smoke.until:
            self._feed(dt)
        air.carry_velocity(dt)
        lift = -np.array(self.gravity)[2] * self.warmth / ROOM
        # Boussinesq: what is warmer than the room is lighter by as much.
        air.velocity[2][:, :, 1:-1] += dt * (lift[:, :, 1:] + lift[:, :, :-1]) / 2
        air.project()
        self.density = np.maximum(air.carry(self.density, dt), 0.0)
        self.warmth = air.carry(self.warmth, dt)
        self.time += dt

    def _feed(self, dt: float) -> None:
        smoke = self.smoke
        fed = smoke.rate * dt * self._source
        self.density += fed
        self.given += float(fed.sum()) * smoke.cell**3
        catch = 1 - math.exp(-dt / BRISK)
        self.warmth += catch * self._source * (smoke.heat - self.warmth)
        if smoke.blown is not None:
            for axis, v in enumerate(self.air.velocity):
                v += catch * self._blown[axis] * (smoke.blown[axis] - v)

    def row(self) -> dict[str, float]:
        cell = self.smoke.cell
        total = float(self.density.sum())
        ordered = np.sort(self.density.ravel())[::-1]
        holding = int(np.searchsorted(np.cumsum(ordered), 0.9 * total)) + 1 if total > 0 else 0
        there = self.density > 0.05 * max(float(self.density.max()), 1e-12)
        top = np.flatnonzero(there.any(axis=(0, 1)))
        return {
            "mass": float(f"{total * cell**3:.8g}"),
            "given": float(f"{self.given:.8g}"),
            "volume": round(holding * cell**3, 8),
            "temperature": round(ROOM + float(self.warmth[there].mean()) if there.any() else ROOM, 3),
            "hottest": round(ROOM + float(self.warmth.max()), 3),
            "top": round(float(self.low[2] + cell * (top.max() + 1)) if len(top) else float(self.low[2]), 5),
        }

"""Grains by the discrete element method: every grain is a sphere that slides, rolls and rests on the others.

Linear springs and dampers with Coulomb friction and rolling resistance, springs too (Cundall and Strack 1979; Ai
and others 2011, type C). Springs are as soft as the weight of the heap
allows, so that a step may be long. Bodies are moved by MuJoCo under the grains' forces, and grains meet all their
primitives: both ways.
"""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

import math
from typing import Any

import numpy as np

from phys4d.errors import ExplodedError
from phys4d.sim.device import load_module, wp
from phys4d.sim.engines import ENGINES, KERNELS
from phys4d.sim.engines.mujoco.coupled import RigidPart
from phys4d.sim.engines.mujoco.soundness import check_energy
from phys4d.sim.engines.seeds import packed
from phys4d.sim.engines.solids import SolidArrays
from phys4d.sim.kernels import grains as kernels
from phys4d.sim.media import Grains
from phys4d.sim.motion import Motion, Spheres
from phys4d.sim.rotations import matrices
from phys4d.sim.scene import SceneSpec

SOFTNESS = 0.02
"""By how much of a radius the lowest grains of a heap are pressed in, and no more."""
IMPACT = 0.25
"""The same of a grain that meets another after a fall through the whole scene."""
STEPS = 14
"""Steps to the period of a contact."""
ROOM = 293.15
"""Temperature of what nothing heats [K]."""
SETTLING = 0.3
"""How long grains are left to settle before a scene begins [s]."""
LASTING = (4, 12)
"""Fewest and most steps between two searches for neighbours."""


@ENGINES.register("grains")
def run(spec: SceneSpec, frames: int, fps: float) -> Motion:
    """Simulate grains and bodies. Raises ExplodedError where a grain is lost or a body is not to be believed.

    The state has, beside that of bodies, for every medium its instance, material, count, mass [kg] and volume
    [m^3] at every frame, temperature [K], the place of its centre of mass [m], and by frame the kinetic, potential
    and elastic energy [J] and momentum [kg m/s] of grains and bodies together.
    """
    (grains,) = (medium for medium in spec.media if isinstance(medium, Grains))
    heap = _Heap(spec, grains, fps)
    centres, rotations = [], []
    for frame in range(frames):
        if frame:
            heap.advance(heap.substeps)
        heap.rigid.note()
        heap.note()
        centres.append(heap.place.copy())
        rotations.append(matrices(heap.turn[:, [3, 0, 1, 2]]).astype(np.float32))
    spheres = Spheres(
        grains.name, heap.radius, np.array(centres), np.array(rotations), grains.look, grains.instance,
        moves=True, focus=grains.focus,
    )  # fmt: skip
    return Motion((*heap.rigid.surfaces(), spheres), fps, heap.state(fps))


def load_kernels() -> None:
    """Compile the kernels, once for a machine and a version."""
    load_module(kernels.__name__, what="the kernels of grains")


KERNELS["grains"] = load_kernels


class _Heap:
    """Grains as they are now, and the bodies among them."""

    def __init__(self, spec: SceneSpec, grains: Grains, fps: float) -> None:
        load_kernels()
        self.spec, self.grains = spec, grains
        rng = np.random.default_rng(round(1e6 * grains.radius))
        self.place, self.radius = packed(grains.region, grains.radius, rng)
        count = len(self.place)
        density = grains.material.density
        mass = (density * 4 / 3 * math.pi * self.radius**3).astype(np.float32)
        high = max(float(np.ptp(self.place[:, 2])), 8 * grains.radius)
        gravity = abs(spec.gravity[2])
        # The force that a column of grains rests on its lowest with.
        weight = 0.6 * density * gravity * high * 4 * grains.radius**2
        fall = max(float(self.place[:, 2].max()), *(body.position[2] for body in spec.bodies if body.free), 0.0)
        shared = float(mass.mean()) / 2
        impact = 2 * gravity * fall * shared / (IMPACT * grains.radius) ** 2
        stiffness = max(weight / (SOFTNESS * grains.radius), impact)
        period = 2 * math.pi * math.sqrt(shared / stiffness)
        self.substeps = math.ceil(STEPS / (fps * period))
        self.dt = 1 / (fps * self.substeps)
        self.rigid = RigidPart(spec, self.dt)
        self.solids = SolidArrays(spec.bodies, grains.material, [grains.region] if grains.held else [])
        e = max(grains.material.restitution, 0.02)
        self.law: Any = kernels.Law()
        self.law.normal, self.law.tangent = stiffness, 2 / 7 * stiffness
        self.law.damping = -math.log(e) / math.hypot(math.pi, math.log(e))
        self.law.friction, self.law.rolling = grains.material.friction, grains.rolling
        self._upload(mass, count, rng)
        self.momentum, self.energy, self.centre = [], [], []
        self._settle()

    def _upload(self, mass: np.ndarray, count: int, rng: np.random.Generator) -> None:
        vector, cpu = wp.vec3, "cpu"
        self.arrays: Any = kernels.State()
        self.arrays.place = wp.array(self.place, dtype=vector, device=cpu)
        self.arrays.velocity = wp.zeros(count, dtype=vector, device=cpu)
        self.arrays.spin = wp.zeros(count, dtype=vector, device=cpu)
        turn = rng.normal(size=(count, 4))
        turn /= np.linalg.norm(turn, axis=1, keepdims=True)
        self.arrays.turn = wp.array(turn.astype(np.float32), dtype=wp.quat, device=cpu)
        self.arrays.radius = wp.array(self.radius, dtype=wp.float32, device=cpu)
        self.arrays.mass = wp.array(mass, dtype=wp.float32, device=cpu)
        self._lists = [
            {
                "near": wp.full(count * kernels.NEAR, -1, dtype=wp.int32, device=cpu),
                "slide": wp.zeros(count * kernels.NEAR, dtype=vector, device=cpu),
                "roll": wp.zeros(count * kernels.NEAR, dtype=vector, device=cpu),
                "walls": wp.full(count * kernels.WALLS, -1, dtype=wp.int32, device=cpu),
                "wall_slide": wp.zeros(count * kernels.WALLS, dtype=vector, device=cpu),
                "wall_roll": wp.zeros(count * kernels.WALLS, dtype=vector, device=cpu),
            }
            for _ in range(2)
        ]
        self._list(0)
        self._force = [wp.zeros(count, dtype=vector, device=cpu) for _ in range(2)]
        self._on_bodies = [wp.zeros(len(self.spec.bodies) + 1, dtype=vector, device=cpu) for _ in range(2)]
        self._stored = wp.zeros(count, dtype=wp.float64, device=cpu)
        # On the CPU these are views: what kernels write can be read, and the other way round.
        self.place, self.velocity = self.arrays.place.numpy(), self.arrays.velocity.numpy()
        self.turn, self.spin, self.mass = self.arrays.turn.numpy(), self.arrays.spin.numpy(), mass
        self._grid = wp.HashGrid(64, 64, 64, device=cpu)

    def _list(self, which: int) -> None:
        self._which = which
        for name, array in self._lists[which].items():
            setattr(self.arrays, name, array)

    def _settle(self) -> None:
        """Let the grains come to rest where they are held; bodies wait."""
        substeps = math.ceil(SETTLING / self.dt)
        for part in range(4):
            self._step(substeps // 4, bodies=False)
            if part < 3:
                self.velocity *= 0.3
        self.solids.release()
        self.velocity[:] = self.grains.velocity
        self.spin[:] = 0.0

    def advance(self, steps: int) -> None:
        self._step(steps, bodies=True)
        if not np.isfinite(self.place).all():
            raise ExplodedError(f"scene {self.spec.name} exploded: a grain is nowhere")
        if (self.arrays.near.numpy()[kernels.NEAR - 1 :: kernels.NEAR] >= 0).any():
            raise ExplodedError(f"scene {self.spec.name} exploded: grains are squeezed into each other")

    def _step(self, steps: int, *, bodies: bool) -> None:
        moving = bodies and self.rigid.moves
        gravity, cpu = wp.vec3(*self.spec.gravity), "cpu"
        on_bodies = [array.numpy() for array in self._on_bodies]
        left = 0
        for _ in range(steps):
            if not left:
                left = self._search()
            left -= 1
            if moving:
                for array in on_bodies:
                    array[:] = 0.0
            inputs = [self.arrays, self.solids.arrays, self.law, gravity, self.dt, *self._force, *self._on_bodies]
            wp.launch(kernels.push_grains, len(self.radius), inputs, device=cpu)
            wp.launch(kernels.move_grains, len(self.radius), [self.arrays, self.dt, *self._force], device=cpu)
            if moving:
                self.rigid.advance(on_bodies[0][:-1].astype(float), on_bodies[1][:-1].astype(float))
                self.solids.move(self.rigid.origin, self.rigid.rotation, *self.rigid.motion())

    def _search(self) -> int:
        """Find who may touch whom within the next steps, whose number it returns: the fast look farther."""
        fastest = math.sqrt(float((self.velocity**2).sum(axis=1).max()))
        lasting = min(max(int(0.8 * self.grains.radius / (fastest * self.dt + 1e-9)), LASTING[0]), LASTING[1])
        horizon = lasting * self.dt
        self._grid.build(self.arrays.place, 2.3 * self.grains.radius + 2 * fastest * horizon)
        other = self._lists[1 - self._which]
        inputs = [self._grid.id, horizon, fastest, self.arrays, self.solids.arrays, *other.values()]
        wp.launch(kernels.find_neighbours, len(self.radius), inputs, device="cpu")
        self._list(1 - self._which)
        return lasting

    def note(self) -> None:
        self.centre.append(np.average(self.place, axis=0, weights=self.mass))
        inertia = 0.4 * self.mass * self.radius**2
        moving = (self.mass * (self.velocity**2).sum(1) + inertia * (self.spin**2).sum(1)).sum() / 2
        inputs = [self.arrays, self.solids.arrays, self.law, self._stored]
        wp.launch(kernels.stored_energy, len(self.radius), inputs, device="cpu")
        stored = self._stored.numpy().sum()
        self.energy.append(float(moving + stored - self.mass @ (self.place @ np.array(self.spec.gravity))))
        self.momentum.append((self.mass[:, None] * self.velocity).sum(0))

    def state(self, fps: float) -> dict[str, Any]:
        state = self.rigid.state(fps)
        frames = len(self.energy)
        volume = float((4 / 3 * math.pi * self.radius.astype(float) ** 3).sum())
        state["media"] = {
            self.grains.name: {
                "instance": self.grains.instance,
                "material": self.grains.material.name,
                "count": len(self.radius),
                "radius": self.grains.radius,
                "mass": [round(float(self.mass.sum()), 6)] * frames,
                "volume": [round(volume, 8)] * frames,
                "temperature": [ROOM] * frames,
                "position": np.round(self.centre, 6).tolist(),
            }
        }
        energy = np.array(state["energy"]) + self.energy
        check_energy(self.spec, energy - np.array(state.get("work", 0.0)))
        state["energy"] = np.round(energy, 6).tolist()
        state["momentum"] = np.round(np.array(state["momentum"]) + self.momentum, 6).tolist()
        return state

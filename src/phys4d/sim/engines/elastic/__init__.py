"""Cloth, elastic solids and inflatables on Warp, beside rigid bodies in MuJoCo; both push on each other.

Membranes of triangles, plates that bend, cells of a neo-Hookean solid and gases, all explicit: a leapfrog with
steps as short as their own sound needs. docs/simulation.md says why.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from phys4d.errors import ExplodedError
from phys4d.sim.device import load_module
from phys4d.sim.elastics import Cloth, Inflatable, Solid
from phys4d.sim.engines import ENGINES, KERNELS
from phys4d.sim.engines.elastic import energy as energies
from phys4d.sim.engines.elastic.build import volume_of
from phys4d.sim.engines.elastic.system import System
from phys4d.sim.engines.mujoco import carry, state_of
from phys4d.sim.engines.mujoco.soundness import check_energy, check_places
from phys4d.sim.engines.mujoco.surfaces import surfaces_of
from phys4d.sim.hulls import finer
from phys4d.sim.kernels.elastic import inside, motion
from phys4d.sim.kernels.elastic.arrays import AMBIENT
from phys4d.sim.motion import Motion, Surface
from phys4d.sim.scene import SceneSpec


@functools.cache
def load_kernels() -> None:
    """Compile the kernels, once for a machine and a version; later they come from Warp's cache."""
    for module in (inside, motion):
        load_module(module.__name__, what="the engine of elastic bodies", seconds=5)


KERNELS["elastic"] = load_kernels


@ENGINES.register("elastic")
def run(spec: SceneSpec, frames: int, fps: float) -> Motion:
    """Simulate `frames` frames. Raises ExplodedError where the simulation blows up.

    The state is that of MuJoCo's engine, with every elastic body: its mass [kg], and for every frame its centre
    of mass [m], that one's velocity [m/s], kinetic and elastic energy [J], and by kind the largest stretch of a
    cloth, the volume [m^3] of what is closed, the pressure [Pa] of a gas; and what it touches, with how much
    force [N] and over how large an area [m^2]. Energy and momentum are those of everything.
    """
    load_kernels()
    system = System(spec, fps)
    recorder = Recorder(system)
    record, model, _, touches = carry(spec, frames, fps, system.intervals, recorder)
    state = state_of(spec, model, record, touches)
    gained = np.array(record["work"]) + recorder.of("work")
    total = np.array(record["energy"]) + recorder.of("energy")
    check_energy(spec, total - gained, float(np.abs(gained).max()))
    check_places(spec, np.array(record["position"]), fps)
    recorder.check()
    state["elastics"] = recorder.state()
    state["contacts"] = sorted([*state["contacts"], *system.touches.rows()], key=lambda row: row["begin"])
    state["energy"] = np.round(total, 6).tolist()
    state["momentum"] = np.round(np.array(record["momentum"]) + recorder.of("momentum"), 6).tolist()
    if not spec.passive:
        state["work"] = np.round(gained, 6).tolist()
    return Motion((*surfaces_of(spec, record), *recorder.surfaces()), fps, state)


class Recorder:
    """Takes part in MuJoCo's run for the elastic bodies, and notes what they do at every frame."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._frames: list[dict[str, Any]] = []

    def advance(self, model: Any, data: Any) -> None:
        self.system.advance(model, data)

    def record(self) -> None:
        system, gravity = self.system, np.array(self.system.spec.gravity)
        bodies, skins, gas = [], [], 0
        for index, (each, part) in enumerate(zip(system.spec.elastics, system.parts)):
            place, speed = system.nodes(index)
            skin = system.skin(index)
            mass = part.mass[:, None]
            row: dict[str, Any] = {
                "position": (mass * place).sum(0) / mass.sum(),
                "velocity": (mass * speed).sum(0) / mass.sum(),
                "kinetic": float(0.5 * (mass * speed**2).sum()),
                "potential": float(-(part.weight[:, None] * place * gravity).sum()),
                "push": system.push[index].copy(),
                "patch": system.patches(index, skin),
            }
            elastic = energies.bending_energy(part, place)
            if isinstance(each, Solid):
                elastic += energies.solid_energy(part, place)
            else:
                elastic += energies.membrane_energy(part, place)
            if isinstance(each, Cloth):
                row["stretch"] = float(np.quantile(energies.stretch_of(part, place), 0.99))
            else:
                row["volume"] = volume_of(skin, part.skin_faces)
            if isinstance(each, Inflatable):
                amount = float(system.amount[gas])
                row["pressure"] = amount / row["volume"] - AMBIENT
                row["amount"] = amount
                elastic += energies.gas_energy(amount, row["volume"])
                gas += 1
            row["elastic"] = elastic
            bodies.append(row)
            skins.append(skin)
        moved = sum((part.mass.sum() * row["velocity"] for part, row in zip(system.parts, bodies)), np.zeros(3))
        total = sum(row["kinetic"] + row["potential"] + row["elastic"] for row in bodies)
        self._frames.append(
            {"bodies": bodies, "skins": skins, "momentum": moved, "energy": total, "work": system.work}
        )

    def of(self, key: str) -> np.ndarray:
        """A series of everything elastic together."""
        return np.array([frame[key] for frame in self._frames])

    def check(self) -> None:
        """Raise ExplodedError where a body is torn apart or a number is none."""
        for index, each in enumerate(self.system.spec.elastics):
            skins = np.array([frame["skins"][index] for frame in self._frames])
            if not np.isfinite(skins).all() or np.abs(skins).max() > 20:
                raise ExplodedError(f"scene {self.system.spec.name} exploded: {each.name} flew apart")
            if isinstance(each, Cloth) and max(self._series(index, "stretch")) > 0.5:
                raise ExplodedError(f"scene {self.system.spec.name} exploded: {each.name} was torn")

    def surfaces(self) -> list[Surface]:
        """What the caster sees: skins, cut finer where every vertex is a node."""
        made = []
        for index, (each, part) in enumerate(zip(self.system.spec.elastics, self.system.parts)):
            skins = np.array([frame["skins"][index] for frame in self._frames])
            rest, faces = part.skin_rest, part.skin_faces
            if not isinstance(each, Solid):
                cut = finer(faces, len(rest))
                rest, faces = cut.matrix @ rest, cut.faces
                skins = np.stack([cut.matrix @ skin for skin in skins])
            made.append(
                Surface(
                    each.name,
                    rest.astype(np.float32),
                    faces.astype(np.int32),
                    skins.astype(np.float32),
                    each.look,
                    each.instance,
                    moves=True,
                    focus=each.focus,
                )
            )
        return made

    def state(self) -> dict[str, Any]:
        """What the metadata say of every elastic body."""
        names = [body.name for body in self.system.spec.bodies]
        rows = {}
        for index, (each, part) in enumerate(zip(self.system.spec.elastics, self.system.parts)):
            rows[each.name] = {
                "instance": each.instance,
                "kind": type(each).__name__.lower(),
                "mass": round(float(part.weight.sum()), 6),
                "material": each.material.name,
                **_constants(each),
                **{
                    key: np.round(self._series(index, key), 6).tolist()
                    for key in ("position", "velocity", "kinetic", "elastic")
                },
            }
            for key, digits in (("stretch", 5), ("volume", 8), ("pressure", 2)):
                if key in self._frames[0]["bodies"][index]:
                    rows[each.name][key] = np.round(self._series(index, key), digits).tolist()
            push, patch = np.array(self._series(index, "push")), np.array(self._series(index, "patch"))
            rows[each.name]["touching"] = {
                names[k]: {"force": np.round(push[:, k], 4).tolist(), "area": np.round(patch[:, k], 6).tolist()}
                for k in np.flatnonzero(push.any(axis=0))
            }
        return rows

    def _series(self, index: int, key: str) -> list[Any]:
        return [frame["bodies"][index][key] for frame in self._frames]


def _constants(each: Cloth | Solid | Inflatable) -> dict[str, float]:
    """The constants of the material that motion depends on, SI units."""
    match each:
        case Cloth():
            keys = ("thickness", "stretch_stiffness", "shear_stiffness", "bending_stiffness")
            return dict(zip(keys, (each.thickness, each.stretch, each.shear, each.bending)))
        case Solid():
            return {key: getattr(each, key) for key in ("young", "poisson", "loss", "relaxation")}
        case Inflatable():
            return {"thickness": each.thickness, "young": each.young, "valve": each.valve, "pump": each.pump}

"""Liquids by particles on a staggered grid, with a free surface, slanted walls and bodies that float or sink.

Particles carry velocities and their gradients (APIC: Jiang and others 2015), the grid keeps the volume: a pressure
solve with a free surface between cells (Enright and others 2003), walls that cover faces by a share, and free
bodies solved together with the liquid (Batty, Bertails and Bridson 2007). Particles that crowd push themselves
apart, and none leaves the domain. The liquid slips along walls, unless it is viscous. There is no surface tension.
"""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

import math
from typing import Any

import numpy as np

from phys4d.errors import ExplodedError
from phys4d.sim.device import load_module
from phys4d.sim.engines import ENGINES, KERNELS
from phys4d.sim.engines.grains import ROOM
from phys4d.sim.engines.liquid.pool import Pool
from phys4d.sim.engines.mujoco.coupled import RigidPart
from phys4d.sim.engines.skins import Carrier
from phys4d.sim.kernels import covers, faces, pressure, transfer
from phys4d.sim.media import Liquid
from phys4d.sim.motion import Motion
from phys4d.sim.scene import SceneSpec

STRIDE = 5e-4
"""Longest step of the bodies [s]; a step of the liquid is several of them."""
COURANT = 1.6
"""How many cells the liquid may travel in a step."""
LONGEST = 1 / 45
"""Longest step of the liquid [s]."""
GAIN = 0.04
"""Share of its energy that a liquid may gain: crowded particles that are pushed apart lift it by millimetres."""
FASTEST = 30.0
"""A liquid that is faster has exploded [m/s]: tanks are less than a metre high."""


@ENGINES.register("liquid")
def run(spec: SceneSpec, frames: int, fps: float) -> Motion:
    """Simulate a liquid and bodies. Raises ExplodedError where the liquid or a body is not to be believed.

    The state has, beside that of bodies, for the liquid its instance, mass [kg], temperature [K], the volume that
    its surface encloses [m^3] and the place of its centre of mass [m] at every frame; by frame the kinetic and
    potential energy [J] and momentum [kg m/s] of liquid and bodies together.
    """
    load_kernels()
    (liquid,) = (medium for medium in spec.media if isinstance(medium, Liquid))
    strides = math.ceil(1 / (fps * STRIDE))
    rigid = RigidPart(spec, 1 / (fps * strides))
    pool = Pool(spec, liquid, rigid)
    places, speeds, solids = [pool.place.copy()], [pool.velocity.copy()], [pool.distances()]
    rigid.note()
    for _ in range(1, frames):
        done = 0
        while done < strides:
            fastest = max(pool.fastest(), 0.2)
            if not math.isfinite(fastest) or fastest > FASTEST:
                raise ExplodedError(f"scene {spec.name} exploded: the liquid moves at {fastest:.3g} m/s")
            longest = min(COURANT * pool.cell / fastest, LONGEST)
            # Equal shares of what is left of the frame.
            count = math.ceil((strides - done) * rigid.timestep / longest)
            steps = max((strides - done) // count, 1)
            pool.step(steps)
            done += steps
        rigid.note()
        places.append(pool.place.copy())
        speeds.append(pool.velocity.copy())
        solids.append(pool.distances())
    carrier = Carrier(np.array(places), np.array(solids), liquid.domain[0], pool.cell)
    skin = carrier.skin(liquid.name, liquid.look, liquid.instance, focus=liquid.focus)
    state = rigid.state(fps)
    _tell(state, spec, pool, np.array(places), np.array(speeds), skin.volumes())
    return Motion((*rigid.surfaces(), skin), fps, state)


def load_kernels() -> None:
    """Compile the kernels, once for a machine and a version."""
    for module in (transfer, pressure, covers, faces):
        load_module(module.__name__, what="the kernels of liquids")


KERNELS["liquid"] = load_kernels


def _tell(
    state: dict[str, Any],
    spec: SceneSpec,
    pool: Pool,
    places: np.ndarray,
    speeds: np.ndarray,
    volumes: np.ndarray,
) -> None:
    """Add to the state of the bodies that of the liquid. places, speeds: (T,N,3) of its particles."""
    liquid, mass = pool.liquid, pool.mass
    energy = mass * ((speeds**2).sum((1, 2)) / 2 - (places @ np.array(spec.gravity)).sum(1))
    state["media"] = {
        liquid.name: {
            "instance": liquid.instance,
            "density": liquid.density,
            "viscosity": liquid.viscosity,
            "mass": [round(mass * places.shape[1], 6)] * len(places),
            "volume": np.round(volumes, 8).tolist(),
            "temperature": [ROOM] * len(places),
            "position": np.round(places.mean(axis=1), 6).tolist(),
        }
    }
    energy += np.array(state["energy"])
    passive = energy - np.array(state.get("work", 0.0))
    if np.max(passive) - passive[0] > GAIN * abs(passive[0]):
        raise ExplodedError(
            f"scene {spec.name} exploded: its energy rose from {passive[0]:.4g} to {passive.max():.4g} J"
        )
    state["energy"] = np.round(energy, 6).tolist()
    state["momentum"] = np.round(np.array(state["momentum"]) + mass * speeds.sum(1), 6).tolist()

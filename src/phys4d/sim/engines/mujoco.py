"""Rigid bodies in MuJoCo, with contacts that keep the restitution and friction that were asked for."""

# MuJoCo ships no types for what its C library holds.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import math
from itertools import combinations
from typing import Any

import mujoco
import numpy as np
from scipy.optimize import brentq

from phys4d.errors import WorkError
from phys4d.sim.engines import ENGINES
from phys4d.sim.motion import Motion, Spheres, Surface
from phys4d.sim.scene import Body, SceneSpec, contact_of
from phys4d.sim.shapes import Ball

TIMESTEP = 2e-4
"""Longest integration step [s]; frames fall on whole steps."""
CONTACT_RATE = 600.0
"""Undamped angular frequency of a contact [rad/s]: it lasts 5 ms, and an impact at 4 m/s sinks in by 6 mm."""

_GEOMS = {
    "plane": mujoco.mjtGeom.mjGEOM_PLANE,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
}


@ENGINES.register("mujoco")
def run(spec: SceneSpec, frames: int, fps: float) -> Motion:
    """Simulate `frames` frames. Raises WorkError where the simulation blows up (NaN, or more energy than before).

    The state has, for every body and frame, position [m], rotation (w,x,y,z), velocity [m/s] and spin [rad/s] in
    world axes, and its mass [kg]; for every frame the energy [J] and momentum [kg m/s] of all free bodies.
    """
    substeps = math.ceil(1 / (fps * TIMESTEP))
    model = _compile(spec, 1 / (fps * substeps))
    data = mujoco.MjData(model)
    bodies = [model.body(body.name).id for body in spec.bodies]
    for body, index in zip(spec.bodies, bodies):
        if body.free:
            dof = model.body_dofadr[index]
            data.qvel[dof : dof + 3] = body.velocity
            # MuJoCo keeps the angular velocity of a free joint in the body's own axes.
            data.qvel[dof + 3 : dof + 6] = _rotate_inverse(np.array(body.rotation), np.array(body.spin))
    record = {key: [] for key in ("position", "rotation", "velocity", "spin", "energy", "momentum")}
    for frame in range(frames):
        if frame:
            mujoco.mj_step(model, data, nstep=substeps)
        mujoco.mj_forward(model, data)
        _record(record, model, data, spec, bodies)
    _check(spec, np.array(record["energy"]))
    position, rotation = np.array(record["position"]), np.array(record["rotation"])
    surfaces = []
    for index, body in enumerate(spec.bodies):
        surfaces += _surfaces(body, position[:, index], rotation[:, index])
    return Motion(tuple(surfaces), fps, _state(spec, model, bodies, record))


def damping_ratio(restitution: float, rate_step: float) -> float:
    """The damping ratio of a contact that bounces with this coefficient of restitution.

    `rate_step` is CONTACT_RATE times the time step. A contact can push but not pull, so it ends when its force has
    fallen to zero, not its depth; and a step is a finite part of it. Both move the bounce away from the textbook's
    zeta = -ln e / sqrt(pi^2 + ln^2 e), so the ratio is solved for on the very recursion that is integrated.
    """
    if restitution >= 1:
        return 0.0
    return _solve_damping(max(round(restitution, 6), 0.02), round(rate_step, 9))


def bounce(damping: float, rate_step: float, phases: int = 64) -> float:
    """Root-mean-square rebound speed of a unit impact on a contact, over where in a step the impact falls.

    In the limit of small steps this is Schwager and Poeschel, Granular Matter 9, 465 (2007), equation 21.
    """
    depth = (np.arange(phases) + 0.5) / phases * rate_step
    speed, touching = np.ones(phases), np.ones(phases, dtype=bool)
    for _ in range(math.ceil(20 * (1 + damping) / rate_step)):
        push = np.maximum(depth + 2 * damping * speed, 0) * (depth > 0)
        speed = np.where(touching, speed - rate_step * push, speed)
        depth = np.where(touching, depth + rate_step * speed, depth)
        touching &= (depth > 0) & ~((push == 0) & (speed < 0))
        if not touching.any():
            break
    return float(np.sqrt(np.mean(speed**2)))


@functools.cache
def _solve_damping(restitution: float, rate_step: float) -> float:
    root: Any = brentq(lambda z: bounce(z, rate_step) - restitution, 0.0, 3.0, xtol=1e-5)
    return float(root)


def _compile(spec: SceneSpec, timestep: float) -> mujoco.MjModel:
    world = mujoco.MjSpec()
    world.option.timestep = timestep
    world.option.gravity = list(spec.gravity)
    world.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    world.option.impratio = 10  # stiff friction: resting things do not creep
    world.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    world.option.enableflags |= mujoco.mjtEnableBit.mjENBL_ENERGY
    for body in spec.bodies:
        node = world.worldbody.add_body(name=body.name, pos=list(body.position), quat=list(body.rotation))
        if body.free:
            node.add_freejoint()
        for number, part in enumerate(body.shape.colliders()):
            node.add_geom(
                name=_geom_name(body, number),
                type=_GEOMS[part.kind],
                size=list(part.size),
                pos=list(part.position),
                quat=list(part.rotation),
                density=body.material.density if body.free else 0.0,
                # Only the explicit pairs below touch: each has its own friction and restitution.
                contype=0,
                conaffinity=0,
            )
    for a, b in combinations(spec.bodies, 2):
        if a.free or b.free:
            _add_pairs(world, a, b, timestep)
    return world.compile()


def _add_pairs(world: Any, a: Body, b: Body, timestep: float) -> None:
    contact = contact_of(a.material, b.material)
    damping = 2 * damping_ratio(contact.restitution, CONTACT_RATE * timestep) * CONTACT_RATE
    for i in range(len(a.shape.colliders())):
        for j in range(len(b.shape.colliders())):
            world.add_pair(
                geomname1=_geom_name(a, i),
                geomname2=_geom_name(b, j),
                condim=3,
                friction=[contact.friction, contact.friction, 0.0, 0.0, 0.0],
                solref=[-(CONTACT_RATE**2), -damping],
                # Friction is not a spring: critically damped, whatever the normal direction does.
                solreffriction=[-(CONTACT_RATE**2), -2 * CONTACT_RATE],
                # Not closer to 1: the solver would need several times the iterations to hold a stack.
                solimp=[0.95, 0.95, 0.001, 0.5, 2.0],
            )


def _record(record: dict[str, list], model: Any, data: Any, spec: SceneSpec, bodies: list[int]) -> None:
    velocity = np.zeros((len(bodies), 6))
    momentum = np.zeros(3)
    for row, (body, index) in enumerate(zip(spec.bodies, bodies)):
        if body.free:
            # Of the body's own origin, in world axes: (angular, linear).
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, index, velocity[row], 0)
            centre = np.zeros(6)
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, index, centre, 0)
            momentum += model.body_mass[index] * centre[3:]
    record["position"].append(data.xpos[bodies].copy())
    record["rotation"].append(data.xquat[bodies].copy())
    record["spin"].append(velocity[:, :3])
    record["velocity"].append(velocity[:, 3:])
    record["energy"].append(float(data.energy.sum()))
    record["momentum"].append(momentum)


def _check(spec: SceneSpec, energy: np.ndarray) -> None:
    """A passive scene only loses energy; one that gains it, or holds NaN, has exploded."""
    gain, change = energy.max() - energy[0], energy.max() - energy.min()
    if not np.isfinite(energy).all() or gain > 0.05 * change + 0.01 * abs(energy[0]) + 1e-3:
        raise WorkError(
            f"scene {spec.name} exploded: its energy rose from {energy[0]:.4g} to {energy.max():.4g} J"
        )


def _surfaces(body: Body, position: np.ndarray, rotation: np.ndarray) -> list[Surface | Spheres]:
    matrices = _matrices(rotation)

    def moved(points: np.ndarray) -> np.ndarray:
        places = np.einsum("tij,vj->tvi", matrices, points.astype(np.float64)) + position[:, None]
        return places.astype(np.float32)

    surfaces = []
    for piece in body.shape.pieces():
        look = body.look
        if piece.tint is not None:
            look = type(look)(piece.tint, piece.tint, "plain", look.tile, look.gloss)
        shared = {
            "name": body.name,
            "look": look,
            "instance": body.instance,
            "moves": body.free,
            "focus": body.focus,
        }
        if isinstance(piece, Ball):
            turned = matrices[:, None].astype(np.float32)
            radius = np.array([piece.radius], dtype=np.float32)
            surfaces.append(
                Spheres(radius=radius, centres=moved(np.array([piece.centre])), rotations=turned, **shared)
            )
        else:
            surfaces.append(
                Surface(rest=piece.vertices, faces=piece.faces, vertices=moved(piece.vertices), **shared)
            )
    return surfaces


def _state(spec: SceneSpec, model: Any, bodies: list[int], record: dict[str, list]) -> dict[str, Any]:
    def series(key: str, row: int) -> list:
        return np.round(np.array(record[key])[:, row], 6).tolist()

    free = {
        body.name: {
            "instance": body.instance,
            "mass": round(float(model.body_mass[index]), 6),
            "material": body.material.name,
            **{key: series(key, row) for key in ("position", "rotation", "velocity", "spin")},
        }
        for row, (body, index) in enumerate(zip(spec.bodies, bodies))
        if body.free
    }
    return {
        "bodies": free,
        "energy": np.round(record["energy"], 6).tolist(),
        "momentum": np.round(record["momentum"], 6).tolist(),
    }


def _matrices(quaternions: np.ndarray) -> np.ndarray:
    w, x, y, z = quaternions.T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=-1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=-1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1),
        ],
        axis=-2,
    )


def _rotate_inverse(rotation: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return _matrices(rotation[None])[0].T @ vector


def _geom_name(body: Body, number: int) -> str:
    return f"{body.name}/{number}"

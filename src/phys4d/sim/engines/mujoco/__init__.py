"""Rigid bodies, joints and ropes in MuJoCo, with contacts that keep the restitution and friction asked for."""

# MuJoCo ships no types for what its C library holds.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from typing import Any, Protocol

import mujoco
import numpy as np

from phys4d.sim.engines import ENGINES
from phys4d.sim.engines.mujoco.contact import CONTACT_RATE, Touches, bounce, damping_ratio
from phys4d.sim.engines.mujoco.model import Model, build, segment_lengths
from phys4d.sim.engines.mujoco.soundness import check
from phys4d.sim.engines.mujoco.surfaces import surfaces_of
from phys4d.sim.motion import Motion
from phys4d.sim.rotations import rotate
from phys4d.sim.scene import Rope, SceneSpec

TIMESTEP = 2e-4
"""Longest integration step [s]; frames fall on whole steps."""
ROPE_TIMESTEP = 4e-4
"""The same where there are ropes: their many links take long, and their contacts are dull."""
STRIDE = 3
"""Steps between two looks at the contacts: a push that lasts 5 ms is seen to within 2 % of its peak."""

__all__ = ["CONTACT_RATE", "TIMESTEP", "bounce", "damping_ratio", "record_frame", "run", "state_of"]


class Guest(Protocol):
    """Something that MuJoCo knows nothing of, and that moves along with it: `advance` is called before each of its
    steps, reads where the bodies are and may push on them; `record` at every frame."""

    def advance(self, model: Model, data: Any) -> None: ...

    def record(self) -> None: ...


@ENGINES.register("mujoco")
def run(spec: SceneSpec, frames: int, fps: float) -> Motion:
    """Simulate `frames` frames. Raises ExplodedError where the simulation blows up, see `soundness.check`.

    The state has for every moving body its mass [kg] and, for every frame, position [m], rotation (w,x,y,z),
    velocity [m/s] and spin [rad/s] in world axes, and the coordinate and speed of its hinge or slide; for every
    rope its nodes [m] and their velocities [m/s]; all contacts; for every frame the energy [J] and momentum
    [kg m/s] of everything that moves, and where motors drive it, the work [J] that they have done so far.
    """
    substeps = math.ceil(1 / (fps * (ROPE_TIMESTEP if spec.ropes else TIMESTEP)))
    record, model, data, touches = carry(spec, frames, fps, substeps)
    check(spec, model, data, {key: np.array(record[key]) for key in ("position", "energy", "work")}, fps)
    return Motion(tuple(surfaces_of(spec, record)), fps, state_of(spec, model, record, touches))


def carry(
    spec: SceneSpec, frames: int, fps: float, substeps: int, guest: Guest | None = None
) -> tuple[dict[str, list], Model, Any, Touches]:
    """Run all frames of so many steps each; returns what was recorded by frame, the model, its data, its
    contacts."""
    timestep = 1 / (fps * substeps)
    model = build(spec, timestep)
    data = model.start(spec)
    # RK4 knows place and speed of one moment; the other integrators are a leapfrog, see `_midway`.
    leaps = model.compiled.opt.integrator != mujoco.mjtIntegrator.mjINT_RK4
    now = mujoco.MjData(model.compiled) if leaps else data
    touches = Touches(model.names, model.owner, STRIDE * timestep)
    record: dict[str, list] = {
        key: [] for key in ("position", "rotation", "velocity", "spin", "energy", "momentum")
    }
    record |= {"work": [], "coordinate": [], "rate": [], "ropes": []}
    work = 0.0
    for frame in range(frames):
        if frame:
            work += _advance(model, data, substeps, touches, guest, passive=spec.passive)
        if leaps:
            speed = data.qvel.copy()
            _midway(model, data, now)
            if frame == 0:
                # It begins half a step early, so that the speed asked for is that of the first moment.
                data.qvel[:] = 2 * speed - now.qvel
                now.qvel[:] = speed
        mujoco.mj_forward(model.compiled, now)
        record_frame(record, model, now, spec)
        record["work"].append(work)
        if guest:
            guest.record()
    return record, model, data, touches


def _midway(model: Model, data: Any, now: Any) -> None:
    """Write into `now` the state of this moment: the place as it is, and the mean of the speeds around it.

    A step takes the speed on by the forces here, then the place by the new speed. So speeds belong half a step
    before places; left there, kinetic energy would lag by half a step, and seem to rise and fall with a swing.
    """
    mujoco.mj_copyData(now, model.compiled, data)
    mujoco.mj_step(model.compiled, now)
    speed = (data.qvel + now.qvel) / 2
    mujoco.mj_copyData(now, model.compiled, data)
    now.qvel[:] = speed


def _advance(
    model: Model, data: Any, substeps: int, touches: Touches, guest: Guest | None, *, passive: bool
) -> float:
    """Take the steps of one frame; returns the work of the motors meanwhile [J]."""
    work, done = 0.0, 0
    power = 0.0 if passive else model.power(data)
    while done < substeps:
        count = 1 if guest else min(STRIDE, substeps - done)
        if guest:
            guest.advance(model, data)
        mujoco.mj_step(model.compiled, data, nstep=count)
        if not passive:
            before, power = power, model.power(data)
            work += (before + power) / 2 * count * model.compiled.opt.timestep
        done += count
        if not guest or done % STRIDE == 0 or done == substeps:
            touches.sample(data)
    return work


def record_frame(record: dict[str, list], model: Model, data: Any, spec: SceneSpec) -> None:
    """Append what bodies and ropes do at this moment."""
    compiled, bodies = model.compiled, model.bodies
    velocity = np.zeros((len(bodies), 6))
    centre, momentum = np.zeros(6), np.zeros(3)
    coordinate, rate = np.zeros(len(bodies)), np.zeros(len(bodies))
    for row, (body, index) in enumerate(zip(spec.bodies, bodies)):
        if body.free:
            # Of the body's own origin, in world axes: (angular, linear).
            mujoco.mj_objectVelocity(compiled, data, mujoco.mjtObj.mjOBJ_XBODY, index, velocity[row], 0)
            mujoco.mj_objectVelocity(compiled, data, mujoco.mjtObj.mjOBJ_BODY, index, centre, 0)
            momentum += compiled.body_mass[index] * centre[3:]
            if body.joint and body.joint.kind != "ball":
                coordinate[row] = data.qpos[compiled.jnt_qposadr[compiled.body_jntadr[index]]]
                rate[row] = data.qvel[compiled.body_dofadr[index]]
    chains = []
    for rope, segments in zip(spec.ropes, model.segments):
        chains.append(_chain(rope, segments, model, data))
        for index in segments:
            mujoco.mj_objectVelocity(compiled, data, mujoco.mjtObj.mjOBJ_BODY, index, centre, 0)
            momentum += compiled.body_mass[index] * centre[3:]
    record["position"].append(data.xpos[bodies].copy())
    record["rotation"].append(data.xquat[bodies].copy())
    record["spin"].append(velocity[:, :3])
    record["velocity"].append(velocity[:, 3:])
    record["energy"].append(float(data.energy.sum()))
    record["momentum"].append(momentum)
    record["coordinate"].append(coordinate)
    record["rate"].append(rate)
    record["ropes"].append(chains)


def _chain(rope: Rope, segments: list[int], model: Model, data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes (N+1, 3), their velocities (N+1, 3) and the rotations of the segments (N, 4)."""
    rotations = data.xquat[segments].copy()
    last = rotate(rotations[-1], np.array([segment_lengths(rope)[-1], 0.0, 0.0]))
    nodes = np.concatenate([data.xpos[segments], data.xpos[segments[-1:]] + last])
    velocity = np.zeros((len(segments), 6))
    for row, index in enumerate(segments):
        mujoco.mj_objectVelocity(model.compiled, data, mujoco.mjtObj.mjOBJ_XBODY, index, velocity[row], 0)
    end = velocity[-1, 3:] + np.cross(velocity[-1, :3], last)
    return nodes, np.concatenate([velocity[:, 3:], end[None]]), rotations


def state_of(spec: SceneSpec, model: Model, record: dict[str, list], touches: Touches) -> dict[str, Any]:
    """What the metadata say of rigid bodies and ropes."""
    arrays = {key: np.array(series) for key, series in record.items() if key != "ropes"}
    bodies = {}
    for row, (body, index) in enumerate(zip(spec.bodies, model.bodies)):
        if not body.free:
            continue
        bodies[body.name] = {
            "instance": body.instance,
            "mass": round(float(model.compiled.body_mass[index]), 6),
            "material": body.material.name,
            **{
                key: np.round(arrays[key][:, row], 6).tolist()
                for key in ("position", "rotation", "velocity", "spin")
            },
        }
        if body.joint:
            bodies[body.name]["joint"] = {"kind": body.joint.kind, "parent": body.joint.parent or "world"}
            if body.joint.kind != "ball":
                for key, name in (("coordinate", "coordinate"), ("speed", "rate")):
                    bodies[body.name]["joint"][key] = np.round(arrays[name][:, row], 6).tolist()
    ropes = {}
    for index, (rope, segments) in enumerate(zip(spec.ropes, model.segments)):
        nodes, velocity, _ = (np.array(series) for series in zip(*(frame[index] for frame in record["ropes"])))
        ropes[rope.name] = {
            "instance": rope.instance,
            "mass": round(float(model.compiled.body_mass[segments].sum()), 6),
            "material": rope.material.name,
            "length": round(rope.length, 6),
            "radius": rope.radius,
            "bending": rope.bending,
            "position": np.round(nodes, 5).tolist(),
            "velocity": np.round(velocity, 4).tolist(),
        }
    return {
        "bodies": bodies,
        **({"ropes": ropes} if ropes else {}),
        "contacts": touches.rows(),
        "passive": spec.passive,
        "energy": np.round(record["energy"], 6).tolist(),
        "momentum": np.round(record["momentum"], 6).tolist(),
        **({} if spec.passive else {"work": np.round(record["work"], 6).tolist()}),
    }

"""A scene as a MuJoCo model: bodies, joints, ropes, motors, and which of them may touch."""

# MuJoCo ships no types for what its C library holds.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import dataclasses
import functools
import math
from itertools import combinations
from typing import Any

import mujoco
import numpy as np

from phys4d.sim.engines.mujoco.contact import CONTACT_RATE, damping_ratio
from phys4d.sim.materials import Material, contact_of
from phys4d.sim.rotations import inverse, product, rotate
from phys4d.sim.scene import Body, Joint, Rope, SceneSpec
from phys4d.sim.shapes import UPRIGHT, about_axis
from phys4d.sim.tube import transported

TIE_RATE = 900.0
"""Angular frequency of what holds the end of a rope [rad/s]; critically damped."""
FIRM = [0.95, 0.95, 0.001, 0.5, 2.0]
"""How much of a constraint is kept in a step. Not closer to 1: stacks would need several times the iterations."""

_GEOMS = {
    "plane": mujoco.mjtGeom.mjGEOM_PLANE,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
}
_JOINTS = {
    "hinge": mujoco.mjtJoint.mjJNT_HINGE,
    "slide": mujoco.mjtJoint.mjJNT_SLIDE,
    "ball": mujoco.mjtJoint.mjJNT_BALL,
}
_ALONG_X = about_axis((0, 1, 0), math.pi / 2)


@dataclasses.dataclass(frozen=True)
class Model:
    """A compiled scene. bodies: MuJoCo's ids of the spec's bodies; segments: those of each rope.

    names: all things, bodies first; owner: the thing that each geom belongs to.
    """

    compiled: Any
    bodies: list[int]
    segments: list[list[int]]
    names: list[str]
    owner: np.ndarray

    def start(self, spec: SceneSpec) -> Any:
        """MuJoCo's data with every coordinate and speed as the scene begins."""
        compiled = self.compiled
        data = mujoco.MjData(compiled)
        for body, index in zip(spec.bodies, self.bodies):
            if not body.free:
                continue
            place, dof = compiled.jnt_qposadr[compiled.body_jntadr[index]], compiled.body_dofadr[index]
            if body.joint is None:
                data.qvel[dof : dof + 3] = body.velocity
                # MuJoCo keeps the angular velocity of a free joint in the body's own axes.
                data.qvel[dof + 3 : dof + 6] = rotate(inverse(np.array(body.rotation)), np.array(body.spin))
            elif body.joint.kind == "ball":
                axis = rotate(inverse(np.array(body.rotation)), np.array(body.joint.axis))
                data.qpos[place : place + 4] = about_axis(tuple(axis), body.joint.start)
                turned = product(np.array(body.rotation), data.qpos[place : place + 4])
                data.qvel[dof : dof + 3] = rotate(inverse(turned), np.array(body.spin))
            else:
                data.qpos[place], data.qvel[dof] = body.joint.start, body.joint.speed
        for rope, segments in zip(spec.ropes, self.segments):
            frames = transported(np.array(rope.path))
            for k, index in enumerate(segments[1:], start=1):
                place = compiled.jnt_qposadr[compiled.body_jntadr[index]]
                data.qpos[place : place + 4] = product(inverse(frames[k - 1]), frames[k])
        return data

    def power(self, data: Any) -> float:
        """What the motors do now [W]. MuJoCo's own record of their forces is not of this moment."""
        place, dof, (effort, stiffness, damping) = self._motors
        speed = data.qvel[dof]
        return float((effort + stiffness * data.qpos[place] + damping * speed) @ speed)

    @functools.cached_property
    def _motors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the coordinates and the speeds of the driven joints are, and the three terms of their efforts."""
        joint = self.compiled.actuator_trnid[:, 0]
        terms = self.compiled.actuator_biasprm[:, :3].T.copy()
        return self.compiled.jnt_qposadr[joint], self.compiled.jnt_dofadr[joint], terms


def build(spec: SceneSpec, timestep: float) -> Model:
    """Compile a scene. Raises ValueError where a joint or a rope hangs on something that is not there."""
    world = mujoco.MjSpec()
    world.option.timestep = timestep
    world.option.gravity = list(spec.gravity)
    world.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    world.option.impratio = 10  # stiff friction: resting things do not creep
    world.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # What swings in joints keeps its energy only if it is integrated to a high order; ropes are too stiff,
    # and elastic bodies push in steps.
    accurate = any(body.joint for body in spec.bodies) and not spec.ropes and not spec.elastics
    if accurate:
        world.option.integrator = mujoco.mjtIntegrator.mjINT_RK4
    # And there a contact is the continuous one.
    rate_step = 1e-3 if accurate else CONTACT_RATE * timestep
    world.compiler.degree = False
    world.option.enableflags |= mujoco.mjtEnableBit.mjENBL_ENERGY
    tree = _Tree(world, spec, rate_step)
    for thing in (*spec.bodies, *spec.ropes):
        tree.node(thing.name)
    for rope in spec.ropes:
        tree.tie(rope)
    for a, b in combinations(spec.bodies, 2):
        if (a.free or b.free) and a.solid and b.solid and not _hangs(a, b) and not _hangs(b, a):
            _add_pairs(world, _body_geoms(a), _body_geoms(b), a.material, b.material, rate_step)
    for number, rope in enumerate(spec.ropes):
        _add_rope_pairs(world, spec, number, rope, rate_step)
    compiled: Any = world.compile()
    names = [thing.name for thing in (*spec.bodies, *spec.ropes)]
    owners = [compiled.geom(number).name.rpartition("/")[0] for number in range(compiled.ngeom)]
    return Model(
        compiled,
        [compiled.body(body.name).id for body in spec.bodies],
        [[compiled.body(name).id for name in _segment_names(rope)] for rope in spec.ropes],
        names,
        np.array([names.index(name) for name in owners]),
    )


def segment_lengths(rope: Rope) -> np.ndarray:
    """(N,) lengths of a rope's segments [m]."""
    return np.linalg.norm(np.diff(np.array(rope.path, dtype=np.float64), axis=0), axis=1)


class _Tree:
    """What hangs on what: MuJoCo's nodes by name, made when first asked for, parents before children."""

    def __init__(self, world: Any, spec: SceneSpec, rate_step: float) -> None:
        self._world, self._rate_step = world, rate_step
        self._things: dict[str, Body | Rope] = {thing.name: thing for thing in (*spec.bodies, *spec.ropes)}
        self._nodes: dict[str, Any] = {}
        self._poses: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def node(self, name: str | None) -> Any:
        """The node that children of that name's bearer hang on; of a rope its last segment."""
        if name in (None, "world"):
            return self._world.worldbody
        if name not in self._nodes:
            thing = self._things.get(name)
            if thing is None:
                raise ValueError(f"nothing is called {name!r} here; there are {', '.join(self._things)}")
            self._nodes[name] = self._add_rope(thing) if isinstance(thing, Rope) else self._add_body(thing)
        return self._nodes[name]

    def _local(self, parent: str | None, position: Any, rotation: Any) -> dict[str, list[float]]:
        """A pose in world axes as MuJoCo wants it, in those of the parent."""
        self.node(parent)
        if parent in (None, "world"):
            return {"pos": list(position), "quat": list(rotation)}
        origin, turn = self._poses[parent]
        return {
            "pos": rotate(inverse(turn), np.array(position) - origin).tolist(),
            "quat": product(inverse(turn), np.array(rotation)).tolist(),
        }

    def _add_body(self, body: Body) -> Any:
        parent = body.joint.parent if body.joint else None
        local = self._local(parent, body.position, body.rotation)
        node = self.node(parent).add_body(name=body.name, **local)
        self._poses[body.name] = (np.array(body.position), np.array(body.rotation))
        if body.free and body.joint:
            self._add_joint(node, body, body.joint)
        elif body.free:
            node.add_freejoint()
        for number, part in enumerate(body.shape.colliders()):
            node.add_geom(
                name=f"{body.name}/{number}",
                type=_GEOMS[part.kind],
                size=list(part.size),
                pos=list(part.position),
                quat=list(part.rotation),
                density=body.material.density if body.free else 0.0,
                # Only explicit pairs touch: each has its own friction and restitution.
                contype=0,
                conaffinity=0,
            )
        return node

    def _add_joint(self, node: Any, body: Body, joint: Joint) -> None:
        back = inverse(np.array(body.rotation))
        stop = damping_ratio(joint.restitution, self._rate_step)
        node.add_joint(
            name=body.name,
            type=_JOINTS[joint.kind],
            pos=rotate(back, np.array(joint.anchor) - np.array(body.position)).tolist(),
            axis=rotate(back, np.array(joint.axis)).tolist(),
            damping=[joint.damping, 0.0, 0.0],
            frictionloss=joint.friction,
            limited=mujoco.mjtLimited.mjLIMITED_TRUE if joint.limits else mujoco.mjtLimited.mjLIMITED_FALSE,
            range=list(joint.limits or (0.0, 0.0)),
            solref_limit=[-(CONTACT_RATE**2), -2 * stop * CONTACT_RATE],
            solimp_limit=FIRM,
            solref_friction=[-(CONTACT_RATE**2), -2 * CONTACT_RATE],
            solimp_friction=FIRM,
        )
        if joint.motor:
            motor = self._world.add_actuator(name=body.name, target=body.name)
            motor.trntype = mujoco.mjtTrn.mjTRN_JOINT
            motor.gaintype, motor.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
            # Everything is in the bias, so that no control signal is needed.
            motor.gainprm[0] = 0.0
            motor.biasprm[:3] = [joint.motor.effort, -joint.motor.stiffness, -joint.motor.damping]

    def _add_rope(self, rope: Rope) -> Any:
        frames, lengths = transported(np.array(rope.path)), segment_lengths(rope)
        node = self.node(rope.start).add_body(
            name=f"{rope.name}/0", **self._local(rope.start, rope.path[0], frames[0])
        )
        if rope.start:
            node.add_joint(type=_JOINTS["ball"])
        else:
            node.add_freejoint()
        for k, length in enumerate(lengths):
            if k:
                # Straight in the model, so that straight is what it wants to be; it is bent when it starts.
                node = node.add_body(name=f"{rope.name}/{k}", pos=[lengths[k - 1], 0.0, 0.0])
                between = (lengths[k - 1] + length) / 2
                node.add_joint(
                    type=_JOINTS["ball"],
                    stiffness=[rope.bending / between, 0.0, 0.0],
                    damping=[rope.damping / between, 0.0, 0.0],
                )
            node.add_geom(
                name=f"{rope.name}/{k}",
                type=_GEOMS["capsule"],
                size=[rope.radius, length / 2, 0.0],
                pos=[length / 2, 0.0, 0.0],
                quat=list(_ALONG_X),
                # Of the cylinder alone: round ends lie in the neighbours.
                mass=rope.material.density * math.pi * rope.radius**2 * length,
                contype=0,
                conaffinity=0,
            )
        self._poses[rope.name] = (np.array(rope.path[-2]), frames[-1])
        return node

    def tie(self, rope: Rope) -> None:
        """Hold the last node of a rope where it begins, on a body or on the world."""
        if rope.end is None:
            return
        length = float(segment_lengths(rope)[-1])
        self.node(rope.name).add_site(name=f"{rope.name}/end", pos=[length, 0.0, 0.0])
        place = self._local(rope.end, rope.path[-1], UPRIGHT)["pos"]
        self.node(rope.end).add_site(name=f"{rope.name}/held", pos=place)
        self._world.add_equality(
            name=rope.name,
            type=mujoco.mjtEq.mjEQ_CONNECT,
            objtype=mujoco.mjtObj.mjOBJ_SITE,
            name1=f"{rope.name}/end",
            name2=f"{rope.name}/held",
            solref=[-(TIE_RATE**2), -2 * TIE_RATE],
            solimp=FIRM,
        )


def _hangs(child: Body, parent: Body) -> bool:
    return child.joint is not None and child.joint.parent == parent.name


def _body_geoms(body: Body) -> list[str]:
    return [f"{body.name}/{number}" for number in range(len(body.shape.colliders()))]


def _segment_names(rope: Rope) -> list[str]:
    """Of its bodies, and of their geoms."""
    return [f"{rope.name}/{k}" for k in range(len(rope.path) - 1)]


def _add_rope_pairs(world: Any, spec: SceneSpec, number: int, rope: Rope, rate_step: float) -> None:
    names, lengths = _segment_names(rope), segment_lengths(rope)
    for body in spec.bodies:
        if not body.solid:
            continue
        # The segment that hangs on a body, or that a body hangs on, does not touch it.
        first = 1 if rope.start == body.name else 0
        tied = rope.end == body.name or (body.joint is not None and body.joint.parent == rope.name)
        loose = names[first : len(names) - tied]
        _add_pairs(world, loose, _body_geoms(body), rope.material, body.material, rate_step)
    for other in spec.ropes[number + 1 :]:
        _add_pairs(world, names, _segment_names(other), rope.material, other.material, rate_step)
    if rope.self_contact:
        # Neighbours overlap by nature: only segments with more than a thickness of rope between them can meet.
        apart = 2 + math.ceil(2.5 * rope.radius / float(lengths.mean()))
        for i in range(len(names) - apart):
            _add_pairs(world, [names[i]], names[i + apart :], rope.material, rope.material, rate_step)


def _add_pairs(world: Any, some: list[str], others: list[str], a: Material, b: Material, rate_step: float) -> None:
    contact = contact_of(a, b)
    damping = 2 * damping_ratio(contact.restitution, rate_step) * CONTACT_RATE
    for one in some:
        for other in others:
            world.add_pair(
                geomname1=one,
                geomname2=other,
                condim=3,
                friction=[contact.friction, contact.friction, 0.0, 0.0, 0.0],
                solref=[-(CONTACT_RATE**2), -damping],
                # Friction is not a spring: critically damped, whatever the normal direction does.
                solreffriction=[-(CONTACT_RATE**2), -2 * CONTACT_RATE],
                solimp=FIRM,
            )

"""`SceneSpec`: a scene as data. What there is, of what, where, how it is lit and from where it may be filmed.

SI units and radians. An engine turns it into a `Motion`, a caster turns that into a `World4D`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np

from phys4d.sim.elastics import Elastic, Inflatable, Wind
from phys4d.sim.lights import AreaLight, Light, Sky
from phys4d.sim.materials import Look, Material
from phys4d.sim.media import Medium
from phys4d.sim.shapes import UPRIGHT, Quaternion, Shape, Vector, about_axis, multiply


@dataclasses.dataclass(frozen=True)
class Motor:
    """What drives a hinge or a slide: force = effort - stiffness * coordinate - damping * speed.

    A motor that settles at a speed w has effort = damping * w; a servo that settles at an angle a has
    effort = stiffness * a. SI units of the joint: [N m, rad] or [N, m].
    """

    effort: float
    stiffness: float = 0.0
    damping: float = 0.0


@dataclasses.dataclass(frozen=True)
class Joint:
    """How a body hangs on its parent: another body, a rope (its last segment), or the world.

    A body's pose is the one in which the coordinate is 0; the scene begins at the coordinate `start`, and what
    hangs on the body is carried along. A body does not touch its parent.
    anchor [m] and axis (unit vector): in world axes, in that pose. A ball joint starts turned about the axis.
    limits: stops of the coordinate, [rad] or [m]. damping [N m s/rad | N s/m]; friction: dry, [N m | N].
    speed: of a hinge or a slide at the start, [rad/s | m/s]; a ball joint starts with the body's `spin`.
    """

    kind: Literal["hinge", "slide", "ball"]
    anchor: Vector
    axis: Vector = (0.0, 1.0, 0.0)
    parent: str | None = None
    start: float = 0.0
    speed: float = 0.0
    limits: tuple[float, float] | None = None
    damping: float = 0.0
    friction: float = 0.0
    restitution: float = 0.2
    """Of its stops."""
    motor: Motor | None = None


@dataclasses.dataclass(frozen=True)
class Body:
    """A rigid body. A body that is not `free` never moves; one with a `joint` moves as that lets it.

    Bodies in `focus` are kept in the picture; one that is not `solid` is only seen, and touches nothing.
    position [m], velocity [m/s], spin [rad/s] in world axes; rotation takes the shape's axes to the world's.
    instance: its id in the segmentation, 0 for background; given by `SceneSpec`.
    """

    name: str
    shape: Shape
    material: Material
    look: Look
    position: Vector = (0.0, 0.0, 0.0)
    rotation: Quaternion = UPRIGHT
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    free: bool = True
    focus: bool = True
    instance: int = 0
    joint: Joint | None = None
    solid: bool = True


@dataclasses.dataclass(frozen=True)
class Rope:
    """A rope: a chain of capsules, drawn as one smooth tube. Straight where nothing bends it.

    path: (N+1, 3) nodes of its centre line at the start [m], N segments of nearly the same length.
    bending: stiffness E I [N m^2]; damping: the same for the rate of bending [N m^2 s].
    start: what its first node hangs on, a body's name, "world", or None for a loose end; end: the same for its
    last node. self_contact: whether it touches itself.
    """

    name: str
    path: tuple[Vector, ...]
    radius: float
    material: Material
    look: Look
    bending: float = 1e-3
    damping: float = 2e-4
    start: str | None = None
    end: str | None = None
    self_contact: bool = False
    focus: bool = True
    instance: int = 0

    @property
    def length(self) -> float:
        """Of its centre line [m]."""
        return float(np.linalg.norm(np.diff(np.array(self.path), axis=0), axis=1).sum())


@dataclasses.dataclass(frozen=True)
class Viewpoints:
    """From where a scene may be filmed, angles in [rad]; azimuth 0 films from +x, pi/2 from +y."""

    azimuth: tuple[float, float] = (-math.pi, math.pi)
    elevation: tuple[float, float] = (math.radians(8), math.radians(28))
    fov: tuple[float, float] = (math.radians(36), math.radians(48))
    """Vertical field of view."""
    move: str | None = None
    """How the camera moves, where a scene is about that; None leaves it to chance."""


@dataclasses.dataclass(frozen=True)
class SceneSpec:
    """Everything that determines a scene. `parameters` (JSON) is what the caption and the metadata say of it."""

    name: str
    category: str
    engine: str
    caption: str
    bodies: tuple[Body, ...]
    lights: tuple[Light | AreaLight, ...]
    sky: Sky = dataclasses.field(default_factory=Sky)
    viewpoints: Viewpoints = Viewpoints()
    gravity: Vector = (0.0, 0.0, -9.81)
    context_frames: int = 1
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    ropes: tuple[Rope, ...] = ()
    elastics: tuple[Elastic, ...] = ()
    wind: Wind | None = None
    media: tuple[Medium, ...] = ()

    @property
    def passive(self) -> bool:
        """Whether nothing drives it, so that its energy can only fall."""
        pumped = any(isinstance(each, Inflatable) and each.pump for each in self.elastics)
        return not (self.wind or pumped or any(body.joint and body.joint.motor for body in self.bodies))


def perturbed(spec: SceneSpec, rng: np.random.Generator, scale: float = 0.02) -> SceneSpec:
    """The same scene, known only as well as it could be measured: looks unchanged, physics within `scale`.

    Density, friction and restitution, stiffness and pressure, velocity and spin vary by a relative `scale` (one
    standard deviation is half of it, cut at the whole), positions of free bodies in the horizontal plane by 2 mm,
    tilt by 0.2 degrees about the vertical. The spread of such an ensemble is what the physics itself leaves open.
    """

    def factor() -> float:
        return 1 + scale * float(np.clip(rng.normal(0, 0.5), -1, 1))

    materials: dict[str, Material] = {}

    def vary(material: Material) -> Material:
        if material.name not in materials:
            materials[material.name] = dataclasses.replace(
                material,
                density=material.density * factor(),
                friction=material.friction * factor(),
                restitution=min(material.restitution * factor(), 1.0),
            )
        return materials[material.name]

    def scaled(vector: Vector, by: float) -> Vector:
        return (vector[0] * by, vector[1] * by, vector[2] * by)

    bodies = []
    for body in spec.bodies:
        changed = dataclasses.replace(body, material=vary(body.material))
        if body.joint:
            slack = 0.002 if body.joint.kind == "slide" else math.radians(0.2)
            joint = dataclasses.replace(
                body.joint,
                start=body.joint.start + slack * float(np.clip(rng.normal(0, 0.5), -1, 1)),
                speed=body.joint.speed * factor(),
                damping=body.joint.damping * factor(),
                friction=body.joint.friction * factor(),
            )
            changed = dataclasses.replace(changed, joint=joint, spin=scaled(body.spin, factor()))
        elif body.free:
            x, y, z = body.position
            dx, dy = np.clip(rng.normal(0, 0.001, size=2), -0.002, 0.002)
            turn = about_axis((0, 0, 1), math.radians(float(np.clip(rng.normal(0, 0.1), -0.2, 0.2))))
            speed = factor()
            changed = dataclasses.replace(
                changed,
                position=(x + float(dx), y + float(dy), z),
                rotation=multiply(turn, body.rotation),
                velocity=scaled(body.velocity, speed),
                spin=scaled(body.spin, speed),
            )
        bodies.append(changed)
    ropes = tuple(
        dataclasses.replace(
            rope,
            material=vary(rope.material),
            bending=rope.bending * factor(),
            damping=rope.damping * factor(),
        )
        for rope in spec.ropes
    )
    elastics = tuple(
        dataclasses.replace(each.varied(factor), material=vary(each.material)) for each in spec.elastics
    )
    media = tuple(medium.varied(factor) for medium in spec.media)
    return dataclasses.replace(spec, bodies=tuple(bodies), ropes=ropes, elastics=elastics, media=media)

"""Rows about light: lamps that pass over things at rest, mirrors that fall, turn and stand, and glass."""

from __future__ import annotations

import dataclasses
import math

from phys4d.sim.catalog import Layout, scene
from phys4d.sim.catalog.articulated import turntable
from phys4d.sim.catalog.placing import from_side, moved, radius_of, rolling
from phys4d.sim.dressing import MATERIALS, Draw
from phys4d.sim.materials import Look
from phys4d.sim.objects import Compound, MirrorBall, Part, mug, sculpture, teapot
from phys4d.sim.scene import Body, Viewpoints
from phys4d.sim.shapes import Box, Shape, Sphere, Vector, about_axis

BALLS = ("rubber", "wooden", "plastic", "foam")
BLOCKS = ("wooden", "plastic", "stone")
CLIP = 1.35
"""Over how many seconds a lamp passes: no shorter than a clip of 17 frames, so that it never stops."""


@scene(
    "light_on_block",
    "A lamp passes over a resting {block} block on a {floor} within {seconds:.1f} s.",
    category="rigid",
    context_frames=3,
)
def light_on_block(draw: Draw) -> Layout:
    stuff = draw.choice(BLOCKS)
    return _under_a_lamp(draw, (_block(draw, stuff, 0.0),), {"block": stuff})


@scene(
    "light_on_mug",
    "A lamp passes over a resting ceramic mug on a {floor} within {seconds:.1f} s.",
    category="rigid",
    context_frames=3,
)
def light_on_mug(draw: Draw) -> Layout:
    return _under_a_lamp(draw, (_mug(draw, 0.0),), {})


@scene(
    "light_on_mug_block",
    "A lamp passes over a ceramic mug and a {block} block at rest on a {floor} within {seconds:.1f} s.",
    category="rigid",
    context_frames=3,
)
def light_on_mug_block(draw: Draw) -> Layout:
    stuff, side = draw.choice(BLOCKS), draw.sign()
    return _under_a_lamp(draw, (_mug(draw, -0.3 * side), _block(draw, stuff, 0.3 * side)), {"block": stuff})


@scene(
    "light_on_sculpture",
    "A lamp passes over a {stuff} sculpture on a {floor} within {seconds:.1f} s.",
    category="rigid",
    context_frames=3,
)
def light_on_sculpture(draw: Draw) -> Layout:
    stuff, height = draw.choice(("stone", "wooden", "ceramic")), draw.uniform(0.6, 0.9)
    shape = sculpture(height, seed=int(draw.physics.integers(2**31)))
    thing = draw.shaped("sculpture", shape, stuff, 0.7 * height, rotation=_heading(draw))
    return _under_a_lamp(draw, (thing,), {"stuff": stuff, "height": height})


@scene("mirror_ball_fall", "A mirror ball falls from {height:.1f} m onto a {floor}.", category="rigid")
def mirror_ball_fall(draw: Draw) -> Layout:
    height, radius = draw.uniform(0.5, 1.1), draw.uniform(0.18, 0.26)
    ball = _mirror("ball", Sphere(radius), position=(0.0, 0.0, height + radius))
    lights, sky = draw.outdoors()
    return Layout((ball,), {"height": height, "radius": radius}, lights=lights, sky=sky)


@scene(
    "mirror_ball_rotate",
    "A motor turns a table with a ball of mirror tiles on it up to {speed:.1f} rad/s.",
    category="articulated",
)
def mirror_ball_rotate(draw: Draw) -> Layout:
    radius = draw.uniform(0.24, 0.32)
    ball = _mirror("ball", MirrorBall(radius, rows=draw.choice((7, 8, 9))), "hollow plastic")
    return _turning(draw, ball, radius)


@scene(
    "mirror_teapot_rotate",
    "A motor turns a table with a polished teapot on it up to {speed:.1f} rad/s.",
    category="articulated",
)
def mirror_teapot_rotate(draw: Draw) -> Layout:
    return _turning(draw, _mirror("teapot", teapot(draw.uniform(0.4, 0.5)), "hollow plastic"), 0.0)


@scene(
    "rolling_reflection",
    "A {ball} ball rolls at {speed:.1f} m/s past a mirror on a {floor}, and its reflection rolls along.",
    category="rigid",
    context_frames=3,
)
def rolling_reflection(draw: Draw) -> Layout:
    ball, side, speed = draw.ball("ball", (0.15, 0.21), BALLS), draw.sign(), draw.uniform(1.0, 1.5)
    r, wide, tall = radius_of(ball), draw.uniform(1.6, 2.0), draw.uniform(0.8, 1.0)
    lane = r + draw.uniform(0.2, 0.4)
    turn = about_axis((0, 0, 1), math.radians(draw.uniform(-8, 8)))
    glass = _mirror("mirror", Box((wide, 0.03, tall)), free=False)
    glass = dataclasses.replace(glass, position=(0.0, 0.0, tall / 2 + 0.03), rotation=turn)
    edge = Compound(
        (
            *(
                Part(Box((0.05, 0.06, tall + 0.08)), (s * (wide / 2 + 0.02), 0.0, tall / 2 + 0.04))
                for s in (-1, 1)
            ),
            *(Part(Box((wide + 0.09, 0.06, 0.04)), (0.0, 0.0, z)) for z in (0.02, tall + 0.05)),
        )
    )
    frame = draw.shaped("frame", edge, "wooden", 0.6, rotation=turn, free=False)
    ball = rolling(ball, (-side * 0.6 * speed, -lane, r), (side * speed, 0, 0))
    facts = {"ball": ball.material.name, "speed": speed, "lane": lane}
    lights, sky = draw.outdoors()
    view = from_side(azimuth=(-24, 24), elevation=(8, 18))
    return Layout((glass, frame, ball), facts, view, lights=lights, sky=sky)


@scene(
    "ball_rolls_on_glass",
    "A {ball} ball rolls at {speed:.1f} m/s across a glass table.",
    category="rigid",
    context_frames=3,
)
def ball_rolls_on_glass(draw: Draw) -> Layout:
    ball, side, speed = draw.ball("ball", (0.12, 0.17), BALLS), draw.sign(), draw.uniform(0.7, 1.1)
    height, length, width, thick = draw.uniform(0.35, 0.5), draw.uniform(1.7, 2.0), 0.7, 0.04
    tint = (0.72, 0.93, 0.86)
    top = Body(
        "glass",
        Box((length, width, thick)),
        MATERIALS["glass"],
        Look(tint, tint, "plain", 1.0, gloss=1.0, finish="glass"),
        position=(0.0, 0.0, height - thick / 2),
        free=False,
        focus=False,
    )
    legs = Compound(
        tuple(
            Part(Box((0.07, 0.07, height - thick)), (x * (length / 2 - 0.06), y * 0.28, (height - thick) / 2))
            for x in (-1, 1)
            for y in (-1, 1)
        )
    )
    frame = draw.shaped("legs", legs, "wooden", 0.4, free=False)
    ball = rolling(
        ball, (-side * 0.6 * speed, draw.uniform(-0.1, 0.1), height + radius_of(ball)), (side * speed, 0, 0)
    )
    lights, sky = draw.outdoors()
    facts = {"ball": ball.material.name, "speed": speed, "height": height}
    return Layout((top, frame, ball), facts, from_side(elevation=(12, 30)), lights=lights, sky=sky)


def _under_a_lamp(draw: Draw, things: tuple[Body, ...], facts: dict[str, object]) -> Layout:
    seconds = draw.uniform(CLIP, 2.0)
    lamps, sky = draw.passing_lamp(seconds)
    return Layout(things, {**facts, "seconds": seconds}, Viewpoints(elevation=(0.3, 0.65)), lights=lamps, sky=sky)


def _turning(draw: Draw, thing: Body, lift: float) -> Layout:
    layout = turntable(draw, thing, 0.45, Viewpoints(elevation=(0.25, 0.55)), lift=lift)
    lamps, sky = draw.studio()
    return dataclasses.replace(layout, lights=lamps, sky=sky)


def _block(draw: Draw, stuff: str, x: float) -> Body:
    edge = draw.uniform(0.24, 0.34)
    size = (edge, edge * draw.uniform(0.8, 1.0), edge * draw.uniform(0.8, 1.2))
    return draw.block("block", size, stuff, position=(x, 0.0, size[2] / 2), rotation=_heading(draw))


def _mug(draw: Draw, x: float) -> Body:
    radius = draw.uniform(0.11, 0.15)
    shape = mug(radius, radius * draw.uniform(2.0, 2.5))
    return moved(draw.shaped("mug", shape, "ceramic", 0.3, rotation=_heading(draw)), (x, 0.0, 0.0))


def _mirror(
    name: str, shape: Shape, stuff: str = "steel", *, position: Vector = (0.0, 0.0, 0.0), free: bool = True
) -> Body:
    """Silvered, whatever it is made of."""
    silver = (0.9, 0.91, 0.92)
    look = Look(silver, silver, "plain", 1.0, gloss=1.0, finish="mirror")
    return Body(name, shape, MATERIALS[stuff], look, position=position, free=free)


def _heading(draw: Draw) -> tuple[float, float, float, float]:
    return about_axis((0, 0, 1), draw.uniform(-math.pi, math.pi))

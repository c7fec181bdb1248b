"""Rope rows: hanging, swinging, falling, over a bar, in coils, and with a ball at the end."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from scipy.optimize import brentq

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.articulated import LYING, gallows
from phys4d.sim.catalog.placing import from_side, radius_of
from phys4d.sim.dressing import ROPES, Draw
from phys4d.sim.objects import Compound, Part
from phys4d.sim.scene import Body, Joint, Rope
from phys4d.sim.shapes import Box, Cylinder, Vector

scene = functools.partial(catalog.scene, category="rope")

STUFFS = tuple(ROPES)


@scene(
    "rope_swings", "A {rope} rope of {length:.1f} m hangs on a stand, is let go at {angle:.0f} degrees and swings."
)
def rope_swings(draw: Draw) -> Layout:
    length, angle, side, stuff = draw.uniform(0.9, 1.2), draw.uniform(30, 65), draw.sign(), draw.choice(STUFFS)
    height = length + draw.uniform(0.25, 0.4)
    lean = side * math.radians(angle)
    path = _line(
        (0, -0.03, height - 0.03), (-length * math.sin(lean), -0.03, height - 0.03 - length * math.cos(lean)), 22
    )
    rope = draw.rope("rope", path, draw.uniform(0.022, 0.032), stuff, start="stand")
    facts = {"rope": stuff, "length": length, "angle": angle}
    return Layout((gallows(draw, height),), facts, from_side(), (rope,))


@scene(
    "rope_between_posts",
    "A {rope} rope hangs between two posts, is pulled aside by {angle:.0f} degrees and let go.",
)
def rope_between_posts(draw: Draw) -> Layout:
    span, slack, stuff = draw.uniform(1.1, 1.5), draw.uniform(1.15, 1.45), draw.choice(STUFFS)
    angle, side = draw.uniform(40, 85), draw.sign()
    hang = _catenary(span - 0.06, span * slack, 26)
    height = float(-hang[:, 2].min()) + draw.uniform(0.25, 0.4)
    # Turned about the line between its ends: it swings like a skipping rope.
    lean = side * math.radians(angle)
    path = np.column_stack([hang[:, 0], -hang[:, 2] * math.sin(lean), height + hang[:, 2] * math.cos(lean)])
    rope = draw.rope("rope", _nodes(path), draw.uniform(0.022, 0.032), stuff, start="posts", end="posts")
    facts = {"rope": stuff, "span": span, "slack": slack, "angle": angle}
    return Layout((_posts(draw, span, height),), facts, from_side(elevation=(14, 32)), (rope,))


@scene("rope_let_go", "A {rope} rope hangs between two posts and is let go at one end.")
def rope_let_go(draw: Draw) -> Layout:
    span, slack, stuff, side = draw.uniform(1.1, 1.4), draw.uniform(1.04, 1.2), draw.choice(STUFFS), draw.sign()
    hang = _catenary(span - 0.06, span * slack, 26) * (side, 1, 1)
    height = span * slack + draw.uniform(0.1, 0.3)
    rope = draw.rope("rope", _nodes(hang + (0, 0, height)), draw.uniform(0.022, 0.032), stuff, start="posts")
    facts = {"rope": stuff, "span": span, "slack": slack}
    return Layout((_posts(draw, span, height),), facts, from_side(elevation=(8, 24)), (rope,))


@scene(
    "rope_over_bar",
    "A {rope} rope of {length:.1f} m lies over a {bar} bar, its ends held out by {angle:.0f} degrees and let go.",
)
def rope_over_bar(draw: Draw) -> Layout:
    length, stuff, bar_stuff = (
        draw.uniform(1.2, 1.5),
        draw.choice(STUFFS),
        draw.choice(("wooden", "steel", "plastic")),
    )
    radius, thick, side = draw.uniform(0.07, 0.11), draw.uniform(0.022, 0.03), draw.sign()
    angle, off = draw.uniform(25, 55), side * length * draw.uniform(0.0, 0.18)
    height = length * 0.75
    bar = draw.shaped(
        "bar", Cylinder(radius, 0.6), bar_stuff, 0.3, position=(0, 0, height), rotation=LYING, free=False
    )
    legs = Compound(tuple(Part(Box((0.06, 0.06, height)), (0.0, s * 0.3, height / 2)) for s in (-1, 1)))
    stand = draw.shaped("stand", legs, "wooden", 0.5, free=False)
    # Round the top of the bar, and straight on to both sides. One end may be longer: the rope slides that way.
    way = np.linspace(-length / 2, length / 2, 29) + off
    round_, slope = radius + thick + 0.002, math.radians(angle)
    bent = np.clip(way / round_, -slope, slope)
    straight = way - bent * round_
    x = round_ * np.sin(bent) + straight * np.cos(bent)
    z = height + round_ * np.cos(bent) - straight * np.sin(bent)
    rope = draw.rope("rope", _nodes(np.column_stack([x, 0 * x, z])), thick, stuff)
    facts = {"rope": stuff, "bar": bar_stuff, "length": length, "angle": angle, "longer": 2 * off}
    return Layout((bar, stand), facts, from_side(azimuth=(-30, 30)), (rope,))


@scene(
    "ball_on_rope", "A {ball} ball on a {rope} rope of {length:.1f} m is let go at {angle:.0f} degrees and swings."
)
def ball_on_rope(draw: Draw) -> Layout:
    length, angle, side, stuff = draw.uniform(0.6, 0.9), draw.uniform(30, 70), draw.sign(), draw.choice(STUFFS)
    ball = draw.ball("ball", (0.12, 0.17), ("steel", "wooden", "stone", "plastic"))
    height = length + radius_of(ball) + draw.uniform(0.3, 0.4)
    rope, ball = _tethered(draw, ball, (0, -0.03, height - 0.03), length, side * math.radians(angle), stuff)
    facts = {"ball": ball.material.name, "rope": stuff, "length": length, "angle": angle}
    return Layout((gallows(draw, height), ball), facts, from_side(), (rope,))


@scene("wrecking_ball", "A steel ball on a {rope} rope swings into a stack of {count} {stuff} blocks.")
def wrecking_ball(draw: Draw) -> Layout:
    length, angle, side, kind = draw.uniform(0.7, 0.9), draw.uniform(50, 75), draw.sign(), draw.choice(STUFFS)
    count, stuff, edge = draw.choice((3, 4)), draw.choice(("wooden", "plastic")), draw.uniform(0.2, 0.26)
    ball = draw.ball("ball", (0.12, 0.15), ("steel",))
    r = radius_of(ball)
    height = length + r + draw.uniform(0.3, 0.4)
    rope, ball = _tethered(draw, ball, (0, -0.03, height - 0.03), length, side * math.radians(angle), kind)
    x = side * (r + edge / 2 + draw.uniform(0.03, 0.12))
    size = (edge, edge, edge)
    blocks = [draw.block(f"block{k}", size, stuff, position=(x, -0.03, (k + 0.5) * edge)) for k in range(count)]
    facts = {"rope": kind, "count": count, "stuff": stuff, "angle": angle}
    return Layout((gallows(draw, height), ball, *blocks), facts, from_side(), (rope,))


@scene(
    "rope_falls_in_coils", "A coil of {rope} rope, {turns:.1f} turns, falls from {height:.1f} m onto a {floor}."
)
def rope_falls_in_coils(draw: Draw) -> Layout:
    turns, radius, stuff = draw.uniform(1.6, 2.2), draw.uniform(0.2, 0.26), draw.choice(STUFFS)
    height, thick, hand = draw.uniform(0.3, 0.6), draw.uniform(0.024, 0.03), draw.sign()
    count = round(14 * turns)
    turn = hand * np.linspace(0, 2 * math.pi * turns, count + 1)
    pitch = 2 * thick * draw.uniform(1.8, 3.0)
    z = height + thick + pitch * np.linspace(0, turns, count + 1)
    path = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), z])
    rope = draw.rope("rope", _nodes(path), thick, stuff, self_contact=True)
    facts = {"rope": stuff, "turns": turns, "height": height, "radius": radius}
    return Layout((), facts, from_side(azimuth=(-180, 180), elevation=(18, 38)), (rope,))


def _tethered(draw: Draw, ball: Body, point: Vector, length: float, lean: float, stuff: str) -> tuple[Rope, Body]:
    """A rope that hangs on the stand at a point, straight and aside, with a ball at its end."""
    way = np.array([-math.sin(lean), 0.0, -math.cos(lean)])
    end = np.array(point) + length * way
    rope = draw.rope("rope", _line(point, tuple(end), 16), draw.uniform(0.018, 0.024), stuff, start="stand")
    place = end + radius_of(ball) * way
    tie = Joint("ball", _vector(end), parent="rope", damping=1e-3)
    return rope, dataclasses.replace(ball, position=_vector(place), joint=tie)


def _posts(draw: Draw, span: float, height: float) -> Body:
    parts = [Part(Box((0.06, 0.06, height + 0.04)), (s * span / 2, 0.0, height / 2 + 0.02)) for s in (-1, 1)]
    feet = [Part(Box((0.25, 0.25, 0.04)), (s * span / 2, 0.0, 0.02)) for s in (-1, 1)]
    return draw.shaped("posts", Compound((*parts, *feet)), "wooden", 0.5, free=False, solid=False)


def _catenary(span: float, length: float, count: int) -> np.ndarray:
    """(count + 1, 3) points at equal ways along a rope that hangs in the xz plane, its ends level at z = 0."""
    a: float = brentq(lambda a: 2 * a * math.sinh(span / (2 * a)) - length, 0.05 * span, 100 * span)  # type: ignore[assignment]
    way = np.linspace(-length / 2, length / 2, count + 1)
    return np.column_stack([a * np.arcsinh(way / a), 0 * way, np.hypot(a, way) - math.hypot(a, length / 2)])


def _line(start: Vector, end: Vector, count: int) -> tuple[Vector, ...]:
    return _nodes(np.linspace(start, end, count + 1))


def _nodes(path: np.ndarray) -> tuple[Vector, ...]:
    return tuple(_vector(point) for point in path)


def _vector(array: np.ndarray) -> Vector:
    x, y, z = (float(v) for v in array)
    return (x, y, z)

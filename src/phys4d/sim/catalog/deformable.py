"""Deformable rows: soft things that drop, wobble, lean, bounce, are squeezed, and meet rigid ones."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.placing import from_side, moved, radius_of
from phys4d.sim.catalog.stuffs import solid_of
from phys4d.sim.dressing import Draw
from phys4d.sim.hulls import BallHull, DuckHull, Pillow, RoundedBox, Turned, rounded_profile
from phys4d.sim.objects import Compound, Part
from phys4d.sim.scene import Joint, Motor
from phys4d.sim.shapes import Cylinder, Vector, about_axis, multiply

scene = functools.partial(catalog.scene, category="deformable", engine="elastic")


@scene("soft_cube_drops", "A cube of {stuff}, {edge:.2f} m wide, falls from {height:.2f} m onto a {floor}.")
def soft_cube_drops(draw: Draw) -> Layout:
    stuff, edge, height = (
        draw.choice(("foam", "gel", "soft rubber")),
        draw.uniform(0.24, 0.32),
        draw.uniform(0.35, 0.7),
    )
    turn = multiply(about_axis((0, 0, 1), draw.uniform(-0.7, 0.7)), about_axis((0, 1, 0), draw.uniform(0.1, 0.6)))
    place = (0.0, 0.0, height + 0.85 * edge)
    shape = RoundedBox((edge, edge, edge), 0.12 * edge)
    cube = solid_of(draw, "cube", shape, stuff, edge / 9, position=place, rotation=turn)
    facts = {"stuff": stuff, "edge": edge, "height": height, "young": cube.young}
    return Layout((), facts, from_side((-60, 60)), elastics=(cube,))


@scene("soft_duck_drops", "A duck of {stuff} falls from {height:.2f} m onto a {floor}.")
def soft_duck_drops(draw: Draw) -> Layout:
    stuff, length, height = draw.choice(("gel", "soft rubber")), draw.uniform(0.38, 0.48), draw.uniform(0.3, 0.6)
    turn = multiply(
        about_axis((0, 0, 1), draw.uniform(-math.pi, math.pi)), about_axis((0, 1, 0), draw.uniform(-0.5, 0.5))
    )
    young = draw.uniform(1.5e4, 3e4)
    duck = solid_of(
        draw, "duck", DuckHull(length), stuff, length / 14, young=young,
        position=(0.0, 0.0, height + 0.4 * length), rotation=turn,
    )  # fmt: skip
    facts = {"stuff": stuff, "height": height, "length": length, "young": young}
    return Layout((), facts, from_side((-60, 60)), elastics=(duck,))


@scene("jelly_wobbles", "A jelly, {height:.2f} m tall, falls by {drop:.2f} m onto a {plate} plate and wobbles.")
def jelly_wobbles(draw: Draw) -> Layout:
    radius, height, drop = draw.uniform(0.13, 0.16), draw.uniform(0.15, 0.19), draw.uniform(0.01, 0.05)
    plate_stuff = draw.choice(("ceramic", "steel", "wooden"))
    foot = Part(Cylinder(radius, 0.005), (0, 0, 0.0025))
    dish = Compound((Part(Cylinder(1.7 * radius, 0.01), (0, 0, 0.01)), foot))
    plate = draw.shaped("plate", dish, plate_stuff, 0.4, free=False)
    shape = Turned(_pudding(radius, height), 72, draw.choice((8, 10, 12)), 0.06)
    jelly = solid_of(draw, "jelly", shape, "jelly", height / 8, position=(0.0, 0.0, 0.016 + height / 2 + drop))
    facts = {"height": height, "drop": drop, "plate": plate_stuff, "young": jelly.young}
    return Layout((plate,), facts, from_side((-60, 60), (14, 30)), elastics=(jelly,))


@scene(
    "soft_cylinder_leans",
    "A cylinder of {stuff}, {height:.2f} m tall, leans by {angle:.0f} degrees and falls against a {block} block.",
)
def soft_cylinder_leans(draw: Draw) -> Layout:
    stuff, side, angle = draw.choice(("foam", "gel", "soft rubber")), draw.sign(), draw.uniform(14, 24)
    radius, height = draw.uniform(0.07, 0.09), draw.uniform(0.45, 0.55)
    lean = side * math.radians(angle)
    # On its lower edge.
    z = height / 2 * math.cos(lean) + radius * abs(math.sin(lean))
    block_stuff, edge = draw.choice(("wooden", "stone", "steel")), draw.uniform(0.2, 0.26)
    block = draw.block(
        "block", (edge, 1.2 * edge, edge), block_stuff, position=(side * draw.uniform(0.36, 0.42), 0.0, edge / 2)
    )
    profile = tuple(rounded_profile(radius, height, 0.2 * radius))
    pillar = solid_of(
        draw, "cylinder", Turned(profile, 40), stuff, radius / 3,
        position=(0.0, 0.0, z + 0.002), rotation=about_axis((0, 1, 0), lean),
    )  # fmt: skip
    facts = {"stuff": stuff, "height": height, "angle": angle, "block": block_stuff, "young": pillar.young}
    return Layout((block,), facts, from_side((-40, 40)), elastics=(pillar,))


@scene(
    "ball_on_foam",
    "A {ball} ball of {mass:.1f} kg falls from {above:.2f} m onto a block of {stuff}.",
)
def ball_on_foam(draw: Draw) -> Layout:
    stuff, above = draw.choice(("foam", "gel")), draw.uniform(0.15, 0.35)
    ball = draw.ball("ball", (0.06, 0.08), ("steel", "stone", "wooden"))
    r = radius_of(ball)
    mass = ball.material.density * 4 / 3 * math.pi * r**3
    wide, tall = draw.uniform(0.4, 0.5), draw.uniform(0.18, 0.24)
    block = solid_of(
        draw,
        "block",
        RoundedBox((wide, wide, tall), 0.12 * tall),
        stuff,
        tall / 5,
        position=(0.0, 0.0, tall / 2 + 0.001),
    )
    place: Vector = (draw.uniform(-0.05, 0.05), draw.uniform(-0.05, 0.05), tall + above + r)
    facts = {"ball": ball.material.name, "mass": mass, "above": above, "stuff": stuff, "young": block.young}
    return Layout((moved(ball, place),), facts, from_side((-60, 60)), elastics=(block,))


@scene(
    "soft_squeezed",
    "A {shape} of {stuff} is squeezed between two {plate} plates by {share:.0f} % at {speed:.2f} m/s.",
)
def soft_squeezed(draw: Draw) -> Layout:
    stuff, shape, plate_stuff = (
        draw.choice(("foam", "gel", "soft rubber")),
        draw.choice(("cube", "ball", "cylinder")),
        draw.choice(("wooden", "steel", "plastic")),
    )
    size, share = draw.uniform(0.26, 0.32), draw.uniform(30, 45)
    way = size * share / 100
    speed = round(way / draw.uniform(0.8, 1.1), 4)
    match shape:
        case "cube":
            skin = RoundedBox((size, size, size), 0.12 * size)
        case "ball":
            skin = BallHull(size / 2, 0.018)
        case _:
            skin = Turned(tuple(rounded_profile(0.4 * size, size, 0.1 * size)), 48)
    thick = 0.03
    floor_plate = draw.block("bed", (0.5, 0.5, thick), plate_stuff, position=(0, 0, thick / 2), free=False)
    young = float(f"{draw.uniform(1e4, 5e4):.2g}")
    soft = solid_of(draw, shape, skin, stuff, size / 9, young=young, position=(0.0, 0.0, thick + size / 2 + 0.001))
    # A strong motor: it goes at its speed whatever the soft thing answers, until it meets its stop.
    top = thick + size + 0.004 + thick / 2
    mass = 0.5 * 0.5 * thick * 2000
    motor = Motor(effort=4e4 * speed - mass * 9.81, damping=4e4)
    slide = Joint("slide", (0, 0, top), axis=(0, 0, -1), motor=motor, limits=(0.0, way), restitution=0.0)
    press = draw.block("press", (0.5, 0.5, thick), plate_stuff, position=(0, 0, top), joint=slide)
    press = dataclasses.replace(press, material=dataclasses.replace(press.material, name="press", density=2000.0))
    facts = {
        "stuff": stuff,
        "shape": shape,
        "plate": plate_stuff,
        "share": share,
        "speed": speed,
        "young": soft.young,
    }
    return Layout((floor_plate, press), facts, from_side((-60, 60), (4, 20)), elastics=(soft,))


@scene(
    "weight_on_pillow", "An iron weight of {mass:.1f} kg is set down on a pillow of {stuff} from {above:.2f} m."
)
def weight_on_pillow(draw: Draw) -> Layout:
    stuff, above = draw.choice(("down", "foam")), draw.uniform(0.01, 0.05)
    long, tall = draw.uniform(0.46, 0.58), draw.uniform(0.15, 0.2)
    radius, high = draw.uniform(0.05, 0.06), draw.uniform(0.035, 0.045)
    mass = 7200 * math.pi * radius**2 * high
    pillow = solid_of(
        draw, "pillow", Pillow((long, draw.uniform(0.8, 1.0) * long, tall)), stuff, tall / 6,
        position=(0.0, 0.0, tall / 2 + 0.001),
    )  # fmt: skip
    if stuff == "foam":
        pillow = dataclasses.replace(pillow, young=float(f"{draw.uniform(1.2e4, 2e4):.2g}"))
    place = (draw.uniform(-0.015, 0.015), draw.uniform(-0.015, 0.015), tall + above + high / 2)
    weight = draw.shaped("weight", Cylinder(radius, high), "iron", 0.3, position=place)
    facts = {"mass": mass, "stuff": stuff, "above": above, "young": pillow.young}
    return Layout((weight,), facts, from_side((-60, 60), (10, 26)), elastics=(pillow,))


@scene(
    "soft_ball_bounces",
    "A solid ball of {stuff} flies in at {speed:.1f} m/s and bounces on a {floor}.",
    context_frames=3,
)
def soft_ball_bounces(draw: Draw) -> Layout:
    stuff, radius, side = draw.choice(("soft rubber", "gel")), draw.uniform(0.12, 0.16), draw.sign()
    speed, height = draw.uniform(0.8, 1.4), draw.uniform(0.45, 0.7)
    place, velocity = (-side * 0.55, 0.0, height + radius), (side * speed, 0.0, 0.0)
    young = draw.uniform(3e4, 9e4)
    ball = solid_of(
        draw, "ball", BallHull(radius, 0.016), stuff, radius / 5, young=young, position=place, velocity=velocity
    )
    facts = {"stuff": stuff, "speed": speed, "height": height, "young": young, "radius": radius}
    return Layout((), facts, from_side((-30, 30)), elastics=(ball,))


def _pudding(radius: float, height: float) -> tuple[tuple[float, float], ...]:
    """The outline of a turned-out pudding about its centre: wide below, rounded above."""
    h, top, r = height / 2, 0.72 * radius, 0.25 * radius
    floor = [(radius * k / 8, -h) for k in range(8)]
    side = [(radius + (top - radius) * k / 10, -h + (height - r) * k / 10) for k in range(11)]
    arc = [(top - r + r * math.cos(a), h - r + r * math.sin(a)) for a in np.linspace(0.15, math.pi / 2, 6)]
    crown = [((top - r) * (1 - k / 5), h) for k in range(1, 6)]
    return tuple((float(x), float(z)) for x, z in (*floor, *side, *arc, *crown))

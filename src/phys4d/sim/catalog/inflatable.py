"""Inflatable rows: balloons, balls and cushions that fall, bounce, carry weights, are pumped up and deflate."""

from __future__ import annotations

import functools

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.placing import from_side
from phys4d.sim.catalog.stuffs import inflatable_of
from phys4d.sim.dressing import Draw
from phys4d.sim.hulls import BallHull, Ring, Sleeve
from phys4d.sim.shapes import about_axis, multiply

scene = functools.partial(catalog.scene, category="inflatable", engine="elastic")


@scene(
    "balloon_drops",
    "A latex balloon, {pressure:.0f} Pa above the air around it, sinks from {height:.2f} m to a {floor}.",
)
def balloon_drops(draw: Draw) -> Layout:
    radius, pressure, height = draw.uniform(0.12, 0.15), round(draw.uniform(350, 700)), draw.uniform(0.5, 0.9)
    place = (0.0, 0.0, height + radius)
    balloon = inflatable_of(
        draw, "balloon", BallHull(radius, 0.02), "latex", pressure, thickness=8e-5, position=place,
    )  # fmt: skip
    facts = {"pressure": pressure, "height": height, "radius": radius}
    return Layout((), facts, from_side((-60, 60)), elastics=(balloon,))


@scene(
    "beach_ball_bounces",
    "A vinyl beach ball at {pressure:.1f} kPa flies in at {speed:.1f} m/s and bounces on a {floor}.",
    context_frames=3,
)
def beach_ball_bounces(draw: Draw) -> Layout:
    radius, pressure = draw.uniform(0.16, 0.2), draw.uniform(1.0, 3.0)
    speed, side, height = draw.uniform(0.9, 1.5), draw.sign(), draw.uniform(0.4, 0.7)
    ball = inflatable_of(
        draw, "ball", BallHull(radius, 0.024), "vinyl", round(1000 * pressure),
        position=(-side * 0.6, 0.0, height + radius), velocity=(side * speed, 0.0, 0.0),
    )  # fmt: skip
    facts = {"pressure": pressure, "speed": speed, "height": height, "radius": radius}
    return Layout((), facts, from_side((-30, 30)), elastics=(ball,))


@scene(
    "inflated_ball_and_block",
    "A rubber ball at {pressure:.1f} kPa and a {block} block fall side by side by {height:.2f} m onto a {floor}.",
)
def inflated_ball_and_block(draw: Draw) -> Layout:
    radius, pressure, height, side = (
        draw.uniform(0.13, 0.17),
        draw.uniform(2.0, 6.0),
        draw.uniform(0.4, 0.8),
        draw.sign(),
    )
    stuff, edge, apart = draw.choice(("wooden", "stone", "foam")), draw.uniform(0.2, 0.28), draw.uniform(0.5, 0.62)
    ball = inflatable_of(
        draw,
        "ball",
        BallHull(radius, 0.022),
        "rubber",
        round(1000 * pressure),
        position=(-side * apart / 2, 0.0, height + radius),
    )
    turn = multiply(about_axis((0, 0, 1), draw.uniform(-0.6, 0.6)), about_axis((0, 1, 0), draw.uniform(-0.3, 0.3)))
    block = draw.block(
        "block", (edge, edge, edge), stuff, position=(side * apart / 2, 0.0, height + 0.7 * edge), rotation=turn
    )
    facts = {"pressure": pressure, "block": stuff, "height": height, "radius": radius}
    return Layout((block,), facts, from_side((-40, 40)), elastics=(ball,))


@scene(
    "weight_on_air_cushion",
    "A {board} board of {mass:.1f} kg falls by {above:.2f} m onto a vinyl cushion of {litres:.1f} litres of air.",
)
def weight_on_air_cushion(draw: Draw) -> Layout:
    stuff, size = draw.choice(("wooden", "plastic", "foam")), draw.uniform(0.48, 0.58)
    # Full, two square sheets hold about a fifth of the cube of their edge.
    litres = round(draw.uniform(0.09, 0.12) * 1000 * size**3, 1)
    wide, thick, above = draw.uniform(0.6, 0.8) * size, draw.uniform(0.03, 0.05), draw.uniform(0.01, 0.05)
    cushion = inflatable_of(
        draw, "cushion", Sleeve((size, size), 0.022), "vinyl", 0.0, position=(0.0, 0.0, 0.012), litres=litres
    )
    place = (draw.uniform(-0.01, 0.01), draw.uniform(-0.01, 0.01), 0.33 * size + above + thick / 2)
    turn = about_axis((0, 0, 1), draw.uniform(-0.7, 0.7))
    board = draw.block("board", (wide, wide, thick), stuff, position=place, rotation=turn)
    mass = board.material.density * wide * wide * thick
    facts = {"board": stuff, "mass": mass, "above": above, "litres": litres}
    return Layout((board,), facts, from_side((-60, 60), (8, 24)), elastics=(cushion,))


@scene(
    "cushion_inflates",
    "A flat vinyl cushion of {size:.2f} m under a {block} block of {mass:.1f} kg is pumped up with {flow:.0f} "
    "litres a second.",
)
def cushion_inflates(draw: Draw) -> Layout:
    size, flow, stuff = (
        draw.uniform(0.5, 0.6),
        round(draw.uniform(16, 26)),
        draw.choice(("wooden", "plastic", "foam")),
    )
    edge, tall = draw.uniform(0.16, 0.22), draw.uniform(0.08, 0.12)
    cushion = inflatable_of(
        draw, "cushion", Sleeve((size, size), 0.022), "vinyl", 0.0, position=(0.0, 0.0, 0.012),
        pump=flow / 1000, pump_limit=1500.0,
    )  # fmt: skip
    turn = about_axis((0, 0, 1), draw.uniform(-0.7, 0.7))
    block = draw.block("block", (edge, edge, tall), stuff, position=(0.0, 0.0, 0.03 + tall / 2), rotation=turn)
    mass = block.material.density * edge * edge * tall
    facts = {"size": size, "flow": flow, "block": stuff, "mass": mass}
    return Layout((block,), facts, from_side((-60, 60), (8, 24)), elastics=(cushion,))


@scene(
    "ring_deflates",
    "A rubber swim ring at {pressure:.1f} kPa under a {board} board of {mass:.1f} kg loses its air through a "
    "valve of {valve:.1f} cm2.",
)
def ring_deflates(draw: Draw) -> Layout:
    radius, tube, pressure = draw.uniform(0.19, 0.22), draw.uniform(0.07, 0.08), draw.uniform(1.5, 3.0)
    stuff, valve = draw.choice(("wooden", "plastic")), draw.uniform(2.5, 5.0)
    ring = inflatable_of(
        draw, "ring", Ring(radius, tube, 0.022), "rubber", round(1000 * pressure),
        position=(0.0, 0.0, tube + 0.004), valve=valve * 1e-4,
    )  # fmt: skip
    wide, thick = 2 * (radius + 0.5 * tube), draw.uniform(0.04, 0.06)
    board = draw.block("board", (wide, wide, thick), stuff, position=(0.0, 0.0, 2.25 * tube + thick / 2))
    mass = board.material.density * wide * wide * thick
    facts = {"pressure": pressure, "board": stuff, "mass": mass, "valve": valve, "radius": radius}
    return Layout((board,), facts, from_side((-60, 60), (8, 24)), elastics=(ring,))

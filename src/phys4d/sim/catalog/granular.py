"""Granular rows: sand, gravel, beads and peas that collapse, pour, trickle, slide and give way."""

from __future__ import annotations

import functools
import math

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.placing import from_side, moved, radius_of
from phys4d.sim.dressing import MATERIALS, Draw
from phys4d.sim.materials import Look, Material
from phys4d.sim.media import Grains
from phys4d.sim.objects import Vessel, bowl, open_box
from phys4d.sim.scene import Body, Joint, Motor, Viewpoints
from phys4d.sim.shapes import Collider, Colour, Vector, about_axis

scene = functools.partial(catalog.scene, category="granular", engine="grains")

STUFFS: dict[str, tuple[Material, float, float, Colour, Colour]] = {
    # name: (material of a grain, rolling resistance, gloss, two colours)
    "sand": (Material("sand", 2600.0, 0.60, 0.06), 0.12, 0.0, (0.62, 0.42, 0.2), (0.4, 0.25, 0.11)),
    "dark sand": (Material("dark sand", 2900.0, 0.60, 0.06), 0.14, 0.0, (0.1, 0.09, 0.085), (0.2, 0.18, 0.16)),
    "gravel": (Material("gravel", 2650.0, 0.65, 0.10), 0.16, 0.05, (0.5, 0.49, 0.47), (0.17, 0.17, 0.18)),
    "glass beads": (Material("glass beads", 2500.0, 0.25, 0.60), 0.01, 0.9, (0.1, 0.45, 0.6), (0.35, 0.75, 0.8)),
    "peas": (Material("peas", 1350.0, 0.40, 0.20), 0.03, 0.4, (0.17, 0.42, 0.05), (0.3, 0.55, 0.1)),
    "lentils": (Material("lentils", 1400.0, 0.50, 0.10), 0.14, 0.1, (0.55, 0.16, 0.04), (0.72, 0.3, 0.1)),
}


def heap(
    draw: Draw, names: tuple[str, ...], region: Collider, count: float, *, held: bool = True
) -> tuple[Grains, str]:
    """About `count` grains of one of the stuffs, as large as fills the region, and the stuff's name."""
    name = draw.choice(names)
    material, rolling, gloss, colour, accent = STUFFS[name]
    x, y, z = region.size
    volume = math.pi * x**2 * 2 * y if region.kind == "cylinder" else 8 * x * y * z
    # On the loose lattice a sphere of radius r takes up the room of a close packing of 1.1 r.
    radius = round((volume / count / (4 * math.sqrt(2))) ** (1 / 3) / 1.1, 5)
    look = Look(colour, accent, "noise", 6 * radius, gloss)
    return Grains(name, material, look, region, radius, rolling, held), name


def upright(radius: float, low: float, high: float, place: tuple[float, float] = (0.0, 0.0)) -> Collider:
    """A standing cylinder between two heights."""
    return Collider("cylinder", (radius, (high - low) / 2, 0.0), (*place, (low + high) / 2))


@scene(
    "sand_column", "A column of {stuff}, {height:.2f} m tall and {radius:.2f} m in radius, collapses on a {floor}."
)
def sand_column(draw: Draw) -> Layout:
    radius = draw.uniform(0.12, 0.17)
    height = round(radius * draw.uniform(1.2, 3.0), 3)
    grains, stuff = heap(draw, ("sand", "dark sand", "gravel", "lentils"), upright(radius, 0.0, height), 2300)
    facts = {"stuff": stuff, "height": height, "radius": radius}
    return Layout((), facts, Viewpoints(elevation=(0.2, 0.5)), media=(grains,))


@scene("hourglass", "An hourglass of {stuff} runs out through its neck, {neck:.0f} mm wide, on a {floor}.")
def hourglass(draw: Draw) -> Layout:
    radius, half, neck = draw.uniform(0.15, 0.19), draw.uniform(0.3, 0.36), draw.uniform(0.043, 0.048)
    wall = 0.012
    outline = (
        (radius, 0.0),
        (radius, 0.35 * half),
        (neck + wall, half),
        (radius, 1.65 * half),
        (radius, 2 * half),
    )
    glass = _glass("hourglass", Vessel(outline, wall, staves=14))
    region = upright(0.78 * radius, half * 1.5, half * 1.95)
    grains, stuff = heap(draw, ("sand", "dark sand", "glass beads"), region, 2100, held=False)
    facts = {"stuff": stuff, "neck": 2000 * neck, "radius": radius}
    return Layout((glass,), facts, from_side(elevation=(4, 14)), media=(grains,))


@scene("sand_pour", "A cup tips over and pours {stuff} onto a {floor}.")
def sand_pour(draw: Draw) -> Layout:
    radius, height, side = draw.uniform(0.12, 0.15), draw.uniform(0.24, 0.3), draw.sign()
    level, speed = draw.uniform(0.3, 0.45), draw.uniform(2.0, 2.8)
    cup = tipping_cup(draw, radius, height, level, side, speed)
    region = upright(0.8 * radius, level + 0.02, level + 0.93 * height)
    grains, stuff = heap(draw, ("sand", "gravel", "glass beads", "peas", "lentils"), region, 1500)
    facts = {"stuff": stuff, "level": level, "speed": speed}
    return Layout((cup,), facts, from_side(elevation=(8, 24)), media=(grains,))


@scene("ball_into_sand", "A {ball} ball falls from {height:.2f} m into a box of {stuff} on a {floor}.")
def ball_into_sand(draw: Draw) -> Layout:
    wide, deep, tall = draw.uniform(0.5, 0.6), draw.uniform(0.4, 0.5), 0.2
    box = draw.shaped("box", open_box((wide, deep, tall), 0.02), "wooden", 0.6, free=False)
    ball = draw.ball("ball", (0.06, 0.08), ("steel", "wooden", "rubber", "stone"))
    height = draw.uniform(0.4, 0.8)
    shift = (draw.uniform(-0.08, 0.08), draw.uniform(-0.06, 0.06))
    ball = moved(ball, (*shift, 0.17 + height + radius_of(ball)))
    region = Collider("box", (wide / 2 - 0.02, deep / 2 - 0.02, 0.075), (0.0, 0.0, 0.095))
    grains, stuff = heap(draw, ("sand", "dark sand", "glass beads"), region, 2300)
    facts = {"ball": ball.material.name, "height": height, "stuff": stuff}
    return Layout((box, ball), facts, from_side(elevation=(16, 32)), media=(grains,))


@scene("pile_on_slope", "A heap of {stuff} is let go on a wooden slope of {angle:.0f} degrees above a {floor}.")
def pile_on_slope(draw: Draw) -> Layout:
    angle, length, side = draw.uniform(14, 34), draw.uniform(0.8, 1.0), draw.sign()
    tilt = math.radians(angle)
    turn = about_axis((0, 1, 0), side * tilt)
    middle = length / 2 * math.sin(tilt) + 0.02
    board = draw.block("slope", (length, 0.5, 0.03), "wooden", position=(0, 0, middle), rotation=turn, free=False)
    radius, height = draw.uniform(0.1, 0.13), draw.uniform(0.12, 0.16)
    above = height / 2 + 0.015
    up = (side * math.sin(tilt), math.cos(tilt))
    along = -side * 0.22 * length
    place = (along * math.cos(tilt) + above * up[0], 0.0, middle - along * math.sin(side * tilt) + above * up[1])
    region = Collider("cylinder", (radius, height / 2, 0.0), place, turn)
    grains, stuff = heap(draw, ("sand", "gravel", "lentils"), region, 2200)
    facts = {"stuff": stuff, "angle": angle, "radius": radius}
    return Layout((board,), facts, from_side(elevation=(10, 26)), media=(grains,))


@scene("peas_on_plate", "{stuff} fall from {height:.2f} m onto a ceramic plate on a {floor}.")
def peas_on_plate(draw: Draw) -> Layout:
    height, radius = draw.uniform(0.15, 0.35), draw.uniform(0.07, 0.09)
    plate = draw.shaped(
        "plate", bowl(draw.uniform(0.24, 0.3), draw.uniform(0.06, 0.08)), "ceramic", 0.5, free=False
    )
    region = upright(radius, height, height + draw.uniform(0.16, 0.22))
    grains, stuff = heap(draw, ("peas", "lentils", "glass beads"), region, 900)
    facts = {"stuff": stuff.capitalize(), "height": height}
    return Layout((plate,), facts, Viewpoints(elevation=(0.25, 0.55)), media=(grains,))


def tipping_cup(
    draw: Draw,
    radius: float,
    height: float,
    level: float,
    side: int,
    speed: float,
    wall: float = 0.01,
    along: float = 0.0,
) -> Body:
    """A cup at x = `along`, its foot at `level`, tipped by a motor about an axis under its rim, toward `side`."""
    shape = Vessel(((0.8 * radius, 0.0), (radius, height)), wall, staves=20)
    axle: Vector = (along + side * 0.9 * radius, 0.0, level + 0.9 * height)
    motor = Motor(effort=60.0 * speed, damping=60.0)
    hold = Joint("hinge", axle, (0.0, float(side), 0.0), limits=(0.0, math.radians(140)), motor=motor)
    return draw.shaped("cup", shape, "ceramic", 0.5, position=(along, 0.0, level), joint=hold)


def _glass(name: str, shape: Vessel) -> Body:
    look = Look((0.9, 0.95, 0.93), (0.9, 0.95, 0.93), finish="glass", refraction=1.03)
    return Body(name, shape, MATERIALS["glass"], look, free=False)


__all__ = ["STUFFS", "heap", "tipping_cup", "upright"]

"""Thermodynamic rows: things that glow and cool, melt and burn down, and smoke that rises."""

from __future__ import annotations

import dataclasses
import functools

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.placing import from_side
from phys4d.sim.dressing import MATERIALS, Draw
from phys4d.sim.materials import Look
from phys4d.sim.media import Block, Smoke
from phys4d.sim.objects import Compound, Part, Turned, Vessel, bowl
from phys4d.sim.scene import Body, Viewpoints
from phys4d.sim.shapes import Box, Collider

scene = functools.partial(catalog.scene, category="thermodynamics", engine="heat")

METALS: dict[str, tuple[float, float, float]] = {
    # name: (density [kg/m^3], conductivity [W/(m K)], capacity [J/(kg K)]), hot
    "steel": (7700.0, 30.0, 620.0),
    "iron": (7650.0, 35.0, 650.0),
    "copper": (8700.0, 350.0, 440.0),
}
ROOM = 293.15


def metal_bar(draw: Draw, temperature: float, **how) -> tuple[Block, Body, str, tuple[float, float, float]]:
    """A bar of metal on two bricks, the bricks, the metal's name, and the bar's size [m]."""
    metal = draw.choice(tuple(METALS))
    density, conductivity, capacity = METALS[metal]
    cell = 0.02
    size = (cell * draw.choice((28, 32, 36)), 4 * cell, 4 * cell)
    tall = draw.uniform(0.1, 0.16)
    region = Collider("box", (size[0] / 2, size[1] / 2, size[2] / 2), (0.0, 0.0, tall + size[2] / 2))
    tone = {"steel": (0.09, 0.09, 0.1), "iron": (0.06, 0.06, 0.06), "copper": (0.22, 0.09, 0.045)}[metal]
    look = Look(tone, (0.7 * tone[0], 0.7 * tone[1], 0.7 * tone[2]), "speckle", 0.2, 0.3)
    block = Block("bar", look, region, density, conductivity, capacity, temperature, cell, **how)
    bricks = Compound(tuple(Part(Box((0.08, 0.2, tall)), (s * 0.32 * size[0], 0, tall / 2)) for s in (-1, 1)))
    return block, draw.shaped("bricks", bricks, "clay", 0.3, free=False), metal, size


@scene(
    "hot_bar_cools",
    "A bar of {metal} at {celsius:.0f} degrees Celsius cools in a draught on a {floor},"
    " {lapse:.0f} times as fast.",
)
def hot_bar_cools(draw: Draw) -> Layout:
    celsius, lapse, passing = draw.uniform(950, 1250), draw.choice((60.0, 120.0, 240.0)), draw.uniform(120, 260)
    block, bricks, metal, _ = metal_bar(
        draw, celsius + 273.15, air=(ROOM, passing), bed=(ROOM, passing), lapse=lapse
    )
    facts = {"metal": metal, "celsius": celsius, "lapse": lapse, "transfer": passing}
    lights, sky = dim(draw)
    return Layout((bricks,), facts, from_side(elevation=(10, 28)), media=(block,), lights=lights, sky=sky)


@scene(
    "bar_heats_up",
    "One end of a cold {metal} bar is kept at {celsius:.0f} degrees Celsius on a {floor},"
    " {lapse:.0f} times as fast.",
)
def bar_heats_up(draw: Draw) -> Layout:
    celsius, lapse = draw.uniform(1150, 1300), draw.choice((500.0, 1000.0, 2000.0))
    block, bricks, metal, _ = metal_bar(
        draw, ROOM, air=(ROOM, 12.0), bed=(ROOM, 12.0), end=celsius + 273.15, lapse=lapse
    )
    facts = {"metal": metal, "celsius": celsius, "lapse": lapse}
    lights, sky = dim(draw)
    return Layout((bricks,), facts, from_side(elevation=(10, 28)), media=(block,), lights=lights, sky=sky)


@scene(
    "ice_cube_melts",
    "An ice cube of {edge:.0f} mm melts on a metal plate at {celsius:.0f} degrees Celsius on a {floor},"
    " {lapse:.0f} times as fast.",
)
def ice_cube_melts(draw: Draw) -> Layout:
    edge, celsius, lapse = draw.uniform(0.16, 0.22), draw.uniform(20, 60), draw.choice((2000.0, 2500.0, 3000.0))
    thick = 0.03
    plate = draw.shaped("plate", Box((0.42, 0.42, thick)), "steel", 0.4, position=(0, 0, thick / 2), free=False)
    region = Collider("box", (edge / 2, edge / 2, edge / 2), (0.0, 0.0, thick + edge / 2))
    clear = (0.8, 0.92, 0.96)
    look = Look(clear, clear, finish="liquid", refraction=1.31)
    block = Block(
        "ice",
        look,
        region,
        density=917.0,
        conductivity=2.2,
        capacity=2050.0,
        temperature=268.15,
        cell=edge / 18,
        latent=3.34e5,
        melting=273.15,
        air=(ROOM + 5, draw.uniform(20, 40)),
        bed=(celsius + 273.15, draw.uniform(60, 120)),
        lapse=lapse,
    )
    facts = {"edge": 1000 * edge, "celsius": celsius, "lapse": lapse}
    return Layout((plate,), facts, Viewpoints(elevation=(0.2, 0.5)), media=(block,))


@scene(
    "candle_burns_down",
    "A wax candle, {height:.2f} m tall, melts and burns down on a {floor}, {lapse:.0f} times as fast.",
)
def candle_burns_down(draw: Draw) -> Layout:
    radius, height, lapse = draw.uniform(0.06, 0.08), draw.uniform(0.3, 0.42), draw.choice((600.0, 900.0, 1200.0))
    cell = radius / 7
    dish = 0.02
    tone = ((0.85, 0.8, 0.66), (0.6, 0.06, 0.05), (0.1, 0.2, 0.5), (0.25, 0.45, 0.15))[int(draw.looks.integers(4))]
    look = Look(tone, (0.8 * tone[0], 0.8 * tone[1], 0.8 * tone[2]), "plain", 0.2, 0.5)
    region = Collider("cylinder", (radius, height / 2, 0.0), (0.0, 0.0, dish + height / 2))
    block = Block(
        "candle",
        look,
        region,
        density=900.0,
        conductivity=0.25,
        capacity=2100.0,
        temperature=ROOM,
        cell=cell,
        latent=1.8e5,
        melting=330.15,
        air=(ROOM, 5.0),
        bed=(ROOM, 5.0),
        top=(1100.0, draw.uniform(25, 40)),
        lapse=lapse,
        rider="flame",
    )
    outline = (((0.0, 0.0), (0.16, 0.0)), ((0.16, 0.0), (0.17, dish)), ((0.17, dish), (0.0, dish)))
    plate = draw.shaped("dish", Turned(outline, ((0.16, 0.0, dish),)), "iron", 0.3, free=False)
    profile = ((0.0, 0.0), (0.012, 0.012), (0.021, 0.035), (0.018, 0.06), (0.008, 0.09), (0.0, 0.105))
    burning = Look((1.0, 0.55, 0.12), (1.0, 0.75, 0.3), "plain", 0.2, 0.0, glow=3.0)
    shape, place = Turned((profile,), ((0.01, 0.0, 0.1),)), (0.0, 0.0, dish + height)
    flame = Body("flame", shape, MATERIALS["foam"], burning, place, free=False, solid=False)
    facts = {"height": height, "radius": radius, "lapse": lapse}
    lights, sky = dim(draw)
    return Layout((plate, flame), facts, Viewpoints(elevation=(0.1, 0.35)), media=(block,), lights=lights, sky=sky)


SMOKES = {
    # name: linear RGB of what light it sends back
    "white": (0.85, 0.85, 0.86),
    "grey": (0.4, 0.4, 0.41),
    "black": (0.06, 0.06, 0.065),
}


def smoke_of(draw: Draw, source: Collider, box: tuple[int, int, int], cell: float, **how) -> tuple[Smoke, str]:
    """Smoke of one of the tones in a box of so many cells that stands on the floor."""
    name = draw.choice(tuple(SMOKES))
    x, y, z = (n * cell for n in box)
    return Smoke("smoke", source, domain=((-x / 2, -y / 2, 0.0), (x / 2, y / 2, z)), cell=cell,
                 colour=SMOKES[name], **how), name  # fmt: skip


@scene(
    "smoke_plume",
    "{tone} smoke, {heat:.0f} K hotter than the air, rises from a bowl on a {floor}.",
    engine="smoke",
)
def smoke_plume(draw: Draw) -> Layout:
    cell, radius, heat = 0.03, draw.uniform(0.07, 0.1), draw.uniform(60, 200)
    pot = draw.shaped("bowl", bowl(1.35 * radius, 0.08), "ceramic", 0.3, free=False, solid=False)
    shift = (draw.uniform(-0.03, 0.03), draw.uniform(-0.03, 0.03))
    source = Collider("cylinder", (radius, 0.03, 0.0), (*shift, 0.07))
    smoke, tone = smoke_of(draw, source, (24, 24, 46), cell, rate=draw.uniform(0.012, 0.03), heat=heat)
    facts = {"tone": tone.capitalize(), "heat": heat, "radius": radius}
    return Layout((pot,), facts, Viewpoints(elevation=(0.08, 0.3)), media=(smoke,))


@scene(
    "smoke_ring",
    "A pipe blows a puff of {tone} smoke upward at {speed:.1f} m/s, which becomes a ring, on a {floor}.",
    engine="smoke",
)
def smoke_ring(draw: Draw) -> Layout:
    cell, radius, tall = 0.026, draw.uniform(0.09, 0.11), draw.uniform(0.1, 0.14)
    speed, until = draw.uniform(1.7, 2.4), draw.uniform(0.14, 0.2)
    shape = Vessel(((radius + 0.02, 0.0), (radius + 0.02, tall)), 0.015)
    pipe = draw.shaped("pipe", shape, draw.choice(("steel", "iron", "wooden")), 0.3, free=False, solid=False)
    source = Collider("cylinder", (radius, 0.06, 0.0), (0.0, 0.0, tall - 0.02))
    smoke, tone = smoke_of(
        draw,
        source,
        (26, 26, 48),
        cell,
        rate=draw.uniform(0.04, 0.07),
        heat=8.0,
        until=until,
        blown=(0.0, 0.0, speed),
    )
    facts = {"tone": tone, "speed": speed, "until": until}
    return Layout((pipe,), facts, Viewpoints(elevation=(0.08, 0.3)), media=(smoke,))


@scene(
    "smoke_past_ball",
    "{tone} smoke, {heat:.0f} K hotter than the air, rises past a {ball} ball above a {floor}.",
    engine="smoke",
)
def smoke_past_ball(draw: Draw) -> Layout:
    cell, radius, heat = 0.03, draw.uniform(0.08, 0.1), draw.uniform(120, 240)
    pot = draw.shaped("bowl", bowl(1.35 * radius, 0.08), "ceramic", 0.3, free=False, solid=False)
    ball = draw.ball("ball", (0.1, 0.13), ("steel", "wooden", "plastic", "rubber", "stone"))
    place = (draw.uniform(-0.05, 0.05), draw.uniform(-0.02, 0.02), draw.uniform(0.42, 0.52))
    ball = dataclasses.replace(ball, position=place, free=False)
    source = Collider("cylinder", (radius, 0.03, 0.0), (0.0, 0.0, 0.07))
    smoke, tone = smoke_of(draw, source, (24, 24, 46), cell, rate=draw.uniform(0.02, 0.04), heat=heat)
    facts = {"tone": tone.capitalize(), "heat": heat, "ball": ball.material.name}
    return Layout((pot, ball), facts, Viewpoints(elevation=(0.05, 0.25)), media=(smoke,))


def dim(draw: Draw):
    """Dusk: so little light that what glows is seen to glow."""
    level = float(draw.looks.uniform(0.25, 0.4))
    (sun,) = draw.lights()
    r, g, b = sun.colour
    sky = draw.sky()
    faded = dataclasses.replace(
        sky,
        horizon=tuple(level * c for c in sky.horizon),
        zenith=tuple(level * c for c in sky.zenith),
    )
    return (dataclasses.replace(sun, colour=(0.6 * level * r, 0.6 * level * g, 0.6 * level * b)),), faded


__all__ = ["METALS", "dim", "metal_bar"]

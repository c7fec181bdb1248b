"""Fluid rows: water, juice and honey that break, slosh, splash, pour and jet, and things that sink and float."""

from __future__ import annotations

import dataclasses
import functools
import math

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.granular import tipping_cup, upright
from phys4d.sim.catalog.placing import from_side, moved, radius_of
from phys4d.sim.dressing import MATERIALS, Draw
from phys4d.sim.materials import Look, Material
from phys4d.sim.media import Liquid
from phys4d.sim.objects import Aquarium, Compound, Part, Potato
from phys4d.sim.scene import Body
from phys4d.sim.shapes import Box, Collider, Colour, Vector, about_axis, multiply

scene = functools.partial(catalog.scene, category="fluid", engine="liquid")

LIQUIDS: dict[str, tuple[float, float, float, Colour]] = {
    # name: (density [kg/m^3], viscosity [Pa s], refractive index, share of light after 10 cm)
    "water": (998.0, 1e-3, 1.33, (0.72, 0.9, 0.95)),
    "blue water": (998.0, 1e-3, 1.33, (0.3, 0.64, 0.92)),
    "orange juice": (1045.0, 3e-3, 1.35, (0.94, 0.5, 0.06)),
    "grape juice": (1055.0, 3e-3, 1.35, (0.68, 0.2, 0.42)),
    "apple juice": (1050.0, 2e-3, 1.35, (0.93, 0.78, 0.32)),
    "olive oil": (911.0, 0.08, 1.47, (0.84, 0.82, 0.25)),
    "honey": (1420.0, 20.0, 1.49, (0.6, 0.14, 0.004)),
    "syrup": (1330.0, 8.0, 1.46, (0.3, 0.06, 0.01)),
}
BAR = 0.016
"""How thick the bars and the base of a tank are [m]."""
JUICES = ("orange juice", "grape juice", "apple juice")


def liquid_of(
    draw: Draw, names: tuple[str, ...], regions: tuple[Collider, ...], tank: Tank, cell: float
) -> tuple[Liquid, str]:
    name = draw.choice(names)
    density, viscosity, index, colour = LIQUIDS[name]
    look = Look(colour, colour, finish="liquid", refraction=index)
    return Liquid(name, density, viscosity, look, regions, tank.domain, cell), name


@dataclasses.dataclass(frozen=True)
class Tank:
    """A tank of clear panes on the floor, of whole cells. inner: width, depth, height [m]."""

    inner: Vector

    @property
    def domain(self) -> tuple[Vector, Vector]:
        x, y, z = self.inner
        return (-x / 2, -y / 2, BAR), (x / 2, y / 2, BAR + z)

    def body(self, draw: Draw, name: str = "tank") -> Body:
        x, y, z = self.inner
        frame = (0.06, 0.45, 0.8)[int(draw.looks.integers(3))]
        dark = 0.8 * frame
        look = Look((frame, frame, frame), (dark, dark, dark), "plain", 0.4, 0.5)
        return Body(name, Aquarium((x, y, z - BAR), BAR), MATERIALS["plastic"], look, free=False)

    def filled(self, level: float) -> Collider:
        """The region below a level [m]."""
        x, y, _ = self.inner
        return Collider("box", (x / 2, y / 2, level / 2), (0.0, 0.0, BAR + level / 2))


def tank_of(draw: Draw, wide: tuple[int, int], deep: tuple[int, int], tall: int, cell: float) -> Tank:
    """A tank of even numbers of cells."""
    x, y = (2 * int(draw.physics.integers(low // 2, high // 2 + 1)) for low, high in (wide, deep))
    return Tank((x * cell, y * cell, tall * cell))


@scene("dam_break", "A column of {stuff}, {height:.2f} m tall, collapses in a glass tank on a {floor}.")
def dam_break(draw: Draw) -> Layout:
    cell, side = 0.025, draw.sign()
    tank = tank_of(draw, (30, 38), (10, 16), 20, cell)
    x, y, _ = tank.inner
    wide, height = cell * draw.choice((8, 9, 10, 11)), draw.uniform(0.26, 0.4)
    place = (-side * (x - wide) / 2, 0.0, BAR + height / 2)
    liquid, stuff = liquid_of(
        draw,
        ("water", "blue water", *JUICES),
        (Collider("box", (wide / 2, y / 2, height / 2), place),),
        tank,
        cell,
    )
    facts = {"stuff": stuff, "height": height, "width": wide}
    return Layout((tank.body(draw),), facts, from_side(elevation=(8, 22)), media=(liquid,))


@scene(
    "sloshing_tank",
    "{stuff} sloshes in a glass tank on a {floor}; at first it is {drop:.2f} m higher on one side.",
)
def sloshing_tank(draw: Draw) -> Layout:
    cell, side = 0.025, draw.sign()
    tank = tank_of(draw, (24, 32), (8, 14), 18, cell)
    x, y, _ = tank.inner
    level, drop = draw.uniform(0.13, 0.2), draw.uniform(0.1, 0.18)
    lean = math.atan(drop / x)
    # A big box whose upper face is the slanted surface.
    deep = 1.0
    place = (-deep * side * math.sin(lean), 0.0, BAR + level - deep * math.cos(lean))
    region = Collider("box", (2.0, y / 2, deep), place, about_axis((0, 1, 0), side * lean))
    liquid, stuff = liquid_of(draw, ("water", "blue water", *JUICES, "olive oil"), (region,), tank, cell)
    facts = {"stuff": stuff.capitalize(), "level": level, "drop": drop, "length": x}
    return Layout((tank.body(draw),), facts, from_side(elevation=(6, 20)), media=(liquid,))


@scene(
    "drop_in_tank", "A drop of {stuff}, {size:.2f} m across, falls from {height:.2f} m into a tank on a {floor}."
)
def drop_in_tank(draw: Draw) -> Layout:
    cell = 0.025
    tank = tank_of(draw, (24, 28), (16, 20), 26, cell)
    level, radius, height = draw.uniform(0.08, 0.13), draw.uniform(0.08, 0.11), draw.uniform(0.2, 0.3)
    place = (draw.uniform(-0.06, 0.06), draw.uniform(-0.05, 0.05), BAR + level + height + radius)
    regions = (tank.filled(level), Collider("sphere", (radius, 0, 0), place))
    liquid, stuff = liquid_of(draw, ("water", "blue water", *JUICES), regions, tank, cell)
    facts = {"stuff": stuff, "size": 2 * radius, "height": height, "level": level}
    return Layout((tank.body(draw),), facts, from_side(elevation=(8, 24)), media=(liquid,))


@scene(
    "potato_in_water", "A potato falls from {height:.2f} m into a tank with {level:.2f} m of water on a {floor}."
)
def potato_in_water(draw: Draw) -> Layout:
    cell = 0.025
    tank = tank_of(draw, (22, 26), (14, 18), 22, cell)
    level, height, length = draw.uniform(0.2, 0.26), draw.uniform(0.08, 0.25), draw.uniform(0.2, 0.26)
    shape = Potato(length, seed=int(draw.physics.integers(1000)))
    turn = multiply(about_axis((0, 0, 1), draw.uniform(-3, 3)), about_axis((0, 1, 0), draw.uniform(-0.6, 0.6)))
    place = (draw.uniform(-0.05, 0.05), draw.uniform(-0.03, 0.03), BAR + level + height + 0.5 * length)
    skin = (0.42, 0.27, 0.12)
    look = Look(skin, (0.27, 0.16, 0.07), "speckle", 0.5 * length, 0.1)
    potato = Body("potato", shape, Material("potato", 1080.0, 0.5, 0.2), look, place, turn)
    liquid, _ = liquid_of(draw, ("water",), (tank.filled(level),), tank, cell)
    facts = {"height": height, "level": level, "length": length}
    return Layout((tank.body(draw), potato), facts, from_side(elevation=(8, 22)), media=(liquid,))


@scene("domino_in_juice", "A {block} domino falls from {height:.2f} m into a tank of {stuff} on a {floor}.")
def domino_in_juice(draw: Draw) -> Layout:
    cell = 0.025
    tank = tank_of(draw, (22, 26), (14, 18), 22, cell)
    level, height = draw.uniform(0.18, 0.25), draw.uniform(0.08, 0.25)
    tall = draw.uniform(0.22, 0.28)
    block = draw.choice(("wooden", "plastic", "stone"))
    turn = multiply(about_axis((0, 0, 1), draw.uniform(-0.5, 0.5)), about_axis((0, 1, 0), draw.uniform(-0.7, 0.7)))
    place = (draw.uniform(-0.06, 0.06), 0.0, BAR + level + height + 0.5 * tall)
    domino = draw.block("domino", (0.075, 0.5 * tall, tall), block, position=place, rotation=turn)
    liquid, stuff = liquid_of(draw, JUICES, (tank.filled(level),), tank, cell)
    facts = {"block": block, "height": height, "level": level, "stuff": stuff}
    return Layout((tank.body(draw), domino), facts, from_side(elevation=(8, 22)), media=(liquid,))


@scene("ball_in_water", "A {ball} ball falls from {height:.2f} m into a tank of {stuff} on a {floor} and {ends}.")
def ball_in_water(draw: Draw) -> Layout:
    cell = 0.025
    tank = tank_of(draw, (22, 28), (14, 18), 22, cell)
    level, height = draw.uniform(0.18, 0.25), draw.uniform(0.1, 0.3)
    ball = draw.ball("ball", (0.07, 0.095), ("wooden", "hollow plastic", "foam", "stone", "steel"))
    r = radius_of(ball)
    ball = moved(ball, (draw.uniform(-0.1, 0.1), draw.uniform(-0.04, 0.04), BAR + level + height + r))
    liquid, stuff = liquid_of(draw, ("water", "blue water"), (tank.filled(level),), tank, cell)
    ends = "floats" if ball.material.density < liquid.density else "sinks"
    facts = {"ball": ball.material.name, "height": height, "level": level, "stuff": stuff, "ends": ends}
    return Layout((tank.body(draw), ball), facts, from_side(elevation=(8, 22)), media=(liquid,))


@scene("jet_from_hole", "{stuff} jets from a hole {depth:.2f} m below its surface into a glass tray on a {floor}.")
def jet_from_hole(draw: Draw) -> Layout:
    cell, side = 0.022, draw.sign()
    tray = Tank((40 * cell, 12 * cell, 22 * cell))
    x, y, z = tray.inner
    thick, hole = 2 * cell, 3.4 * cell
    wide = cell * draw.choice((10, 11, 12))
    low = cell * draw.choice((5, 6, 7))
    level = low + hole / 2 + draw.uniform(0.16, 0.22)
    edge = -side * x / 2
    wall = edge + side * (wide + thick / 2)
    plates = [
        Part(Box((thick, y, low)), (wall, 0.0, BAR + low / 2)),
        Part(Box((thick, y, z - low - hole)), (wall, 0.0, BAR + (z + low + hole) / 2)),
        *(
            Part(Box((thick, (y - hole) / 2, hole)), (wall, s * (y + hole) / 4, BAR + low + hole / 2))
            for s in (-1, 1)
        ),
    ]
    plate = draw.shaped("plate", Compound(tuple(plates)), "plastic", 0.4, free=False)
    region = Collider("box", (wide / 2, y / 2, level / 2), (edge + side * wide / 2, 0.0, BAR + level / 2))
    liquid, stuff = liquid_of(draw, ("water", "blue water", *JUICES), (region,), tray, cell)
    depth = level - low - hole / 2
    facts = {"stuff": stuff.capitalize(), "depth": depth, "hole": hole}
    return Layout((tray.body(draw, "tray"), plate), facts, from_side(elevation=(8, 22)), media=(liquid,))


@scene("cup_pours", "A cup tips over and pours {stuff} into a glass tray on a {floor}.")
def cup_pours(draw: Draw) -> Layout:
    cell, side, speed = 0.02, draw.sign(), draw.uniform(2.0, 2.8)
    tray = Tank((34 * cell, 20 * cell, 36 * cell))
    radius, height = draw.uniform(0.12, 0.13), draw.uniform(0.22, 0.26)
    level = BAR + draw.uniform(0.2, 0.26)
    cup = tipping_cup(draw, radius, height, level, side, speed, wall=0.026, along=-side * 0.12)
    region = upright(0.7 * radius, level + 0.03, level + 0.85 * height, (-side * 0.12, 0.0))
    liquid, stuff = liquid_of(draw, ("water", "blue water", *JUICES), (region,), tray, cell)
    facts = {"stuff": stuff, "speed": speed}
    return Layout((tray.body(draw, "tray"), cup), facts, from_side(elevation=(10, 26)), media=(liquid,))


@scene("honey_slumps", "A block of {stuff}, {height:.2f} m tall, slumps in a glass tray on a {floor}.")
def honey_slumps(draw: Draw) -> Layout:
    cell = 0.02
    tray = tank_of(draw, (28, 34), (20, 26), 15, cell)
    height, width = draw.uniform(0.18, 0.26), draw.uniform(0.16, 0.22)
    place = (draw.uniform(-0.06, 0.06), draw.uniform(-0.04, 0.04), BAR + height / 2)
    turn = about_axis((0, 0, 1), draw.uniform(-0.7, 0.7))
    region = Collider("box", (width / 2, width / 2, height / 2), place, turn)
    liquid, stuff = liquid_of(draw, ("honey", "syrup"), (region,), tray, cell)
    facts = {"stuff": stuff, "height": height, "width": width}
    return Layout((tray.body(draw, "tray"),), facts, from_side(elevation=(14, 30)), media=(liquid,))


__all__ = ["LIQUIDS", "Tank", "liquid_of", "tank_of"]

"""Garment rows: cloths that fall over things, hang, flutter, are pulled aside, crumple and catch."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from scipy.optimize import brentq

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.articulated import LYING
from phys4d.sim.catalog.placing import from_side, moved, radius_of
from phys4d.sim.catalog.stuffs import FABRICS, bent, cloth_of, sheet
from phys4d.sim.dressing import MATERIALS, Draw
from phys4d.sim.elastics import Hold, Wind
from phys4d.sim.objects import Compound, Part
from phys4d.sim.scene import Body, Joint, Motor
from phys4d.sim.shapes import Box, Cylinder, Duck, Sphere, Vector, about_axis

scene = functools.partial(catalog.scene, category="garment", engine="elastic")

STUFFS = tuple(FABRICS)
SPACING = 0.024
"""Of the nodes of a cloth [m]."""
CLIP = 3
"""Nodes along each side of what a clip at a corner holds."""


@scene("silk_cover", "A silk cloth of {size:.2f} m falls from {height:.2f} m over a {what} on a {floor}.")
def silk_cover(draw: Draw) -> Layout:
    size, above = draw.uniform(0.75, 0.9), draw.uniform(0.06, 0.16)
    what = draw.choice(("stone ball", "wooden box", "steel cylinder", "plastic duck"))
    body, top = _covered(draw, what)
    turn, off = draw.uniform(-math.pi, math.pi), (draw.uniform(-0.04, 0.04), draw.uniform(-0.04, 0.04))
    height = round(top + above, 4)
    start, step = _flat(size, (*off, height), turn)
    cloth = cloth_of(draw, "cloth", "silk", start, step)
    facts = {"what": what, "size": size, "height": height}
    return Layout((body,), facts, from_side((-180, 180), (14, 34)), elastics=(cloth,))


@scene("cloth_on_chair", "A {cloth} throw of {size:.2f} m falls over a wooden chair.")
def cloth_on_chair(draw: Draw) -> Layout:
    stuff, size = draw.choice(("cotton", "wool", "silk")), draw.uniform(0.7, 0.85)
    seat, back, width = draw.uniform(0.3, 0.36), draw.uniform(0.28, 0.36), draw.uniform(0.32, 0.38)
    chair = draw.shaped("chair", chair_of(width, seat, back), "wooden", 0.4, free=False)
    turn = draw.uniform(-0.4, 0.4)
    start, step = _flat(size, (draw.uniform(-0.04, 0.06), 0.0, seat + back + 0.04), turn)
    cloth = cloth_of(draw, "cloth", stuff, start, step)
    facts = {"cloth": stuff, "size": size, "seat": seat, "back": back}
    return Layout((chair,), facts, from_side((20, 160), (14, 30)), elastics=(cloth,))


@scene(
    "cloth_slides_off_table",
    "A {cloth} cloth lies on the edge of a {table} table, {over:.0f} % of it beyond, and is let go.",
)
def cloth_slides_off_table(draw: Draw) -> Layout:
    stuff, table_stuff, side = draw.choice(STUFFS), draw.choice(("wooden", "stone", "plastic")), draw.sign()
    long, wide, share = draw.uniform(0.75, 0.9), draw.uniform(0.5, 0.65), draw.uniform(0.4, 0.75)
    tall, edge = draw.uniform(0.5, 0.6), 0.03
    table = draw.shaped("table", _table(1.0, 0.8, tall, edge), table_stuff, 0.6, free=False)
    table = dataclasses.replace(table, position=(-side * 0.5, 0.0, 0.0))
    start, step = sheet(
        (side * long * (share - 0.5), 0.0, tall + 0.006), (1, 0, 0), (0, 1, 0), (long, wide), SPACING
    )
    cloth = cloth_of(draw, "cloth", stuff, start, step)
    facts = {"cloth": stuff, "table": table_stuff, "over": 100 * share, "size": long}
    return Layout((table,), facts, from_side((-35, 35), (16, 34)), elastics=(cloth,))


@scene(
    "cloth_blown",
    "A {cloth} cloth hangs by two corners in a gusty wind of {speed:.1f} m/s.",
)
def cloth_blown(draw: Draw) -> Layout:
    stuff, wide, tall = draw.choice(STUFFS), draw.uniform(0.7, 0.9), draw.uniform(0.6, 0.75)
    speed, gust, period = draw.uniform(2.5, 5.0), draw.uniform(0.3, 0.7), draw.uniform(0.5, 1.0)
    high = tall + draw.uniform(0.25, 0.4)
    # Its corners are a little nearer than it is wide, so that its upper edge sags.
    span = wide * draw.uniform(0.93, 0.99)
    start, step = sheet((0, 0, high - tall / 2), (1, 0, 0), (0, 0, -1), (wide, tall), SPACING)
    start = _in_waves(start, step, span, 1)
    rows, columns = start.shape[:2]
    hold = Hold(_corner(rows, columns, 0, 0) + _corner(rows, columns, 1, 0))
    cloth = cloth_of(draw, "cloth", stuff, start, step, holds=(hold,))
    side, slant = draw.sign(), draw.uniform(-0.5, 0.5)
    wind = Wind((speed * math.sin(slant), side * speed * math.cos(slant), 0.0), gust, period)
    facts = {"cloth": stuff, "speed": speed, "gust": gust, "period": period, "size": wide}
    view = from_side((-50, 50), (9, 24))
    return Layout((_frame(draw, span, high),), facts, view, elastics=(cloth,), wind=wind)


@scene("flag", "A {cloth} flag of {length:.2f} m on a pole flutters in a wind of {speed:.1f} m/s.")
def flag(draw: Draw) -> Layout:
    stuff, length, tall = draw.choice(("silk", "cotton")), draw.uniform(0.7, 0.9), draw.uniform(0.45, 0.55)
    speed, side, high = draw.uniform(5.0, 8.0), draw.sign(), draw.uniform(1.2, 1.4)
    start, step = sheet((side * length / 2, 0, high - tall / 2), (side, 0, 0), (0, 0, -1), (length, tall), SPACING)
    # Waves that it has already, so that it need not wait for the first one.
    x, phase = np.linspace(0, length, 400), draw.uniform(0, 2 * math.pi)
    y = 0.05 * x / length * (np.sin(2 * math.pi * x / 0.35 + phase))
    curve = bent(np.column_stack([side * x, y]), len(start), step)
    start[..., 0], start[..., 1] = curve[:, :1], curve[:, 1:]
    hold = Hold(tuple(range(start.shape[1])))
    cloth = cloth_of(draw, "flag", stuff, start, step, holds=(hold,))
    wind = Wind((side * speed, draw.uniform(-0.8, 0.8), 0.0), draw.uniform(0.1, 0.25), draw.uniform(0.4, 0.8))
    pole = draw.shaped("pole", Cylinder(0.014, high + 0.05), "steel", 0.3, free=False, solid=False)
    pole = dataclasses.replace(pole, position=(-side * 0.014, 0.0, (high + 0.05) / 2), focus=False)
    facts = {"cloth": stuff, "length": length, "speed": speed}
    return Layout((pole,), facts, from_side((-40, 40), (3, 18)), elastics=(cloth,), wind=wind)


@scene(
    "curtain_pulled",
    "A {cloth} curtain on a rail is pulled aside at {speed:.1f} m/s.",
)
def curtain_pulled(draw: Draw) -> Layout:
    stuff, side = draw.choice(("silk", "cotton", "wool")), draw.sign()
    wide, tall, speed = draw.uniform(0.85, 1.0), draw.uniform(0.55, 0.65), draw.uniform(0.35, 0.55)
    high = tall + draw.uniform(0.12, 0.2)
    folds, drawn = draw.choice((4, 5, 6)), draw.uniform(0.75, 0.85)
    start, step = sheet((0, 0, high - tall / 2), (side, 0, 0), (0, 0, -1), (wide, tall), SPACING)
    start = _in_waves(start, step, drawn * wide, folds)
    rows, columns = start.shape[:2]
    # Rings at the crests of the folds slide on the rail; the last one is pulled by a rod, the first one stays.
    rings = [round(k * (rows - 1) / (2 * folds)) for k in range(2 * folds + 1)]
    puller = draw.shaped("puller", Box((0.03, 0.05, 0.05)), "steel", 0.2)
    end = start[-1, 0]
    motor = Motor(effort=speed * 40.0, damping=40.0)
    axis: Vector = (-float(side), 0.0, 0.0)
    slide = Joint("slide", (0, 0, 0), axis=axis, motor=motor, limits=(0.0, 0.65 * drawn * wide))
    puller = dataclasses.replace(
        puller, position=(float(end[0]), float(end[1]), high + 0.03), joint=slide, solid=False
    )
    holds = (
        Hold((0,)),
        Hold(tuple(r * columns for r in rings[1:-1]), "rail"),
        Hold((rings[-1] * columns,), "puller"),
    )
    cloth = cloth_of(draw, "curtain", stuff, start, step, holds=holds)
    rail = draw.shaped("rail", Cylinder(0.012, wide + 0.2), "steel", 0.3, free=False, solid=False)
    rail = dataclasses.replace(
        rail, position=(0.0, 0.0, high + 0.012), rotation=about_axis((0, 1, 0), math.pi / 2)
    )
    facts = {"cloth": stuff, "speed": speed, "width": wide, "folds": folds}
    return Layout((rail, puller), facts, from_side((-30, 30), (2, 16)), elastics=(cloth,))


@scene("towel_dropped", "A {cloth} towel held upright is dropped from {height:.2f} m and crumples on a {floor}.")
def towel_dropped(draw: Draw) -> Layout:
    stuff = draw.choice(("terry", "cotton", "wool"))
    wide, tall, height = draw.uniform(0.5, 0.6), draw.uniform(0.6, 0.7), draw.uniform(0.04, 0.12)
    lean, turn = draw.uniform(0.05, 0.2), draw.uniform(-0.4, 0.4)
    along = (math.cos(turn), math.sin(turn), 0.0)
    up = (-math.sin(turn) * math.sin(lean), math.cos(turn) * math.sin(lean), math.cos(lean))
    # Gathered in waves, as between two hands; turned and tilted after that.
    start, step = sheet((0, 0, 0), (1, 0, 0), (0, 0, 1), (wide, tall), SPACING)
    start = _in_waves(start, step, wide * draw.uniform(0.85, 0.95), draw.choice((1.5, 2, 2.5)))
    axes = np.stack([along, np.cross(up, along), up])
    start = start @ axes + (0, 0, height + tall / 2)
    cloth = cloth_of(draw, "towel", stuff, start, step)
    facts = {"cloth": stuff, "height": height, "size": tall}
    return Layout((), facts, from_side((-50, 50), (10, 28)), elastics=(cloth,))


@scene(
    "ball_into_hammock",
    "A {ball} ball of {mass:.2f} kg falls from {height:.2f} m into a hammock of {cloth}.",
)
def ball_into_hammock(draw: Draw) -> Layout:
    stuff, above, side = draw.choice(("terry", "denim", "wool")), draw.uniform(0.08, 0.2), draw.sign()
    ball = draw.ball("ball", (0.07, 0.09), ("hollow plastic", "foam"))
    r = radius_of(ball)
    long, wide, tall = draw.uniform(0.95, 1.1), draw.uniform(0.45, 0.55), draw.uniform(0.6, 0.7)
    start, step = sheet((0, 0, tall), (1, 0, 0), (0, 1, 0), (long, wide), SPACING)
    # A parabola of the sheet's length, held along both of its ends.
    span = long * draw.uniform(0.82, 0.9)
    x = np.linspace(-span / 2, span / 2, 200)

    def curve(depth: float) -> np.ndarray:
        return np.column_stack([x, tall - depth * (1 - (2 * x / span) ** 2)])

    def too_long(depth: float) -> float:
        return float(np.linalg.norm(np.diff(curve(depth), axis=0), axis=1).sum()) - step * (len(start) - 1)

    depth: float = brentq(too_long, 0.0, long)  # type: ignore[assignment]
    places = bent(curve(depth), len(start), step)
    start[..., 0], start[..., 2] = places[:, :1], places[:, 1:]
    rows, columns = start.shape[:2]
    ends = tuple(range(columns)), tuple(range((rows - 1) * columns, rows * columns))
    cloth = cloth_of(draw, "hammock", stuff, start, step, holds=(Hold(ends[0] + ends[1]),))
    height = round(tall - depth + 2 * r + above, 4)
    ball = moved(ball, (side * draw.uniform(0.0, 0.15) * span, draw.uniform(-0.03, 0.03), height))
    mass = ball.material.density * 4 / 3 * math.pi * r**3
    bars = [Part(Cylinder(0.018, wide + 0.09), (s * span / 2, 0.0, tall), LYING) for s in (-1, 1)]
    legs = [
        Part(Box((0.045, 0.045, tall)), (a * (span / 2 + 0.01), b * (wide / 2 + 0.045), tall / 2))
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    stand = draw.shaped("stand", Compound((*bars, *legs)), "wooden", 0.3, free=False, solid=False)
    facts = {"ball": ball.material.name, "mass": mass, "cloth": stuff, "height": height}
    return Layout((stand, ball), facts, from_side((-50, 50), (12, 28)), elastics=(cloth,))


def chair_of(width: float, seat: float, back: float) -> Compound:
    """A plain chair that looks along +x, about the middle of its footprint. All in [m]."""
    leg, thick, half = 0.035, 0.03, width / 2
    parts = [
        Part(Box((leg, leg, seat)), (a * (half - leg / 2), b * (half - leg / 2), seat / 2))
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    parts.append(Part(Box((width, width, thick)), (0.0, 0.0, seat - thick / 2)))
    parts += [
        Part(Box((leg, leg, back)), (leg / 2 - half, b * (half - leg / 2), seat + back / 2)) for b in (-1, 1)
    ]
    parts += [
        Part(Box((0.02, width - 2 * leg, 0.05)), (leg / 2 - half, 0.0, seat + back * share))
        for share in (0.45, 0.9)
    ]
    return Compound(tuple(parts))


def _covered(draw: Draw, what: str) -> tuple[Body, float]:
    """Something on the floor that a cloth falls over, and how tall it is [m]."""
    stuff, kind = what.split()
    match kind:
        case "ball":
            r = draw.uniform(0.15, 0.2)
            return draw.shaped("ball", Sphere(r), stuff, 2 * r, position=(0, 0, r), free=False), 2 * r
        case "box":
            edge, tall = draw.uniform(0.22, 0.3), draw.uniform(0.2, 0.32)
            turn = about_axis((0, 0, 1), draw.uniform(-0.8, 0.8))
            place = (0, 0, tall / 2)
            return draw.block("box", (edge, edge, tall), stuff, position=place, rotation=turn, free=False), tall
        case "cylinder":
            r, tall = draw.uniform(0.1, 0.15), draw.uniform(0.24, 0.34)
            return draw.shaped(
                "cylinder", Cylinder(r, tall), stuff, 0.3, position=(0, 0, tall / 2), free=False
            ), tall
    duck = Duck(draw.uniform(0.38, 0.46))
    turn = about_axis((0, 0, 1), draw.uniform(-math.pi, math.pi))
    place = (0, 0, duck.rest_height)
    body = Body("duck", duck, MATERIALS["plastic"], draw.look_of("plastic", 1.0), place, turn, free=False)
    return body, duck.rest_height + 0.56 * duck.length


def _flat(size: float, place: Vector, turn: float) -> tuple[np.ndarray, float]:
    """A level square, turned about the vertical."""
    c, s = math.cos(turn), math.sin(turn)
    return sheet(place, (c, s, 0), (-s, c, 0), (size, size), SPACING)


def _in_waves(start: np.ndarray, step: float, span: float, waves: float) -> np.ndarray:
    """A sheet whose rows step along x, drawn together to `span` in waves in y, and not stretched."""
    rows = len(start)
    length, first = step * (rows - 1), start[0, 0, 0]
    way = math.copysign(1.0, start[-1, 0, 0] - first)
    share = np.linspace(0, 1, 60 * max(1, round(waves)) + 1)

    def curve(height: float) -> np.ndarray:
        return np.column_stack([share * span, height * (1 - np.cos(2 * math.pi * waves * share)) / 2])

    def too_long(height: float) -> float:
        return float(np.linalg.norm(np.diff(curve(height), axis=0), axis=1).sum()) - length

    height: float = brentq(too_long, 0.0, length)  # type: ignore[assignment]
    places = bent(curve(height), rows, step)
    out = start.copy()
    out[..., 0] = way * (places[:, :1] - span / 2)
    out[..., 1] += places[:, 1:]
    return out


def _corner(rows: int, columns: int, far_row: int, far_column: int) -> tuple[int, ...]:
    """The nodes that a clip at a corner holds."""
    i = np.arange(CLIP) if not far_row else rows - 1 - np.arange(CLIP)
    j = np.arange(CLIP) if not far_column else columns - 1 - np.arange(CLIP)
    return tuple(int(n) for n in (i[:, None] * columns + j).reshape(-1))


def _frame(draw: Draw, span: float, high: float) -> Body:
    parts = tuple(Part(Cylinder(0.012, high), (s * (span / 2 + 0.012), 0.0, high / 2)) for s in (-1, 1))
    frame = draw.shaped("posts", Compound(parts), "steel", 0.3, free=False, solid=False)
    return dataclasses.replace(frame, focus=False)


def _table(long: float, wide: float, tall: float, thick: float) -> Compound:
    legs = [
        Part(Box((0.05, 0.05, tall - thick)), (a * (long / 2 - 0.06), b * (wide / 2 - 0.06), (tall - thick) / 2))
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    return Compound((Part(Box((long, wide, thick)), (0.0, 0.0, tall - thick / 2)), *legs))

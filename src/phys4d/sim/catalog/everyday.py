"""Rigid rows with everyday things: ducks, boxes, weights and plates, marble runs, trains of balls."""

from __future__ import annotations

import dataclasses
import functools
import math

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.placing import dominoes, duck_of, from_side, moved, radius_of, rolling
from phys4d.sim.dressing import Draw
from phys4d.sim.objects import Compound, Part, bowl, channel, open_box, weight
from phys4d.sim.scene import Body, Viewpoints
from phys4d.sim.shapes import Box, about_axis, multiply

scene = functools.partial(catalog.scene, category="rigid")

BALLS = ("rubber", "steel", "wooden", "plastic", "foam")
BLOCKS = ("wooden", "plastic", "stone")


@scene("ball_and_block", "A {ball} ball and a {block} block fall side by side from {height:.1f} m onto a {floor}.")
def ball_and_block(draw: Draw) -> Layout:
    height, side = draw.uniform(0.6, 1.2), draw.sign()
    ball = draw.ball("ball", (0.14, 0.2), BALLS)
    stuff, edge = draw.choice((*BLOCKS, "foam")), draw.uniform(0.24, 0.34)
    apart = draw.uniform(0.45, 0.6)
    turn = multiply(
        about_axis((0, 0, 1), draw.uniform(-0.6, 0.6)), about_axis((0, 1, 0), draw.uniform(-0.35, 0.35))
    )
    # The block hangs by its middle, so that its lowest corner is at about the ball's height.
    block = draw.block(
        "block", (edge, edge, edge), stuff, position=(side * apart / 2, 0, height + 0.75 * edge), rotation=turn
    )
    ball = moved(ball, (-side * apart / 2, 0, height + radius_of(ball)))
    facts = {"ball": ball.material.name, "block": stuff, "height": height}
    return Layout((ball, block), facts, from_side())


@scene(
    "ball_hits_nothing",
    "A {ball} ball rolls at {speed:.1f} m/s across a {floor} past a resting {other} ball and hits nothing.",
    context_frames=3,
)
def ball_hits_nothing(draw: Draw) -> Layout:
    speed, side = draw.uniform(1.0, 1.7), draw.sign()
    ball, other = draw.ball("ball", (0.15, 0.22), BALLS), draw.ball("other", (0.12, 0.2), BALLS)
    lane = radius_of(ball) + radius_of(other) + draw.uniform(0.12, 0.4)
    ball = rolling(ball, (-side * 0.66 * speed, 0, radius_of(ball)), (side * speed, 0, 0))
    other = moved(other, (side * draw.uniform(-0.2, 0.5), lane * draw.sign(), radius_of(other)))
    facts = {"ball": ball.material.name, "other": other.material.name, "speed": speed, "lane": lane}
    return Layout((ball, other), facts, from_side(elevation=(14, 30)))


@scene(
    "ball_train",
    "A {ball} ball rolls at {speed:.1f} m/s into a row of {count} resting {train} balls on a {floor}.",
    context_frames=3,
)
def ball_train(draw: Draw) -> Layout:
    speed, side, count = draw.uniform(1.2, 2.0), draw.sign(), draw.choice((2, 3, 4))
    stuff = draw.choice(("rubber", "steel", "wooden", "plastic"))
    striker = draw.ball("ball", (0.13, 0.19), ("rubber", "steel", "wooden", "plastic"))
    r = radius_of(striker)
    # A hair's breadth between them, so that the push goes from one to the next.
    pitch = 2 * r + draw.uniform(0.004, 0.008)
    train = [
        moved(draw.ball(f"train{k}", (r, r), (stuff,)), (side * (k - 0.5 * count) * pitch, 0, r))
        for k in range(count)
    ]
    gap = speed * draw.uniform(0.3, 0.45)
    striker = rolling(striker, (-side * (gap + 2 * r + 0.5 * count * pitch), 0, r), (side * speed, 0, 0))
    facts = {"ball": striker.material.name, "train": stuff, "count": count, "speed": speed}
    return Layout((striker, *train), facts, from_side())


@scene(
    "domino_with_space",
    "A row of {first} {stuff} dominoes topples on a {floor}; {second} more stand beyond a gap of {gap:.2f} m.",
)
def domino_with_space(draw: Draw) -> Layout:
    first, second, stuff = draw.choice((3, 4)), draw.choice((2, 3)), draw.choice(BLOCKS)
    height, side = draw.uniform(0.36, 0.44), draw.sign()
    thick, width, pitch = 0.14 * height, draw.uniform(0.4, 0.55) * height, draw.uniform(0.46, 0.6) * height
    # Wider than a domino is tall, and than it slides.
    gap = height * draw.uniform(1.35, 1.7)
    places = [k * pitch for k in range(first)] + [(first - 1) * pitch + gap + k * pitch for k in range(second)]
    middle = places[-1] / 2
    lean = math.atan(thick / height) + math.radians(draw.uniform(4.5, 7))
    places = [side * (x - middle) for x in places]
    blocks = dominoes(draw, places, side, stuff, (thick, width, height), lean)
    facts = {"first": first, "second": second, "stuff": stuff, "gap": gap, "height": height, "pitch": pitch}
    return Layout(tuple(blocks), facts, from_side())


@scene("duck_and_domino", "A row of {count} {stuff} dominoes topples onto a plastic toy duck on a {floor}.")
def duck_and_domino(draw: Draw) -> Layout:
    count, stuff, side = draw.choice((2, 3, 4)), draw.choice(BLOCKS), draw.sign()
    height, length = draw.uniform(0.42, 0.5), draw.uniform(0.5, 0.65)
    thick, width, pitch = 0.14 * height, draw.uniform(0.45, 0.6) * height, draw.uniform(0.46, 0.58) * height
    lean = math.atan(thick / height) + math.radians(draw.uniform(5, 7.5))
    places = [side * (k - count) * pitch for k in range(count)]
    blocks = dominoes(draw, places, side, stuff, (thick, width, height), lean)
    duck = duck_of(draw, length, (side * (draw.uniform(0.1, 0.25) * height + 0.5 * length - pitch / 2), 0.0, 0.0))
    facts = {"count": count, "stuff": stuff, "height": height, "length": length}
    return Layout((*blocks, duck), facts, from_side())


@scene("duck_falls_in_box", "A plastic toy duck falls from {height:.1f} m into an open {box} box on a {floor}.")
def duck_falls_in_box(draw: Draw) -> Layout:
    height, length = draw.uniform(0.7, 1.1), draw.uniform(0.42, 0.55)
    stuff = draw.choice(("wooden", "plastic"))
    size = (length + draw.uniform(0.25, 0.4), length + draw.uniform(0.2, 0.35), draw.uniform(0.3, 0.42))
    box = draw.shaped("box", open_box(size, 0.03), stuff, 0.7)
    shift = (draw.uniform(-0.05, 0.05), draw.uniform(-0.05, 0.05), height)
    duck = duck_of(draw, length, shift)
    tilt = multiply(about_axis((0, 1, 0), draw.uniform(-0.5, 0.5)), duck.rotation)
    duck = dataclasses.replace(duck, rotation=tilt)
    facts = {"box": stuff, "height": height, "length": length}
    return Layout((box, duck), facts, from_side(azimuth=(-60, 60), elevation=(20, 36)))


@scene("duck_static", "A plastic toy duck and a {block} block stand still on a {floor}.")
def duck_static(draw: Draw) -> Layout:
    length, stuff, side = draw.uniform(0.5, 0.8), draw.choice(BLOCKS), draw.sign()
    edge = draw.uniform(0.25, 0.4)
    away = 0.62 * length + 0.8 * edge + draw.uniform(0.05, 0.3)
    turn = about_axis((0, 0, 1), draw.uniform(-0.7, 0.7))
    block = draw.block(
        "block",
        (edge, edge, edge),
        stuff,
        position=(side * away, draw.uniform(-0.2, 0.2), edge / 2),
        rotation=turn,
    )
    return Layout((duck_of(draw, length), block), {"block": stuff, "length": length, "edge": edge})


def _marble_run(draw: Draw, view: Viewpoints) -> Layout:
    """Two gutters, one above the other, that lead to and fro; a stop turns the marble from one to the other."""
    angle, length, side = draw.uniform(18, 25), draw.uniform(0.55, 0.7), draw.sign()
    ball = draw.ball("marble", (0.06, 0.08), ("steel", "plastic", "rubber", "wooden"))
    stuff = draw.choice(("wooden", "plastic"))
    r, tilt = radius_of(ball), math.radians(angle)
    width = 2 * r + 0.05
    shape = channel(length, width, rail=0.7 * r)
    rise, reach = length * math.sin(tilt), length * math.cos(tilt)
    low, high = rise / 2 + 0.06, rise * 1.5 + 2 * r + 0.13
    # The upper gutter ends a ball's width before the stop, so that the marble falls through.
    shift = -side * 2.4 * r

    def gutter(name: str, x: float, level: float, way: int) -> Body:
        turn = about_axis((0, 1, 0), way * tilt)
        return draw.shaped(name, shape, stuff, 0.6, position=(x, 0.0, level), rotation=turn, free=False)

    lower, upper = gutter("lower", shift, low, side), gutter("upper", 0.0, high, -side)
    foot, head = low + rise / 2 - 0.05, high - rise / 2 + 2.5 * r
    wall = draw.block(
        "stop",
        (0.04, width + 0.06, head - foot),
        stuff,
        position=(shift - side * (reach / 2 + 0.02), 0.0, (foot + head) / 2),
        free=False,
    )
    # Posts behind carry it all.
    posts = Compound(
        tuple(
            Part(Box((0.05, 0.05, high)), (x, width / 2 + 0.06, high / 2))
            for x in (0.3 * reach * side, -0.3 * reach * side)
        )
    )
    stand = draw.shaped("stand", posts, "wooden", 0.4, free=False, solid=False)
    along = 0.44 * length
    start = (
        side * (along * math.cos(tilt) - r * math.sin(tilt)),
        0.0,
        high + along * math.sin(tilt) + r * math.cos(tilt),
    )
    facts = {"ball": ball.material.name, "stuff": stuff, "angle": angle, "length": length}
    return Layout((lower, upper, wall, stand, moved(ball, start)), facts, view)


@scene("marble_run_x", "A {ball} marble rolls down two {stuff} gutters of {angle:.0f} degrees, across the view.")
def marble_run_x(draw: Draw) -> Layout:
    return _marble_run(draw, from_side(azimuth=(-25, 25), elevation=(14, 30)))


@scene("marble_run_y", "A {ball} marble rolls down two {stuff} gutters of {angle:.0f} degrees, along the view.")
def marble_run_y(draw: Draw) -> Layout:
    return _marble_run(draw, from_side(azimuth=(58, 84), elevation=(22, 38)))


@scene(
    "roll_front_box",
    "A {ball} ball rolls at {speed:.1f} m/s past the front of a {box} box on a {floor}.",
    context_frames=3,
)
def roll_front_box(draw: Draw) -> Layout:
    ball = draw.ball("ball", (0.16, 0.22), BALLS)
    stuff, side, speed = draw.choice(BLOCKS), draw.sign(), draw.uniform(1.1, 1.6)
    width, height, depth = draw.uniform(0.5, 0.7), draw.uniform(0.45, 0.65), draw.uniform(0.3, 0.5)
    box = draw.block("box", (width, depth, height), stuff, position=(0, 0, height / 2), free=False)
    lane = depth / 2 + radius_of(ball) + draw.uniform(0.06, 0.2)
    ball = rolling(ball, (-side * 0.66 * speed, -lane, radius_of(ball)), (side * speed, 0, 0))
    facts = {"ball": ball.material.name, "box": stuff, "speed": speed}
    return Layout((box, ball), facts, from_side(azimuth=(-14, 14), elevation=(6, 16)))


@scene(
    "roll_in_box",
    "A {ball} ball rolls at {speed:.1f} m/s into an open {box} box that lies on its side on a {floor}.",
    context_frames=3,
)
def roll_in_box(draw: Draw) -> Layout:
    ball = draw.ball("ball", (0.13, 0.17), BALLS)
    r, stuff, side = radius_of(ball), draw.choice(("wooden", "plastic", "stone")), draw.sign()
    speed, depth = draw.uniform(1.1, 1.6), draw.uniform(0.45, 0.6)
    width = 2 * r + draw.uniform(0.2, 0.3)
    shape = open_box((width, 2 * r + draw.uniform(0.15, 0.3), depth), 0.025)
    # On its side: its mouth looks toward the ball, its floor is a wall.
    turn = about_axis((0, 1, 0), -side * math.pi / 2)
    box = draw.shaped("box", shape, stuff, 0.7, position=(side * depth, 0, width / 2), rotation=turn, free=False)
    # Rolling up on the lower wall of the box would trip it: the mouth has a ramp.
    gap = speed * draw.uniform(0.4, 0.55)
    lip = draw.block("lip", (0.12, 0.5, 0.02), stuff, free=False)
    slope = math.atan2(0.025, 0.11)
    lip = dataclasses.replace(
        lip, position=(-side * 0.055, 0, 0.004), rotation=about_axis((0, 1, 0), -side * slope), focus=False
    )
    ball = rolling(ball, (-side * (gap + r), draw.uniform(-0.04, 0.04), r), (side * speed, 0, 0))
    facts = {"ball": ball.material.name, "box": stuff, "speed": speed, "depth": depth}
    return Layout(
        (box, lip, ball), facts, from_side(azimuth=(-60, -20) if side > 0 else (20, 60), elevation=(16, 32))
    )


@scene("weight_on_ceramic", "An iron weight falls from {height:.2f} m onto a ceramic plate on a {floor}.")
def weight_on_ceramic(draw: Draw) -> Layout:
    height, radius = draw.uniform(0.25, 0.7), draw.uniform(0.1, 0.15)
    plate_radius, plate_height = draw.uniform(0.3, 0.4), draw.uniform(0.045, 0.07)
    plate = draw.shaped("plate", bowl(plate_radius, plate_height), "ceramic", 0.5)
    shape = weight(radius, radius * draw.uniform(2.0, 2.6))
    off = (draw.uniform(-0.3, 0.3) * radius, draw.uniform(-0.3, 0.3) * radius)
    lean = about_axis((0, 1, 0), draw.uniform(-0.12, 0.12))
    thing = draw.shaped(
        "weight", shape, "iron", 0.4, position=(*off, plate_height + 0.012 + height), rotation=lean
    )
    return Layout((plate, thing), {"height": height, "radius": radius}, Viewpoints(elevation=(0.25, 0.6)))


@scene(
    "weight_protects_duck",
    "A {ball} ball rolls at {speed:.1f} m/s into an iron weight that protects a plastic toy duck on a {floor}.",
    context_frames=3,
)
def weight_protects_duck(draw: Draw) -> Layout:
    speed, side, length = draw.uniform(1.2, 1.8), draw.sign(), draw.uniform(0.5, 0.65)
    ball = draw.ball("ball", (0.13, 0.17), ("rubber", "wooden", "plastic", "foam"))
    radius = draw.uniform(0.17, 0.22)
    thing = draw.shaped("weight", weight(radius, radius * draw.uniform(1.9, 2.4)), "iron", 0.4)
    duck = duck_of(draw, length, (side * (radius + 0.55 * length + draw.uniform(0.03, 0.15)), 0.0, 0.0))
    gap = radius + radius_of(ball) + speed * draw.uniform(0.35, 0.5)
    ball = rolling(ball, (-side * gap, draw.uniform(-0.05, 0.05), radius_of(ball)), (side * speed, 0, 0))
    facts = {"ball": ball.material.name, "speed": speed, "length": length}
    return Layout((duck, thing, ball), facts, from_side())

"""Rigid rows: balls, blocks, dominoes, ramps, a duck and a basket."""

from __future__ import annotations

import dataclasses
import functools
import math

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.placing import (
    dominoes,
    duck_of,
    from_side,
    moved,
    on_ramp,
    radius_of,
    ramp_of,
    rolling,
)
from phys4d.sim.dressing import Draw
from phys4d.sim.shapes import Basket, Cylinder, about_axis

scene = functools.partial(catalog.scene, category="rigid")

BALLS = ("rubber", "steel", "wooden", "plastic", "foam")


@scene("ball_drop", "A {ball} ball falls from {height:.1f} m onto a {floor}.")
def ball_drop(draw: Draw) -> Layout:
    height = draw.uniform(0.5, 1.3)
    ball = draw.ball("ball", (0.18, 0.28), BALLS)
    ball = moved(ball, (0, 0, height + radius_of(ball)))
    return Layout((ball,), {"ball": ball.material.name, "height": height})


@scene(
    "ball_bounce", "A rubber ball is thrown down at {speed:.1f} m/s and bounces on a {floor}.", context_frames=3
)
def ball_bounce(draw: Draw) -> Layout:
    height, speed, side = draw.uniform(0.6, 1.0), draw.uniform(1.0, 2.0), draw.sign()
    drift = draw.uniform(0.5, 1.0)
    ball = draw.ball("ball", (0.16, 0.24), ("rubber",))
    ball = moved(ball, (-side * 0.5 * drift, 0, height + radius_of(ball)), velocity=(side * drift, 0, -speed))
    return Layout((ball,), {"ball": "rubber", "height": height, "speed": speed}, from_side())


@scene("ball_ramp", "A {ball} ball rolls down a wooden ramp of {angle:.0f} degrees onto a {floor}.")
def ball_ramp(draw: Draw) -> Layout:
    angle, side, length = draw.uniform(16, 30), draw.sign(), draw.uniform(1.2, 1.6)
    ball = draw.ball("ball", (0.16, 0.22), ("rubber", "wooden", "steel", "plastic"))
    ramp = ramp_of(draw, length, math.radians(angle), side)
    place = on_ramp(length, math.radians(angle), side, along=0.85, above=radius_of(ball))
    return Layout((ramp, moved(ball, place)), {"ball": ball.material.name, "angle": angle}, from_side())


@scene(
    "ball_collide",
    "A {striker} ball rolls at {speed:.1f} m/s into a resting {target} ball on a {floor}.",
    context_frames=3,
)
def ball_collide(draw: Draw) -> Layout:
    speed, side = draw.uniform(1.2, 2.0), draw.sign()
    striker = draw.ball("striker", (0.18, 0.28), BALLS)
    target = draw.ball("target", (0.18, 0.28), BALLS)
    r, q = radius_of(striker), radius_of(target)
    offset = draw.uniform(-0.3, 0.3) * (r + q)
    gap = speed * draw.uniform(0.35, 0.55)
    striker = rolling(striker, (-side * (gap + r + q), 0, r), (side * speed, 0, 0))
    target = moved(target, (0, offset, q))
    facts = {"striker": striker.material.name, "target": target.material.name, "speed": speed, "offset": offset}
    return Layout((striker, target), facts, from_side())


@scene(
    "two_balls_pass",
    "A {left} ball and a {right} ball roll past each other on a {floor} without touching.",
    context_frames=3,
)
def two_balls_pass(draw: Draw) -> Layout:
    a, b = draw.ball("left", (0.17, 0.26), BALLS), draw.ball("right", (0.17, 0.26), BALLS)
    lane = radius_of(a) + radius_of(b) + draw.uniform(0.08, 0.25)
    speeds = draw.uniform(0.9, 1.6), draw.uniform(0.9, 1.6)
    reach = 0.6 * (speeds[0] + speeds[1]) / 2
    a = rolling(a, (-reach, -lane / 2, radius_of(a)), (speeds[0], 0, 0))
    b = rolling(b, (reach, lane / 2, radius_of(b)), (-speeds[1], 0, 0))
    facts = {"left": a.material.name, "right": b.material.name, "speeds": list(speeds), "lane": lane}
    return Layout((a, b), facts, from_side(elevation=(14, 30)))


@scene("block_domino", "A row of {count} {stuff} dominoes on a {floor}; the first one tips over.")
def block_domino(draw: Draw) -> Layout:
    count, stuff, side = draw.choice((4, 5, 6, 7)), draw.choice(("wooden", "plastic", "stone")), draw.sign()
    height = draw.uniform(0.4, 0.5)
    thick, width = 0.14 * height, draw.uniform(0.4, 0.55) * height
    pitch = draw.uniform(0.46, 0.62) * height
    # Tipped about its lower edge just beyond balance, so that it falls from rest.
    lean = math.atan(thick / height) + math.radians(draw.uniform(4.5, 7))
    places = [side * (k - (count - 1) / 2) * pitch for k in range(count)]
    blocks = dominoes(draw, places, side, stuff, (thick, width, height), lean)
    return Layout(tuple(blocks), {"count": count, "stuff": stuff, "pitch": pitch, "height": height}, from_side())


@scene("stable_blocks", "A tower of {count} {stuff} blocks stands still on a {floor}.")
def stable_blocks(draw: Draw) -> Layout:
    count, stuff = draw.choice((3, 4, 5)), draw.choice(("wooden", "plastic", "stone"))
    edge = draw.uniform(0.26, 0.38)
    blocks, z = [], 0.0
    for k in range(count):
        size = edge * draw.uniform(0.85, 1.0) * 0.97**k
        place = (draw.uniform(-0.08, 0.08) * edge, draw.uniform(-0.08, 0.08) * edge, z + size / 2)
        turn = about_axis((0, 0, 1), draw.uniform(-0.4, 0.4))
        blocks.append(draw.block(f"block{k}", (size, size, size), stuff, position=place, rotation=turn))
        z += size
    return Layout(tuple(blocks), {"count": count, "stuff": stuff})


@scene("unstable_block_stack", "A leaning stack of {count} {stuff} blocks topples on a {floor}.")
def unstable_block_stack(draw: Draw) -> Layout:
    count, stuff, side = draw.choice((3, 4, 5)), draw.choice(("wooden", "plastic", "stone")), draw.sign()
    edge = draw.uniform(0.24, 0.32)
    # Each block overhangs the one below; what stands above the lowest has its centre of mass beyond its edge.
    shift = edge * draw.uniform(1.15, 1.4) / count
    blocks = []
    for k in range(count):
        place = (side * k * shift, draw.uniform(-0.03, 0.03) * edge, (k + 0.5) * edge)
        blocks.append(draw.block(f"block{k}", (edge, edge, edge), stuff, position=place))
    return Layout(tuple(blocks), {"count": count, "stuff": stuff, "shift": shift}, from_side())


@scene(
    "projectile",
    "A {ball} ball is thrown at {speed:.1f} m/s, {angle:.0f} degrees above the {floor}.",
    context_frames=3,
)
def projectile(draw: Draw) -> Layout:
    speed, angle, side = draw.uniform(2.6, 3.4), draw.uniform(58, 78), draw.sign()
    ball = draw.ball("ball", (0.2, 0.28), BALLS)
    up, along = speed * math.sin(math.radians(angle)), speed * math.cos(math.radians(angle))
    reach = along * 2 * up / 9.81
    spin = (0.0, draw.uniform(-4, 4), 0.0)
    place = (-side * reach / 2, 0, radius_of(ball) + draw.uniform(0.02, 0.3))
    ball = moved(ball, place, velocity=(side * along, 0, up), spin=spin)
    return Layout((ball,), {"ball": ball.material.name, "speed": speed, "angle": angle}, from_side())


@scene(
    "roll_behind_box",
    "A {ball} ball rolls at {speed:.1f} m/s behind a {box} box on a {floor} and comes out again.",
    context_frames=3,
)
def roll_behind_box(draw: Draw) -> Layout:
    ball = draw.ball("ball", (0.17, 0.24), BALLS)
    stuff, side = draw.choice(("wooden", "plastic", "stone")), draw.sign()
    width, height = draw.uniform(0.5, 0.7), 2 * radius_of(ball) + draw.uniform(0.15, 0.3)
    depth = draw.uniform(0.3, 0.5)
    box = draw.block("box", (width, depth, height), stuff, position=(0, 0, height / 2), free=False)
    speed = draw.uniform(1.2, 1.6)
    lane = depth / 2 + radius_of(ball) + draw.uniform(0.06, 0.2)
    ball = rolling(ball, (-side * (0.66 * speed), lane, radius_of(ball)), (side * speed, 0, 0))
    facts = {"ball": ball.material.name, "box": stuff, "speed": speed}
    view = from_side(azimuth=(-14, 14), elevation=(5, 12))
    return Layout((box, ball), facts, view)


@scene(
    "ball_hits_duck",
    "A {ball} ball rolls at {speed:.1f} m/s into a plastic toy duck on a {floor}.",
    context_frames=3,
)
def ball_hits_duck(draw: Draw) -> Layout:
    speed, side, length = draw.uniform(1.2, 1.9), draw.sign(), draw.uniform(0.7, 0.9)
    ball = draw.ball("ball", (0.17, 0.23), ("rubber", "steel", "wooden", "stone"))
    duck = duck_of(draw, length)
    gap = 0.5 * length + radius_of(ball) + speed * draw.uniform(0.35, 0.5)
    offset = draw.uniform(-0.12, 0.12) * length
    ball = rolling(ball, (-side * gap, offset, radius_of(ball)), (side * speed, 0, 0))
    return Layout((duck, ball), {"ball": ball.material.name, "speed": speed, "length": length}, from_side())


@scene("ball_in_basket", "A {ball} ball is thrown into an open basket on a {floor}.", context_frames=3)
def ball_in_basket(draw: Draw) -> Layout:
    ball = draw.ball("ball", (0.13, 0.18), ("foam", "clay"))
    r = radius_of(ball)
    basket_shape = Basket(radius=r + draw.uniform(0.18, 0.26), height=draw.uniform(0.35, 0.5))
    basket = draw.shaped("basket", basket_shape, "wooden", 0.16, free=False)
    basket = dataclasses.replace(basket, look=dataclasses.replace(basket.look, texture="weave", gloss=0.05))
    # After `flight` seconds it comes down through the rim: x = v t, z = z0 + w t - g t^2 / 2.
    side, flight, rise = draw.sign(), draw.uniform(0.55, 0.7), draw.uniform(1.0, 1.6)
    start = draw.uniform(0.7, 1.0)
    aim = draw.uniform(-0.25, 0.25) * (basket_shape.radius - r)
    z0 = basket_shape.height - rise * flight + 0.5 * 9.81 * flight**2
    speed = (start + aim) / flight
    ball = moved(ball, (-side * start, 0.0, z0), velocity=(side * speed, 0, rise))
    return Layout((basket, ball), {"ball": ball.material.name, "flight": flight}, from_side(elevation=(22, 38)))


@scene("ball_rolls_off", "A {ball} ball rolls at {speed:.1f} m/s off the edge of a table.", context_frames=3)
def ball_rolls_off(draw: Draw) -> Layout:
    ball = draw.ball("ball", (0.15, 0.2), BALLS)
    side, height, speed = draw.sign(), draw.uniform(0.5, 0.8), draw.uniform(0.8, 1.3)
    thick, length = 0.08, draw.uniform(0.9, 1.1)
    top = draw.block(
        "table", (length, 0.7, thick), "wooden", position=(-side * length / 2, 0, height - thick / 2), free=False
    )
    legs = [
        draw.shaped(
            f"leg{k}",
            Cylinder(0.04, height - thick),
            "wooden",
            0.3,
            position=(-side * length / 2 + sx * (length / 2 - 0.08), sy * 0.28, (height - thick) / 2),
            free=False,
        )
        for k, (sx, sy) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1)))
    ]
    ball = rolling(ball, (-side * 0.45 * speed, 0, height + radius_of(ball)), (side * speed, 0, 0))
    return Layout((top, *legs, ball), {"ball": ball.material.name, "speed": speed, "height": height}, from_side())


@scene("block_slide", "A {block} block slides down a wooden ramp of {angle:.0f} degrees onto a {floor}.")
def block_slide(draw: Draw) -> Layout:
    stuff = draw.choice(("steel", "plastic", "wooden"))
    angle, side, length = draw.uniform(32, 42), draw.sign(), draw.uniform(1.3, 1.6)
    edge = draw.uniform(0.24, 0.34)
    tilt = math.radians(angle)
    ramp = ramp_of(draw, length, tilt, side)
    place = on_ramp(length, tilt, side, along=0.8, above=edge / 2)
    turn = about_axis((0, 1, 0), side * tilt)
    block = draw.block("block", (1.3 * edge, edge, edge), stuff, position=place, rotation=turn)
    return Layout((ramp, block), {"block": stuff, "angle": angle}, from_side())

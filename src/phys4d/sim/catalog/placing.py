"""What rows share: where things are put, and things that several rows have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from phys4d.sim.dressing import Draw
from phys4d.sim.materials import Look
from phys4d.sim.scene import Body, Viewpoints
from phys4d.sim.shapes import UPRIGHT, Duck, Sphere, Vector, about_axis


def radius_of(ball: Body) -> float:
    assert isinstance(ball.shape, Sphere)
    return ball.shape.radius


def moved(body: Body, position: Vector, velocity: Vector = (0, 0, 0), spin: Vector = (0, 0, 0)) -> Body:
    return dataclasses.replace(body, position=position, velocity=velocity, spin=spin)


def rolling(ball: Body, position: Vector, velocity: Vector) -> Body:
    """Rolling without slipping: spin = up x velocity / radius."""
    r = radius_of(ball)
    return moved(ball, position, velocity, (-velocity[1] / r, velocity[0] / r, 0.0))


def from_side(azimuth: tuple[float, float] = (-35, 35), elevation: tuple[float, float] = (8, 26)) -> Viewpoints:
    """Filmed from -y, within `azimuth` [degrees] of it: what happens along x crosses the picture."""
    low, high = (math.radians(-90 + a) for a in azimuth)
    return Viewpoints((low, high), (math.radians(elevation[0]), math.radians(elevation[1])))


def ramp_of(draw: Draw, length: float, angle: float, side: int) -> Body:
    """A slab that rises from the origin away from `side`, its lower edge on the floor."""
    thick = 0.08
    centre = on_ramp(length, angle, side, along=0.5, above=-thick / 2)
    turn = about_axis((0, 1, 0), side * angle)
    return draw.block("ramp", (length, 0.7, thick), "wooden", position=centre, rotation=turn, free=False)


def on_ramp(length: float, angle: float, side: int, along: float, above: float) -> Vector:
    """A place `above` the slope [m], at the share `along` of its length from the lower edge."""
    s = along * length
    x = -s * math.cos(angle) + above * math.sin(angle)
    return (side * x, 0.0, s * math.sin(angle) + above * math.cos(angle))


def tipped(edge: float, side: int, thick: float, height: float, lean: float) -> Vector:
    """Centre of a block that leans by `lean` toward `side` about its lower edge at x = `edge` on the floor."""
    x, z = -thick / 2, height / 2
    return (
        edge + side * (x * math.cos(lean) + z * math.sin(lean)),
        0.0,
        -x * math.sin(lean) + z * math.cos(lean),
    )


def dominoes(
    draw: Draw, places: Sequence[float], side: int, stuff: str, size: Vector, lean: float, first: int = 0
) -> list[Body]:
    """Blocks that stand at x = places; the first leans by `lean` toward `side` about its lower edge."""
    thick, _, height = size
    blocks = []
    for k, x in enumerate(places):
        place, turn = (x, 0.0, height / 2), UPRIGHT
        if k == 0 and lean:
            place = tipped(x + side * thick / 2, side, thick, height, lean)
            turn = about_axis((0, 1, 0), side * lean)
        blocks.append(draw.block(f"domino{first + k}", size, stuff, position=place, rotation=turn))
    return blocks


def duck_of(draw: Draw, length: float, position: Vector = (0, 0, 0)) -> Body:
    """A yellow plastic duck of any heading, on the floor; `position` shifts it."""
    shape = Duck(length)
    heading = about_axis((0, 0, 1), draw.uniform(-math.pi, math.pi))
    x, y, z = position
    duck = draw.shaped(
        "duck", shape, "hollow plastic", 1.0, position=(x, y, z + shape.rest_height), rotation=heading
    )
    yellow = (0.85, 0.55, 0.03)
    return dataclasses.replace(duck, look=Look(yellow, yellow, "plain", 1.0, gloss=0.6))

"""Grains, liquids, smoke and heat against published answers: the lines that `physics.py` prints of them.

Each function returns (what nature says, what the simulator says).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from phys4d.sim.engines import engine_of
from phys4d.sim.media import Grains
from phys4d.sim.motion import Motion
from phys4d.sim.objects import Compound, Part
from phys4d.sim.scene import Body, Look, Material, SceneSpec
from phys4d.sim.shapes import Box, Collider, Ground, about_axis

G = 9.81
GREY = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SMOOTH = Material("smooth", 1000.0, 0.0, 0.1)


def scene(engine: str, bodies: list[Body], medium: Any) -> SceneSpec:
    return SceneSpec("bench", "bench", engine, "", tuple(bodies), (), media=(medium,))


def run(engine: str, bodies: list[Body], medium: Any, frames: int, fps: float) -> Motion:
    return engine_of(engine)(scene(engine, bodies, medium), frames, fps)


def solid(name: str, shape: Any, made_of: Material, position: tuple[float, float, float] = (0, 0, 0), **how) -> Body:
    return Body(name, shape, made_of, GREY, position, free=how.pop("free", False), **how)


def grains(friction: float, region: Collider, radius: float, rolling: float = 0.1, **how) -> Grains:
    return Grains("grains", Material("grains", 2600.0, friction, 0.1), GREY, region, radius, rolling, **how)


def sliding_grain(friction: float, degrees: float, rolling: float) -> float:
    """Way of one grain down a slope in half a second [m]."""
    turn, angle = about_axis((0, 1, 0), math.radians(degrees)), math.radians(degrees)
    rough = Material("rough", 2600.0, friction, 0.1)
    plank = solid("plank", Box((6, 2, 0.2)), rough, rotation=turn)
    r = 0.02
    place = ((0.1 + 1.005 * r) * math.sin(angle), 0.0, (0.1 + 1.005 * r) * math.cos(angle))
    medium = grains(friction, Collider("sphere", (1.2 * r, 0, 0), place), r, rolling, held=False)
    centres = run("grains", [plank], medium, 7, 12).surfaces[-1].centres[:, 0]
    return float(np.linalg.norm(centres[-1] - centres[0]))


def channel(aspect: float, friction: float, rolling: float, length: float = 0.15, radius: float = 0.0075) -> Motion:
    """A column of grains of `length` and aspect times that in height, let go between two smooth walls."""
    wide, rough = 9 * radius, Material("rough", 2600.0, friction, 0.1)
    bodies = [
        solid("floor", Ground(), rough),
        solid("end", Box((0.1, 1, 2)), SMOOTH, (-0.05, 0, 1)),
        *(solid(f"side{s}", Box((4, 0.1, 2)), SMOOTH, (1.5, s * (0.05 + wide / 2), 1)) for s in (-1, 1)),
    ]
    high = aspect * length
    region = Collider("box", (length / 2, wide / 2, high / 2), (length / 2, 0.0, high / 2))
    return run("grains", bodies, grains(friction, region, radius, rolling), 25, 12)


def run_out(aspect: float) -> tuple[float, float]:
    """How far a column runs out, over its length: 1.2 a for a < 2.3 (Lube and others 2005)."""
    length, radius = 0.15, 0.0075
    motion = channel(aspect, 0.6, 0.12, length, radius)
    first, last = motion.surfaces[-1].centres[0], motion.surfaces[-1].centres[-1]
    start = np.quantile(first[:, 0], 0.99) + radius
    # The deposit ends where grains no longer cover half of the floor.
    counts, edges = np.histogram(last[:, 0], bins=np.arange(0, 2, 2 * radius))
    covered = counts * math.pi * radius**2 / (2 * radius * 9 * radius)
    front = edges[np.flatnonzero(covered > 0.5).max() + 1]
    height = np.quantile(first[:, 2], 0.995) + radius
    expected = height / start
    expected = 1.2 * expected if expected < 2.3 else 1.9 * expected ** (2 / 3)
    return expected, float(front - start) / start


def hopper() -> list[tuple[float, float]]:
    """Flow through a round hole in a flat floor [kg/s]: over a first and over a second stretch of time.

    0.58 rho sqrt(g) (D - 1.4 d)^2.5, rho being the density of the bed (Beverloo, Leniger and van de Velde 1961).
    """
    radius, hole, half, high = 0.01, 0.13, 0.15, 0.36
    rough = Material("rough", 2600.0, 0.5, 0.1)
    reach = 0.3
    parts = []
    for k in range(16):
        turn, out = 2 * math.pi * k / 16, hole / 2 + reach / 2
        size = (reach, 2 * (hole / 2 + reach) * math.tan(math.pi / 16), 0.02)
        place = (out * math.cos(turn), out * math.sin(turn), -0.01)
        parts.append(Part(Box(size), place, about_axis((0, 0, 1), turn)))
    walls = [
        Part(Box((0.05, 1, 1)), (s * (half + 0.025), 0, 0.5), about_axis((0, 0, 1), 0)) for s in (-1, 1)
    ] + [Part(Box((1, 0.05, 1)), (0, s * (half + 0.025), 0.5)) for s in (-1, 1)]
    bodies = [solid("hopper", Compound((*parts, *walls)), rough)]
    region = Collider("box", (half, half, high / 2), (0, 0, high / 2))
    fps = 20
    motion = run("grains", bodies, grains(0.3, region, radius, 0.02), 20, fps)
    sand = motion.surfaces[-1]
    mass = 2600 * 4 / 3 * math.pi * sand.radius.astype(float) ** 3
    first = sand.centres[0]
    bed = first[:, 2] < 0.15
    density = mass[bed].sum() / ((2 * half) ** 2 * 0.15)
    expected = 0.58 * density * math.sqrt(G) * (hole - 1.4 * 2 * radius) ** 2.5
    gone = np.array([mass[places[:, 2] < -0.02].sum() for places in sand.centres])
    return [(expected, float((gone[b] - gone[a]) * fps / (b - a))) for a, b in ((7, 13), (13, 19))]


def repose(friction: float, rolling: float) -> float:
    """Slope at which a bed comes to rest whose box was tilted to 42 degrees at once [degrees]."""
    radius, long, high, tilt = 0.0075, 0.5, 0.12, math.radians(42)
    wide, rough = 9 * radius, Material("rough", 2600.0, 0.8, 0.1)
    bodies = [
        solid("base", Box((2, 1, 0.1)), rough, (0, 0, -0.05)),
        *(solid(f"end{s}", Box((0.1, 1, 2)), rough, (s * (0.05 + long / 2), 0, 1)) for s in (-1, 1)),
        *(solid(f"side{s}", Box((4, 0.1, 2)), SMOOTH, (0, s * (0.05 + wide / 2), 1)) for s in (-1, 1)),
    ]
    region = Collider("box", (long / 2, wide / 2, high / 2), (0.0, 0.0, high / 2))
    pull = (G * math.sin(tilt), 0.0, -G * math.cos(tilt))
    spec = dataclasses.replace(scene("grains", bodies, grains(friction, region, radius, rolling)), gravity=pull)
    centres = engine_of("grains")(spec, 31, 12).surfaces[-1].centres[-1]
    edges = np.linspace(-0.3 * long, 0.3 * long, 11)
    x = (edges[1:] + edges[:-1]) / 2
    column = [centres[(centres[:, 0] >= low) & (centres[:, 0] < up), 2] for low, up in zip(edges, edges[1:])]
    z = np.array([np.sort(each)[-6:].mean() for each in column])
    return math.degrees(tilt - math.atan(np.polyfit(x, z, 1)[0]))

"""What scenes share: materials and how they look, floors and walls, light and sky. All drawn from one seed.

Physics that matters can be seen: every material has its own colours and textures, and a caption names it.
"""

from __future__ import annotations

import colorsys
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from phys4d.sim.lights import AreaLight, Light, Sky, SoftBox
from phys4d.sim.materials import Look, Material
from phys4d.sim.scene import Body, Rope
from phys4d.sim.shapes import Box, Colour, Ground, Shape, Sphere, Vector, about_axis

Choice = TypeVar("Choice")

MATERIALS: dict[str, Material] = {
    material.name: material
    for material in (
        # Densities are handbook values; a ball of rubber bounces, one of steel is heavy and hard, foam is neither.
        Material("rubber", 1100.0, 0.90, 0.85),
        Material("steel", 7850.0, 0.35, 0.65),
        Material("wooden", 650.0, 0.50, 0.50),
        Material("plastic", 950.0, 0.40, 0.70),
        Material("hollow plastic", 150.0, 0.40, 0.50),
        Material("foam", 60.0, 0.80, 0.25),
        Material("stone", 2600.0, 0.60, 0.40),
        Material("clay", 1700.0, 0.80, 0.05),
        Material("polished steel", 7850.0, 0.20, 0.96),
        Material("iron", 7200.0, 0.45, 0.25),
        Material("ceramic", 2300.0, 0.45, 0.40),
        Material("glass", 2500.0, 0.40, 0.60),
    )
}

ROPES: dict[str, tuple[Material, float, float]] = {
    # name: (material, stiffness of bending E I / r^4 [Pa], over how long bending dies away [s])
    "hemp": (Material("hemp", 700.0, 0.70, 0.05), 1.2e5, 0.10),
    "cotton": (Material("cotton", 500.0, 0.60, 0.05), 3e4, 0.10),
    "rubber": (Material("rubber cord", 1100.0, 0.80, 0.30), 4e5, 0.03),
}

FLOORS: dict[str, tuple[Material, tuple[str, ...], float]] = {
    # name: (material, textures, tile [m])
    "wooden floor": (Material("floor", 650.0, 0.55, 0.75), ("planks",), 1.2),
    "concrete floor": (Material("floor", 2400.0, 0.70, 0.85), ("noise", "speckle"), 0.9),
    "tiled floor": (Material("floor", 2400.0, 0.45, 0.90), ("tiles", "checker"), 0.8),
    "carpet": (Material("floor", 300.0, 0.90, 0.35), ("weave", "noise"), 0.35),
}


@dataclasses.dataclass
class Draw:
    """Draws the parts of one scene. `physics` and `looks` are separate streams: neither disturbs the other."""

    physics: np.random.Generator
    looks: np.random.Generator
    coloured: int = 0
    """Bodies coloured so far."""
    first_hue: float = 0.0

    def uniform(self, low: float, high: float) -> float:
        """A physical quantity, rounded to 4 digits so that captions and parameters agree."""
        return round(float(self.physics.uniform(low, high)), 4)

    def sign(self) -> int:
        return int(self.physics.choice((-1, 1)))

    def choice(self, options: Sequence[Choice]) -> Choice:
        return options[int(self.physics.integers(len(options)))]

    def ball(self, name: str, radius: tuple[float, float], materials: Sequence[str], **placed: Any) -> Body:
        """A ball with a pattern, so that its rolling can be seen."""
        material = MATERIALS[self.choice(materials)]
        r = self.uniform(*radius)
        look = self.look_of(material.name, tile=2.2 * r)
        return Body(name, Sphere(r), material, look, **placed)

    def block(self, name: str, size: Vector, material: str, **placed: Any) -> Body:
        return Body(name, Box(size), MATERIALS[material], self.look_of(material, tile=1.5 * max(size)), **placed)

    def shaped(self, name: str, shape: Shape, material: str, tile: float, **placed: Any) -> Body:
        return Body(name, shape, MATERIALS[material], self.look_of(material, tile=tile), **placed)

    def rope(self, name: str, path: Sequence[Vector], radius: float, stuff: str, **held: Any) -> Rope:
        """A rope of a stuff in ROPES through nodes, drawn with a twist that shows how it moves along itself."""
        material, stiffness, decay = ROPES[stuff]
        bending = stiffness * radius**4
        look = self.look_of(material.name, tile=8 * radius)
        return Rope(name, tuple(path), radius, material, look, bending, decay * bending, **held)

    def look_of(self, material: str, tile: float) -> Look:
        """Colours and texture by which a material can be told."""
        rng = self.looks
        # Hues step round the circle by about the golden section, so that no two bodies look alike.
        if not self.coloured:
            self.first_hue = float(rng.uniform())
        hue = (self.first_hue + 0.382 * self.coloured + float(rng.uniform(-0.06, 0.06))) % 1.0
        self.coloured += 1
        vivid = _hsv(hue, rng.uniform(0.75, 0.95), rng.uniform(0.7, 0.95))
        other = _hsv(hue + rng.uniform(0.3, 0.7), rng.uniform(0.5, 0.9), rng.uniform(0.75, 1.0))
        pale = _hsv(hue, 0.08, 0.95)
        grey = float(rng.uniform(0.35, 0.6))
        match material:
            case "rubber":
                return Look(vivid, pale, _pick(rng, "stripes", "dots", "checker"), tile, gloss=0.35)
            case "plastic" | "hollow plastic":
                return Look(vivid, other, _pick(rng, "checker", "stripes", "dots"), tile, gloss=0.8)
            case "steel":
                return Look((grey, grey, grey * 1.04), (0.12, 0.12, 0.13), "rings", tile, gloss=1.0)
            case "wooden":
                light = _hsv(rng.uniform(0.07, 0.1), rng.uniform(0.45, 0.6), rng.uniform(0.6, 0.85))
                return Look(light, tuple(0.45 * c for c in light), "wood", tile, gloss=0.2)  # type: ignore[arg-type]
            case "foam":
                return Look(_hsv(hue, 0.35, 0.95), _hsv(hue, 0.45, 0.7), "speckle", 0.7 * tile, gloss=0.0)
            case "stone":
                return Look((grey, grey * 0.97, grey * 0.92), (0.16, 0.15, 0.14), "marble", tile, gloss=0.1)
            case "clay":
                return Look((0.62, 0.25, 0.13), (0.45, 0.16, 0.08), "noise", tile, gloss=0.05)
            case "polished steel":
                return Look((0.62, 0.63, 0.65), (0.2, 0.2, 0.22), "rings", tile, gloss=1.0)
            case "iron":
                return Look((0.09, 0.09, 0.1), (0.2, 0.19, 0.18), "speckle", tile, gloss=0.4)
            case "ceramic":
                return Look(_hsv(hue, 0.12, 0.95), vivid, _pick(rng, "plain", "dots", "stripes"), tile, gloss=0.9)
            case "hemp":
                return Look((0.5, 0.34, 0.16), (0.24, 0.14, 0.05), "stripes", tile, gloss=0.0)
            case "cotton":
                return Look((0.85, 0.83, 0.78), vivid, "stripes", tile, gloss=0.0)
            case "rubber cord":
                return Look(vivid, (0.04, 0.04, 0.04), _pick(rng, "stripes", "dots"), tile, gloss=0.5)
        raise KeyError(material)

    def floor(self) -> tuple[str, Body]:
        """A floor by its name in captions, and its body."""
        name = self.choice(sorted(FLOORS))
        material, textures, tile = FLOORS[name]
        rng = self.looks
        match name:
            case "wooden floor":
                base = _hsv(rng.uniform(0.06, 0.1), rng.uniform(0.4, 0.65), rng.uniform(0.4, 0.75))
                accent = tuple(0.55 * c for c in base)
            case "concrete floor":
                base = _hsv(rng.uniform(), 0.05, rng.uniform(0.55, 0.75))
                accent = tuple(0.7 * c for c in base)
            case "tiled floor":
                base = _hsv(rng.uniform(), rng.uniform(0.05, 0.3), rng.uniform(0.75, 0.95))
                accent = _hsv(rng.uniform(), rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.6))
            case _:
                base = _hsv(rng.uniform(), rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.7))
                accent = tuple(0.6 * c for c in base)
        look = Look(base, accent, _pick(rng, *textures), tile, 0.6 if name == "tiled floor" else 0.1)  # type: ignore[arg-type]
        return name, Body("floor", Ground(), material, look, free=False, focus=False)

    def walls(self) -> list[Body]:
        """Half of the scenes stand in a courtyard of four walls, the others in the open under the sky."""
        rng = self.looks
        if rng.uniform() < 0.5:
            return []
        distance, height = float(rng.uniform(6.5, 8.0)), float(rng.uniform(1.6, 2.6))
        base = _hsv(rng.uniform(), rng.uniform(0.05, 0.35), rng.uniform(0.7, 0.95))
        accent = _hsv(rng.uniform(), rng.uniform(0.1, 0.4), rng.uniform(0.45, 0.8))
        look = Look(base, accent, _pick(rng, "brick", "plain", "noise", "stripes"), 1.5, 0.0)
        bodies = []
        for k in range(4):
            turn = about_axis((0, 0, 1), k * math.pi / 2)
            place = (distance * math.cos(k * math.pi / 2), distance * math.sin(k * math.pi / 2), height / 2)
            shape = Box((0.3, 2 * distance + 0.3, height))
            bodies.append(
                Body(f"wall{k}", shape, FLOORS["concrete floor"][0], look, place, turn, free=False, focus=False)
            )
        return bodies

    def lights(self) -> tuple[Light, ...]:
        """One sun, of a direction, a warmth and a softness of shadow."""
        rng = self.looks
        azimuth, elevation = rng.uniform(-math.pi, math.pi), rng.uniform(math.radians(38), math.radians(65))
        warmth, strength = rng.uniform(0.0, 0.25), rng.uniform(2.2, 3.2)
        direction = (
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        )
        colour = (strength, strength * (1 - 0.4 * warmth), strength * (1 - warmth))
        return (Light(direction, colour, radius=float(rng.uniform(0.02, 0.12))),)

    def sky(self) -> Sky:
        """From a clear blue to an overcast white."""
        cloud, level = float(self.looks.uniform()), float(self.looks.uniform(0.75, 1.0))

        def mix(clear: Colour, overcast: Colour) -> Colour:
            r, g, b = (level * ((1 - cloud) * a + cloud * o) for a, o in zip(clear, overcast))
            return (r, g, b)

        return Sky(mix((0.62, 0.76, 0.92), (0.80, 0.82, 0.84)), mix((0.14, 0.32, 0.72), (0.62, 0.66, 0.72)))

    def outdoors(self) -> tuple[tuple[Light, ...], Sky]:
        """A sun that can be seen, with its haze: for scenes with mirrors and glass, which show the sky."""
        lights = self.lights()
        return lights, dataclasses.replace(self.sky(), glow=float(self.looks.uniform(0.3, 0.6)))

    def passing_lamp(self, seconds: float) -> tuple[tuple[AreaLight, ...], Sky]:
        """A small strong lamp that travels over the origin from one side to the other in a dim room."""
        rng = self.looks
        tall, reach = float(rng.uniform(1.1, 1.5)), float(rng.uniform(1.2, 1.7))
        edge, warmth, azimuth = (
            float(rng.uniform(0.15, 0.35)),
            float(rng.uniform(0.0, 0.3)),
            float(rng.uniform(-math.pi, math.pi)),
        )
        # Beside the middle, so that it is not overhead twice as bright as before.
        along, beside = np.array([math.cos(azimuth), math.sin(azimuth)]), float(rng.uniform(-0.3, 0.3))
        places = [way * reach * along + beside * np.array([-along[1], along[0]]) for way in (-1, 1)]
        path = tuple((t, (float(x), float(y), tall)) for t, (x, y) in zip((0.0, seconds), places))
        # Below it as bright as under a sun.
        level = float(rng.uniform(2.5, 4.0)) * math.pi * tall**2 / edge**2
        colour = (level, level * (1 - 0.4 * warmth), level * (1 - warmth))
        dim = float(rng.uniform(0.12, 0.25))
        lamp = AreaLight(path[0][1], size=(edge, edge), colour=colour, path=path)
        return (lamp,), Sky((dim, dim, dim), (dim, dim, dim))

    def studio(self) -> tuple[tuple[AreaLight, ...], Sky]:
        """One lamp overhead and one or two soft boxes around in a dim room, all of which mirrors show."""
        rng = self.looks
        tall, dim, warmth = (
            float(rng.uniform(2.2, 3.0)),
            float(rng.uniform(0.12, 0.3)),
            float(rng.uniform(0.0, 0.2)),
        )
        reach, azimuth = float(rng.uniform(0.4, 1.2)), float(rng.uniform(-math.pi, math.pi))
        x, y = reach * math.cos(azimuth), reach * math.sin(azimuth)
        edge, power = float(rng.uniform(0.4, 1.0)), float(rng.uniform(18, 28))
        # As bright below a small lamp as below a large one.
        level = power * tall**2 / (tall**2 + edge**2) / edge**2 / 2.5
        lamp = AreaLight(
            (x, y, tall),
            size=(edge, edge),
            colour=(level, level * (1 - 0.4 * warmth), level * (1 - warmth)),
            outline="disc" if rng.uniform() < 0.4 else "rectangle",
        )
        boxes, first = [], float(rng.uniform(-math.pi, math.pi))
        count = int(rng.integers(1, 3))
        for k in range(count):
            turn, rise = (
                first + 2 * math.pi * k / count + float(rng.uniform(-0.3, 0.3)),
                float(rng.uniform(0.25, 0.7)),
            )
            toward = (math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise))
            size = (float(rng.uniform(0.4, 1.0)), float(rng.uniform(0.3, 0.6)))
            tint = _hsv(rng.uniform(), 0.15, 1.0)
            glare = float(rng.uniform(1.0, 2.5))
            r, g, b = (glare * c for c in tint)
            boxes.append(SoftBox(toward, size, (r, g, b)))
        room = (dim, dim, dim)
        return (lamp,), Sky(room, room, tuple(boxes))


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    """Linear RGB of an HSV colour as people see it (sRGB)."""
    r, g, b = (float(c) ** 2.2 for c in colorsys.hsv_to_rgb(hue % 1.0, float(saturation), float(value)))
    return (r, g, b)


def _pick(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


hsv, pick = _hsv, _pick

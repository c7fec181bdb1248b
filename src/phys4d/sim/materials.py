"""What things are made of, as far as motion goes, and what they look like. SI units."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from phys4d.errors import InputError, unknown_name
from phys4d.sim.shapes import Colour
from phys4d.sim.textures import PATTERNS

Finish = Literal["opaque", "mirror", "glass", "liquid"]
FINISHES: tuple[str, ...] = get_args(Finish)
CLEAR: tuple[Finish, ...] = ("glass", "liquid")
"""Finishes that light passes."""


@dataclasses.dataclass(frozen=True)
class Material:
    """What a body is made of, as far as motion goes.

    density [kg/m^3]; friction and restitution are those of the material on itself: a pair takes the geometric
    mean, see `contact_of`.
    """

    name: str
    density: float
    friction: float
    restitution: float


@dataclasses.dataclass(frozen=True)
class Look:
    """What a surface looks like: two linear RGB colours mixed by a texture that follows the surface.

    tile: edge length of one repeat of the texture [m]. gloss: 0 (matte) to 1 (polished).
    finish: "opaque"; "mirror", which reflects the share `colour` of the light; "glass", which bends light and is
    drawn but not labelled, so that labels are those of what stands behind it along the straight ray; or "liquid",
    which bends light and is labelled. Glass and liquids leave the share `colour` of the light after 10 cm.
    refraction: refractive index of glass or of a liquid against air.
    relief: height [m] by which `relief_texture` (default: the texture itself) raises the surface where it is 1. It
    turns the normals that light falls on, and moves nothing.
    glow: radiance that the surface sends out by itself, as a multiple of its colour.
    """

    colour: Colour
    accent: Colour
    texture: str = "plain"
    tile: float = 0.3
    gloss: float = 0.2
    finish: Finish = "opaque"
    refraction: float = 1.5
    relief: float = 0.0
    relief_texture: str | None = None
    glow: float = 0.0

    def __post_init__(self) -> None:
        for texture in (self.texture, self.relief_texture):
            if texture is not None:
                PATTERNS[texture]
        if self.finish not in FINISHES:
            raise InputError(unknown_name("finish", self.finish, FINISHES))
        if self.refraction < 1:
            raise InputError(f"refraction is at least 1, that of air, not {self.refraction}")


@dataclasses.dataclass(frozen=True)
class Contact:
    """How two materials meet. friction: Coulomb's coefficient; restitution: Newton's."""

    friction: float
    restitution: float


def contact_of(a: Material, b: Material) -> Contact:
    """Geometric means: symmetric, exact for a material on itself, and 0 where either is 0."""
    return Contact(math.sqrt(a.friction * b.friction), math.sqrt(a.restitution * b.restitution))

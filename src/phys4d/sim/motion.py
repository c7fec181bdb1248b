"""`Motion`: what an engine hands to the caster. Every surface's vertices at every frame, rigid or not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from phys4d.sim.scene import Look


@dataclasses.dataclass(frozen=True)
class Surface:
    """A triangle mesh that keeps its topology while its vertices move.

    rest: (V,3) float32, coordinates [m] fixed to the material, for textures that follow the surface.
    faces: (F,3) int32, counter-clockwise seen from outside. vertices: (T,V,3) float32, world axes [m].
    instance: id in the segmentation, 0 for background. moves: whether any vertex ever changes.
    focus: whether a camera should keep it in the picture.
    """

    name: str
    rest: np.ndarray
    faces: np.ndarray
    vertices: np.ndarray
    look: Look
    instance: int
    moves: bool
    focus: bool


@dataclasses.dataclass(frozen=True)
class Motion:
    """Surfaces over T frames at `fps`, and the engine's own state: JSON, in SI units."""

    surfaces: tuple[Surface, ...]
    fps: float
    state: dict[str, Any]

    @property
    def frames(self) -> int:
        return self.surfaces[0].vertices.shape[0]

"""What a caster sees of bodies and ropes: their surfaces at every frame."""

from __future__ import annotations

import numpy as np

from phys4d.sim.motion import Spheres, Surface
from phys4d.sim.rotations import matrices
from phys4d.sim.scene import Body, SceneSpec
from phys4d.sim.shapes import Ball
from phys4d.sim.tube import tube


def surfaces_of(spec: SceneSpec, record: dict[str, list]) -> list[Surface | Spheres]:
    """Every body's pieces, then the ropes'. record: by frame, positions and rotations of the bodies, and ropes."""
    position, rotation = np.array(record["position"]), np.array(record["rotation"])
    surfaces: list[Surface | Spheres] = []
    for index, body in enumerate(spec.bodies):
        surfaces += _of_body(body, position[:, index], rotation[:, index])
    for index, rope in enumerate(spec.ropes):
        nodes, _, rotations = (np.array(series) for series in zip(*(frame[index] for frame in record["ropes"])))
        rest, faces, vertices = tube(nodes, rotations, rope.radius)
        surfaces.append(
            Surface(rope.name, rest, faces, vertices, rope.look, rope.instance, moves=True, focus=rope.focus)
        )
    return surfaces


def _of_body(body: Body, position: np.ndarray, rotation: np.ndarray) -> list[Surface | Spheres]:
    turn = matrices(rotation)

    def moved(points: np.ndarray) -> np.ndarray:
        places = np.einsum("tij,vj->tvi", turn, points.astype(np.float64)) + position[:, None]
        return places.astype(np.float32)

    surfaces: list[Surface | Spheres] = []
    for piece in body.shape.pieces():
        look = body.look
        if piece.tint is not None:
            look = type(look)(piece.tint, piece.tint, "plain", look.tile, look.gloss)
        shared = {
            "name": body.name,
            "look": look,
            "instance": body.instance,
            "moves": body.free,
            "focus": body.focus,
        }
        if isinstance(piece, Ball):
            radius, turned = np.array([piece.radius], dtype=np.float32), turn[:, None].astype(np.float32)
            centres = moved(np.array([piece.centre]))
            surfaces.append(Spheres(radius=radius, centres=centres, rotations=turned, **shared))
        else:
            surfaces.append(
                Surface(rest=piece.vertices, faces=piece.faces, vertices=moved(piece.vertices), **shared)
            )
    return surfaces

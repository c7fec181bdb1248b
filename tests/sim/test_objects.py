"""Everyday things: closed skins that face outward, and colliders that stand where the skin does."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from bench import body, floor, material, run

from phys4d.sim.objects import Smiley, Wire, bowl, channel, mug, open_box, sculpture, teapot, top, weight
from phys4d.sim.rotations import matrices
from phys4d.sim.shapes import Ball, Piece, Shape, Sphere

THINGS = {
    "mug": mug(0.15, 0.3),
    "bowl": bowl(0.25, 0.15),
    "plate": bowl(0.25, 0.04),
    "weight": weight(0.12, 0.3),
    "top": top(0.25, 0.4),
    "teapot": teapot(0.4),
    "sculpture": sculpture(0.6),
    "box": open_box((0.5, 0.4, 0.3), 0.03),
    "channel": channel(1.0, 0.2),
    "smiley": Smiley(0.2),
    "wire": Wire(((0, 0, 0), (0.1, 0, 0.1), (0.3, 0, 0)), 0.02),
}


def corners_of(piece: Piece | Ball) -> np.ndarray:
    """(P,3) points whose bounds are the piece's own."""
    if isinstance(piece, Ball):
        return np.array(piece.centre) + piece.radius * np.array([(-1, -1, -1), (1, 1, 1)])
    return piece.vertices


@pytest.mark.parametrize("name", THINGS)
def test_skins_are_closed_and_face_outward(name):
    for piece in THINGS[name].pieces():
        if isinstance(piece, Ball):
            continue  # closed by nature
        mesh = trimesh.Trimesh(piece.vertices, piece.faces, process=True)
        mesh.merge_vertices()
        assert mesh.is_watertight
        assert mesh.volume > 0


@pytest.mark.parametrize("name", THINGS)
def test_colliders_lie_within_the_skin(name):
    """Their corners stay within the skin's bounds, but for staves that overlap a little."""
    shape: Shape = THINGS[name]
    points = np.concatenate([corners_of(piece) for piece in shape.pieces()])
    slack = 0.12 * np.ptp(points, axis=0).max()
    for part in shape.colliders():
        half = {"sphere": (part.size[0],) * 3, "box": part.size}.get(part.kind)
        if part.kind in ("cylinder", "capsule"):
            half = (part.size[0] * 0.7, part.size[0] * 0.7, part.size[1])
        corners = np.array(np.meshgrid(*([-h, h] for h in half))).reshape(3, -1).T * 0.99  # type: ignore[union-attr]
        corners = corners @ matrices(np.array(part.rotation)).T + part.position
        assert (corners > points.min(0) - slack).all()
        assert (corners < points.max(0) + slack).all()


@pytest.mark.parametrize("name", ["mug", "bowl", "weight", "teapot", "sculpture", "box"])
def test_they_stand(name):
    m = material(0.6, 0.2)
    r = run([floor(m), body("thing", THINGS[name], m, (0, 0, 0.001))], 0.6, 10)
    assert np.abs(r.position["thing"] - r.position["thing"][0]).max() < 0.004


@pytest.mark.parametrize("name", ["mug", "bowl", "box"])
def test_what_is_open_holds_a_ball(name):
    m = material(0.6, 0.1)
    ball = body("ball", Sphere(0.06), m, (0.02, 0, 0.45))
    r = run([floor(m), body("thing", THINGS[name], m, (0, 0, 0), free=False), ball], 1.2, 10)
    assert 0.05 < r.position["ball"][-1, 2] < 0.2
    assert np.hypot(*r.position["ball"][-1, :2]) < 0.2

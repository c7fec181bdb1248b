"""Ropes against analytic answers, and the tube that is drawn around them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh
from bench import GREY, G, body, floor, material, run
from scipy.optimize import brentq
from scipy.special import j0, jn_zeros

from phys4d.sim.rotations import inverse, product, rotate, shortest
from phys4d.sim.scene import Joint, Rope
from phys4d.sim.shapes import Cylinder, Sphere
from phys4d.sim.tube import transported, tube

M = material(friction=0.6, restitution=0.1)


def rope(path, **held) -> Rope:
    settings = {"radius": 0.01, "bending": 1e-5, "damping": 1e-6, **held}
    return Rope("rope", tuple(map(tuple, np.asarray(path, float))), material=M, look=GREY, **settings)


def test_a_hanging_chain_swings_with_the_first_zero_of_j0():
    """Lowest mode of a chain hung at one end: w = j01 / 2 sqrt(g / L), shape J0(j01 sqrt(s / L)), s from below."""
    length, count, zero = 1.2, 24, float(jn_zeros(0, 1)[0])
    s = length - np.linspace(0, length, count + 1)
    aside = 0.04 * j0(zero * np.sqrt(s / length))
    steps = np.diff(aside)
    down = np.sqrt((length / count) ** 2 - steps**2)
    path = np.column_stack([aside, 0 * aside, 3 - np.concatenate([[0], np.cumsum(down)])])
    tip = run([], 2.5, 100, ropes=(rope(path, start="world"),)).nodes["rope"][:, -1, 0]
    crossings = np.flatnonzero(tip[:-1] * tip[1:] < 0)
    moments = (crossings + tip[crossings] / (tip[crossings] - tip[crossings + 1])) / 100
    expected = 2 * math.pi / (zero / 2 * math.sqrt(G / length))
    assert 2 * np.diff(moments).mean() == pytest.approx(expected, rel=0.05)


def catenary(span: float, length: float, count: int) -> np.ndarray:
    """(count + 1, 3) points at equal ways along a rope that hangs from (0, 0, 3) to (span, 0, 3)."""
    a = brentq(lambda a: 2 * a * math.sinh(span / (2 * a)) - length, 0.05 * span, 50 * span)
    way = np.linspace(-length / 2, length / 2, count + 1)
    x = a * np.arcsinh(way / a)
    return np.column_stack([x + span / 2, 0 * x, 3 + a * np.cosh(x / a) - a * math.cosh(span / (2 * a))])


def test_a_rope_between_two_points_settles_into_a_catenary():
    truth = catenary(1.0, 1.5, 24)
    # It begins as a V, and is damped until it is still.
    half = np.linspace(0, 1, 13)[:, None]
    low = np.array([0.5, 0, 3 - math.sqrt(0.75**2 - 0.5**2)])
    v = np.concatenate([(1 - half) * truth[0] + half * low, (1 - half[1:]) * low + half[1:] * truth[-1]])
    r = run([], 6.0, 10, ropes=(rope(v, start="world", end="world", damping=4e-3),))
    sag = truth[0, 2] - truth[:, 2].min()
    off = np.linalg.norm(r.nodes["rope"][-1] - truth, axis=1)
    assert off.max() < 0.02 * sag
    assert (r.energy - np.minimum.accumulate(r.energy)).max() < 0.01 * np.ptp(r.energy)


def test_a_stiff_rope_is_a_beam():
    """Under its own weight w the free end of a cantilever sags by w L^4 / 8 E I."""
    length, count = 0.6, 24
    path = np.column_stack(
        [np.linspace(-length / 2, length / 2, count + 1), np.zeros(count + 1), np.full(count + 1, 2.0)]
    )
    weight = M.density * math.pi * 0.01**2 * G
    stiffness = weight * (length / 2) ** 4 / 8 / 0.02
    # It lies across a thin bar: each half is a cantilever of half the length.
    bar = body("bar", Sphere(0.05), M, (0, 0, 2 - 0.06), free=False)
    r = run([bar], 1.5, 10, ropes=(rope(path, bending=stiffness, damping=0.3 * stiffness),))
    nodes = r.nodes["rope"][-1]
    assert nodes[count // 2, 2] - nodes[[0, -1], 2].mean() == pytest.approx(0.02, rel=0.15)


def test_a_ball_on_a_rope_is_a_pendulum_that_keeps_its_length():
    path = np.column_stack([np.linspace(0, 0.5, 11), np.zeros(11), np.linspace(3, 2.5, 11)])
    place = path[-1] + 0.1 * np.array([1, 0, -1]) / math.sqrt(2)
    ball = body("ball", Sphere(0.1), M, place, joint=Joint("ball", tuple(path[-1]), parent="rope"))
    r = run([ball], 1.5, 50, ropes=(rope(path, start="world"),))
    away = np.linalg.norm(r.position["ball"] - (0, 0, 3), axis=1)
    assert away.max() < math.hypot(0.5, 0.5) + 0.1 + 0.005
    assert r.position["ball"][:, 0].min() < -0.3
    assert np.abs(np.linalg.norm(np.diff(r.nodes["rope"], axis=1), axis=-1) - math.hypot(0.05, 0.05)).max() < 1e-4
    fall = r.mass["ball"] * G * np.ptp(r.position["ball"][:, 2])
    assert (r.energy - np.minimum.accumulate(r.energy)).max() < 0.01 * fall


def test_ropes_lie_on_things():
    """It drapes over a bar, and neither the bar nor the floor lets it through."""
    path = np.column_stack([np.linspace(-0.7, 0.7, 31), np.zeros(31), np.full(31, 0.85)])
    bar = body(
        "bar", Cylinder(0.1, 0.6), M, (0, 0, 0.7), rotation=(math.sqrt(0.5), math.sqrt(0.5), 0, 0), free=False
    )
    r = run([floor(M), bar], 1.2, 20, ropes=(rope(path, damping=2e-4),))
    nodes = r.nodes["rope"]
    assert np.hypot(nodes[..., 0], nodes[..., 2] - 0.7).min() > 0.1
    assert nodes[..., 2].min() > 0.0
    assert nodes[-1, [0, -1], 2].max() < 0.5
    assert {"rope", "bar"} in [set(c["bodies"]) for c in r.contacts]


def test_a_rope_does_not_pass_through_itself():
    turn = np.linspace(0, 4 * math.pi, 33)
    coil = np.column_stack([0.12 * np.cos(turn), 0.12 * np.sin(turn), 0.1 + 0.05 * turn / math.pi])
    r = run([floor(M)], 0.5, 20, ropes=(rope(coil, radius=0.012, self_contact=True, damping=2e-4),))
    end = r.nodes["rope"][-1]
    middle = (end[1:] + end[:-1]) / 2
    apart = np.linalg.norm(middle[:, None] - middle[None], axis=-1)
    i, j = np.triu_indices(len(middle), 3)
    assert apart[i, j].min() > 0.02
    assert ["rope", "rope"] in [c["bodies"] for c in r.contacts]


def test_the_tube_is_closed_and_follows_the_segments():
    nodes = np.array([[(0, 0, 0), (0.1, 0, 0), (0.2, 0, 0), (0.3, 0, 0)]] * 2, float)
    nodes[1] += (0, 0, 1)
    rotations = np.tile([1.0, 0, 0, 0], (2, 3, 1))
    rest, faces, vertices = tube(nodes, rotations, 0.02)
    np.testing.assert_allclose(vertices[0], rest, atol=1e-6)
    np.testing.assert_allclose(vertices[1], rest + (0, 0, 1), atol=1e-6)
    mesh = trimesh.Trimesh(rest, faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(math.pi * 0.02**2 * 0.3 + 4 / 3 * math.pi * 0.02**3, rel=0.08)
    assert mesh.bounds[1][0] == pytest.approx(0.32)


def test_a_bent_tube_has_its_thickness_and_turns_with_its_chain():
    turn = np.linspace(0, math.pi, 17)
    nodes = np.column_stack([np.cos(turn), np.sin(turn), 0 * turn])[None]
    _, faces, vertices = tube(nodes, transported(nodes[0])[None], 0.05)
    away = np.hypot(np.hypot(vertices[0, :, 0], vertices[0, :, 1]) - 1, vertices[0, :, 2])
    ends = 12 * 2
    np.testing.assert_allclose(away[ends : -ends - 2], 0.05, rtol=0.06)
    assert trimesh.Trimesh(vertices[0], faces, process=False).volume > 0


def test_rotations_are_what_they_say():
    rng = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 50, 4)))
    v = rng.normal(size=(50, 3))
    np.testing.assert_allclose(rotate(product(a, b), v), rotate(a, rotate(b, v)), atol=1e-12)
    np.testing.assert_allclose(rotate(inverse(a), rotate(a, v)), v, atol=1e-12)
    x, y = (w / np.linalg.norm(w, axis=1, keepdims=True) for w in rng.normal(size=(2, 50, 3)))
    np.testing.assert_allclose(rotate(shortest(x, y), x), y, atol=1e-12)
    np.testing.assert_allclose(rotate(shortest(x, -x), x), -x, atol=1e-9)

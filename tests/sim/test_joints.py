"""Joints, motors and the record of contacts against analytic answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bench import G, body, floor, material, run
from scipy.special import ellipk

from phys4d.sim.scene import Body, Joint, Motor
from phys4d.sim.shapes import Box, Cylinder, Sphere, about_axis

M = material()


def _rod(name: str, top, length: float, joint: Joint) -> Body:
    return body(name, Box((0.04, 0.04, length)), M, (top[0], top[1], top[2] - length / 2), joint=joint)


def _period(angle: np.ndarray, time: np.ndarray) -> float:
    """Twice the time between two crossings of zero."""
    crossings = np.flatnonzero(angle[:-1] * angle[1:] < 0)
    moments = time[crossings] - angle[crossings] * np.diff(time)[crossings] / np.diff(angle)[crossings]
    return float(2 * np.diff(moments).mean())


@pytest.mark.parametrize("degrees", [5, 60, 120])
def test_a_pendulum_s_period_at_any_angle(degrees):
    """T = 4 sqrt(I / m g l) K(sin(theta / 2)), a complete elliptic integral of the first kind."""
    start, length = math.radians(degrees), 0.8
    r = run([_rod("rod", (0, 0, 3), length, Joint("hinge", (0, 0, 3), start=start))], 4.0, 100)
    inertia = (length**2 + 0.04**2) / 12 + length**2 / 4
    expected = 4 * math.sqrt(inertia / (G * length / 2)) * ellipk(math.sin(start / 2) ** 2)
    assert _period(r.coordinate["rod"], r.time) == pytest.approx(expected, rel=0.01)


def test_a_double_pendulum_keeps_its_energy():
    upper = _rod("upper", (0, 0, 3), 0.5, Joint("hinge", (0, 0, 3), start=2.0))
    lower = _rod("lower", (0, 0, 2.5), 0.5, Joint("hinge", (0, 0, 2.5), parent="upper", start=1.0))
    r = run([upper, lower], 5.0, 50)
    swing = r.mass["upper"] * G * 1.0
    assert np.abs(r.energy - r.energy[0]).max() < 0.01 * swing
    tip = np.linalg.norm(r.position["lower"] - r.position["upper"], axis=1)
    assert tip.max() <= 0.5 + 1e-6, "the two stay joined"


@pytest.mark.parametrize("spin", [60.0, 120.0])
def test_a_top_precesses(spin):
    """Started in steady precession: I1 W^2 cos(theta) - I3 w W + m g l = 0."""
    radius, thick, arm, lean = 0.12, 0.03, 0.15, math.radians(25)
    mass = 1000 * math.pi * radius**2 * thick
    axial = mass * radius**2 / 2
    across = mass * (3 * radius**2 + thick**2) / 12 + mass * arm**2
    a, b, c = across * math.cos(lean), -axial * spin, mass * G * arm
    slow = (-b - math.sqrt(b**2 - 4 * a * c)) / (2 * a)
    axis = np.array([math.sin(lean), 0, math.cos(lean)])
    # The spin about its own axis is what is left of w beside the precession's share of it.
    turning = axis * (spin - slow * math.cos(lean)) + np.array([0, 0, slow])
    top = body(
        "top",
        Cylinder(radius, thick),
        M,
        (0, 0, 1 + arm),
        spin=tuple(turning),
        joint=Joint("ball", (0, 0, 1), start=lean),
    )
    r = run([top], 1.0, 50)
    place = r.position["top"] - (0, 0, 1)
    angle = np.unwrap(np.arctan2(place[:, 1], place[:, 0]))
    assert (angle[-1] - angle[0]) / r.time[-1] == pytest.approx(slow, rel=0.05)
    assert np.degrees(np.ptp(np.arccos(place[:, 2] / arm))) < 1.0, "no nutation"


def test_a_slide_with_a_spring_like_motor_oscillates():
    """A servo without damping is a spring: period 2 pi sqrt(m / k)."""
    block = body(
        "block",
        Box((0.2, 0.2, 0.2)),
        M,
        (0, 0, 1),
        joint=Joint("slide", (0, 0, 1), axis=(1, 0, 0), start=0.3, motor=Motor(0.0, stiffness=200.0)),
    )
    r = run([block], 3.0, 100)
    assert _period(r.coordinate["block"], r.time) == pytest.approx(2 * math.pi * math.sqrt(8.0 / 200), rel=0.01)
    # What the motor brings in is exactly what the block gains.
    np.testing.assert_allclose(r.energy - r.work, r.energy[0], atol=0.01 * np.ptp(r.energy))


def test_a_motor_settles_at_its_speed():
    rotor = body(
        "rotor",
        Cylinder(0.3, 0.05),
        M,
        (0, 0, 1),
        joint=Joint("hinge", (0, 0, 1), (0, 0, 1), motor=Motor(6.0, 0, 2.0)),
    )
    r = run([rotor], 3.0, 20)
    inertia = r.mass["rotor"] * 0.3**2 / 2
    expected = 3.0 * (1 - np.exp(-2.0 * r.time / inertia))
    np.testing.assert_allclose(r.spin["rotor"][:, 2], expected, atol=0.01)
    np.testing.assert_allclose(r.work[-1], r.energy[-1] - r.energy[0], rtol=0.01)


def test_dry_friction_holds_a_hinge_and_damping_slows_one():
    hold = M.density * 0.04**2 * 0.8 * G * 0.4 * math.sin(0.5)
    for share, moves in ((1.05, False), (0.9, True)):
        rod = _rod("rod", (0, 0, 3), 0.8, Joint("hinge", (0, 0, 3), start=0.5, friction=share * hold))
        r = run([rod], 0.5, 20)
        assert (np.ptp(r.coordinate["rod"]) > 0.02) == moves
    door = body(
        "door",
        Box((0.8, 0.04, 1.0)),
        M,
        (0.4, 0, 1),
        joint=Joint("hinge", (0, 0, 1), (0, 0, 1), speed=2.0, damping=8.0),
    )
    r = run([door], 1.0, 20)
    inertia = r.mass["door"] * ((0.8**2 + 0.04**2) / 12 + 0.4**2)
    np.testing.assert_allclose(r.spin["door"][:, 2], 2 * np.exp(-8.0 * r.time / inertia), atol=0.01)


def test_stops_stop():
    rod = _rod("rod", (0, 0, 3), 0.8, Joint("hinge", (0, 0, 3), start=1.2, limits=(-0.2, 1.3), restitution=0.3))
    r = run([rod], 4.0, 100)
    angle = r.coordinate["rod"]
    assert angle.min() > -0.23
    rebound = np.diff(angle).max() / -np.diff(angle).min()
    assert rebound == pytest.approx(0.3, abs=0.06)


def test_children_are_carried_by_the_start_of_their_parent():
    upper = _rod("upper", (0, 0, 3), 0.5, Joint("hinge", (0, 0, 3), start=math.pi / 2))
    lower = _rod("lower", (0, 0, 2.5), 0.5, Joint("hinge", (0, 0, 2.5), parent="upper"))
    r = run([lower, upper], 0.1, 20)  # whatever their order
    np.testing.assert_allclose(r.position["lower"][0], (-0.75, 0, 3), atol=1e-6)


def test_a_turned_body_keeps_its_anchor_and_axis():
    turned = about_axis((0, 0, 1), math.pi / 2)
    rod = body(
        "rod",
        Box((0.8, 0.04, 0.04)),
        M,
        (0, 0.4, 2),
        rotation=turned,
        joint=Joint("hinge", (0, 0, 2), axis=(1, 0, 0)),
    )
    r = run([rod], 1.0, 50)
    np.testing.assert_allclose(np.linalg.norm(r.position["rod"] - (0, 0, 2), axis=1), 0.4, atol=1e-6)
    assert np.abs(r.position["rod"][:, 0]).max() < 1e-6


def test_a_joint_on_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="nothing is called 'beam' here; there are rod"):
        run([_rod("rod", (0, 0, 3), 0.8, Joint("hinge", (0, 0, 3), parent="beam"))], 0.1, 20)


def test_contacts_are_recorded():
    """When a ball arrives, how hard it is pushed, when it leaves, and that it rests in the end."""
    m = material(restitution=0.5)
    r = run([floor(m), body("ball", Sphere(0.1), m, (0, 0, 0.6))], 3.0, 50)
    first = r.contacts[0]
    assert set(first["bodies"]) == {"floor", "ball"}
    arrival = math.sqrt(2 * 0.5 / G)
    assert first["begin"] == pytest.approx(arrival, abs=2e-3)
    assert 0.002 < first["end"] - first["begin"] < 0.012
    # The mean push over the contact gives the change of momentum; its peak is no more than a few times that.
    impulse = r.mass["ball"] * 1.5 * math.sqrt(2 * G * 0.5)
    assert 1.0 < first["peak_force"] * (first["end"] - first["begin"]) / impulse < 3.5
    second = r.contacts[1]
    assert second["begin"] - first["end"] == pytest.approx(2 * 0.5 * math.sqrt(2 * 0.5 / G), rel=0.05)
    assert r.contacts[-1]["end"] is None
    resting = run([floor(m), body("block", Box((0.2, 0.2, 0.2)), m, (0, 0, 0.1))], 0.5, 20).contacts
    assert [(c["begin"], c["end"]) for c in resting] == [(0.0, None)]
    assert run([body("ball", Sphere(0.1), m, (0, 0, 5))], 0.5, 20).contacts == []


def test_what_is_not_solid_touches_nothing():
    shelf = body("shelf", Box((1, 1, 0.1)), M, (0, 0, 4), free=False)
    r = run([shelf, body("ghost", Sphere(0.1), M, (0, 0, 4.3), solid=False)], 1.0, 20)
    assert r.contacts == []
    assert r.position["ghost"][-1, 2] < 1

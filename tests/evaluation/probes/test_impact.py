"""Momentum, energy and restitution against textbook collisions."""

import math

import numpy as np
import pytest

from phys4d.evaluation.probes.impact import (
    contacts_of,
    energy_rise,
    mechanical_energy,
    momentum_drift,
    restitution,
)
from phys4d.world import Camera, World4D

NONE = np.zeros(3)


@pytest.mark.parametrize("bounce", [0.0, 0.5, 1.0])
def test_collisions_of_any_restitution_keep_momentum(bounce):
    masses, before = np.array([2.0, 0.5]), np.array([[3.0, 0, 0], [-1.0, 0.5, 0]])
    common = masses @ before / masses.sum()
    after = common - bounce * (before - common)
    assert momentum_drift(before, after, masses, NONE) == pytest.approx(0, abs=1e-12)


def test_lost_momentum_is_measured_as_a_share_of_what_was_there():
    masses, before = np.array([1.0, 1.0]), np.array([[2.0, 0, 0], [0, 0, 0]])
    assert momentum_drift(before, 0 * before, masses, NONE) == pytest.approx(1)
    assert momentum_drift(before, 0.75 * before, masses, NONE) == pytest.approx(0.25)
    assert momentum_drift(before, 0.75 * before, masses, np.array([-0.5, 0, 0])) == pytest.approx(0)
    assert momentum_drift(before, 9 * before, masses, NONE) == 1
    assert math.isnan(momentum_drift(0 * before, before, masses, NONE))


def thrown(frames=20, fps=24.0, g=9.81):
    time = np.arange(frames)[:, None] / fps
    return time * [1.0, 0, 3.0] + 0.5 * time**2 * [0, 0, -g]


def test_free_flight_keeps_energy():
    energy = mechanical_energy(thrown()[None], np.array([2.0]), np.array([0, 0, -9.81]), 24.0)
    assert np.ptp(energy) < 1e-9
    weak = mechanical_energy(thrown(g=4.0)[None], np.array([2.0]), np.array([0, 0, -9.81]), 24.0)
    assert np.ptp(weak) > 1


def test_only_a_rise_that_lasts_is_a_rise():
    falling = np.linspace(5, 1, 20)
    assert energy_rise(falling, 4.0) == 0
    dip = falling.copy()
    dip[8:11] = 0  # A contact that stores energy and gives it back.
    assert energy_rise(dip, 4.0) == 0
    assert energy_rise(3.0 + 2 * (np.arange(20) > 10), 4.0) == 0.5
    assert energy_rise(falling[::-1], 4.0) == pytest.approx(1, abs=0.12), "less what the filling takes at the ends"


def test_restitution_is_the_ratio_of_speeds_along_the_normal():
    up = np.array([0.0, 0.0, 1.0])
    assert restitution(np.array([1.0, 0, -4]), np.array([1.0, 0, 3]), up) == pytest.approx(0.75)
    assert restitution(np.array([0.0, 0, -4]), np.array([0.0, 0, -1]), up) == 0
    assert math.isnan(restitution(np.zeros(3), up, up))


def test_contacts_lie_between_frames_and_may_last():
    camera = Camera(
        np.tile(np.eye(3, dtype=np.float32), (5, 1, 1)), np.tile(np.eye(4, dtype=np.float32), (5, 1, 1))
    )
    rows = [
        {"bodies": ["a", "b"], "begin": 0.11, "end": 0.12},
        {"bodies": ["a", "c"], "begin": 0.25, "end": None},
    ]
    world = World4D(camera=camera, fps=10.0, meta={"physics": {"contacts": rows}})
    first, second = contacts_of(world)
    assert (first.first, first.second, first.before, first.after) == ("a", "b", 1, 2)
    assert (second.before, second.after) == (2, 5)
    assert contacts_of(World4D(camera=camera, fps=10.0, meta={})) == []

"""Rigid motions and flow that returns: closed forms, invariances and planted faults."""

import itertools
import math

import numpy as np
import pytest
from ball_scene import FRAMES, as_prediction, ball_world
from scipy.spatial.transform import Rotation

from phys4d.evaluation.rigidity import (
    FEWEST_TRACKS,
    backward_flow,
    best_rigid,
    cycle_error,
    rigid_deviation,
    rigid_instances,
    rigidity,
)

RNG = np.random.default_rng(0)
TURN = Rotation.from_rotvec([0.4, -1.1, 0.6]).as_matrix()


def test_a_rigid_motion_is_found_and_costs_nothing():
    points = RNG.normal(size=(30, 3))
    moved = points @ TURN.T + [1, 2, 3]
    rotation, shift = best_rigid(points, moved)
    assert rotation == pytest.approx(TURN)
    assert shift == pytest.approx([1, 2, 3])
    assert rigid_deviation(points, moved) == pytest.approx(0, abs=1e-12)
    mirrored = best_rigid(points, points * [1, 1, -1])[0]
    assert np.linalg.det(mirrored) == pytest.approx(1)


def test_the_rotation_agrees_with_another_implementation():
    points, moved = RNG.normal(size=(2, 20, 3))
    expected, _ = Rotation.align_vectors(moved - moved.mean(0), points - points.mean(0))
    assert best_rigid(points, moved)[0] == pytest.approx(expected.as_matrix())


def test_deviation_grows_with_the_stretch_and_ignores_a_few_lost_points():
    points = RNG.normal(size=(40, 3))
    stretched = [rigid_deviation(points, points * [1 + s, 1, 1]) for s in (0, 0.1, 0.2, 0.4)]
    assert all(b > a for a, b in itertools.pairwise(stretched))
    lost = points.copy()
    lost[:5] += 3
    assert rigid_deviation(points, lost) < 0.1 * np.linalg.norm([3, 3, 3]) * 5 / 40 * 10
    assert math.isnan(rigid_deviation(points[: FEWEST_TRACKS - 1], points[: FEWEST_TRACKS - 1]))


def test_only_bodies_that_are_said_to_be_rigid_are_judged():
    world = ball_world()
    assert rigid_instances(world) == [1]
    world.meta["category"] = "rope"
    found = rigidity(as_prediction(world), world)
    assert math.isnan(found.value)
    assert "no body" in found.reason
    world.meta["physics"]["bodies"]["ball"]["rotation"] = [[1, 0, 0, 0]] * FRAMES
    assert rigid_instances(world) == [1]
    world.meta["physics"]["bodies"]["cube"] = {"instance": 1, "rotation": [[1, 0, 0, 0]] * FRAMES}
    assert rigid_instances(world) == []


def test_cycle_error_is_what_its_formula_says():
    forward = np.zeros((1, 6, 8, 2))
    forward[..., 0] = 2
    valid = np.ones((1, 6, 8), bool)
    assert cycle_error(forward, -forward, valid).value == 0
    assert cycle_error(forward, -forward, valid).coverage == 6 / 8
    off = -forward + [0.3, 0.4]
    assert cycle_error(forward, off, valid).value == pytest.approx(0.5)
    assert math.isnan(cycle_error(forward, off, ~valid).value)


def test_backward_flow_is_known_where_something_arrives_and_the_nearer_surface_wins():
    forward, depth = np.zeros((1, 4, 8, 2)), np.full((1, 4, 8), 5.0)
    forward[:, :, :4, 0], depth[:, :, :4] = 2, 1  # The left half moves right, in front of the rest.
    back, known = backward_flow(forward, depth)
    assert not known[0, :, :2].any()
    assert known[0, :, 2:].all()
    assert back[0, :, 2:6, 0] == pytest.approx(-2, abs=1e-6)
    assert back[0, :, 6:, 0] == pytest.approx(0)

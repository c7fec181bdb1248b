"""Gravity against mechanics, masks against drawn ones."""

import math

import numpy as np
import pytest
from ball_scene import FPS, GRAVITY, as_prediction, ball_world, fall

import phys4d
from phys4d.evaluation import evaluate
from phys4d.evaluation.measure import Pair, Truth
from phys4d.evaluation.physics import (
    Flight,
    acceleration,
    centroid_error,
    effective_gravity,
    free_flights,
    gravity_error,
    iou,
)


def test_acceleration_of_a_parabola_is_exact_and_of_noise_is_least_squares():
    time = np.arange(6) / 12
    path = np.array([1.0, 2, 3]) + time[:, None] * [4, 5, 6] + 0.5 * time[:, None] ** 2 * [0.5, 0, -9.81]
    assert acceleration(path, 12.0) == pytest.approx([0.5, 0, -9.81])
    noisy = path + np.random.default_rng(0).normal(scale=0.1, size=path.shape)
    assert acceleration(noisy, 12.0) == pytest.approx(2 * np.polyfit(time, noisy, 2)[0])
    with pytest.raises(ValueError, match="three"):
        acceleration(path[:2], 12.0)


def test_free_flight_ends_where_something_touches():
    path = fall()
    path[8:] = path[7]
    world = ball_world(path)
    assert free_flights(world) == [Flight(1, 0, 8)]
    rolling = ball_world(fall(0.0, velocity=(1.0, 0, 0)))
    assert free_flights(rolling) == []


def test_gravity_of_a_simulated_drop():
    """The instrument itself, on the truth, with tracks chained from its depth and flow."""
    world = phys4d.simulate("ball_drop", seed=3, size=(64, 64), frames=17, camera="static")
    report = evaluate(as_prediction(world), world, baselines=True, metrics=["gravity_error"])
    assert report.metrics["gravity_error"]["value"] < 0.02
    assert report.baselines["static"]["gravity_error"]["value"] == pytest.approx(1, abs=1e-6)


def test_effective_gravity_is_what_the_prediction_falls_by():
    truth, slow = ball_world(), ball_world(fall(4.0))
    assert effective_gravity(slow, truth, free_flights(truth)[0]) == pytest.approx(4.0, rel=0.02)


def test_a_lost_body_is_no_measurement():
    truth = ball_world()
    blind = as_prediction(truth, visible=np.zeros_like(truth.visible))
    found = gravity_error(Pair(blind, Truth(truth)))
    assert math.isnan(found.value)
    assert "followed" in found.reason


def test_gravity_needs_a_fall():
    world = ball_world(fall(0.0))
    assert "falls" in gravity_error(Pair(as_prediction(world), Truth(world))).reason
    unknown = ball_world(physics={})
    assert "meta" in gravity_error(Pair(as_prediction(unknown), Truth(unknown))).reason


def test_iou_and_centroids_of_shifted_squares():
    mine, theirs = np.zeros((2, 3, 20, 20), bool)
    mine[:2, 5:10, 5:10] = True
    theirs[:2, 5:10, 7:12] = True
    found = iou(mine, theirs)
    assert found.value == pytest.approx(15 / 35)
    assert found.coverage == pytest.approx(2 / 3)
    assert centroid_error(mine, theirs).value == pytest.approx(2)
    assert math.isnan(iou(mine[2:], theirs[2:]).value)
    assert math.isnan(centroid_error(mine, np.zeros_like(mine)).value)


def test_the_fit_uses_the_frame_rate():
    assert acceleration(fall(), 2 * FPS)[2] == pytest.approx(-4 * GRAVITY)

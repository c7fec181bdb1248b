"""Point maps against closed forms and against numbers of the public code."""

import math

import numpy as np
import pytest
from ball_scene import as_prediction, ball_world, in_own_axes

from phys4d.evaluation import evaluate
from phys4d.evaluation.points import fit_points, point_errors, point_map

RNG = np.random.default_rng(0)


def test_the_fit_undoes_a_scale_and_a_shift():
    truth = RNG.normal(size=(2, 5, 6, 3)) + [0, 0, 4]
    guess = (truth - [0.3, -0.1, 0.5]) / 1.7
    valid = RNG.random((2, 5, 6)) > 0.3
    fit = fit_points(guess, truth, valid)
    assert fit.scale == pytest.approx(1.7)
    assert fit.shift == pytest.approx([0.3, -0.1, 0.5])
    found = point_errors(fit(guess), truth, valid)
    assert (found.rel.value, found.inlier.value) == (pytest.approx(0, abs=1e-12), 1.0)
    assert fit_points(guess, truth, valid, "none").scale == 1


@pytest.mark.parametrize("freedom", ["scale", "scale+shift"])
def test_the_fit_is_the_best_there_is(freedom):
    """Against a general least-squares solver."""
    guess, truth = RNG.normal(size=(2, 40, 3)) + 2
    weight = RNG.random(40)
    rows = np.concatenate([guess.reshape(-1, 1), np.tile(np.eye(3), (40, 1))], axis=1)
    columns = slice(0, 4 if freedom == "scale+shift" else 1)
    root = np.sqrt(np.repeat(weight, 3))[:, None]
    expected = np.linalg.lstsq(root * rows[:, columns], root[:, 0] * truth.ravel(), rcond=None)[0]
    fit = fit_points(guess, truth, np.ones(40, bool), freedom, weight)
    assert [fit.scale, *fit.shift][columns] == pytest.approx(expected)


def test_point_errors_are_what_their_formulas_say():
    truth = np.zeros((1, 1, 4, 3))
    truth[..., 2] = [2, 2, 4, 0.001]
    guess = truth.copy()
    guess[..., 0] += [0.1, 0.6, 0.0, 0.005]
    found = point_errors(guess, truth, np.ones((1, 1, 4), bool))
    assert found.rel.value == pytest.approx((0.05 + 0.3 + 0 + 0.5) / 4)
    assert found.inlier.value == 0.5
    empty = point_errors(guess, truth, np.zeros((1, 1, 4), bool)).rel
    assert math.isnan(empty.value)
    assert (empty.coverage, bool(empty.reason)) == (0, True)


def test_a_point_map_starts_at_its_first_camera_whatever_the_axes():
    world = ball_world()
    assert point_map(in_own_axes(world)) == pytest.approx(point_map(world), abs=1e-5)
    assert point_map(world)[..., 2] == pytest.approx(world.depth, abs=1e-5)


def test_worlds_are_judged_after_one_scale_unless_told_otherwise():
    world = ball_world()
    scaled = in_own_axes(as_prediction(world), 1.5)
    names = ["point_rel", "point_inlier"]
    found = evaluate(scaled, world, baselines=False, metrics=names).metrics
    assert found["point_rel"]["value"] < 1e-6
    raw = evaluate(scaled, world, baselines=False, metrics=names, alignment="none").metrics
    assert raw["point_rel"]["value"] == pytest.approx(0.5, abs=1e-5)
    assert raw["point_inlier"]["value"] == 0

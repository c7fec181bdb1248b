"""The 4D Chamfer distance against brute force and closed forms."""

import dataclasses

import numpy as np
import pytest
import torch
from ball_scene import FRAMES, as_prediction, ball_world, fall

from phys4d.evaluation.chamfer import TRUNCATION, background, chamfer_4d, surface_points
from phys4d.evaluation.measure import Truth
from phys4d.geometry import chamfer_distance


@pytest.fixture(scope="module")
def truth():
    return Truth(ball_world())


def test_the_distance_is_that_of_geometry(truth):
    moved = as_prediction(ball_world(fall() + [0.2, 0, 0]))
    still = background(truth)
    found = chamfer_4d(moved, truth, still=still, epsilon=0.05)
    mine, theirs = surface_points(moved), surface_points(truth.world)
    expected = [
        float(
            chamfer_distance(
                torch.from_numpy(mine[t][found.moving[t]]),
                torch.from_numpy(theirs[t][found.moving_true[t]]),
                truncation=TRUNCATION * still.extent,
            )
        )
        for t in range(FRAMES)
    ]
    assert found.dynamic.curve == pytest.approx(expected)
    assert 0.02 < found.dynamic.value < 0.2


def test_it_is_in_metres_and_symmetric(truth):
    there, back = ball_world(fall() + [0.2, 0, 0]), truth.world
    a = chamfer_4d(as_prediction(there), truth, still=background(truth), epsilon=0.05)
    other = Truth(there)
    b = chamfer_4d(as_prediction(back), other, still=background(other), epsilon=0.05)
    assert a.dynamic.value == pytest.approx(b.dynamic.value, rel=0.05)


def test_only_the_ball_is_dynamic(truth):
    found = chamfer_4d(as_prediction(truth.world), truth, still=background(truth))
    ball = truth.world.segmentation == 1
    assert not (found.moving & ~ball).any()
    assert (found.moving & ball).sum() > 0.9 * ball.sum()


def test_a_thinned_perfect_world_is_still_perfect(truth, monkeypatch):
    monkeypatch.setattr("phys4d.evaluation.chamfer.MOST_POINTS", 50)
    found = chamfer_4d(as_prediction(truth.world), truth, still=background(truth), seed=3)
    assert (found.dynamic.value, found.background.value, found.objects.value) == (0, 0, 0)


def test_thinning_is_seeded_and_changes_little(truth, monkeypatch):
    moved = as_prediction(ball_world(fall() + [0.2, 0, 0]))
    still = background(truth)
    whole = chamfer_4d(moved, truth, still=still).dynamic.value
    monkeypatch.setattr("phys4d.evaluation.chamfer.MOST_POINTS", 60)
    thin = [chamfer_4d(moved, truth, still=still, seed=seed).dynamic.value for seed in (1, 1, 2)]
    assert thin[0] == thin[1] != thin[2]
    assert thin[0] == pytest.approx(whole, rel=0.25)


def test_epsilon_is_three_times_the_predictions_own_error_within_bounds(truth):
    still = background(truth)
    wobbly = truth.world.depth * (1 + 0.004 * np.sin(np.arange(64))).astype(np.float32)
    found = chamfer_4d(as_prediction(truth.world, depth=wobbly), truth, still=still)
    assert found.epsilon >= 0.01 * still.extent
    far = chamfer_4d(as_prediction(truth.world, depth=1.5 * truth.world.depth), truth, still=still)
    assert far.epsilon == pytest.approx(0.05 * still.extent)
    assert chamfer_4d(as_prediction(truth.world), truth, still=still).epsilon == pytest.approx(0.01 * still.extent)


def test_points_between_the_samples_of_a_plane_are_on_it(truth):
    """A camera elsewhere sees the floor at other points; they are background all the same."""
    still = background(truth)
    rng = np.random.default_rng(0)
    floor = np.stack([rng.uniform(-0.8, 0.8, 200), rng.uniform(-0.5, 1.2, 200), np.zeros(200)], axis=-1)
    assert still.distance(floor).max() < 0.01
    assert still.distance(floor + [0, 0, 0.2]) == pytest.approx(0.2, abs=0.02)


def test_frames_without_anything_dynamic_are_left_out():
    path = fall()
    path[8:] = [50.0, 50.0, 50.0]
    truth = Truth(ball_world(path))
    found = chamfer_4d(as_prediction(truth.world), truth, still=background(truth))
    assert found.dynamic.value == 0
    assert found.dynamic.coverage == pytest.approx(8 / FRAMES)


def test_a_world_in_which_nothing_moves_has_no_dynamic_distance():
    truth = Truth(ball_world(fall(0.0)))
    found = chamfer_4d(as_prediction(truth.world), truth, still=background(truth))
    assert np.isnan(found.dynamic.value)
    assert found.dynamic.reason == "nothing moves in the reference"
    assert found.background.value == 0


def test_objects_count_alike_however_small(truth):
    """A fifth of the ball's pixels are called another body, which a prediction loses: one object of two."""
    world = truth.world
    ids = world.segmentation.copy()
    ball = np.argwhere(ids == 1)
    low = ball[:, 1] > np.quantile(ball[:, 1], 0.8)
    ids[tuple(ball[low].T)] = 2
    two = Truth(dataclasses.replace(world, segmentation=ids))
    still = background(two)
    perfect = chamfer_4d(as_prediction(world), two, still=still)
    assert perfect.objects.value == 0
    assert chamfer_4d(as_prediction(world), truth, still=still).objects.value == 0
    away = chamfer_4d(as_prediction(ball_world(fall() + [0.2, 0, 0])), truth, still=background(truth))
    assert away.objects.value == pytest.approx(away.dynamic.value)  # One object is all that moves.
    depth = np.where(two.moving & (ids == 2), 0, world.depth).astype(np.float32)
    lost = chamfer_4d(as_prediction(world, depth=depth), two, still=still)
    tau = TRUNCATION * still.extent
    alone = [t for t in range(FRAMES) if {1, 2} <= set(ids[t].ravel())]
    assert lost.objects.curve[alone] == pytest.approx(tau / 2, rel=0.02)
    assert lost.dynamic.value < tau / 4

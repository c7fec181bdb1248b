"""Motion metrics against closed forms, and TAPVid-3D against another implementation."""

import math

import numpy as np
import pytest
import torch
from ball_scene import FRAMES, as_prediction, ball_world

from phys4d.evaluation.motion import (
    flow_errors,
    follow_pixels,
    follow_reference_tracks,
    scene_flow_errors,
    tapvid3d,
)
from phys4d.geometry import invert_rigid, transform_points

RNG = np.random.default_rng(0)


def test_flow_errors_are_what_their_formulas_say():
    truth = np.zeros((2, 4, 5, 2))
    truth[..., 0] = 100
    guess = truth.copy()
    guess[0, :, :, 1] = 4  # 4 px of 100: more than 3 px, less than 5 %
    guess[1, :2, :, 0] += 6
    valid = np.ones((2, 4, 5), bool)
    found = flow_errors(guess, truth, valid)
    assert found.epe.value == pytest.approx((4 + 3) / 2)
    assert found.epe.curve == pytest.approx([4, 3])
    assert found.fl_all.value == pytest.approx(0.25)
    valid[1, :2] = False
    assert flow_errors(guess, truth, valid).epe.value == pytest.approx(2)


def test_scene_flow_errors_are_what_their_formulas_say():
    truth = RNG.normal(size=(1, 2, 2, 3))
    off = np.array([0.0, 0.04, 0.07, 0.2]).reshape(1, 2, 2)
    guess = truth + off[..., None] * np.array([0, 0.6, 0.8])
    found = scene_flow_errors(guess, truth, np.ones((1, 2, 2), bool))
    assert found.epe.value == pytest.approx(0.31 / 4)
    assert (found.accuracy_05.value, found.accuracy_10.value) == (0.5, 0.75)


def test_no_valid_pixel_is_nan_with_a_reason():
    zero = np.zeros((1, 2, 2, 2))
    found = flow_errors(zero, zero, np.zeros((1, 2, 2), bool)).epe
    assert math.isnan(found.value)
    assert found.coverage == 0
    assert found.reason


def slow_tapvid3d(tracks, visible, truth, truth_visible, focal, scaling):
    """TAPVid-3D, point by point, from the definitions in its paper."""
    if scaling:
        norms = [
            (np.linalg.norm(truth[n, t]), np.linalg.norm(tracks[n, t]))
            for n in range(len(truth))
            for t in range(truth.shape[1])
            if visible[n, t] and truth_visible[n, t]
        ]
        tracks = tracks * np.median([a for a, _ in norms]) / np.median([b for _, b in norms])
    jaccards, shares, agreement = [], [], []
    for delta in (1, 2, 4, 8, 16):
        hits = misses = false = near = seen = 0
        for n, t in np.ndindex(*truth.shape[:2]):
            within = np.linalg.norm(tracks[n, t] - truth[n, t]) < delta * truth[n, t, 2] / focal[t]
            seen += truth_visible[n, t]
            near += truth_visible[n, t] and within
            hit = truth_visible[n, t] and visible[n, t] and within
            hits += hit
            misses += truth_visible[n, t] and not hit
            false += visible[n, t] and not (truth_visible[n, t] and within)
        jaccards.append(hits / (hits + misses + false))
        shares.append(near / seen)
    agreement = [visible[i] == truth_visible[i] for i in np.ndindex(*truth.shape[:2])]
    return np.mean(jaccards), np.mean(shares), np.mean(agreement)


@pytest.mark.parametrize("scaling", [True, False])
@pytest.mark.parametrize("spread", [0.01, 0.1, 0.5])
def test_tapvid3d_agrees_with_another_implementation(scaling, spread):
    truth = RNG.normal(size=(20, 6, 3)) + [0, 0, 4]
    guess = 1.1 * truth + spread * RNG.normal(size=truth.shape)
    visible, truth_visible = RNG.random((2, 20, 6)) > 0.3
    focal = np.linspace(40, 60, 6)
    found = tapvid3d(guess, visible, truth, truth_visible, focal, scaling=scaling)
    expected = slow_tapvid3d(guess, visible, truth, truth_visible, focal, scaling)
    assert (found.aj.value, found.apd.value, found.oa.value) == pytest.approx(expected)
    assert 0 < found.aj.value < found.apd.value <= 1


def test_perfect_tracks_score_one_and_scaling_forgives_scale():
    truth = RNG.normal(size=(20, 6, 3)) + [0, 0, 4]
    visible = RNG.random((20, 6)) > 0.3
    for factor, scaling in ((1.0, False), (2.5, True)):
        found = tapvid3d(factor * truth, visible, truth, visible, np.full(6, 50.0), scaling=scaling)
        assert (found.aj.value, found.apd.value, found.oa.value) == (1, 1, 1)
    assert tapvid3d(2.5 * truth, visible, truth, visible, np.full(6, 50.0), scaling=False).aj.value < 0.5


def test_tracks_that_are_never_seen_are_nan():
    truth, hidden = RNG.normal(size=(3, 4, 3)), np.zeros((3, 4), bool)
    assert math.isnan(tapvid3d(truth, hidden, truth, hidden, np.ones(4)).aj.value)


def test_following_pixels_follows_the_ball():
    """The chain must stay on the surface that falls: within a few centimetres for nearly all of them."""
    world = ball_world()
    row, column = np.nonzero(world.segmentation[0] == 1)
    pixels = np.stack([column + 0.5, row + 0.5], axis=-1)
    tracks, seen = follow_pixels(world, pixels)
    fallen = tracks[:, -1, 2] - tracks[:, 0, 2]
    expected = np.diff(np.array(world.meta["physics"]["bodies"]["ball"]["position"])[[0, -1], 2])[0]
    kept = seen[:, -1]
    assert kept.mean() > 0.7
    assert np.median(fallen[kept]) == pytest.approx(expected, abs=0.03)


def test_own_tracks_are_used_where_they_answer_every_question():
    world = ball_world()
    tracks, seen, asked = follow_reference_tracks(world, world)
    np.testing.assert_array_equal(tracks, world.tracks[asked])
    np.testing.assert_array_equal(seen, world.track_visibility[asked])
    elsewhere = ball_world(seed=5)
    mixed = as_prediction(world, tracks=elsewhere.tracks, track_visibility=elsewhere.track_visibility)
    chained, _, _ = follow_reference_tracks(mixed, world)
    expected, _, _ = follow_reference_tracks(as_prediction(world), world)
    np.testing.assert_array_equal(chained, expected)


def test_chained_tracks_come_close_to_the_truth_in_its_camera_axes():
    world = ball_world()
    tracks, seen, asked = follow_reference_tracks(as_prediction(world), world)
    camera_from_world = invert_rigid(torch.from_numpy(world.camera.world_from_camera).double())
    mine, truth = (
        transform_points(camera_from_world, torch.from_numpy(points).double().transpose(0, 1)).transpose(0, 1)
        for points in (tracks, world.tracks[asked])
    )
    found = tapvid3d(
        mine.numpy(), seen, truth.numpy(), world.track_visibility[asked], np.full(FRAMES, 48.0), scaling=False
    )
    assert found.aj.value > 0.85

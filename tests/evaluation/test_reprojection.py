"""Photometric and epipolar errors: closed forms, planted faults, and silence where there is nothing to see."""

import dataclasses
import itertools

import numpy as np
import pytest
from ball_scene import EYE, FRAMES, as_prediction, ball_world

from phys4d.evaluation import evaluate
from phys4d.evaluation.reprojection import fundamental_matrices, sampson_error
from phys4d.world import Camera

EYES = np.array(EYE) + np.linspace(0, 0.8, FRAMES)[:, None] * [1.0, 0.3, 0.2]
MOVING = ball_world(eyes=EYES)
NAMES = ["photometric_error", "epipolar_error"]


def values(world, reference=MOVING):
    report = evaluate(world, reference, baselines=False, metrics=NAMES)
    return [report.metrics[name]["value"] for name in NAMES]


def aside(distance=0.5, frames=2):
    """A camera that steps to the right, focal length 10 px."""
    k = np.array([[10, 0, 4], [0, 10, 3], [0, 0, 1]], np.float32)
    pose = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    pose[:, 0, 3] = distance * np.arange(frames)
    return Camera(np.tile(k, (frames, 1, 1)), pose)


def test_a_step_aside_has_level_epipolar_lines():
    """Matches on their row are right; one off by v pixels lies v / sqrt 2 from the nearest right match."""
    matrix = fundamental_matrices(aside())[0].numpy()
    assert np.abs(matrix[[0, 0, 0, 1, 2], [0, 1, 2, 0, 0]]).max() < 1e-12
    flow = np.zeros((1, 6, 8, 2))
    flow[..., 0] = -3
    valid = np.ones((1, 6, 8), bool)
    assert sampson_error(flow, aside(), valid).value == pytest.approx(0, abs=1e-12)
    flow[..., 1] = 0.6
    assert sampson_error(flow, aside(), valid).value == pytest.approx(0.6 / np.sqrt(2))


def test_a_camera_that_stands_still_or_only_turns_is_not_judged():
    still = evaluate(ball_world(), baselines=False, metrics=NAMES)
    assert set(still.missing) == set(NAMES)
    assert "does not move aside" in still.missing["photometric_error"]
    found = sampson_error(np.zeros((1, 6, 8, 2)), aside(0.0), np.ones((1, 6, 8), bool))
    assert np.isnan(found.value)
    assert found.coverage == 0


def test_wrong_paths_and_wrong_depth_are_seen_more_the_wronger_they_are():
    def turned(dose):
        pose = MOVING.camera.world_from_camera.copy()
        angle = 0.02 * dose * np.arange(FRAMES)
        for matrix, a in zip(pose, angle):
            roll = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
            matrix[:3, :3] = matrix[:3, :3] @ roll
        return as_prediction(MOVING, scene_flow=None, camera=Camera(MOVING.camera.intrinsics, pose))

    found = [values(turned(dose)) for dose in (0, 0.5, 1)]
    for a, b in itertools.pairwise(found):
        assert all(later > before for before, later in zip(a, b)), found
    deep = [as_prediction(MOVING, depth=MOVING.depth * np.float32(s), scene_flow=None) for s in (1, 1.2, 1.5)]
    photometric = [values(world)[0] for world in deep]
    assert photometric == sorted(photometric)
    assert photometric[2] > 1.5 * photometric[0]


def test_what_moves_by_itself_is_left_out():
    """The ball falls: counted as still, it would lie far off its epipolar lines."""
    assert values(as_prediction(MOVING))[1] < 1e-5
    claims_still = as_prediction(MOVING, scene_flow=np.zeros_like(MOVING.scene_flow))
    report = evaluate(claims_still, baselines=False, metrics=NAMES)
    assert report.metrics["epipolar_error"]["value"] > 0.01
    assert values(claims_still)[1] < 1e-5  # The reference knows better.
    one = dataclasses.replace(ball_world(path=np.zeros((1, 3)) + [0, 0, 1]), meta={})
    assert set(evaluate(one, baselines=False, metrics=NAMES).missing) == set(NAMES)

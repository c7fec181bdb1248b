"""Depth metrics against closed forms."""

import math

import numpy as np
import pytest
import torch
from ball_scene import ball_world

from phys4d.evaluation.alignment import DisparityFit, align_depth, fit_disparity
from phys4d.evaluation.geometry import depth_edges, depth_errors, depth_warp_l1, temporal_alignment_error
from phys4d.world import Camera

RNG = np.random.default_rng(0)
TRUTH = RNG.uniform(1, 6, size=(3, 8, 10)).astype(np.float32)


def test_depth_errors_are_what_their_formulas_say():
    wrong = TRUTH * np.array([1.1, 1.2, 1.3], dtype=np.float32)[:, None, None]
    found = depth_errors(wrong, TRUTH, alignment="none")
    assert found.abs_rel.value == pytest.approx(0.2, rel=1e-5)
    assert found.abs_rel.curve == pytest.approx([0.1, 0.2, 0.3], rel=1e-5)
    assert found.delta1.value == pytest.approx(2 / 3)


def test_frames_count_alike_however_many_pixels_they_have():
    wrong = TRUTH.copy()
    wrong[0] *= 1.5
    wrong[0, 1:] = 0
    assert depth_errors(wrong, TRUTH, alignment="none").abs_rel.value == pytest.approx(0.5 / 3, rel=1e-5)


def test_the_fit_is_the_least_squares_solution():
    mask = RNG.random(TRUTH.shape) > 0.3
    other = RNG.uniform(1, 6, size=TRUTH.shape)
    x, y = 1 / other[mask], 1 / TRUTH[mask].astype(float)
    fit = fit_disparity(other, TRUTH, mask, "scale+shift")
    expected = np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1), y, rcond=None)[0]
    assert (fit.scale, fit.shift) == pytest.approx(tuple(expected))
    fit = fit_disparity(other, TRUTH, mask, "scale")
    assert fit.scale == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])
    assert fit.shift == 0


def test_one_fit_serves_the_whole_video():
    """A scale that drifts cannot be fitted away; a constant one can."""
    drift = TRUTH * np.array([0.8, 1.0, 1.2], dtype=np.float32)[:, None, None]
    assert depth_errors(TRUTH * 3, TRUTH).abs_rel.value == pytest.approx(0, abs=1e-6)
    assert depth_errors(drift, TRUTH).abs_rel.value > 0.1


def test_aligned_depth_keeps_its_holes_and_stays_in_front_of_the_camera():
    depth = np.array([0.0, 1.0, 4.0])
    assert align_depth(depth, DisparityFit(2.0, 0.5)) == pytest.approx([0, 1 / 2.5, 1.0])
    assert align_depth(depth, DisparityFit(1.0, -0.5)) == pytest.approx([0, 2, 1000])


def test_a_video_of_one_disparity_cannot_fix_a_shift():
    flat = np.full((2, 3, 3), 2.0)
    assert fit_disparity(flat, 2 * flat, flat > 0, "scale+shift") == DisparityFit(0.5, 0.0)


def test_nothing_to_compare_is_nan_with_a_reason():
    found = depth_errors(np.zeros_like(TRUTH), TRUTH)
    for measured in (found.abs_rel, found.delta1, found.tgm):
        assert math.isnan(measured.value)
        assert measured.coverage == 0
        assert measured.reason


def test_the_cap_leaves_far_depths_out():
    wrong = np.where(TRUTH > 4, 10 * TRUTH, TRUTH)
    found = depth_errors(wrong, TRUTH, alignment="none", cap=4.0)
    assert found.abs_rel.value == 0
    assert found.abs_rel.coverage == pytest.approx((TRUTH <= 4).mean())


def test_temporal_gradients_are_compared_where_the_truth_is_calm():
    still = np.full((2, 4, 4), 2.0)
    still[:, 0] = 1.0  # disparities 1 and 0.5: a range of 0.5
    wrong = still.copy()
    wrong[1, 1:] = 1 / (0.5 + 0.05)
    found = depth_errors(wrong, still, alignment="none").tgm
    assert found.value == pytest.approx(0.75 * 0.05 / 0.5)


def test_planes_have_no_edges_and_steps_have():
    rows = torch.arange(20.0)[:, None].expand(20, 30)
    floor = 1 / (0.05 + 0.02 * rows)
    assert not depth_edges(floor).any()
    step = floor.clone()
    step[:, 15:] *= 0.7
    edges = depth_edges(step)
    assert edges[:, 14:16].all()
    assert not edges[:, :14].any()
    assert not edges[:, 16:].any()
    hole = floor.clone()
    hole[5, 5] = 0
    assert depth_edges(hole)[4:7, 5].all()


def test_depth_warp_error_is_the_depth_that_motion_forgot():
    """The scene comes 0.1 m nearer, its motion says nothing of it."""
    world = ball_world()
    depth = np.full((3, 16, 16), 2.0, dtype=np.float32)
    depth[1:] = 1.9
    still = np.zeros((2, 16, 16, 3), dtype=np.float32)
    camera = Camera(world.camera.intrinsics[:3], world.camera.world_from_camera[:3])
    relative, metres = depth_warp_l1(depth, still, None, camera)
    assert metres.value == pytest.approx(0.05, rel=1e-4)
    assert metres.curve == pytest.approx([0.1, 0.0], abs=1e-5)
    assert relative.value == pytest.approx(0.05 / 1.9, rel=1e-4)


def test_tae_is_symmetric_and_relative_to_the_depth_that_is_found():
    world = ball_world()
    depth = np.full((2, 16, 16), 2.0, dtype=np.float32)
    depth[1] = 2.5
    camera = Camera(world.camera.intrinsics[:2], world.camera.world_from_camera[:2])
    found = temporal_alignment_error(depth, camera)
    assert found.value == pytest.approx(100 * (0.5 / 2.5 + 0.5 / 2.0) / 2, rel=1e-5)
    assert found.coverage == 1


def test_tae_judges_static_pixels_only():
    world = ball_world()
    depth = np.full((2, 16, 16), 2.0, dtype=np.float32)
    depth[1, :8] = 1.5
    camera = Camera(world.camera.intrinsics[:2], world.camera.world_from_camera[:2])
    static = np.ones(depth.shape, bool)
    static[:, :9] = False
    assert temporal_alignment_error(depth, camera, static).value == pytest.approx(0, abs=1e-4)
    assert temporal_alignment_error(depth, camera).value > 5
    nothing = temporal_alignment_error(depth, camera, np.zeros_like(static))
    assert math.isnan(nothing.value)
    assert "static" in nothing.reason

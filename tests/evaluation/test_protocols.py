"""The public protocols against the numbers of their own code, and against slow loops from their definitions.

Each constant was printed by the public code on the arrays that are made here:
google-deepmind/tapnet c2cbab8, tapnet/tapvid3d/evaluation/metrics.py; DepthAnything/Video-Depth-Anything 4f5ae23,
benchmark/eval/eval.py and eval_tae.py; TencentARC/GeometryCrafter eb8112b and TencentARC/MotionCrafter fd49b84,
evaluation/eval.py. (Einops, HDF5 files and the GPU were replaced by numpy there.)
"""

import math

import numpy as np
import pytest

from phys4d.evaluation.point_clips import PointClip, geometrycrafter_errors, motioncrafter_errors
from phys4d.evaluation.scene_flow import flyingthings_errors
from phys4d.evaluation.tracking import Tracks3D, scale_tracks, track_errors, within_pixels
from phys4d.evaluation.video_depth import fit_video_depth, original_tae, video_depth_errors


def track_case():
    rng = np.random.default_rng(7)
    truth = rng.normal(size=(12, 6, 3)) + [0, 0, 5]
    guess = 1.3 * truth + 0.15 * rng.normal(size=truth.shape)
    truth_visible, visible = rng.random((2, 12, 6)) > 0.25
    return Tracks3D(guess, visible), Tracks3D(truth, truth_visible), rng.integers(0, 6, 12)


FOCAL = np.full(6, np.sqrt(60 * 66.0))
TAPNET = {
    "median": (0.39524511524511524, 0.6603174603174603),
    "mean": (0.4062109914632851, 0.6793650793650794),
    "per_trajectory": (0.395, 0.6603174603174603),
    "median_on_queries": (0.3893065910411043, 0.6507936507936508),
    "reproduce_2d": (0.4301747840347252, 0.7428571428571429),
    "none": (0.0017699115044247787, 0.0031746031746031746),
}


@pytest.mark.parametrize("scaling", TAPNET)
def test_tapvid3d_gives_the_numbers_of_tapnet(scaling):
    prediction, truth, query = track_case()
    found = track_errors(prediction, truth, FOCAL, scaling, query)
    assert (found.aj.value, found.apd.value) == pytest.approx(TAPNET[scaling], rel=1e-12)
    assert found.oa.value == pytest.approx(0.6388888888888888, rel=1e-12)


def test_shares_within_pixels_are_those_of_tapnet():
    prediction, truth, query = track_case()
    points = scale_tracks(prediction, truth, "median", query)
    values = [m.value for m in within_pixels(points, truth, FOCAL).values()]
    assert values == pytest.approx([0.06349206349206349, 0.31746031746031744, 0.9206349206349206, 1, 1])


def test_tracks_that_nobody_sees_in_both_have_nothing_to_scale_by():
    prediction, truth, query = track_case()
    hidden = Tracks3D(prediction.points, np.zeros_like(prediction.visible))
    found = track_errors(hidden, truth, FOCAL, "median", query)
    assert math.isnan(found.aj.value)
    assert (found.aj.coverage, "nothing to scale by" in found.aj.reason) == (0, True)
    assert track_errors(hidden, truth, FOCAL, "none", query).aj.value == 0


def depth_case():
    rng = np.random.default_rng(11)
    truth = 2 + 3 * np.linspace(0, 1, 16) + 0.1 * np.arange(4)[:, None, None] + 0.05 * rng.random((4, 12, 16))
    truth[1, 3:5, 2:6] = 0
    truth[2, :2] = 30.0
    disparity = 0.7 / np.maximum(truth, 0.5) * (1 + 0.15 * rng.normal(size=truth.shape)) + 0.2
    k = np.tile(np.array([[14.0, 0, 7.5], [0, 15.0, 5.5], [0, 0, 1]]), (4, 1, 1))
    pose = np.tile(np.eye(4), (4, 1, 1))
    for t in range(4):
        a = 0.03 * t
        pose[t, :3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
        pose[t, :3, 3] = [0.12 * t, 0.02 * t, 0.05 * t]
    return truth, disparity.astype(np.float32), k, pose


def test_video_depth_gives_the_numbers_of_video_depth_anything():
    truth, disparity, k, pose = depth_case()
    depth = fit_video_depth(disparity, truth, 10.0)
    found = video_depth_errors(depth, truth, 10.0)
    # Their share passes through single precision.
    assert found.abs_rel.value == pytest.approx(0.10620400470546638, rel=1e-9)
    assert found.rmse.value == pytest.approx(0.49425466394501966, rel=1e-9)
    assert found.delta1.value == pytest.approx(0.9154098629951477, rel=1e-6)
    assert original_tae(depth, k, pose).value == pytest.approx(30.62052678633852, rel=1e-9)


def test_the_fit_forgives_scale_and_shift_of_disparity_and_the_cap_judges():
    truth, _, _, _ = depth_case()
    bent = np.where(truth > 0, 0.4 / np.maximum(truth, 1e-3) + 0.3, 0)
    depth = fit_video_depth(bent, truth, 10.0)
    found = video_depth_errors(depth, truth, 10.0)
    assert (found.abs_rel.value, found.delta1.value) == (pytest.approx(0, abs=1e-7), 1)
    assert depth.max() <= 10
    assert found.abs_rel.coverage == ((truth > 1e-3) & (truth < 10)).mean()
    empty = video_depth_errors(depth, truth, 1e-3).abs_rel
    assert math.isnan(empty.value)
    assert empty.coverage == 0


def slow_tae(depth, k, pose):
    """TAE pixel by pixel, from its definition."""
    height, width = depth.shape[1:]
    total = []
    for t in range(len(depth) - 1):
        for a, b in ((t, t + 1), (t + 1, t)):
            landed = {}
            for i in range(height):
                for j in range(width):
                    x = (
                        np.array([(j - k[t][0, 2]) / k[t][0, 0], (i - k[t][1, 2]) / k[t][1, 1], 1])
                        * depth[a, i, j]
                    )
                    moved = np.linalg.inv(pose[b]) @ pose[a] @ [*x, 1]
                    u, v = k[t][:2, :2] @ moved[:2] / moved[2] + k[t][:2, 2]
                    if 0 <= round(u) < width and 0 <= round(v) < height:
                        landed[round(v), round(u)] = moved[2]
            total.append(np.mean([abs(depth[b][p] - z) / depth[b][p] for p, z in landed.items() if z > 0]))
    return 100 * np.mean(total)


def test_the_original_tae_agrees_with_a_slow_loop_and_leaves_out_empty_pairs():
    truth, disparity, k, pose = depth_case()
    depth = fit_video_depth(disparity, truth)
    assert original_tae(depth, k, pose).value == pytest.approx(slow_tae(depth, k, pose))
    far = pose.copy()
    far[1:, 0, 3] += 1e4
    two = original_tae(depth[:2], k[:2], far[:2])
    assert math.isnan(two.value)
    assert two.coverage == 0
    assert original_tae(depth[:2], k[:2], far[:2], empty_is_zero=True).value == 0
    assert math.isnan(original_tae(depth[:1], k[:1], pose[:1]).value)


def point_case(axes):
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(3, 6, 8, 3))
    truth[..., 2] = np.abs(truth[..., 2]) + 2
    guess = ((truth - [0.2, -0.1, 0.4]) / 1.6 + 0.12 * rng.normal(size=truth.shape)).astype(np.float32)
    valid = rng.random((3, 6, 8)) > 0.2
    flow = 0.1 * rng.normal(size=truth.shape)
    moved = (flow / 1.6 + 0.03 * rng.normal(size=truth.shape)).astype(np.float32)
    truth, flow = truth.astype(np.float32), flow.astype(np.float32)
    pose = depth_case()[3][:3].astype(np.float32)
    reference = PointClip(truth, valid, pose, "camera", flow[:-1], valid[:-1])
    return PointClip(guess, valid, None, axes, moved[:-1]), reference


@pytest.mark.parametrize(
    ("weighted", "expected"),
    [
        (False, (0.1605052798986435, 0.9144377112388611, 0.07224499434232712, 0.9379437565803528)),
        (True, (0.16054193675518036, 0.9144377112388611, 0.0719132125377655, 0.9649707674980164)),
    ],
)
def test_point_maps_give_the_numbers_of_geometrycrafter(weighted, expected):
    points, depth = geometrycrafter_errors(*point_case("camera"), weighted=weighted)
    found = [points.rel.value, points.inlier.value, depth.rel.value, depth.inlier.value]
    assert found == pytest.approx(expected, rel=1e-6)  # Theirs is single precision.


MOTIONCRAFTER = {
    ("world", False): (0.1174151673913002, 1.0, 0.059313833713531494, 0.9829888343811035)
    + (0.07525978982448578, 0.050000011920928955, 0.25, 0.737500011920929, 1.0),
    ("world", True): (0.11736919730901718, 1.0, 0.05921882390975952, 0.9829888343811035)
    + (0.07503918558359146, 0.050000011920928955, 0.25, 0.737500011920929, 1.0),
    ("camera", False): (0.10367470979690552, 0.9832389950752258, 0.057656582444906235, 0.9829888343811035)
    + (0.21673564612865448, 0.0, 0.0, 0.012499988079071045, 0.9624999761581421),
    ("camera", True): (0.1036267802119255, 0.9922480583190918, 0.057486046105623245, 0.9829888343811035)
    + (0.2165321409702301, 0.0, 0.0, 0.012499988079071045, 0.9624999761581421),
}


@pytest.mark.parametrize(("axes", "weighted"), MOTIONCRAFTER)
def test_points_and_scene_flow_give_the_numbers_of_motioncrafter(axes, weighted):
    points, depth, flows = motioncrafter_errors(*point_case(axes), weighted=weighted)
    found = [points.rel.value, points.inlier.value, depth.rel.value, depth.inlier.value]
    found += [flow.value for flow in flows.values()]
    assert found == pytest.approx(MOTIONCRAFTER[axes, weighted], rel=1e-6, abs=2e-7)


def test_flyingthings_errors_are_what_their_formulas_say():
    """HPLFlowNet's evaluate_3d, point by point."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(2, 5, 6, 3))
    guess = truth + rng.normal(size=truth.shape) * rng.choice([0.01, 0.03, 0.1, 0.4], size=(2, 5, 6, 1))
    valid = rng.random((2, 5, 6)) > 0.3
    rows = []
    for p in np.argwhere(valid):
        error, length = np.linalg.norm(guess[tuple(p)] - truth[tuple(p)]), np.linalg.norm(truth[tuple(p)])
        share = error / (length + 1e-4)
        rows.append([error, error < 0.05 or share < 0.05, error < 0.1 or share < 0.1, error > 0.3 or share > 0.1])
    found = [value.value for value in flyingthings_errors(guess, truth, valid).values()]
    assert found == pytest.approx(np.mean(rows, axis=0))
    assert 0 < found[1] < found[2] < 1
    assert all(math.isnan(v.value) for v in flyingthings_errors(guess, truth, ~valid & valid).values())

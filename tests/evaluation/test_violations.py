"""What each metric must see, how much of it, and what it must leave alone: planted faults of growing dose."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
from ball_scene import EYE, FPS, FRAMES, GRAVITY, as_prediction, ball_world, fall, in_own_axes

from phys4d.evaluation import METRICS, evaluate

REFERENCE = ball_world()
PERFECT = {"lower": 0.0, "higher": 1.0, "one": 1.0}


def scores(prediction, reference=REFERENCE, **options):
    report = evaluate(prediction, reference, baselines=False, **options)
    return {name: row["value"] for name, row in report.metrics.items()}


def test_a_perfect_world_scores_perfectly():
    """With everything that the reference has, and every metric measured that its scene allows."""
    report = evaluate(REFERENCE, REFERENCE, baselines=False)
    needs_motion_of_the_camera = {"photometric_error", "epipolar_error"}
    needs_more_than_a_ball_in_the_air = {"momentum_error", "energy_error", "restitution_error", "permanence_error"}
    assert set(report.missing) == needs_motion_of_the_camera | needs_more_than_a_ball_in_the_air
    for name, row in report.metrics.items():
        perfect = 100.0 if name == "psnr" else PERFECT[row["better"]]
        loose = {"gravity_error": 0.01, "depth_warp_l1": 1e-4, "depth_warp_l1_metres": 1e-3, "tae": 0.01}
        loose |= {"flow_cycle": 0.005, "rigidity": 0.003}
        assert row["value"] == pytest.approx(perfect, abs=loose.get(name, 1e-6)), name


def test_a_moving_camera_is_no_fault():
    eyes = np.array(EYE) + np.linspace(0, 0.4, FRAMES)[:, None] * [1.0, 0.3, 0.2]
    world = ball_world(eyes=eyes)
    found = scores(world, world)
    assert found["tae"] < 0.05
    assert found["depth_warp_l1"] < 1e-3
    assert found["chamfer_dynamic"] == 0
    assert found["gravity_error"] < 0.02
    assert found["photometric_error"] < 0.005
    assert found["epipolar_error"] < 1e-5
    assert found["flow_cycle"] < 0.02
    assert found["rigidity"] < 0.004


def test_fast_but_legal_motion_is_no_fault():
    world = ball_world(fall(start=(-1.2, 0, 1.2), velocity=(4.0, 0, 2.0)))
    found = scores(world, world)
    assert found["gravity_error"] < 0.02
    assert found["tae"] < 0.01
    assert found["depth_warp_l1"] < 1e-3


@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_own_axes_and_unit_of_length_do_not_matter(scale):
    world = in_own_axes(as_prediction(REFERENCE), scale)
    found = scores(world)
    for name in ("abs_rel", "scene_flow_epe", "chamfer_dynamic", "chamfer_background", "centroid_error"):
        assert found[name] == pytest.approx(0, abs=2e-5), name
    assert found["gravity_error"] < 0.01


def test_the_unit_of_length_matters_where_nothing_is_aligned():
    found = scores(in_own_axes(as_prediction(REFERENCE), 1.3), alignment="none")
    assert found["abs_rel"] == pytest.approx(0.3, abs=1e-4)
    assert found["gravity_error"] == pytest.approx(0.3, abs=0.02)
    assert found["chamfer_background"] > 0.1


def test_a_shift_of_disparity_is_forgiven_only_when_asked():
    bent = as_prediction(REFERENCE, depth=(1 / (0.6 / REFERENCE.depth + 0.1)).astype(np.float32))
    assert scores(bent, alignment="scale+shift", metrics=["abs_rel"])["abs_rel"] < 1e-5
    assert scores(bent, alignment="scale", metrics=["abs_rel"])["abs_rel"] > 0.05


def halved_gravity(dose):
    return as_prediction(ball_world(fall(GRAVITY * (1 - dose))))


def frozen(dose):
    """The ball stops in the air after a share 1 - dose of the clip."""
    last = round((FRAMES - 1) * (1 - dose))
    return as_prediction(ball_world(fall()[np.minimum(np.arange(FRAMES), last)]))


def teleported(dose):
    path = fall()
    path[FRAMES // 2 :, 0] += 0.5 * dose
    return as_prediction(ball_world(path))


def late(dose):
    """Everything happens later."""
    time = np.maximum(np.arange(FRAMES) - 4 * dose, 0)[:, None] / FPS
    return as_prediction(ball_world(fall()[0] + 0.5 * time**2 * [0, 0, -GRAVITY]))


def drifting_scale(dose):
    factor = 1 + 0.3 * dose * np.linspace(0, 1, FRAMES, dtype=np.float32)
    return as_prediction(REFERENCE, depth=REFERENCE.depth * factor[:, None, None])


def flickering_depth(dose):
    factor = np.exp(0.05 * dose * np.random.default_rng(0).normal(size=FRAMES)).astype(np.float32)
    factor[0] = 1  # Frame 0 sets the scale.
    return as_prediction(REFERENCE, depth=REFERENCE.depth * factor[:, None, None])


def jittering_flow(dose):
    noise = np.random.default_rng(0).normal(size=REFERENCE.flow.shape).astype(np.float32)
    return as_prediction(REFERENCE, flow=REFERENCE.flow + 0.3 * dose * noise)


def blurred(dose):
    rgb = np.stack([cv2.GaussianBlur(frame, (0, 0), 0.3 + 2 * dose) for frame in REFERENCE.rgb])
    return as_prediction(REFERENCE, rgb=rgb)


def wobbling(dose):
    """Depth that swells and shrinks across the picture: bodies bend, and nothing else moves."""
    wave = np.sin(np.arange(REFERENCE.depth.shape[2]) / 2)
    bend = 0.05 * dose * np.linspace(0, 1, FRAMES)[:, None, None] * wave
    return as_prediction(REFERENCE, depth=(REFERENCE.depth * (1 + bend)).astype(np.float32))


WRONG_PATH = "abs_rel flow_epe flow_epe_moving scene_flow_epe chamfer_dynamic object_iou centroid_error psnr"
UNTOUCHED_BY_PATH = "tae depth_warp_l1"
PICTURE = "mask_iou sharpness psnr"
FAULTS = {
    halved_gravity: (f"gravity_error tapvid3d_apd mask_iou {WRONG_PATH}", UNTOUCHED_BY_PATH),
    frozen: (f"tapvid3d_apd mask_iou {WRONG_PATH}", UNTOUCHED_BY_PATH),
    late: (f"tapvid3d_apd {WRONG_PATH}", UNTOUCHED_BY_PATH),
    teleported: ("scene_flow_epe flow_epe_moving chamfer_dynamic centroid_error psnr", UNTOUCHED_BY_PATH),
    drifting_scale: (
        "abs_rel point_rel tae depth_warp_l1 chamfer_background tapvid3d_apd",
        f"{PICTURE} flow_epe scene_flow_epe",
    ),
    flickering_depth: (
        "abs_rel tgm tae depth_warp_l1 chamfer_background",
        f"{PICTURE} flow_epe scene_flow_epe",
    ),
    wobbling: ("rigidity abs_rel point_rel tae", f"{PICTURE} flow_epe scene_flow_epe"),
    jittering_flow: (
        "flow_epe flow_epe_moving flow_cycle tapvid3d_apd",
        f"{PICTURE} abs_rel depth_warp_l1 chamfer_dynamic",
    ),
    blurred: (
        "sharpness sharpness_moving psnr",
        "abs_rel tae depth_warp_l1 flow_epe chamfer_dynamic gravity_error",
    ),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_faults_move_the_metrics_that_should_see_them_and_no_others(fault):
    sees, blind = (names.split() for names in FAULTS[fault])
    clean = scores(as_prediction(REFERENCE))
    doses = [scores(fault(dose)) for dose in (0.25, 0.5, 1.0)]
    for name in sees:
        # The first dose is small: it need not be worse than none by much, but each must be worse than the last.
        badness = [bad(name, found[name]) for found in [clean, *doses]]
        assert all(b > a for a, b in itertools.pairwise(badness)), (name, badness)
    for name in blind:
        tolerance = {"gravity_error": 1e-9, "tae": 0.1, "depth_warp_l1": 1e-3}.get(name, 1e-6)
        assert doses[-1][name] == pytest.approx(clean[name], abs=tolerance), name


def bad(name, value):
    better = METRICS[name].better
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[better]


def test_gravity_is_measured_not_only_judged():
    for share in (0.25, 0.5, 0.75):
        found = scores(as_prediction(ball_world(fall(GRAVITY * share))))
        assert found["gravity_error"] == pytest.approx(1 - share, abs=0.02)


def test_a_film_run_backwards_is_seen():
    backwards = as_prediction(ball_world(fall()[::-1]))
    found, clean = scores(backwards), scores(as_prediction(REFERENCE))
    for name in ("chamfer_dynamic", "flow_epe_moving", "scene_flow_epe", "centroid_error"):
        assert found[name] > clean[name] + 0.004, name
    assert found["tae"] == pytest.approx(clean["tae"], abs=0.01)


def test_a_vanished_body_costs_the_whole_truncation():
    gone = ball_world(np.full((FRAMES, 3), [50.0, 50.0, 50.0]))
    found = scores(as_prediction(gone))
    median = np.median(REFERENCE.depth)
    assert found["chamfer_dynamic"] == pytest.approx(0.25 * median, rel=1e-3)
    assert found["object_iou"] == 0
    assert "centroid_error" not in found


def test_depth_cannot_be_made_good_by_leaving_it_out():
    """No value and a reason, not a perfect score."""
    blind = as_prediction(REFERENCE, depth=np.zeros_like(REFERENCE.depth))
    report = evaluate(blind, REFERENCE, baselines=False)
    for name in ("abs_rel", "delta1", "tae", "depth_warp_l1", "scene_flow_epe"):
        assert name not in report.metrics
        assert report.missing[name].startswith("no ")
    assert report.by_world[0]["coverage"]["abs_rel"] == 0


def test_coverage_says_what_was_left_out():
    half = REFERENCE.depth.copy()
    half[:, : half.shape[1] // 2] = 0
    whole, cut = (
        evaluate(as_prediction(REFERENCE, depth=depth), REFERENCE, baselines=False).metrics["abs_rel"]["coverage"]
        for depth in (REFERENCE.depth, half)
    )
    assert whole == 1
    assert cut == pytest.approx(0.5)


def test_pixels_that_are_hidden_next_are_not_held_against_flow():
    wrong = REFERENCE.flow.copy()
    wrong[~REFERENCE.visible] += 50
    world = dataclasses.replace(as_prediction(REFERENCE), flow=wrong)
    assert scores(world, metrics=["flow_epe", "fl_all"]) == {"flow_epe": 0, "fl_all": 0}

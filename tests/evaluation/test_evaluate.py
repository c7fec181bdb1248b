"""`evaluate`: what it measures, what it leaves out and why, and what it refuses."""

import dataclasses
import math

import numpy as np
import pytest
from ball_scene import FRAMES, as_prediction, ball_world, fall

from phys4d.errors import InputError
from phys4d.evaluation import METRICS, baselines, evaluate
from phys4d.world import World4D

TRUTH = ball_world()
FIXED = (
    "abs_rel", "delta1", "tae", "depth_warp_l1", "flow_epe", "scene_flow_epe", "tapvid3d_aj", "tapvid3d_apd",
    "tapvid3d_oa", "chamfer_dynamic", "chamfer_background", "gravity_error", "sharpness", "psnr", "mask_iou",
)  # fmt: skip


def colours(world):
    return World4D(rgb=world.rgb, fps=world.fps)


def test_the_names_are_fixed():
    assert set(FIXED) <= set(METRICS)
    assert all(row.better in ("lower", "higher", "one") for row in METRICS.values())


def test_every_metric_is_measured_or_missing_with_a_reason():
    for prediction, reference in ((as_prediction(TRUTH), TRUTH), (colours(TRUTH), TRUTH), (TRUTH, None)):
        report = evaluate(prediction, reference, baselines=False)
        assert set(report.metrics) | set(report.missing) == set(METRICS)
        assert not set(report.metrics) & set(report.missing)
        assert all(math.isfinite(row["value"]) for row in report.metrics.values())
        assert all(reason for reason in report.missing.values())


def test_a_video_alone_is_judged_by_its_pictures():
    report = evaluate(colours(TRUTH), TRUTH, baselines=False)
    assert set(report.metrics) == {"mask_iou", "sharpness", "sharpness_moving", "psnr"}
    assert report.missing["chamfer_dynamic"] == "the prediction has no depth, camera"


def test_a_reference_that_lacks_fields_says_which():
    report = evaluate(as_prediction(TRUTH), dataclasses.replace(TRUTH, tracks=None, track_visibility=None))
    assert report.missing["tapvid3d_aj"] == "the reference has no tracks, track_visibility"


def test_without_a_reference_a_world_is_held_against_itself():
    report = evaluate(as_prediction(TRUTH))
    own = {"tae", "depth_warp_l1", "depth_warp_l1_metres", "flow_cycle", "volume_error"}
    assert set(report.metrics) == own
    assert report.missing["abs_rel"] == "there is no reference to compare with"
    assert report.baselines == {}


def generated(world, context):
    return as_prediction(world, meta={"mode": "generate", "context_frames": context})


def test_given_frames_are_not_judged_in_a_generation():
    """Frames 0-2 are spoilt: a lift is judged by them, a generation from three of them is not."""
    truth = ball_world(context_frames=3)
    wrong = truth.rgb.copy()
    wrong[:3] = 0
    lift = evaluate(as_prediction(truth, rgb=wrong), truth, baselines=False, metrics=["psnr"])
    generation = dataclasses.replace(generated(truth, 3), rgb=wrong)
    report = evaluate(generation, truth, baselines=False, metrics=["psnr"])
    assert report.metrics["psnr"]["value"] == 100
    assert lift.metrics["psnr"]["value"] < 90
    curve = report.by_world[0]["curves"]["psnr"]
    assert len(curve) == FRAMES
    assert [math.isnan(value) for value in curve[:4]] == [True, True, True, False]
    assert report.protocol["judged_from"] == 3
    told = evaluate(generation, truth, baselines=False, metrics=["psnr"], context_frames=1)
    assert told.metrics["psnr"]["value"] < 90


def test_motion_into_the_first_judged_frame_is_judged():
    truth = ball_world(context_frames=3)
    for step, seen in ((1, False), (2, True)):
        flow = truth.flow.copy()
        flow[step] += 1
        wrong = dataclasses.replace(generated(truth, 3), flow=flow)
        found = evaluate(wrong, truth, baselines=False, metrics=["flow_epe"])
        assert (found.metrics["flow_epe"]["value"] > 0.01) is seen
    curve = found.by_world[0]["curves"]["flow_epe"]
    assert len(curve) == FRAMES
    assert curve[3] == pytest.approx(math.sqrt(2), rel=1e-5)


def test_the_longer_world_is_cut_to_the_shorter():
    short = ball_world(fall(frames=8))
    for prediction, reference in ((as_prediction(short), TRUTH), (as_prediction(TRUTH), short)):
        report = evaluate(prediction, reference, baselines=False)
        assert report.metrics["abs_rel"]["value"] == pytest.approx(0, abs=1e-6)
        assert report.metrics["chamfer_dynamic"]["value"] == pytest.approx(0, abs=1e-6)
        assert report.protocol["frames"] == 8


def test_worlds_of_one_scene_are_one_scene():
    views = [dataclasses.replace(TRUTH, meta={**TRUTH.meta, "view": view}) for view in (0, 1)]
    other = ball_world(seed=1)
    report = evaluate([*views, other, other], [*views, other, other], baselines=False, metrics=["abs_rel"])
    assert report.protocol["scenes"] == 2
    assert [world["world"] for world in report.by_world] == [
        "ball-0/view0", "ball-0/view1", "ball-1", "ball-1/sample1",
    ]  # fmt: skip


def test_baselines_lose_to_the_truth_and_are_judged_by_the_same_frames():
    truth = ball_world(context_frames=3)
    report = evaluate(generated(truth, 3), truth)
    for name in ("chamfer_dynamic", "flow_epe_moving", "gravity_error"):
        rows = {rival: report.baselines[rival][name]["value"] for rival in report.baselines}
        assert min(rows.values()) > report.metrics[name]["value"], name
        assert set(rows) == set(baselines.BASELINES)
    rival = dataclasses.replace(baselines.make("last_frame", truth, context=3), meta=generated(truth, 3).meta)
    alone = evaluate(rival, truth, baselines=False)
    for name, row in report.baselines["last_frame"].items():
        assert row["value"] == pytest.approx(alone.metrics[name]["value"]), name


def test_the_same_arguments_give_the_same_report():
    worlds = [as_prediction(ball_world(fall(6.0), seed=seed)) for seed in (0, 1)]
    truths = [ball_world(seed=seed) for seed in (0, 1)]
    a, b = (evaluate(worlds, truths, seed=4) for _ in range(2))
    assert a.to_json() == b.to_json()


def test_streams_are_read_once():
    report = evaluate((as_prediction(ball_world(seed=s)) for s in (0, 1)), (ball_world(seed=s) for s in (0, 1)),
                      baselines=False, metrics=["abs_rel"])  # fmt: skip
    assert len(report.by_world) == 2


def test_what_does_not_fit_together_is_refused():
    small = World4D(rgb=np.zeros((FRAMES, 16, 16, 3), np.uint8), fps=TRUTH.fps)
    slow = dataclasses.replace(colours(TRUTH), fps=8.0)
    for prediction, reference, message in (
        (small, TRUTH, "16x16.*48x64"),
        (slow, TRUTH, "8 fps.*24"),
        ([TRUTH, TRUTH], [TRUTH], "one reference for each"),
        ([TRUTH], [TRUTH, TRUTH], "one reference for each"),
        ([], [], "no world"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(prediction, reference, metrics=["psnr"], baselines=False)
    with pytest.raises(InputError, match="unknown metric fid"):
        evaluate(TRUTH, TRUTH, metrics=["fid"])
    with pytest.raises(InputError, match="context_frames"):
        evaluate(TRUTH, TRUTH, context_frames=FRAMES)
    with pytest.raises(InputError, match="alignment"):
        evaluate(TRUTH, TRUTH, alignment="median")

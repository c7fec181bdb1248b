"""Bad worlds are refused, or judged with NaN and a reason: never with a good score."""

import dataclasses
import math

import numpy as np
import pytest
from ball_scene import as_prediction, ball_world, fall

from phys4d.errors import InputError
from phys4d.evaluation import METRICS, evaluate
from phys4d.evaluation.measure import cut
from phys4d.world import Camera, World4D

TRUTH = ball_world()
FLOATS = ("depth", "flow", "scene_flow", "tracks", "camera")
PERFECT = {"lower": 0.0, "higher": 1.0, "one": 1.0}


def spoilt(world, name, number):
    if name == "camera":
        pose = world.camera.world_from_camera.copy()
        pose[-1, 0, 3] = number
        return dataclasses.replace(world, camera=Camera(world.camera.intrinsics, pose))
    value = getattr(world, name).copy()
    value.reshape(-1)[value.size // 2] = number
    return dataclasses.replace(world, **{name: value})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", METRICS)
def test_no_metric_takes_a_number_that_is_none(metric, number):
    """In whichever field it needs, of the prediction and of the reference."""
    row = METRICS[metric]
    for name in FLOATS:
        if name in row.needs:
            with pytest.raises(InputError, match="not a valid world"):
                evaluate(spoilt(TRUTH, name, number), TRUTH, metrics=[metric], baselines=False)
        if name in row.needs_reference:
            with pytest.raises(InputError, match="not a valid world"):
                evaluate(TRUTH, spoilt(TRUTH, name, number), metrics=[metric], baselines=False)


def assert_nothing_good(report, names):
    """Every metric of these is missing with a reason, or worse than perfect."""
    for name in names:
        if name in report.metrics:
            best = 100.0 if METRICS[name].unit == "dB" else PERFECT[METRICS[name].better]
            assert abs(report.metrics[name]["value"] - best) > 1e-3, name
        else:
            assert report.missing[name], name


def needing(field):
    return [name for name, row in METRICS.items() if field in row.needs]


def test_a_prediction_of_sky_alone_is_not_good():
    """Without any surface a geometry metric has nothing to judge, or everything is wrong."""
    sky = as_prediction(TRUTH, depth=np.zeros_like(TRUTH.depth), visible=np.zeros_like(TRUTH.visible))
    report = evaluate(sky, TRUTH, baselines=False)
    geometric = [n for n in needing("depth") if n != "tapvid3d_oa"]
    assert_nothing_good(report, geometric)
    assert report.missing["abs_rel"] == "no pixel has both a predicted and a reference depth"


def test_a_reference_without_surface_or_motion_judges_nothing():
    empty = dataclasses.replace(TRUTH, depth=np.zeros_like(TRUTH.depth), visible=np.zeros_like(TRUTH.visible))
    report = evaluate(
        as_prediction(TRUTH), empty, baselines=False, metrics=["abs_rel", "flow_epe", "chamfer_dynamic"]
    )
    assert report.metrics == {}
    assert all(report.missing.values())
    still = ball_world(np.tile(fall()[:1], (12, 1)))
    report = evaluate(as_prediction(still), still, baselines=False)
    for name in ("chamfer_dynamic", "flow_epe_moving", "sharpness_moving", "mask_iou", "centroid_error"):
        assert name not in report.metrics, name
        assert report.missing[name]


def test_one_frame_is_judged_by_what_needs_no_motion():
    single = cut(TRUTH, 1)
    report = evaluate(as_prediction(single), single)
    assert {"abs_rel", "psnr", "chamfer_background"} <= set(report.metrics)
    for name in ("flow_epe", "scene_flow_epe", "tae", "depth_warp_l1", "tgm", "gravity_error"):
        assert report.missing[name], name


def test_no_tracks_and_no_pixels_in_common_are_said():
    none = dataclasses.replace(
        TRUTH, tracks=np.zeros((0, 12, 3), np.float32), track_visibility=np.zeros((0, 12), bool)
    )
    report = evaluate(as_prediction(TRUTH), none, baselines=False, metrics=["tapvid3d_aj"])
    assert report.missing["tapvid3d_aj"] == "no reference track is visible in frame 0"


@pytest.mark.parametrize(
    ("factor", "said"),
    [(1000, "in millimetres"), (100, "in centimetres"), (1 / 1000, "in millimetres"), (40, "in another unit")],
)
def test_other_units_are_doubted(factor, said):
    other = as_prediction(
        TRUTH,
        depth=(TRUTH.depth * factor).astype(np.float32),
        scene_flow=(TRUTH.scene_flow * factor).astype(np.float32),
    )
    report = evaluate(other, TRUTH, baselines=False, metrics=["abs_rel"])
    [note] = report.notes
    assert said in note
    larger = "prediction" if factor > 1 else "reference"
    assert f"is the {larger}" in note
    assert note in report.table()


def test_scales_of_models_are_not_doubted_and_disparity_is():
    free = as_prediction(TRUTH, depth=(TRUTH.depth * 3).astype(np.float32))
    assert evaluate(free, TRUTH, baselines=False, metrics=["abs_rel"]).notes == ()
    disparity = as_prediction(TRUTH, depth=(1 / TRUTH.depth).astype(np.float32))
    [note] = evaluate(disparity, TRUTH, baselines=False, metrics=["abs_rel"]).notes
    assert "is it disparity" in note


def test_wrong_shapes_and_lonely_fields_are_named():
    for wrong, message in (
        (dataclasses.replace(TRUTH, depth=TRUTH.depth[:, :-1]), "depth should be"),
        (dataclasses.replace(TRUTH, flow=TRUTH.flow[:-1]), "flow should be"),
        (dataclasses.replace(TRUTH, rgb=TRUTH.rgb.astype(np.float32)), "rgb should be uint8"),
        (dataclasses.replace(TRUTH, tracks=None), "tracks and track_visibility come together"),
        (World4D(fps=24.0), "at least one field"),
        (dataclasses.replace(TRUTH, depth=-TRUTH.depth), "depth is negative"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(wrong, TRUTH, baselines=False, metrics=["psnr"])

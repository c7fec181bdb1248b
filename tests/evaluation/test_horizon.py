"""Error against horizon: curves of known shape, an ensemble of known spread."""

import math

import numpy as np
import pytest
from ball_scene import FPS, GRAVITY, as_prediction, ball_world, fall

from phys4d.errors import InputError
from phys4d.evaluation.horizon import against_spread, as_loss, horizon_curves

TIME = np.arange(1, 41, dtype=float)


def test_the_ratio_of_an_error_to_a_spread_that_grows_alike_is_constant():
    found = against_spread("flow_epe", 3 * TIME, np.stack([TIME, -TIME, TIME]), 10.0)
    assert found.ratio == pytest.approx(np.full(40, 3.0), rel=1e-6)
    assert found.mean_ratio == pytest.approx(3)
    assert found.predictable == 0


def test_how_long_it_is_predictable():
    error = np.where(TIME <= 20, TIME, 10 * TIME)
    found = against_spread("flow_epe", error, TIME[None], 10.0)
    assert found.predictable == pytest.approx(1.8, abs=0.11), "20 frames, less what is averaged over"
    whole = against_spread("flow_epe", TIME, TIME[None], 10.0)
    assert whole.predictable == pytest.approx(4)


def test_frames_that_are_not_judged_stay_out():
    error = TIME.copy()
    error[:5] = np.nan
    found = against_spread("flow_epe", error, TIME[None], 10.0)
    assert np.isnan(found.ratio[:5]).all()
    assert np.isfinite(found.ratio[5:]).all()


def test_no_spread_no_ratio():
    found = against_spread("flow_epe", TIME, np.zeros((2, 40)), 10.0)
    assert math.isnan(found.mean_ratio)
    assert math.isnan(found.predictable)
    assert math.isnan(against_spread("flow_epe", TIME * np.nan, TIME[None], 10.0).mean_ratio)
    with pytest.raises(InputError, match="at least one member"):
        against_spread("flow_epe", TIME, np.zeros((0, 40)), 10.0)


def test_curves_become_losses():
    assert as_loss("mask_iou", [1.0, 0.25]) == pytest.approx([0, 0.75])
    assert as_loss("psnr", [20.0, 40.0]) == pytest.approx([1e-1, 1e-2])
    assert as_loss("flow_epe", [2.0]) == pytest.approx([2])


def test_members_are_predictable_and_a_static_world_is_not():
    rng = np.random.default_rng(1)
    drops = [as_prediction(ball_world(fall(GRAVITY * (1 + 0.03 * rng.normal())))) for _ in range(4)]
    truth = ball_world()
    still = as_prediction(ball_world(np.repeat(fall()[:1], len(fall()), axis=0)))
    metrics = ("chamfer_dynamic", "flow_epe")
    member, frozen = (horizon_curves(w, truth, drops[1:], metrics=metrics) for w in (drops[0], still))
    assert set(member) == set(metrics)
    assert len(member["chamfer_dynamic"].error) == truth.frames
    assert member["chamfer_dynamic"].mean_ratio < 3 < frozen["chamfer_dynamic"].mean_ratio
    assert frozen["chamfer_dynamic"].predictable < truth.frames / FPS
    with pytest.raises(InputError, match="no curve over time: gravity_error"):
        horizon_curves(still, truth, drops, metrics=("gravity_error",))


def test_a_perfect_copy_has_no_error_at_any_time():
    drops = [as_prediction(ball_world(fall(GRAVITY * share))) for share in (0.97, 1.02)]
    found = horizon_curves(as_prediction(ball_world()), ball_world(), drops, metrics=("chamfer_dynamic",))
    assert found["chamfer_dynamic"].mean_ratio == 0
    assert found["chamfer_dynamic"].predictable == pytest.approx(len(fall()) / FPS)

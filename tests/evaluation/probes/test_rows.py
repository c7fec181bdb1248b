"""Every probe as a metric: a copy is perfect, a static world never wins, and nothing to judge is no score."""

import dataclasses
import functools
import math

import numpy as np
import pytest

import phys4d
from phys4d.evaluation import METRICS, baselines, evaluate
from phys4d.evaluation.measure import Pair, Truth
from phys4d.evaluation.probes import ROWS
from phys4d.evaluation.probes.tolerances import measured, tolerance
from phys4d.evaluation.sensitivity import STAGES, allowed, as_prediction, badness, stage

NAMES = tuple(row.name for row in ROWS)
SCENES = ("fall", "collision", "occlusion", "bounce")


def measure(world, truth, start=0):
    pair = Pair(world, truth, start=start)
    return {name: METRICS[name].measure(pair) for name in NAMES}


@functools.cache
def seen_on(name):
    return measure(as_prediction(stage(name).world), stage(name))


@pytest.mark.parametrize("name", SCENES)
def test_a_copy_is_perfect_and_a_static_world_never_wins(name):
    truth = stage(name)
    own = measure(truth.world, truth)
    seen = seen_on(name)
    still = measure(baselines.make("static", truth.world), truth)
    judged = 0
    for metric in NAMES:
        for found, most in ((own[metric], 0.001), (seen[metric], allowed(metric))):
            if math.isfinite(found.value):
                judged += 1
                assert badness(metric, found.value) <= most, metric
                assert found.coverage > 0
        if math.isfinite(still[metric].value):
            assert still[metric].value > seen[metric].value + allowed(metric), metric
        elif math.isfinite(seen[metric].value):
            assert still[metric].reason, metric
    assert judged >= 4


@pytest.mark.parametrize("name", SCENES)
def test_a_static_world_does_not_win_after_frames_that_were_given(name):
    """It shows frame 0 where the reference has gone on: who finds the bodies there must not call that a motion."""
    truth = stage(name)
    still = measure(baselines.make("static", truth.world, context=4), truth, start=4)
    for metric in NAMES:
        if math.isfinite(still[metric].value):
            assert still[metric].value > seen_on(name)[metric].value + allowed(metric), metric


def test_every_probe_is_measured_on_some_stage():
    judged = {metric for name in SCENES for metric, found in seen_on(name).items() if math.isfinite(found.value)}
    assert judged == set(NAMES)


def test_a_world_alone_is_judged_by_what_it_says_of_itself():
    report = evaluate(stage("fall").world, baselines=False)
    for name in ("galileo_error", "energy_error", "restitution_error", "penetration"):
        assert report.metrics[name]["value"] < 0.01, name
    assert report.missing["permanence_error"] == "there is no reference that knows who is hidden"


def blind(world, **changes):
    return dataclasses.replace(as_prediction(world), **changes)


def holes(depth):
    depth = depth.copy()
    depth[:, ::2] = np.nan
    return depth


BAD = {
    "no depth anywhere": lambda w: blind(w, depth=np.zeros_like(w.depth)),
    "empty masks": lambda w: dataclasses.replace(w, segmentation=np.zeros_like(w.segmentation)),
    "NaN depth": lambda w: blind(w, depth=np.full_like(w.depth, np.nan)),
    "no flow": lambda w: blind(w, flow=None, visible=None),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_seen_is_no_good_score(fault):
    truth = stage("fall")
    for metric, found in measure(BAD[fault](truth.world), truth).items():
        assert math.isnan(found.value), metric
        assert found.coverage == 0, metric
        assert found.reason, metric


def test_some_nan_does_no_harm():
    truth = stage("fall")
    found = measure(blind(truth.world, depth=holes(truth.world.depth)), truth)
    for metric, value in found.items():
        assert math.isnan(value.value) == (value.coverage == 0), metric


def one_frame(world):
    return phys4d.World4D(
        rgb=world.rgb[:1], depth=world.depth[:1], segmentation=world.segmentation[:1],
        flow=world.flow[:0], scene_flow=world.scene_flow[:0], visible=world.visible[:0],
        camera=phys4d.Camera(world.camera.intrinsics[:1], world.camera.world_from_camera[:1]), fps=world.fps,
        meta=world.meta,
    )  # fmt: skip


def test_one_frame_tells_nothing_of_motion():
    world = one_frame(stage("fall").world)
    for metric, found in measure(world, Truth(world)).items():
        if metric not in ("penetration", "volume_error"):
            assert math.isnan(found.value), metric
            assert found.reason, metric


def test_bodies_that_are_never_seen_are_not_judged():
    world = stage("fall").world
    away = dataclasses.replace(world, segmentation=np.zeros_like(world.segmentation))
    for metric, found in measure(as_prediction(world), Truth(away)).items():
        assert math.isnan(found.value), metric
        assert found.coverage == 0


def test_a_reference_without_physics_gives_reasons():
    world = dataclasses.replace(stage("collision").world, meta={"scene": "x"})
    found = measure(as_prediction(world), Truth(world))
    for metric in ("galileo_error", "momentum_error", "energy_error", "restitution_error"):
        assert math.isnan(found[metric].value)
        assert "meta" in found[metric].reason
    assert math.isfinite(found["penetration"].value)


def test_tolerances_are_those_of_true_worlds():
    assert set(measured()) == {"64", "128"}
    for size in measured():
        assert set(measured()[size]) == {"gravity_error", *NAMES}
        assert all(row["worlds"] > 0 for row in measured()[size].values())
    assert tolerance("volume_error", (70, 90)) == tolerance("volume_error", (64, 64))
    assert STAGES["fall"]["scene"] == "ball_drop"
    with pytest.raises(phys4d.InputError, match="unknown probe 'psnr'"):
        tolerance("psnr", (64, 64))

"""What needs no model is what it says it is, and knows nothing of the frames to come."""

import dataclasses

import numpy as np
import pytest
from ball_scene import EYE, FRAMES, ball_world, fall

from phys4d.errors import InputError, MissingFieldError
from phys4d.evaluation import baselines, evaluate
from phys4d.world import Camera, World4D

STEADY = ball_world(fall(0.0, velocity=(0.9, 0, -0.9), start=(-0.2, 0, 1.5)))
FIELDS = {"rgb", "depth", "flow", "scene_flow", "visible", "camera"}


def spoilt(world, context):
    """The same world with everything after its context overwritten."""
    values = {name: getattr(world, name).copy() for name in world.fields if name != "camera"}
    for name in ("rgb", "depth", "segmentation"):
        values[name][context:] = 7
    for name in ("flow", "scene_flow", "visible"):
        values[name][context - 1 :] = 1
    pose = world.camera.world_from_camera.copy()
    pose[context:] = np.diag([1.0, -1, -1, 1])
    return dataclasses.replace(world, **values, camera=Camera(world.camera.intrinsics, pose))


@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("name", list(baselines.BASELINES))
def test_baselines_are_valid_worlds_that_know_their_context_alone(name, context):
    found = baselines.make(name, STEADY, context=context, seed=1).validate()
    blind = baselines.make(name, spoilt(STEADY, context), context=context, seed=1)
    assert set(found.fields) == FIELDS
    for field in FIELDS - {"camera"}:
        np.testing.assert_array_equal(getattr(found, field), getattr(blind, field), err_msg=field)
    np.testing.assert_array_equal(found.camera.world_from_camera, blind.camera.world_from_camera)


def test_static_shows_frame_0_and_last_frame_keeps_the_context():
    still = baselines.make("static", STEADY, context=3)
    held = baselines.make("last_frame", STEADY, context=3)
    assert (still.rgb == STEADY.rgb[0]).all()
    assert not still.flow.any()
    np.testing.assert_array_equal(held.rgb[:3], STEADY.rgb[:3])
    assert (held.depth[2:] == STEADY.depth[2]).all()
    np.testing.assert_array_equal(held.flow[:2], STEADY.flow[:2])
    assert not held.flow[2:].any()
    np.testing.assert_array_equal(
        baselines.make("last_frame", STEADY).rgb, baselines.make("constant_velocity", STEADY).rgb
    )


def test_constant_velocity_is_right_about_constant_velocity():
    report = evaluate(
        dataclasses.replace(baselines.make("constant_velocity", STEADY, context=3), meta={}),
        STEADY,
        context_frames=3,
    )
    found = {name: row["value"] for name, row in report.metrics.items()}
    held = {name: row["value"] for name, row in report.baselines["last_frame"].items()}
    assert found["chamfer_dynamic"] < 0.2 * held["chamfer_dynamic"]
    assert found["scene_flow_epe"] < 0.5 * held["scene_flow_epe"]
    assert found["centroid_error"] < 1
    assert found["object_iou"] > 0.8


def test_constant_velocity_carries_the_camera_on():
    eyes = np.array(EYE) + np.arange(FRAMES)[:, None] * [0.03, 0, 0]
    world = ball_world(fall(0.0, velocity=(0.5, 0, 0), start=(0, 0, 1.2)), eyes=eyes)
    found = baselines.make("constant_velocity", world, context=2)
    place = found.camera.world_from_camera[-1, :3, 3]
    # The true camera also turns towards its target, so that straight on is not quite where it went.
    assert np.linalg.norm(place - eyes[-1]) < 0.05
    assert np.linalg.norm(world.camera.world_from_camera[1, :3, 3] - eyes[-1]) > 0.25


def test_without_labels_pixels_move_by_themselves_or_not_at_all():
    unlabelled = dataclasses.replace(STEADY, segmentation=None)
    assert baselines.make("constant_velocity", unlabelled, context=3).flow[5].any()
    colours = World4D(rgb=STEADY.rgb, fps=STEADY.fps)
    assert baselines.make("static", colours, context=3).fields == ("rgb",)
    with pytest.raises(MissingFieldError, match="scene_flow"):
        baselines.make("constant_velocity", colours, context=3)


def test_noise_is_seeded_and_keeps_the_context():
    a, b, c = (baselines.make("noise", STEADY, context=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.rgb, b.rgb)
    assert (a.rgb[3:] != c.rgb[3:]).any()
    np.testing.assert_array_equal(a.rgb[:3], STEADY.rgb[:3])


def test_impossible_contexts_are_refused():
    for context in (0, FRAMES + 1):
        with pytest.raises(InputError, match="context_frames"):
            baselines.make("static", STEADY, context=context)

"""Worlds told again: nothing changes where nothing is asked, and every field agrees where something is."""

import dataclasses

import numpy as np
import pytest
from ball_scene import FRAMES, RADIUS, ball_world, fall

from phys4d.errors import InputError, MissingFieldError
from phys4d.evaluation import evaluate
from phys4d.evaluation.measure import Pair
from phys4d.evaluation.probes.bodies import followed
from phys4d.evaluation.retell import Edit, retell
from phys4d.evaluation.violations import VIOLATIONS, violate

WORLD = ball_world()
FIELDS = ("rgb", "depth", "segmentation", "scene_flow", "flow", "visible")


@pytest.mark.parametrize("name", [name for name in VIOLATIONS if name != "swapped_identity"])
def test_no_dose_changes_nothing_and_the_first_frame_is_never_broken(name):
    same, broken = violate(WORLD, name, 0.0), violate(WORLD, name, 1.0).validate()
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(same, field), getattr(WORLD, field), err_msg=field)
    np.testing.assert_array_equal(broken.rgb[0], WORLD.rgb[0])
    np.testing.assert_array_equal(broken.depth[0], WORLD.depth[0])
    assert not np.array_equal(broken.rgb, WORLD.rgb) or not np.array_equal(broken.depth, WORLD.depth)


def centre(world):
    (body,) = followed(Pair(world, None))
    return body.mine.centre


def test_a_body_goes_where_it_is_sent_and_its_motion_says_so():
    shift = np.linspace(0, 1, FRAMES)[:, None] * [0.4, 0, 0.3]
    told = retell(WORLD, {1: dataclasses.replace(Edit.none(FRAMES), shift=shift)})
    found = centre(told)
    assert found - found[0] == pytest.approx(fall() + shift - fall()[0], abs=0.02)
    report = evaluate(told, baselines=False, metrics=["depth_warp_l1", "tae"])
    assert report.metrics["depth_warp_l1"]["value"] < 0.003
    inside = told.segmentation[3] == 1
    step = np.diff(fall() + shift, axis=0)[3]
    assert np.median(told.scene_flow[3][inside], axis=0) == pytest.approx(step, abs=1e-3)


def test_what_was_behind_comes_out():
    gone = retell(WORLD, {1: dataclasses.replace(Edit.none(FRAMES), source=np.r_[0, np.full(FRAMES - 1, -1)])})
    assert not gone.segmentation[1:].any()
    empty = ball_world(np.full((FRAMES, 3), [50.0, 50.0, 50.0]))
    error = np.abs(gone.depth[1:] - empty.depth[1:]) / empty.depth[1:]
    assert np.quantile(error, 0.99) < 0.02


def test_a_body_is_hidden_by_what_is_nearer():
    deep = np.tile([0.0, 6.0, 0.0], (FRAMES, 1)) * (np.arange(FRAMES) > 0)[:, None]
    told = retell(WORLD, {1: dataclasses.replace(Edit.none(FRAMES), shift=deep)})
    assert not (told.segmentation[2] == 1).any(), "it is behind the wall"


def test_a_body_grows():
    told = retell(WORLD, {1: dataclasses.replace(Edit.none(FRAMES), scale=np.r_[1, np.full(FRAMES - 1, 1.4)])})
    grown, usual = ((w.segmentation[4] == 1).sum() for w in (told, WORLD))
    assert grown / usual == pytest.approx(1.4**2, rel=0.12)


def test_weak_gravity_is_half_the_gravity():
    path = centre(violate(WORLD, "weak_gravity", 1.0))
    drop, true = path[0, 2] - path[:, 2], fall()[0, 2] - fall()[:, 2]
    assert drop[3:] == pytest.approx(true[3:] / 2, abs=0.1 * RADIUS)


def test_what_cannot_be_broken_says_why():
    with pytest.raises(InputError, match=r"unknown violation 'telport'\. Did you mean 'teleport'"):
        violate(WORLD, "telport", 1.0)
    with pytest.raises(InputError, match="between 0 and 1"):
        violate(WORLD, "teleport", 2.0)
    with pytest.raises(InputError, match="fewer than two bodies"):
        violate(WORLD, "swapped_identity", 1.0)
    with pytest.raises(InputError, match="nothing moves"):
        violate(ball_world(np.repeat(fall()[:1], FRAMES, axis=0)), "frozen", 1.0)
    with pytest.raises(MissingFieldError, match="segmentation"):
        violate(dataclasses.replace(WORLD, segmentation=None), "frozen", 1.0)

"""When stage 3 stops, and which scenes it takes."""

import types

import numpy as np
import pytest

from phys4d.errors import InputError
from phys4d.training.guards import Guarded, parted, rewarded

START = {"step": 0.0, "held_out_reward": 0.2, "mask_iou": 0.4, "sharpness": 0.9, "diversity": 0.10}


def later(**changes):
    return [START, {**START, "step": 50.0, **changes}]


@pytest.mark.parametrize(("name", "value"), [("mask_iou", 0.33), ("sharpness", 0.7), ("diversity", 0.04)])
def test_a_reward_that_rises_while_another_measure_falls_stops_the_run(name, value):
    reason = parted(later(held_out_reward=0.3, **{name: value}), 0.15)
    assert reason is not None
    assert name in reason
    assert "0.200 to 0.300" in reason
    # The same fall without a rise is no gaming, and a smaller fall is none either.
    assert parted(later(held_out_reward=0.205, **{name: value}), 0.15) is None
    assert parted(later(held_out_reward=0.3, **{name: 0.9 * START[name]}), 0.15) is None


def test_noise_that_goes_is_no_loss_of_sharpness():
    noisy = {**START, "sharpness": 1.6}
    assert parted([noisy, {**noisy, "held_out_reward": 0.4, "sharpness": 1.0}], 0.15) is None
    assert parted([noisy, {**noisy, "held_out_reward": 0.4, "sharpness": 0.8}], 0.15) is not None


def test_some_loss_of_diversity_is_the_price_of_learning():
    assert parted(later(held_out_reward=0.4, diversity=0.06), 0.15) is None


def test_a_measure_that_cannot_be_taken_does_not_stop_the_run():
    assert parted(later(held_out_reward=0.4, mask_iou=float("nan")), 0.15) is None


def scene(dropped, dynamic):
    from phys4d.rewards import RewardScene
    from phys4d.rewards.scene import Errors

    nothing, none = np.zeros(0, np.float32), Errors(0.0, 0.0, 0.0)
    fields = dict.fromkeys(("nearest", "farthest", "track_pixels", "tracks", "track_judged", "order"), nothing)
    return RewardScene(
        truth=None, extent=1.0, truncation=0.25, epsilon=0.02, dynamic=dynamic, background=dynamic,
        static=none, floor=none, dropped=dropped, **fields,
    )  # fmt: skip


def test_scenes_that_cannot_be_rewarded_are_left_out():
    good, dull, blind = scene("", ("tree",)), scene("its truth barely moves", ()), scene("the lifter", ("tree",))
    assert rewarded([good, dull, blind], drop=True) == [good]
    kept = rewarded([good, dull, blind], drop=False)
    assert [s.dropped for s in kept] == ["", ""]
    with pytest.raises(InputError, match=r"none of the 2 held-out scenes.*barely moves"):
        Guarded([dull, blind], lambda rgb: [], lambda world, scene: types.SimpleNamespace(reward=0), 2)

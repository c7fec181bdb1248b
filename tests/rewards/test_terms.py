"""Sums of terms: their arithmetic, what each term sees, and names that are none."""

import dataclasses
import math

import numpy as np
import pytest
from planted import frozen, prepared, simulated

from phys4d.errors import InputError
from phys4d.rewards import chamfer_skill, reward_of, terms

ALL = ("chamfer", "dynamic", "track", "mask", "gravity", "energy")


def lifted(world):
    """As a lifter's: without what only a simulator knows."""
    return dataclasses.replace(world, segmentation=None, tracks=None, track_visibility=None)


def value(name, world, scene):
    return terms[name](world, scene, chamfer_skill(world, scene))


def test_every_term_is_one_for_the_truth_and_less_for_a_frozen_world():
    scene, truth = prepared("ball_drop", 3), simulated("ball_drop", 3)
    assert set(terms) == set(ALL)
    for name in ALL:
        true, still = (value(name, lifted(world), scene) for world in (truth, frozen(truth)))
        assert true == pytest.approx(1, abs=0.05), name
        # Energy says nothing of a body that stands still though it should move.
        assert math.isnan(still) if name == "energy" else still < 0.6, name


def test_a_sum_is_the_sum_of_its_terms_and_what_has_nothing_to_judge_counts_nothing():
    scene, truth = prepared("ball_drop", 3), lifted(simulated("ball_drop", 3))
    parts = reward_of("0.8*chamfer + 0.2 * gravity+mask")(truth, scene)
    wanted = (
        0.8 * value("chamfer", truth, scene) + 0.2 * value("gravity", truth, scene) + value("mask", truth, scene)
    )
    assert parts.reward == pytest.approx(wanted)
    assert parts.dynamic == chamfer_skill(truth, scene).dynamic
    # Nothing flies freely down a ramp.
    scene, truth = prepared("block_slide", 3), lifted(simulated("block_slide", 3))
    assert math.isnan(value("gravity", truth, scene))
    both = reward_of("chamfer + gravity")(truth, scene).reward
    assert both == pytest.approx(chamfer_skill(truth, scene).reward)


def test_a_name_alone_is_that_reward():
    assert reward_of("chamfer") is chamfer_skill


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gravty", "Did you mean .gravity"),
        ("chamfer + 2*trak", "Did you mean .track"),
        ("chamfer - track", "write a name, or a sum"),
        ("", "write a name, or a sum"),
        ("2*", "write a name, or a sum"),
    ],
)
def test_what_is_no_reward_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        reward_of(text)


def test_mask_needs_colours():
    scene, truth = prepared("ball_drop", 3), simulated("ball_drop", 3)
    dark = dataclasses.replace(lifted(truth), rgb=None)
    with pytest.raises(InputError, match="mask needs"):
        value("mask", dark, scene)
    assert np.isfinite(value("chamfer", dark, scene))

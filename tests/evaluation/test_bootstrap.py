"""Intervals must hold what they promise."""

import math

import numpy as np
import pytest

from phys4d.evaluation.bootstrap import (
    holm,
    interval,
    p_value,
    paired_interval,
    scene_means,
    spread_over_runs,
    statistic_interval,
    unpaired_interval,
)

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("scenes", [6, 30])
def test_95_percent_of_the_intervals_hold_the_mean(scenes):
    names = [f"s{i}" for i in range(scenes)]
    hits = 0
    for trial in range(400):
        found = interval(RNG.normal(3.0, 2.0, scenes), names, resamples=400, seed=trial)
        hits += found.lo <= 3.0 <= found.hi
    # 400 trials of a 95 % interval: 380 +- 4.4; the bootstrap itself is a little off for few scenes.
    assert 0.915 <= hits / 400 <= 0.98


def test_the_width_is_that_of_the_standard_error():
    values = RNG.normal(size=200)
    found = interval(values, [str(i) for i in range(200)])
    assert found.hi - found.lo == pytest.approx(2 * 1.97 * values.std(ddof=1) / math.sqrt(200), rel=0.08)


def test_views_of_one_scene_are_no_new_evidence():
    """Ten copies of each scene give the interval of the scenes."""
    values, names = RNG.normal(size=12), [f"s{i}" for i in range(12)]
    once = interval(values, names)
    often = interval(np.repeat(values, 10), list(np.repeat(names, 10)))
    assert (often.value, often.lo, often.hi) == pytest.approx((once.value, once.lo, once.hi))
    assert often.scenes == 12


def test_scenes_count_alike_and_nan_is_left_out():
    means = scene_means([1.0, 2.0, 3.0, math.nan, math.nan], ["a", "a", "b", "b", "c"])
    assert list(means) == [1.5, 3.0]
    assert interval([1.0, 2.0, 3.0], ["a", "a", "b"]).value == 2.25


def test_one_scene_has_no_interval_and_none_no_value():
    one = interval([1.0, 3.0], ["a", "a"])
    assert one.value == 2
    assert math.isnan(one.lo)
    assert math.isnan(one.hi)
    assert math.isnan(interval([math.nan], ["a"]).value)


def test_the_seed_decides():
    values, names = RNG.normal(size=9), list("abcdefghi")
    assert interval(values, names, seed=1) == interval(values, names, seed=1)
    assert interval(values, names, seed=1) != interval(values, names, seed=2)


def test_pairing_finds_what_the_spread_of_scenes_hides():
    names = [f"s{i}" for i in range(20)]
    first = RNG.normal(0, 10, 20)
    second = first + 0.5 + RNG.normal(0, 0.1, 20)
    paired = paired_interval(first, second, names)
    alone = unpaired_interval((first, names), (second, names))
    assert paired.lo > 0.4
    assert paired.hi < 0.6
    assert alone.lo < 0 < alone.hi
    assert alone.value == pytest.approx(paired.value)


TRIALS = 400
"""Hits of a 95 % interval: 380 of these, give or take 4.4."""


def test_intervals_of_skewed_errors_hold_the_mean_nearly_as_often():
    """Errors are positive and skewed: for few scenes the bootstrap then promises a little too much."""
    names = [f"s{i}" for i in range(40)]
    truth = np.exp(0.5 * 0.6**2)
    hits = 0
    for trial in range(TRIALS):
        found = interval(RNG.lognormal(0, 0.6, 40), names, resamples=400, seed=trial)
        hits += found.lo <= truth <= found.hi
    assert 0.90 <= hits / TRIALS <= 0.98


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_of_differences_hold_the_difference(paired):
    """With views that share their scene, and scenes that are shared by the two reports."""
    names = np.repeat([f"s{i}" for i in range(15)], 3).tolist()
    hits = 0
    for trial in range(TRIALS):
        scene = np.repeat(RNG.normal(0, 2, 15), 3)
        other = scene if paired else np.repeat(RNG.normal(0, 2, 15), 3)
        first, second = scene + RNG.normal(0, 1, 45), other + 0.4 + RNG.normal(0, 1, 45)
        if paired:
            found = paired_interval(first, second, names, resamples=400, seed=trial)
        else:
            found = unpaired_interval((first, names), (second, names), resamples=400, seed=trial)
        hits += found.lo <= 0.4 <= found.hi
    assert 0.92 <= hits / TRIALS <= 0.98


def test_views_taken_for_scenes_would_promise_too_much():
    """What the scenes are for: with every view a scene of its own, intervals miss far too often."""
    hits = 0
    for trial in range(TRIALS):
        values = np.repeat(RNG.normal(0, 2, 8), 6) + RNG.normal(0, 0.5, 48)
        found = interval(values, [str(i) for i in range(48)], resamples=200, seed=trial)
        hits += found.lo <= 0 <= found.hi
    assert hits / TRIALS < 0.75


def test_the_spread_over_runs_is_that_of_their_means():
    values, scenes = [1.0, 3.0, 2.0, 6.0, math.nan, 9.0], ["a", "b", "a", "b", "c", "c"]
    # Scene c is known in one run alone: it would set the runs apart without a seed's doing.
    assert spread_over_runs(values, scenes, [0, 0, 1, 1, 0, 1]) == pytest.approx(np.std([2.0, 4.0], ddof=1))
    assert math.isnan(spread_over_runs(values, scenes, [0] * 6))
    assert math.isnan(spread_over_runs([1.0, 2.0], ["a", "b"], [0, 1]))


def test_p_values_of_closed_forms():
    # t = mean / (std / sqrt n) = 2 / (1 / sqrt 3); two-sided p of Student's t with 2 degrees.
    assert p_value(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.0741799, rel=1e-5)
    assert p_value(np.array([1.0, 1.0])) == 0
    assert p_value(np.array([0.0, 0.0])) == 1
    assert p_value(np.array([2.0, 2.0]), np.array([2.0, 2.0])) == 1
    assert math.isnan(p_value(np.array([1.0])))
    assert math.isnan(p_value(np.array([1.0, 2.0]), np.array([1.0])))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, math.nan, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, math.nan, 0.02], nan_ok=True
    )
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert holm([]).size == 0


def test_without_a_difference_holm_is_fooled_by_few_families():
    """Of families of 20 true nulls, at most 5 % have any that holds; without correction most have."""
    raw = [[p_value(RNG.normal(size=12)) for _ in range(20)] for _ in range(150)]
    assert np.mean([min(family) < 0.05 for family in raw]) > 0.4
    assert np.mean([holm(family).min() < 0.05 for family in raw]) <= 0.1


def test_a_statistic_that_is_a_mean_has_the_interval_of_the_mean():
    values = RNG.normal(size=12)
    names = [f"s{i:02d}" for i in range(12)]
    assert statistic_interval(lambda drawn: values[drawn].mean(1), 12, seed=3) == interval(values, names, seed=3)
    ratio = statistic_interval(lambda drawn: values[drawn].sum(1) / (values[drawn] ** 2).sum(1), 12)
    assert ratio.value == pytest.approx(values.sum() / (values**2).sum())
    assert ratio.lo < ratio.value < ratio.hi
    one = statistic_interval(lambda drawn: values[drawn].mean(1), 1)
    assert one.value == values[0]
    assert math.isnan(one.lo)

"""Intervals must hold what they promise."""

import math

import numpy as np
import pytest

from phys4d.evaluation.bootstrap import (
    interval,
    paired_interval,
    scene_means,
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

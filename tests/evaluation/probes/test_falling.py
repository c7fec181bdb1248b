"""Galileo's ratio against exact falls, at any scale and any g."""

import numpy as np
import pytest

from phys4d.evaluation.probes.falling import fall_exponent, falls_from_rest

UP = np.array([0.0, 0.0, 1.0])
TIME = np.arange(1, 9, dtype=np.float64)


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_a_fall_goes_with_the_square_of_time_at_any_scale(scale):
    known = np.ones(8, bool)
    assert fall_exponent(scale * TIME**2, TIME, known) == pytest.approx(2)
    assert fall_exponent(scale * TIME, TIME, known) == pytest.approx(1)


def test_what_stays_has_the_exponent_zero_and_what_is_not_seen_none():
    assert fall_exponent(np.zeros(8), TIME, np.ones(8, bool)) == 0
    assert fall_exponent(-(TIME**2), TIME, np.ones(8, bool)) == 0
    assert fall_exponent(TIME**2, TIME, np.arange(8) == 3) is None


def path(height):
    return np.stack([np.zeros(len(height)), np.zeros(len(height)), height], -1)


def test_a_fall_is_found_where_the_body_stood_before():
    time = np.maximum(np.arange(12) - 3, 0)
    height = 5 - 0.05 * time**2
    known = np.ones(12, bool)
    assert falls_from_rest(path(height), known, UP, 0.04) == [(3, 12)]
    assert falls_from_rest(path(height[3:]), known[3:], UP, 0.04) == [], "it may have been thrown"
    assert falls_from_rest(path(height[::-1]), known, UP, 0.04) == []
    assert falls_from_rest(path(np.full(12, 5.0)), known, UP, 0.04) == []


def test_a_fall_ends_where_it_slows_down_or_is_no_longer_seen():
    time = np.maximum(np.arange(14) - 3, 0)
    height = 9 - 0.05 * time**2
    height[9:] = height[9] - 0.01 * np.arange(5)
    assert falls_from_rest(path(height), np.ones(14, bool), UP, 0.04) == [(3, 10)]
    assert falls_from_rest(path(height), np.arange(14) < 8, UP, 0.04) == [(3, 8)]


def test_the_top_of_a_throw_is_no_rest():
    time = np.arange(16) - 7.4
    assert falls_from_rest(path(9 - 0.034 * time**2), np.ones(16, bool), UP, 0.04) == []

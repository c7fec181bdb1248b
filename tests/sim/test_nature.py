"""Grains, liquids, smoke and heat against published answers: what `benchmarks/media.py` compares, with bounds."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from bench import G

from phys4d.sim.shapes import Box


def _benchmarks() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "media.py"
    spec = importlib.util.spec_from_file_location("media_benchmarks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nature = _benchmarks()


def test_a_grain_slides_and_rolls_down_a_slope_as_it_should():
    for friction, degrees, rolling in ((0.3, 25, 1.0), (0.5, 20, 0.05)):
        angle, seconds = math.radians(degrees), 0.5
        slides = math.sin(angle) - friction * math.cos(angle)
        rolls = 5 / 7 * (math.sin(angle) - rolling * math.cos(angle))
        # What resists rolling more than sliding slides.
        expected = G / 2 * (slides if rolling > friction else rolls) * seconds**2
        assert nature.sliding_grain(friction, degrees, rolling) == pytest.approx(expected, rel=0.02)


def test_a_slope_rests_the_steeper_the_rougher_its_grains():
    smooth, rough = (nature.repose(friction, rolling) for friction, rolling in ((0.2, 0.01), (0.6, 0.12)))
    assert smooth < rough - 10
    assert 28 < rough < 42


def holds(pair: tuple[float, float], bound: float) -> None:
    expected, found = pair
    assert found == pytest.approx(expected, rel=bound)


def test_a_column_of_sand_runs_out_as_measured():
    holds(nature.run_out(1.5), 0.2)


@pytest.mark.slow
def test_a_hopper_empties_at_a_steady_rate():
    (expected, first), (_, second) = nature.hopper()
    holds((expected, first), 0.2)
    holds((expected, second), 0.2)
    holds((first, second), 0.2)


def test_water_at_rest_stays_at_rest():
    size = (0.4, 0.2, 0.4)
    motion = nature.pool([], nature.below(0.2, size), size, 0.025, 9, 12)
    state = motion.state["media"]["water"]
    assert np.ptp(np.array(state["position"])[:, 2]) < 1e-4
    np.testing.assert_allclose(state["volume"], 0.4 * 0.2 * 0.2, rtol=0.01)
    np.testing.assert_allclose(motion.surfaces[-1].bounds()[:, 1, 2], 0.2, rtol=0.03)


@pytest.mark.slow
def test_water_comes_to_rest_at_its_level():
    for _, expected, found in nature.still_water():
        holds((expected, found), 0.03)


def test_the_front_of_a_broken_dam_runs_as_measured():
    for _, expected, found in nature.dam_front():
        holds((expected, found), 0.15)


def test_a_box_floats_as_deep_as_it_weighs():
    holds(nature.floating(500, Box((0.15, 0.15, 0.15)), 0.15, frames=25), 0.1)


@pytest.mark.parametrize(
    ("compare", "bound"),
    [
        (nature.jet, 0.15),
        (nature.sloshing, 0.1),
        (nature.conduction, 0.02),
        (nature.cooling, 0.05),
        (nature.melting_front, 0.05),
    ],
)
def test_what_nature_does(compare: Callable[[], tuple[float, float]], bound: float):
    holds(compare(), bound)


def test_smoke_rises_by_its_buoyancy_and_none_is_lost():
    ratio, mass = nature.plumes(0.045)
    holds(ratio[1:], 0.2)
    holds(mass[1:], 0.01)

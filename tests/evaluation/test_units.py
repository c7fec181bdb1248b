"""Units that do not fit are noticed; rates that nobody stated are taken from the reference."""

import dataclasses

import numpy as np
import pytest
from ball_scene import as_prediction, ball_world

from phys4d.errors import InputError
from phys4d.evaluation.units import comparable, doubts

WORLD = ball_world()


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_millimetres_are_noticed(factor):
    wrong = as_prediction(WORLD, depth=WORLD.depth * np.float32(factor))
    [doubt] = doubts(wrong, WORLD)
    assert "1e+03 times" in doubt
    assert "in millimetres?" in doubt
    assert doubts(dataclasses.replace(wrong, meta={"units": "relative"}), WORLD) == []
    assert doubts(as_prediction(WORLD, depth=WORLD.depth * np.float32(2)), WORLD) == []


def test_a_reference_has_to_be_in_metres():
    relative = dataclasses.replace(WORLD, meta={**WORLD.meta, "units": "relative"})
    with pytest.raises(InputError, match="in relative units"):
        comparable(as_prediction(WORLD), relative)


def test_an_unknown_frame_rate_is_the_references():
    unknown = as_prediction(WORLD, fps=12.0, meta={"fps_unknown": True})
    assert comparable(unknown, WORLD).fps == WORLD.fps
    assert comparable(as_prediction(WORLD, fps=12.0), WORLD).fps == 12

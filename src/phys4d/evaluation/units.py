"""Are two worlds in the same units? Metres are taken for granted unless a world's meta says otherwise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import stats

from phys4d.errors import InputError
from phys4d.world import World4D

FAR = 30.0
"""A factor between two depths above this is a matter of units, not of a model's free scale."""
UNITS = {1000.0: "millimetres", 100.0: "centimetres"}
NEAR_UNIT = 0.25
"""Share by which a factor may differ from a unit's and still be taken for it."""
OPPOSED = -0.5
"""Rank correlation of two depths below which one of them is taken for disparity."""
MOST_PIXELS = 4096


def in_metres(world: World4D) -> bool:
    """Whether lengths are metres: meta["units"] is absent or "m"; point maps say "relative"."""
    return world.meta.get("units", "m") == "m"


def comparable(prediction: World4D, reference: World4D) -> World4D:
    """The prediction, ready to be held against the reference: where it does not know its frame rate, with that.

    Raises InputError for a reference that says that it is not in metres: errors against it would be called metres
    and be none.
    """
    if not in_metres(reference):
        source = reference.meta.get("source") or "the reference"
        raise InputError(f"{source} is in {reference.meta['units']} units; a reference has to be in metres")
    if prediction.meta.get("fps_unknown"):
        return dataclasses.replace(prediction, fps=reference.fps)
    return prediction


def doubts(prediction: World4D, reference: World4D) -> list[str]:
    """Notes on the raw depths [m] of frame 0: a factor of 1000 or so between them, or disparity for depth."""
    if prediction.depth is None or reference.depth is None or prediction.size != reference.size:
        return []
    mine, true = prediction.depth[0], reference.depth[0]
    both = (mine > 0) & (true > 0)
    if not both.any():
        return []
    notes = []
    factor = float(np.median(mine[both] / true[both]))
    if in_metres(prediction) and not 1 / FAR < factor < FAR:
        larger, smaller = ("prediction", "reference") if factor > 1 else ("reference", "prediction")
        ratio = max(factor, 1 / factor)
        near = min(UNITS, key=lambda unit: abs(math.log(ratio / unit)))
        unit = f"in {UNITS[near]}" if abs(ratio / near - 1) < NEAR_UNIT else "in another unit"
        notes.append(
            f"the {larger}'s depth is {ratio:.3g} times the {smaller}'s: is the {larger} {unit}? "
            "Lengths should be metres; a scale fit hides this in some metrics and not in others"
        )
    x, y = mine[both], true[both]
    step = math.ceil(x.size / MOST_PIXELS)
    x, y = x[::step], y[::step]
    ranks = [stats.rankdata(values) for values in (x, y)]
    if np.ptp(x) > 0 and np.ptp(y) > 0 and np.corrcoef(*ranks)[0, 1] < OPPOSED:
        notes.append("the prediction's depth falls where the reference's rises: is it disparity?")
    return notes

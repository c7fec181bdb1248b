"""What makes one doubt the units of a pair of worlds, before any number is believed."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from phys4d.world import World4D

FAR = 30.0
"""A factor between two depths above this is a matter of units, not of a model's free scale."""
UNITS = {1000.0: "millimetres", 100.0: "centimetres"}
NEAR_UNIT = 0.25
"""Share by which a factor may differ from a unit's and still be taken for it."""
OPPOSED = -0.5
"""Rank correlation of two depths below which one of them is taken for disparity."""
MOST_PIXELS = 4096


def doubts(prediction: World4D, reference: World4D) -> list[str]:
    """Notes on the raw depths [m] of frame 0: a factor of 1000 or so between them, or disparity for depth."""
    if prediction.depth is None or reference.depth is None:
        return []
    mine, true = prediction.depth[0], reference.depth[0]
    both = (mine > 0) & (true > 0)
    if not both.any():
        return []
    notes = []
    factor = float(np.median(mine[both] / true[both]))
    if not 1 / FAR < factor < FAR:
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

"""Are two worlds in the same units? Metres are taken for granted unless a world's meta says otherwise."""

from __future__ import annotations

import dataclasses

import numpy as np

from phys4d.errors import InputError
from phys4d.world import World4D

SUSPICIOUS = 30.0
"""Ratio of depths on frame 0 beyond which two worlds that both claim metres hardly both are in metres."""


def in_metres(world: World4D) -> bool:
    """Whether lengths are metres: meta["units"] is absent or "m"; point maps say "relative"."""
    return world.meta.get("units", "m") == "m"


def comparable(prediction: World4D, reference: World4D) -> tuple[World4D, str]:
    """The prediction, ready to be held against the reference, and a note where their units look different.

    A prediction that does not know its frame rate takes the reference's. Raises InputError for a reference that
    says that it is not in metres: errors against it would be called metres and be none.
    """
    if not in_metres(reference):
        source = reference.meta.get("source") or "the reference"
        raise InputError(f"{source} is in {reference.meta['units']} units; a reference has to be in metres")
    if prediction.meta.get("fps_unknown"):
        prediction = dataclasses.replace(prediction, fps=reference.fps)
    if prediction.depth is None or reference.depth is None or prediction.size != reference.size:
        return prediction, ""
    mine, theirs = prediction.depth[0], reference.depth[0]
    both = (mine > 0) & (theirs > 0)
    if not both.any() or not in_metres(prediction):
        return prediction, ""
    ratio = float(np.median(theirs[both] / mine[both]))
    if 1 / SUSPICIOUS < ratio < SUSPICIOUS:
        return prediction, ""
    return prediction, (
        f"depths of the reference are {ratio:.3g} times those of the prediction on frame 0, though both should be "
        "in metres: is one of them in millimetres?"
    )

"""3D point tracks as TAPVid-3D judges them, with every way of scaling that it knows but one.

`motion.tapvid3d` is the heart; here are the scalings, which differ in what of a prediction's depth they forgive.
Source: google-deepmind/tapnet, tapvid3d/evaluation/metrics.py (its "local_neighborhood" is left out).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from phys4d.evaluation.measure import Measured, nothing
from phys4d.evaluation.motion import TAPVID_PIXELS, TrackErrors, tapvid3d

Scaling = Literal["none", "median", "mean", "per_trajectory", "median_on_queries", "reproduce_2d"]
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Tracks3D:
    """Tracks of a video. points: (N,T,3) in the camera axes of each frame [m]. visible: (N,T)."""

    points: Float[np.ndarray, "N T 3"]
    visible: Bool[np.ndarray, "N T"]


def scale_tracks(
    prediction: Tracks3D, reference: Tracks3D, scaling: Scaling, query: Int[np.ndarray, "N"]
) -> Float[np.ndarray, "N T 3"] | None:
    """The predicted points, scaled towards the reference; None where no point is visible in both to scale by.

    median, mean: one factor, the ratio of the medians (means) of the points' norms over points that both show.
    median_on_queries: the same over each track's query frame alone. per_trajectory: a factor for each track, the
    ratio of the depths at its query frame. reproduce_2d: each point is moved along its ray to the true depth.
    query: the query frame of each track.
    """
    if scaling == "none":
        return prediction.points
    z, z_true = (tracks.points[..., 2] for tracks in (prediction, reference))
    if scaling == "reproduce_2d":
        return prediction.points * (z_true / np.where(z == 0, _TINY, z))[..., None]
    rows = np.arange(len(query))
    if scaling == "per_trajectory":
        factor = np.maximum(z_true[rows, query], _TINY) / np.maximum(z[rows, query], _TINY)
        return prediction.points * factor[:, None, None]
    both = prediction.visible & reference.visible
    norms = [np.linalg.norm(tracks.points, axis=-1) for tracks in (prediction, reference)]
    if scaling == "median_on_queries":
        both, norms = both[rows, query], [norm[rows, query] for norm in norms]
    if not both.any():
        return None
    middle = np.mean if scaling == "mean" else np.median
    mine, theirs = (float(middle(norm[both])) for norm in norms)
    return prediction.points * (theirs / max(mine, _TINY))


def track_errors(
    prediction: Tracks3D,
    reference: Tracks3D,
    focal: Float[np.ndarray, "T"],
    scaling: Scaling,
    query: Int[np.ndarray, "N"],
) -> TrackErrors:
    """AJ, APD and OA under a scaling; focal: sqrt(fx fy) [px] of each frame at the size that is judged at."""
    scaled = scale_tracks(prediction, reference, scaling, query)
    if scaled is None:
        return TrackErrors(*[nothing("no point is visible in both, so there is nothing to scale by")] * 3)
    return tapvid3d(scaled, prediction.visible, reference.points, reference.visible, focal, scaling=False)


def within_pixels(
    points: Float[np.ndarray, "N T 3"], reference: Tracks3D, focal: Float[np.ndarray, "T"]
) -> dict[int, Measured]:
    """Share of truly visible points within each of the TAPVID_PIXELS thresholds, whatever was called visible."""
    if not reference.visible.any():
        return {delta: nothing("no reference track is visible") for delta in TAPVID_PIXELS}
    error = np.linalg.norm(points - reference.points, axis=-1)
    pixel = reference.points[..., 2] / focal
    seen = float(reference.visible.mean())
    return {
        delta: Measured(float((error < delta * pixel)[reference.visible].mean()), seen) for delta in TAPVID_PIXELS
    }

"""Axis G, as point maps: every pixel's point in space against the true one, after one scale and one 3D shift."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from phys4d.evaluation.alignment import take, tensors
from phys4d.evaluation.measure import Measured, Metric, Pair, nothing, over_frames
from phys4d.geometry import invert_rigid, world_points
from phys4d.world import World4D

PointFreedom = Literal["none", "scale", "scale+shift"]

NEAREST_POINT = 0.01
"""Floor of a true point's distance from the origin [m] where an error is divided by it."""
INLIER = 0.25
"""Relative error below which a point counts as right."""


@dataclasses.dataclass(frozen=True)
class PointFit:
    """points_aligned = scale * points + shift, one for all pixels of all frames."""

    scale: float
    shift: Float[np.ndarray, "D"]

    def __call__(self, points: Float[np.ndarray, "*shape D"]) -> Float[np.ndarray, "*shape D"]:
        return self.scale * points + self.shift


@dataclasses.dataclass(frozen=True)
class PointErrors:
    """rel: mean |e| / max(|truth|, NEAREST_POINT). inlier: share with that below INLIER."""

    rel: Measured
    inlier: Measured


def fit_points(
    prediction: Float[np.ndarray, "*shape D"],
    reference: Float[np.ndarray, "*shape D"],
    valid: Bool[np.ndarray, "*shape"],
    freedom: PointFreedom = "scale+shift",
    weight: Float[np.ndarray, "*shape"] | None = None,
) -> PointFit:
    """The scale and 3D shift (no rotation) that minimise sum w |scale p + shift - q|^2 over the valid pixels.

    D is 3, or 1 for depth alone. weight: w, default 1. freedom "scale" leaves the shift at 0. If every predicted
    point is the same the scale is 0 and the shift the mean of the true ones. Sources: recover_scale of
    GeometryCrafter (arXiv 2504.01016, evaluation/eval.py: scale alone; its weight multiplies the rows, so w is its
    square) and recover_scale_shift of MotionCrafter (evaluation/eval.py: both; its weight is w).
    """
    if freedom == "none" or not valid.any():
        return PointFit(1.0, np.zeros(prediction.shape[-1]))
    p, q = prediction[valid].astype(np.float64), reference[valid].astype(np.float64)
    w = np.ones(len(p)) if weight is None else weight[valid].astype(np.float64)
    mean_p = mean_q = np.zeros(p.shape[-1])
    if freedom == "scale+shift":
        mean_p, mean_q = (w @ points / max(w.sum(), 1e-12) for points in (p, q))
    away_p, away_q = p - mean_p, q - mean_q
    scale = float(w @ (away_p * away_q).sum(-1) / max(w @ np.square(away_p).sum(-1), 1e-12))
    return PointFit(scale, mean_q - scale * mean_p)


def point_errors(
    prediction: Float[np.ndarray, "T H W 3"],
    reference: Float[np.ndarray, "T H W 3"],
    valid: Bool[np.ndarray, "T H W"],
) -> PointErrors:
    """Relative point error and inlier share of aligned point maps [m]; per-frame mean, then video mean.

    Both maps in the same axes, whose origin (a camera) is what a point's distance is measured from. Source:
    point_rel_error and point_inlier_percent of GeometryCrafter and MotionCrafter, evaluation/metrics.py.
    """
    error = np.linalg.norm(prediction - reference, axis=-1)
    relative = error / np.maximum(np.linalg.norm(reference, axis=-1), NEAREST_POINT)
    reason = "no pixel has both a predicted and a reference point"
    return PointErrors(over_frames(relative, valid, reason), over_frames(relative < INLIER, valid, reason))


def depth_shares(
    prediction: Float[np.ndarray, "T H W"], reference: Float[np.ndarray, "T H W"], valid: Bool[np.ndarray, "T H W"]
) -> PointErrors:
    """The same of aligned depth [m]: |D - D*| / max(|D*|, .01), and the share with a ratio below 1.25 either way.

    Source: depth_rel_error and depth_inlier_percent of GeometryCrafter and MotionCrafter, evaluation/metrics.py.
    """
    reason = "no pixel has both a predicted and a reference depth"
    mine, theirs = np.abs(prediction), np.abs(reference)
    relative = np.abs(prediction - reference) / np.maximum(theirs, NEAREST_POINT)
    ratio = np.maximum(mine / np.maximum(theirs, NEAREST_POINT), theirs / np.maximum(mine, NEAREST_POINT))
    return PointErrors(over_frames(relative, valid, reason), over_frames(ratio < 1.25, valid, reason))


def point_map(world: World4D, start: int = 0) -> Float[np.ndarray, "T H W 3"]:
    """Every pixel's point [m] from frame `start` on, in the axes of the camera of frame 0."""
    depth, camera = take(world, "depth", "camera")
    k, pose = tensors(camera)
    in_first = invert_rigid(pose[0]) @ pose[start:]
    return world_points(torch.from_numpy(depth[start:]).double(), k[start:], in_first).numpy()


def _point_errors(pair: Pair) -> PointErrors:
    (depth,), (truth,) = take(pair.raw, "depth"), take(pair.reference, "depth")
    valid = ((depth > 0) & (truth > 0))[pair.judged]
    if not valid.any():
        return PointErrors(*[nothing("no pixel has both a predicted and a reference depth")] * 2)
    mine, theirs = (point_map(world, pair.start) for world in (pair.raw, pair.reference))
    freedom: PointFreedom = "none" if pair.alignment == "none" else "scale+shift"
    return point_errors(fit_points(mine, theirs, valid, freedom)(mine), theirs, valid)


_SHAPE = ("depth", "camera")
ROWS = (
    Metric("point_rel", _SHAPE, _SHAPE, "", "lower", lambda pair: pair.once(_point_errors).rel),
    Metric("point_inlier", _SHAPE, _SHAPE, "", "higher", lambda pair: pair.once(_point_errors).inlier),
)
"""The metrics of this file."""

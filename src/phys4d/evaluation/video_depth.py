"""Video depth exactly as the benchmark of Video-Depth-Anything measures it (arXiv 2501.12375, benchmark/eval).

Besides our own `geometry.depth_errors` and `geometry.temporal_alignment_error`, so that numbers can stand beside
published ones. Predictions are disparity up to a scale and a shift; NaN where the public code would count 0.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from phys4d.evaluation.measure import Measured, nothing, of_curve, over_frames

NEAREST = 1e-3
"""Floor of disparities and depths, and the least true depth that is judged."""


@dataclasses.dataclass(frozen=True)
class VideoDepthErrors:
    """abs_rel: mean |D - D*| / D*. delta1: share with max(D/D*, D*/D) < 1.25. rmse [m]: per frame, then mean."""

    abs_rel: Measured
    delta1: Measured
    rmse: Measured


def judged_pixels(reference: Float[np.ndarray, "T H W"], cap: float) -> Bool[np.ndarray, "T H W"]:
    """NEAREST < D* < cap."""
    return (reference > NEAREST) & (reference < cap)


def fit_video_depth(
    disparity: Float[np.ndarray, "T H W"], reference: Float[np.ndarray, "T H W"], cap: float = np.inf
) -> Float[np.ndarray, "T H W"]:
    """Depth [m] of a predicted disparity after one least-squares scale and shift a video.

    min over (a, b) of sum (a d + b - 1 / (D* + 1e-8))^2 over the judged pixels, d floored at NEAREST; then the
    disparity is floored at NEAREST again and its depth kept within NEAREST and the cap. reference: 0 = unknown.
    """
    valid = judged_pixels(reference, cap)
    d = np.maximum(disparity.astype(np.float64), NEAREST)
    goal = 1 / (reference[valid].astype(np.float64) + 1e-8)
    terms = np.stack([d[valid], np.ones(len(goal))], axis=-1)
    scale, shift = np.linalg.lstsq(terms, goal, rcond=None)[0]
    return np.clip(1 / np.maximum(scale * d + shift, NEAREST), NEAREST, cap)


def video_depth_errors(
    depth: Float[np.ndarray, "T H W"], reference: Float[np.ndarray, "T H W"], cap: float = np.inf
) -> VideoDepthErrors:
    """Errors of a fitted depth [m] over the judged pixels; per frame, then over the frames that have any."""
    valid = judged_pixels(reference, cap)
    reason = "no true depth within the cap"
    if not valid.any():
        return VideoDepthErrors(*[nothing(reason)] * 3)
    d, truth = np.where(valid, depth, 1.0).astype(np.float64), np.where(valid, reference, 1.0).astype(np.float64)
    within = np.maximum(d / truth, truth / d) < 1.25
    square = over_frames(np.square(d - truth), valid, reason)
    assert square.curve is not None
    return VideoDepthErrors(
        over_frames(np.abs(d - truth) / truth, valid, reason),
        over_frames(within, valid, reason),
        dataclasses.replace(of_curve(np.sqrt(square.curve), reason), coverage=square.coverage),
    )


def original_tae(
    depth: Float[np.ndarray, "T H W"],
    intrinsics: Float[np.ndarray, "T 3 3"],
    world_from_camera: Float[np.ndarray, "T 4 4"],
    mask: Bool[np.ndarray, "T H W"] | None = None,
    *,
    empty_is_zero: bool = False,
) -> Measured:
    """TAE [%] as benchmark/eval/eval_tae.py has it: no z-buffer, points land on the nearest pixel, the last wins.

    Every pixel of t is taken by K and poses into t+1, rounded to a pixel, and its depth z' there held against the
    map: mean |D - z'| / D over pixels with both (and mask of t+1); the same from t+1 to t; mean over both ways
    and all pairs, x 100. K of frame t serves both frames of a pair. intrinsics: with pixel centres at integers,
    as in that code (ours less half a pixel). A pair without any pixel is left out, where the original counts it 0
    (empty_is_zero). coverage: judged pixels among all.
    """
    frames = len(depth)
    if frames < 2:
        return nothing("one frame has nothing to be aligned with")
    depth = depth.astype(np.float64)
    mask = np.ones(depth.shape, bool) if mask is None else mask
    errors, shares = np.full((frames - 1, 2), np.nan), np.zeros((frames - 1, 2))
    for t in range(frames - 1):
        k = intrinsics[t].astype(np.float64)
        there = np.linalg.inv(world_from_camera[t + 1].astype(np.float64)) @ world_from_camera[t]
        ways = ((t, t + 1, there), (t + 1, t, np.linalg.inv(there)))
        for way, (a, b, motion) in enumerate(ways):
            landed = _landed(depth[a], k, motion)
            both = (landed > 0) & (depth[b] > 0) & mask[b]
            shares[t, way] = both.mean()
            if both.any():
                errors[t, way] = 100 * (np.abs(depth[b] - landed)[both] / depth[b][both]).mean()
            elif empty_is_zero:
                errors[t, way] = 0
    known = np.isfinite(errors)
    if not known.any():
        return nothing("no pixel lands on another frame")
    count = known.sum(1)
    curve = np.where(count > 0, np.where(known, errors, 0).sum(1) / np.maximum(count, 1), np.nan)
    return Measured(float(errors[known].mean()), float(shares.mean()), curve=curve)


def _landed(depth: np.ndarray, k: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The depth that points of one frame have on the pixels of another, 0 where none lands."""
    height, width = depth.shape
    row, column = np.mgrid[:height, :width]
    points = np.stack([(column - k[0, 2]) * depth / k[0, 0], (row - k[1, 2]) * depth / k[1, 1], depth], axis=-1)
    x, y, z = (points.reshape(-1, 3) @ motion[:3, :3].T + motion[:3, 3]).T
    safe = np.where(np.abs(z) < 1e-12, 1e-12, z)
    u, v = np.rint(x * k[0, 0] / safe + k[0, 2]), np.rint(y * k[1, 1] / safe + k[1, 2])
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    landed = np.zeros_like(depth)
    landed[v[inside].astype(int), u[inside].astype(int)] = z[inside]
    return landed

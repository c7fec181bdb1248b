"""Axis M, against itself: does motion come back to where it began, and do rigid bodies stay rigid?"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from phys4d.evaluation.alignment import take, tensors
from phys4d.evaluation.measure import Measured, Metric, Pair, nothing, of_curve, over_frames
from phys4d.evaluation.motion import follow_pixels
from phys4d.geometry import backward_warp, forward_warp, motion_from_scene_flow
from phys4d.world import World4D

COVERED = 0.5
"""Share of a pixel of t+1 that the pixels of t must cover for its motion backward to be known."""
FEWEST_TRACKS = 8
"""Points that a rigid motion is fitted to, at least: with three, any motion is nearly rigid."""
KEPT = 0.75
"""Share of a body's points that the fit keeps: those at its silhouette may have passed to what is behind."""
RIGID_CATEGORIES = ("rigid",)
"""Categories of scenes whose bodies are rigid where their meta does not say so by a rotation."""


def cycle_error(
    flow: Float[np.ndarray, "T H W 2"],
    flow_backward: Float[np.ndarray, "T H W 2"],
    valid: Bool[np.ndarray, "T H W"],
    reason: str = "no visible pixel comes back",
) -> Measured:
    """Forward-backward consistency: mean |F(p) + B(p + F(p))| [px], B read bilinearly; per frame, then video.

    flow: t -> t+1. flow_backward: t+1 -> t, on the pixels of t+1. Pixels that leave the picture are not judged.
    Source: the usual check (Sundaram, Brox and Keutzer, ECCV 2010), as a mean in place of a bound.
    """
    if not len(flow):
        return nothing("one frame has no motion")
    forward = torch.from_numpy(flow).double()
    back, inside = backward_warp(torch.from_numpy(flow_backward).double(), forward)
    return over_frames((forward + back).norm(dim=-1).numpy(), valid & inside.numpy(), reason)


def backward_flow(
    flow: Float[np.ndarray, "T H W 2"], depth_moved: Float[np.ndarray, "T H W"]
) -> tuple[Float[np.ndarray, "T H W 2"], Bool[np.ndarray, "T H W"]]:
    """The motion t+1 -> t [px] that forward motion implies, on the pixels of t+1, and where it is known.

    -F is carried to where it leads, nearer surfaces in front; depth_moved: each pixel's depth at t+1 [m].
    """
    forward = torch.from_numpy(flow).double()
    back, cover = forward_warp(-forward, forward, torch.from_numpy(depth_moved).double())
    return back.numpy(), (cover > COVERED).numpy()


def best_rigid(
    points: Float[np.ndarray, "N 3"], moved: Float[np.ndarray, "N 3"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Rotation R and translation t that minimise sum |R p + t - q|^2 (Kabsch 1976; Umeyama 1991)."""
    mean, mean_moved = points.mean(0), moved.mean(0)
    u, _, v = np.linalg.svd((points - mean).T @ (moved - mean_moved))
    turn = np.diag([1.0, 1.0, np.sign(np.linalg.det(v.T @ u.T)) or 1.0])
    rotation = v.T @ turn @ u.T
    return rotation, mean_moved - rotation @ mean


def rigid_deviation(points: Float[np.ndarray, "N 3"], moved: Float[np.ndarray, "N 3"]) -> float:
    """Mean |R p + t - q| [m] of the best rigid motion over the KEPT share of points that obey it best.

    Fitted to all points, then again to those kept. NaN for fewer than FEWEST_TRACKS points.
    """
    if len(points) < FEWEST_TRACKS:
        return float("nan")
    most = max(FEWEST_TRACKS, round(KEPT * len(points)))
    error = _off_rigid(points, moved, np.arange(len(points)))
    error = _off_rigid(points, moved, np.argsort(error, kind="stable")[:most])
    return float(np.sort(error)[:most].mean())


def rigidity(prediction: World4D, reference: World4D, *, start: int = 0) -> Measured:
    """How far a world's rigid bodies are from moving rigidly since frame `start` [m]; over frames, then bodies.

    Each rigid body's pixels of frame `start`, as the reference shows them (without their rim), are followed
    through the prediction's own motion and depth; at every later frame the points that are still seen are held
    against the best rigid motion of where they began (`rigid_deviation`). prediction: in the reference's axes and
    scale. coverage: share of bodies and frames with enough points.
    """
    (ids,) = take(reference, "segmentation")
    instances = [i for i in rigid_instances(reference) if (ids[start] == i).any()]
    if not instances:
        return nothing("the reference shows no body that its meta says is rigid")
    curves = []
    for instance in instances:
        row, column = np.nonzero(_inner(ids[start] == instance))
        tracks, seen = follow_pixels(prediction, np.stack([column + 0.5, row + 0.5], axis=-1), start=start)
        frames = range(1, tracks.shape[1])
        curves.append([rigid_deviation(tracks[seen[:, t], 0], tracks[seen[:, t], t]) for t in frames])
    table = np.array(curves, dtype=np.float64).reshape(len(instances), -1)
    known = np.isfinite(table)
    count = known.sum(0)
    curve = np.where(count > 0, np.where(known, table, 0).sum(0) / np.maximum(count, 1), np.nan)
    found = of_curve(curve, f"no rigid body could be followed with {FEWEST_TRACKS} points")
    if not known.any():
        return found
    by_body = [row[k].mean() for row, k in zip(table, known) if k.any()]
    return Measured(float(np.mean(by_body)), float(known.mean()), curve=curve)


def rigid_instances(world: World4D) -> list[int]:
    """Instance ids of the bodies in meta["physics"]["bodies"] that have a rotation, or are in a rigid scene.

    An instance of several bodies (a jointed figure) is not one rigid body.
    """
    bodies = ((world.meta.get("physics") or {}).get("bodies") or {}).values()
    in_rigid = world.meta.get("category") in RIGID_CATEGORIES
    rigid = [int(b["instance"]) for b in bodies if b.get("instance") and ("rotation" in b or in_rigid)]
    return [instance for instance in rigid if rigid.count(instance) == 1]


def _off_rigid(points: np.ndarray, moved: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Every point's distance from where the best rigid motion of the kept ones takes it."""
    rotation, shift = best_rigid(points[kept], moved[kept])
    return np.linalg.norm(points @ rotation.T + shift - moved, axis=-1)


def _inner(mask: np.ndarray) -> np.ndarray:
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    return inner if inner.sum() >= FEWEST_TRACKS else mask


def _cycle(pair: Pair) -> Measured:
    world = pair.raw
    flow, depth = take(world, "flow", "depth")
    moved = depth[:-1]
    if world.scene_flow is not None and world.camera is not None:
        k, pose = tensors(world.camera)
        z, step = torch.from_numpy(depth[:-1]).double(), torch.from_numpy(world.scene_flow).double()
        _, reached = motion_from_scene_flow(z, step, k[:-1], k[1:], pose[:-1], pose[1:])
        moved = np.where(depth[:-1] > 0, reached.numpy(), 0)
    back, known = backward_flow(flow, moved)
    valid = depth[:-1] > 0
    if world.visible is not None:
        valid = valid & world.visible
    forward = torch.from_numpy(flow).double()
    landed, _ = backward_warp(torch.from_numpy(known[..., None].astype(np.float64)), forward)
    valid = valid & (landed[..., 0] > 1 - 1e-6).numpy()
    return cycle_error(flow[pair.steps], back[pair.steps], valid[pair.steps])


def _rigidity(pair: Pair) -> Measured:
    return rigidity(pair.prediction, pair.reference, start=pair.steps.start)


_CHAIN = ("depth", "flow", "camera")
ROWS = (
    Metric("flow_cycle", ("flow", "depth"), (), "px", "lower", _cycle),
    Metric("rigidity", _CHAIN, ("segmentation",), "m", "lower", _rigidity),
)
"""The metrics of this file."""

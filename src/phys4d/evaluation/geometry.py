"""Axis G: is the depth right, and does it hold together over time?

Depth maps are (T,H,W) z-depth [m]; 0 is sky or unmeasured and never judged.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.evaluation.alignment import Alignment, align_depth, fit_disparity, take, tensors
from phys4d.evaluation.measure import Measured, Metric, Pair, nothing, over_frames
from phys4d.geometry import bilinear_sample, motion_from_scene_flow, pixel_centres, rigid_motion
from phys4d.world import Camera, World4D

EDGE = 0.02
"""Second difference of disparity, relative to disparity, above which a pixel lies at a depth edge."""
BEHIND = 1.05
"""A point this much farther than the nearest one in its pixel is hidden by it."""
RIGID = 0.5
"""Largest deviation [px] of flow from the rigid flow of depth and cameras at a pixel that counts as static."""
STILL_CHANGE = 0.05
"""Changes of the reference's disparity above this share of its range are motion, not flicker (TGM)."""

DEPTH_CAPS = {"kitti": 80.0, "sintel": 70.0, "nyuv2": 10.0, "bonn": 10.0, "scannet": 10.0}
"""Depth [m] beyond which a data set is not judged. Source: Video-Depth-Anything, benchmark/eval/eval.py."""


@dataclasses.dataclass(frozen=True)
class DepthErrors:
    """abs_rel: mean |D - D*| / D*. delta1: share with max(D/D*, D*/D) < 1.25. tgm: see `depth_errors`."""

    abs_rel: Measured
    delta1: Measured
    tgm: Measured


def depth_errors(
    prediction: Float[np.ndarray, "T H W"],
    reference: Float[np.ndarray, "T H W"],
    *,
    alignment: Alignment = "scale",
    cap: float = np.inf,
) -> DepthErrors:
    """AbsRel, delta1 and TGM after one least-squares fit per video in disparity; per-frame mean, then video mean.

    cap: reference depths beyond it [m] are not judged. TGM: mean |change of predicted disparity - change of the
    reference's| from frame to frame, as a share of the reference's range of disparity, where the reference itself
    changes by less than STILL_CHANGE of it. Source: Video-Depth-Anything (arXiv 2501.12375), benchmark/eval and
    its temporal gradient matching loss.
    """
    valid = (prediction > 0) & (reference > 0) & (reference <= cap)
    reason = "no pixel has both a predicted and a reference depth"
    if not valid.any():
        return DepthErrors(*[nothing(reason)] * 3)
    aligned = align_depth(prediction, fit_disparity(prediction, reference, valid, alignment))
    d, truth = np.where(valid, aligned, 1.0), np.where(valid, reference, 1.0)
    within = np.maximum(d / truth, truth / d) < 1.25
    x, y = 1 / d, 1 / truth
    extent = float(np.ptp(y[valid])) or 1.0
    change, change_truth = np.diff(x, axis=0), np.diff(y, axis=0)
    calm = valid[1:] & valid[:-1] & (np.abs(change_truth) < STILL_CHANGE * extent)
    return DepthErrors(
        over_frames(np.abs(d - truth) / truth, valid, reason),
        over_frames(within, valid, reason),
        over_frames(np.abs(change - change_truth) / extent, calm, "no pixel keeps its depth over two frames"),
    )


def depth_cap(reference: World4D) -> float:
    """The cap [m] that a reference's meta["dataset"] has in DEPTH_CAPS; infinity for any other."""
    return DEPTH_CAPS.get(str(reference.meta.get("dataset") or "").lower(), np.inf)


def depth_edges(depth: Float[Tensor, "*batch H W"]) -> Bool[Tensor, "*batch H W"]:
    """Pixels at a jump or crease of depth, or without depth. A plane's disparity is affine, hence has no edge."""
    disparity = torch.where(depth > 0, 1 / depth.clamp_min(1e-6), 0)
    bend = torch.zeros_like(disparity)
    bend[..., 1:-1, :] = disparity.diff(n=2, dim=-2).abs()
    bend[..., 1:-1] = torch.maximum(bend[..., 1:-1], disparity.diff(n=2, dim=-1).abs())
    return (depth <= 0) | (bend > EDGE * disparity)


def depth_warp_error(
    depth: Float[Tensor, "T H W"],
    depth_next: Float[Tensor, "T H W"],
    flow: Float[Tensor, "T H W 2"],
    depth_moved: Float[Tensor, "T H W"],
) -> tuple[Float[Tensor, "T H W"], Bool[Tensor, "T H W"]]:
    """|D_{t+1}(p + F) - z'| [m], and where it can be judged: inside the picture and away from depth edges.

    depth_moved: z' [m], the depth that motion gives the surface at t+1. D_{t+1} is read bilinearly in disparity,
    which is exact on planes.
    """
    edges = depth_edges(depth_next)
    disparity = torch.where(depth_next > 0, 1 / depth_next.clamp_min(1e-6), 0)
    height, width = depth.shape[-2:]
    target = pixel_centres(height, width, dtype=flow.dtype) + flow
    values, inside = bilinear_sample(torch.stack([disparity, edges.to(disparity.dtype)], dim=-1), target)
    clear = inside & ~depth_edges(depth) & (values[..., 1] < 1e-6) & (values[..., 0] > 0) & (depth_moved > 0)
    found = 1 / torch.where(clear, values[..., 0], torch.ones_like(depth))
    return torch.where(clear, (found - depth_moved).abs(), 0), clear


def depth_warp_l1(
    depth: Float[np.ndarray, "T H W"],
    scene_flow: Float[np.ndarray, "T-1 H W 3"],
    visible: Bool[np.ndarray, "T-1 H W"] | None,
    camera: Camera,
    *,
    start: int = 0,
) -> tuple[Measured, Measured]:
    """Depth Warp L1, ours: mean |D_{t+1}(p') - z'| over visible pixels away from depth edges, of a world alone.

    p', z' come from the world's own depth, scene flow (world axes) [m] and cameras. Returns it divided by the
    median depth, and in metres; coverage is the share of pixels that could be judged. start: first judged motion.
    """
    k, pose = (matrix[start:] for matrix in tensors(camera))
    z = torch.from_numpy(depth[start:]).double()
    reason = "no visible pixel away from depth edges"
    if len(z) < 2 or not (z > 0).any():
        return nothing(reason), nothing(reason)
    moved = torch.from_numpy(scene_flow[start:]).double()
    flow, depth_moved = motion_from_scene_flow(z[:-1], moved, k[:-1], k[1:], pose[:-1], pose[1:])
    error, clear = depth_warp_error(z[:-1], z[1:], flow, depth_moved)
    valid = clear.numpy() if visible is None else clear.numpy() & visible[start:]
    median = float(z[z > 0].median())
    return over_frames(error.numpy() / median, valid, reason), over_frames(error.numpy(), valid, reason)


def temporal_alignment_error(
    depth: Float[np.ndarray, "T H W"], camera: Camera, static: Bool[np.ndarray, "T H W"] | None = None
) -> Measured:
    """TAE [%]: static pixels reprojected t->t+1 and t+1->t by K and poses, mean |z' - D(p')| / D(p') x 100.

    Unlike the original (Video-Depth-Anything, eval_tae.py) it uses the world's own cameras, reads depth at the
    sub-pixel position away from depth edges, drops what a z-buffer of the projected points hides, and reports
    its coverage.
    """
    k, pose = tensors(camera)
    z = torch.from_numpy(depth).double()
    if len(z) < 2:
        return nothing("one frame has nothing to be aligned with")
    errors, valids = [], []
    for here, there in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
        flow, depth_moved = rigid_motion(z[here], k[here], k[there], pose[here], pose[there])
        error, valid = depth_warp_error(z[here], z[there], flow, depth_moved)
        valid &= _in_front(flow, torch.where(z[here] > 0, depth_moved, 0))
        if static is not None:
            still, there_too = torch.from_numpy(static[here]), torch.from_numpy(static[there]).double()
            valid &= still & (_read_pixels(there_too, flow) > 1 - 1e-6)
        # |z' - D| / D with D = z' -+ error: the denominator is the depth found at p'.
        found = _read(z[there], flow)
        errors.append((100 * error / torch.where(valid, found, 1)).numpy())
        valids.append(valid.numpy())
    return over_frames(np.stack(errors, axis=1), np.stack(valids, axis=1), "no static pixel away from depth edges")


def static_pixels(pair: Pair) -> Bool[np.ndarray, "T H W"] | None:
    """Where the prediction claims to be static (its flow is its rigid flow) and the reference does not move.

    Only sideways motion counts, for along the ray motion and flicker look the same. None where nothing is known.
    """
    world, moves = pair.raw, None
    depth, camera = take(world, "depth", "camera")
    if world.flow is not None and len(world.flow):
        k, pose = tensors(camera)
        z = torch.from_numpy(depth[:-1]).double()
        rigid, _ = rigid_motion(z, k[:-1], k[1:], pose[:-1], pose[1:])
        moves = np.linalg.norm(rigid.numpy() - world.flow, axis=-1) > RIGID
        moves = np.concatenate([moves, _carried(moves[-1], world.flow[-1])[None]])
    if pair.has_reference and pair.reference.segmentation is not None and pair.reference.scene_flow is not None:
        moves = pair.truth.moving if moves is None else moves | pair.truth.moving
    return None if moves is None else ~moves


def _carried(mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Where the pixels of a mask are one frame later."""
    row, column = np.nonzero(mask)
    target = np.floor(np.stack([row, column], axis=-1) + 0.5 + flow[row, column, ::-1]).astype(int)
    inside = ((target >= 0) & (target < mask.shape)).all(-1)
    later = np.zeros_like(mask)
    later[tuple(target[inside].T)] = True
    return later


def _in_front(flow: Tensor, depth_moved: Tensor) -> Tensor:
    """Which pixels' points land in front, by a z-buffer of all of them."""
    frames, height, width = depth_moved.shape
    column, row = (pixel_centres(height, width, dtype=flow.dtype) + flow).floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (depth_moved > 0)
    index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).reshape(frames, -1)
    z = torch.where(inside, depth_moved, torch.inf).reshape(frames, -1)
    nearest = torch.full_like(z, torch.inf).scatter_reduce(1, index, z, "amin")
    return inside & (z <= nearest.gather(1, index) * BEHIND).reshape(inside.shape)


def _read(depth: Tensor, flow: Tensor) -> Tensor:
    """Depth at p + F, read in disparity."""
    disparity = torch.where(depth > 0, 1 / depth.clamp_min(1e-6), 0)
    return 1 / _read_pixels(disparity, flow).clamp_min(1e-6)


def _read_pixels(values: Tensor, flow: Tensor) -> Tensor:
    return bilinear_sample(values[..., None], pixel_centres(*values.shape[-2:], dtype=flow.dtype) + flow)[0][
        ..., 0
    ]


def _depth_errors(pair: Pair) -> DepthErrors:
    (depth,), (truth,) = take(pair.prediction, "depth"), take(pair.reference, "depth")
    cap = depth_cap(pair.reference)
    return depth_errors(depth[pair.judged], truth[pair.judged], alignment=pair.alignment, cap=cap)


def _warp(pair: Pair) -> tuple[Measured, Measured]:
    depth, scene_flow, camera = take(pair.raw, "depth", "scene_flow", "camera")
    return depth_warp_l1(depth, scene_flow, pair.raw.visible, camera, start=pair.steps.start)


def _tae(pair: Pair) -> Measured:
    depth, camera = take(pair.raw, "depth", "camera")
    first, static = pair.steps.start, static_pixels(pair)
    judged = Camera(camera.intrinsics[first:], camera.world_from_camera[first:])
    return temporal_alignment_error(depth[first:], judged, None if static is None else static[first:])


_OWN = ("depth", "scene_flow", "camera")
ROWS = (
    Metric("abs_rel", ("depth",), ("depth",), "", "lower", lambda pair: pair.once(_depth_errors).abs_rel),
    Metric("delta1", ("depth",), ("depth",), "", "higher", lambda pair: pair.once(_depth_errors).delta1),
    Metric("tgm", ("depth",), ("depth",), "", "lower", lambda pair: pair.once(_depth_errors).tgm),
    Metric("tae", ("depth", "camera"), (), "%", "lower", _tae),
    Metric("depth_warp_l1", _OWN, (), "", "lower", lambda pair: pair.once(_warp)[0]),
    Metric("depth_warp_l1_metres", _OWN, (), "m", "lower", lambda pair: pair.once(_warp)[1]),
)
"""The metrics of this axis."""

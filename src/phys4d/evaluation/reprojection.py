"""Axis G, seen through the cameras: do pictures and flow agree with where the cameras say that they were?

Both metrics judge a world alone, on pixels that stand still, and only where the camera's path gives them parallax:
a camera that stands still or only turns says nothing of depth, and agrees with any.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from phys4d.evaluation.alignment import take, tensors
from phys4d.evaluation.measure import Measured, Metric, Pair, nothing, over_frames
from phys4d.geometry import (
    bilinear_sample,
    invert_rigid,
    motion_from_scene_flow,
    pixel_centres,
    rigid_motion,
    unoccluded,
)
from phys4d.world import Camera

STILL = 0.1
"""Largest motion [px] that scene flow gives a pixel in the picture where it counts as standing still."""
PARALLAX = 0.25
"""Least distance [px] between where a pixel's surface goes and where it would go at infinity."""
_NO_PARALLAX = "the camera does not move aside: no still pixel has parallax"


def photometric_error(
    rgb: UInt8[np.ndarray, "T H W 3"],
    depth: Float[np.ndarray, "T H W"],
    camera: Camera,
    still: Bool[np.ndarray, "T-1 H W"],
) -> Measured:
    """Mean |I_{t+1}(p') - I_t(p)| / 255 over colours and still pixels with parallax, p' by depth and cameras.

    I_{t+1} is read bilinearly. Pixels that leave the picture, or that come behind what depth shows at t+1, are not
    judged. Per-frame mean, then video mean. It is not 0 for the truth: resampled textures blur and lights glide.
    Source: the usual reprojection loss (Garg et al., ECCV 2016; Zhou et al., CVPR 2017) without its SSIM.
    """
    if len(depth) < 2:
        return nothing("one frame has nothing to be compared with")
    k, pose = tensors(camera)
    z, colours = torch.from_numpy(depth).double(), torch.from_numpy(rgb).double() / 255
    flow, moved = rigid_motion(z[:-1], k[:-1], k[1:], pose[:-1], pose[1:])
    found, _ = bilinear_sample(colours[1:], pixel_centres(*depth.shape[1:], dtype=flow.dtype) + flow)
    seen = unoccluded(flow, moved, z[1:]) & (z[:-1] > 0)
    valid = still & seen.numpy() & parallax(depth, camera)
    return over_frames((found - colours[:-1]).abs().mean(-1).numpy(), valid, _NO_PARALLAX)


def sampson_error(
    flow: Float[np.ndarray, "T-1 H W 2"],
    camera: Camera,
    valid: Bool[np.ndarray, "T-1 H W"],
) -> Measured:
    """Mean Sampson distance [px] of the matches p, p + F from the epipolar geometry of the cameras.

    d = |x'^T E x| / sqrt((E x)_1^2 + (E x)_2^2 + (E^T x')_1^2 + (E^T x')_2^2), with E the fundamental matrix
    K'^-T [t]_x R K^-1 of neighbouring frames; steps without a translation have none and are not judged. Per-frame
    mean, then video mean. Source: Hartley and Zisserman, Multiple View Geometry, 2nd ed., eq. 11.9 (its root).
    """
    if not len(flow):
        return nothing("one frame has no motion")
    fundamental = fundamental_matrices(camera)
    height, width = flow.shape[1:3]
    here = pixel_centres(height, width, dtype=torch.float64).expand(len(flow), height, width, 2)
    there = here + torch.from_numpy(flow).double()
    x, x_next = (torch.cat([p, torch.ones_like(p[..., :1])], dim=-1) for p in (here, there))
    line_next = torch.einsum("tij,thwj->thwi", fundamental, x)
    line = torch.einsum("tji,thwj->thwi", fundamental, x_next)
    scale = torch.cat([line_next[..., :2], line[..., :2]], dim=-1).norm(dim=-1)
    distance = (x_next * line_next).sum(-1).abs() / scale.clamp_min(1e-12)
    return over_frames(distance.numpy(), valid & (scale > 1e-12).numpy(), _NO_PARALLAX)


def fundamental_matrices(camera: Camera) -> Float[Tensor, "T-1 3 3"]:
    """F of frames t and t+1, x_{t+1}^T F x_t = 0 for still points, scaled to unit norm; 0 without translation."""
    k, pose = tensors(camera)
    relative = invert_rigid(pose[1:]) @ pose[:-1]
    x, y, z = relative[:, :3, 3].unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    essential = cross @ relative[:, :3, :3]
    inverse = torch.linalg.inv(k)
    fundamental = inverse[1:].mT @ essential @ inverse[:-1]
    return fundamental / fundamental.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def parallax(depth: Float[np.ndarray, "T H W"], camera: Camera) -> Bool[np.ndarray, "T-1 H W"]:
    """Pixels whose way into the next picture depends on their depth by more than PARALLAX."""
    k, pose = tensors(camera)
    z = torch.from_numpy(depth).double()[:-1]
    flow, moved = rigid_motion(z, k[:-1], k[1:], pose[:-1], pose[1:])
    turned = pose[1:].clone()
    turned[:, :3, 3] = pose[:-1, :3, 3]
    far, _ = rigid_motion(z, k[:-1], k[1:], pose[:-1], turned)
    return (((flow - far).norm(dim=-1) > PARALLAX) & (z > 0) & (moved > 0)).numpy()


def still_pixels(pair: Pair) -> Bool[np.ndarray, "T-1 H W"]:
    """Where the prediction says, by its scene flow, and the reference does not deny, that nothing moves.

    A world without scene flow says that all of it stands still.
    """
    depth, camera = take(pair.raw, "depth", "camera")
    still = depth[:-1] > 0
    if pair.raw.scene_flow is not None:
        k, pose = tensors(camera)
        z, step = torch.from_numpy(depth[:-1]).double(), torch.from_numpy(pair.raw.scene_flow).double()
        moved, _ = motion_from_scene_flow(z, step, k[:-1], k[1:], pose[:-1], pose[1:])
        rigid, _ = rigid_motion(z, k[:-1], k[1:], pose[:-1], pose[1:])
        still &= ((moved - rigid).norm(dim=-1) < STILL).numpy()
    if pair.has_reference and pair.reference.segmentation is not None and pair.reference.scene_flow is not None:
        still &= ~pair.truth.moving[:-1]
    return still


def _photometric(pair: Pair) -> Measured:
    rgb, depth, camera = take(pair.raw, "rgb", "depth", "camera")
    first = pair.steps.start
    judged = Camera(camera.intrinsics[first:], camera.world_from_camera[first:])
    return photometric_error(rgb[first:], depth[first:], judged, pair.once(still_pixels)[first:])


def _epipolar(pair: Pair) -> Measured:
    flow, depth, camera = take(pair.raw, "flow", "depth", "camera")
    first = pair.steps.start
    judged = Camera(camera.intrinsics[first:], camera.world_from_camera[first:])
    valid = pair.once(still_pixels)[first:] & parallax(depth[first:], judged)
    if pair.raw.visible is not None:
        valid &= pair.raw.visible[first:]
    return sampson_error(flow[first:], judged, valid)


ROWS = (
    Metric("photometric_error", ("rgb", "depth", "camera"), (), "", "lower", _photometric),
    Metric("epipolar_error", ("flow", "depth", "camera"), (), "px", "lower", _epipolar),
)
"""The metrics of this file."""

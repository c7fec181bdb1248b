"""Motion between two frames: warping along it, where it comes from, and what it hides.

Motion t -> t+1 is (u, v) in pixels and the change of log-depth; with depth and two cameras it is the same
thing as scene flow, and `motion_from_scene_flow` and `scene_flow_from_motion` go back and forth.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.geometry.camera import (
    invert_rigid,
    pixel_centres,
    project,
    transform_points,
    unproject,
    unproject_pixels,
)


def bilinear_sample(
    values: Float[Tensor, "*batch H W C"], pixels: Float[Tensor, "*batch h w 2"]
) -> tuple[Float[Tensor, "*batch h w C"], Bool[Tensor, "*batch h w"]]:
    """Read `values` at sub-pixel positions (x, y) [px], bilinearly.

    Returns the samples, clamped to the border, and whether each position lies inside the image.
    """
    height, width, channels = values.shape[-3:]
    batch = values.shape[:-3]
    scale = pixels.new_tensor([width, height])
    # A pixel centre at (j + 0.5, i + 0.5) is exactly the `align_corners=False` convention.
    grid = (2 * pixels / scale - 1).reshape(-1, *pixels.shape[-3:])
    image = values.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = ((pixels >= 0) & (pixels <= scale)).all(dim=-1)
    return sampled.permute(0, 2, 3, 1).reshape(*batch, *pixels.shape[-3:-1], channels), inside


def backward_warp(
    values_next: Float[Tensor, "*batch H W C"], flow: Float[Tensor, "*batch H W 2"]
) -> tuple[Float[Tensor, "*batch H W C"], Bool[Tensor, "*batch H W"]]:
    """What frame t+1 shows at p + flow(p), laid out on the pixels p of frame t; and whether that is inside."""
    height, width = flow.shape[-3:-1]
    centres = pixel_centres(height, width, dtype=flow.dtype, device=flow.device)
    return bilinear_sample(values_next, centres + flow)


def forward_warp(
    values: Float[Tensor, "*batch H W C"],
    flow: Float[Tensor, "*batch H W 2"],
    depth_moved: Float[Tensor, "*batch H W"],
    *,
    sharpness: float = 50.0,
) -> tuple[Float[Tensor, "*batch H W C"], Float[Tensor, "*batch H W"]]:
    """Push frame t along its flow onto the pixels of frame t+1, nearer surfaces in front.

    Softmax splatting (Niklaus and Liu, CVPR 2020, arXiv 2003.05534) with the metric -sharpness * log z', where
    `depth_moved` z' [m] is the depth that each pixel's surface has at t+1; pixels with z' <= 0 are left out.
    Differentiable in values, flow and depth. Returns the warped values (0 in holes) and the bilinear coverage,
    the sum of splatting weights without the softmax (0 in holes, about 1 on a single surface).
    """
    height, width, channels = values.shape[-3:]
    batch = values.shape[:-3]
    flat = values.reshape(-1, height * width, channels)
    z = depth_moved.reshape(-1, height * width)
    centres = pixel_centres(height, width, dtype=flow.dtype, device=flow.device)
    target = (centres + flow - 0.5).reshape(-1, height * width, 2)
    valid = z > 0
    metric = -sharpness * torch.where(valid, z, torch.ones_like(z)).log()

    corner = target.detach().floor()
    offset = target - corner
    splats, nearest = [], metric.new_full(metric.shape, -torch.inf)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = corner[..., 0].long() + dx, corner[..., 1].long() + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            weight = _hat(offset[..., 0], dx) * _hat(offset[..., 1], dy) * (inside & valid)
            index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
            splats.append((index, weight))
            reached = torch.where(weight.detach() > 0, metric.detach(), -torch.inf)
            nearest = nearest.scatter_reduce(1, index, reached, "amax")
    sums = flat.new_zeros(flat.shape[0], height * width, channels + 2)
    for index, weight in splats:
        # The softmax is invariant to a shift; each pixel's own maximum keeps every exponent at or below 0.
        share = (weight * (metric - nearest.gather(1, index)).clamp_max(0).exp())[..., None]
        payload = torch.cat([flat * share, share, weight[..., None]], dim=-1)
        sums = sums.scatter_add(1, index[..., None].expand_as(payload), payload)
    total = sums[..., channels : channels + 1]
    warped = torch.where(total > 0, sums[..., :channels] / total.clamp_min(1e-38), 0.0)
    return warped.reshape(*batch, height, width, channels), sums[..., -1].reshape(*batch, height, width)


def rigid_motion(
    depth: Float[Tensor, "*batch H W"],
    intrinsics: Float[Tensor, "*cameras 3 3"],
    intrinsics_next: Float[Tensor, "*cameras 3 3"],
    world_from_camera: Float[Tensor, "*cameras 4 4"],
    world_from_camera_next: Float[Tensor, "*cameras 4 4"],
) -> tuple[Float[Tensor, "*batch H W 2"], Float[Tensor, "*batch H W"]]:
    """Flow [px] and depth at t+1 [m] of a world that stands still while the camera moves.

    (p_r, z_r) = pi_{t+1}(T_{t+1}^-1 T_t X), the rigid prediction of the warp-consistency loss.
    """
    still = torch.zeros(*depth.shape, 3, dtype=depth.dtype, device=depth.device)
    return motion_from_scene_flow(
        depth, still, intrinsics, intrinsics_next, world_from_camera, world_from_camera_next
    )


def motion_from_scene_flow(
    depth: Float[Tensor, "*batch H W"],
    scene_flow: Float[Tensor, "*batch H W 3"],
    intrinsics: Float[Tensor, "*cameras 3 3"],
    intrinsics_next: Float[Tensor, "*cameras 3 3"],
    world_from_camera: Float[Tensor, "*cameras 4 4"],
    world_from_camera_next: Float[Tensor, "*cameras 4 4"],
) -> tuple[Float[Tensor, "*batch H W 2"], Float[Tensor, "*batch H W"]]:
    """Flow [px] and depth at t+1 [m] of surface points that move by `scene_flow` (world axes) [m]."""
    points_world = transform_points(world_from_camera, unproject(depth, intrinsics)) + scene_flow
    points_next = transform_points(invert_rigid(world_from_camera_next), points_world)
    pixels, depth_moved = project(points_next, intrinsics_next)
    centres = pixel_centres(*depth.shape[-2:], dtype=depth.dtype, device=depth.device)
    return pixels - centres, depth_moved


def scene_flow_from_motion(
    depth: Float[Tensor, "*batch H W"],
    flow: Float[Tensor, "*batch H W 2"],
    depth_moved: Float[Tensor, "*batch H W"],
    intrinsics: Float[Tensor, "*cameras 3 3"],
    intrinsics_next: Float[Tensor, "*cameras 3 3"],
    world_from_camera: Float[Tensor, "*cameras 4 4"],
    world_from_camera_next: Float[Tensor, "*cameras 4 4"],
) -> Float[Tensor, "*batch H W 3"]:
    """Scene flow in world axes [m] from flow [px] and the depth [m] that the surface has at t+1."""
    centres = pixel_centres(*depth.shape[-2:], dtype=depth.dtype, device=depth.device)
    points_next = transform_points(
        world_from_camera_next, unproject_pixels(centres + flow, depth_moved, intrinsics_next)
    )
    return points_next - transform_points(world_from_camera, unproject(depth, intrinsics))


def unoccluded(
    flow: Float[Tensor, "*batch H W 2"],
    depth_moved: Float[Tensor, "*batch H W"],
    depth_next: Float[Tensor, "*batch H W"],
    *,
    tolerance: float = 0.02,
) -> Bool[Tensor, "*batch H W"]:
    """Which pixels of frame t are still seen at t+1, by a depth test.

    A surface point is hidden when it lands outside the image, or when every pixel within 0.4 px of it shows a
    surface in front of it, by more than `tolerance` (relative). Pixels without a surface hide nothing.
    """
    height, width = depth_next.shape[-2:]
    centres = pixel_centres(height, width, dtype=flow.dtype, device=flow.device)
    target = centres + flow
    inside = ((target >= 0) & (target <= target.new_tensor([width, height]))).all(dim=-1)
    flat = depth_next.flatten(-2)
    behind_all = torch.ones_like(inside)
    # Neighbours bracket the depth of a slanted surface between pixel centres; a point that lands on a centre has
    # none, or else everything that stands still beside a silhouette would be judged by the wrong pixel.
    for dx in (-0.4, 0.4):
        for dy in (-0.4, 0.4):
            x = (target[..., 0] + dx).floor().long().clamp(0, width - 1)
            y = (target[..., 1] + dy).floor().long().clamp(0, height - 1)
            index = (y * width + x).flatten(-2)
            neighbour = flat.gather(-1, index).reshape(inside.shape)
            behind_all &= (neighbour > 0) & (depth_moved > neighbour * (1 + tolerance))
    return inside & (depth_moved > 0) & ~behind_all


def consistent_flow(
    flow: Float[Tensor, "*batch H W 2"],
    flow_backward: Float[Tensor, "*batch H W 2"],
    *,
    relative: float = 0.01,
    absolute: float = 0.5,
) -> Bool[Tensor, "*batch H W"]:
    """Which pixels return to themselves after forward and backward flow.

    |F + B(p+F)|^2 < relative (|F|^2 + |B|^2) + absolute [px^2] (Sundaram, Brox and Keutzer, ECCV 2010).
    """
    back, inside = backward_warp(flow_backward, flow)
    cycle = (flow + back).square().sum(-1)
    bound = relative * (flow.square().sum(-1) + back.square().sum(-1)) + absolute
    return inside & (cycle < bound)


def _hat(offset: Tensor, corner: int) -> Tensor:
    return offset if corner else 1 - offset

"""Warp consistency: what couples depth, motion and cameras (METHOD: stage 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.geometry import backward_warp, rigid_motion
from phys4d.losses.masked import Loss, coverage, masked_mean


def warp_loss(
    log_depth: Float[Tensor, "B T H W"],
    motion: Float[Tensor, "B T-1 H W 3"],
    intrinsics: Float[Tensor, "B T 3 3"],
    camera0_from_camera: Float[Tensor, "B T 4 4"],
    visible: Bool[Tensor, "B T-1 H W"],
    static: Bool[Tensor, "B T-1 H W"],
    edge: Bool[Tensor, "B T H W"],
    *,
    gamma: float = 1.0,
) -> Loss:
    """mean |log D'(p+F) - log D(p) - delta| + gamma mean_static(|p_r - (p+F)| / W + |log z_r - log D(p) - delta|).

    motion: (u, v, delta), with F = (u, v) [px] and delta the change of log-depth. (p_r, z_r) is where the pixel's
    surface would be seen next if it stood still. visible: the labels' surface points that are seen at t+1; static:
    pixels whose surface stands still; edge: `depth_edges` of the labels. Both means are over visible pixels away
    from edges, at p and at p+F, inside the picture. Gradients reach depth, motion and cameras.

    The focal length and the poses are the prediction's own; any frame common to all T poses will do.

    Raises WorkError naming the mask that is empty.
    """
    now, delta = log_depth[:, :-1], motion[..., 2]
    both = torch.stack([log_depth, edge.to(log_depth.dtype)], dim=-1)[:, 1:]
    sampled, inside = backward_warp(both, motion[..., :2])
    mask = visible & inside & ~edge[:, :-1] & (sampled[..., 1].detach() == 0)
    in_time = masked_mean((sampled[..., 0] - now - delta).abs(), mask, name="warp (visible, away from edges)")

    k, pose = intrinsics, camera0_from_camera
    rigid, moved = rigid_motion(now.exp(), k[:, :-1], k[:, 1:], pose[:, :-1], pose[:, 1:])
    before = moved > 1e-6
    still = mask & static & before
    width = log_depth.shape[-1]
    shift = masked_mean(
        torch.linalg.vector_norm(rigid - motion[..., :2], dim=-1) / width, still, name="warp (static)"
    )
    radial = (torch.where(before, moved, 1.0).log() - now - delta).abs()
    growth = masked_mean(radial, still, name="warp (static)")
    return Loss(
        in_time + gamma * (shift + growth),
        {"time": in_time.detach(), "rigid_flow": shift.detach(), "rigid_depth": growth.detach()},
        {"visible": coverage(mask), "static": coverage(still)},
    )


def depth_edges(depth: Float[Tensor, "*batch H W"], threshold: float = 0.05) -> Bool[Tensor, "*batch H W"]:
    """Pixels where interpolating depth [m] would mix surfaces, or a surface with the sky (depth 0).

    At an edge the log-depth bends: the second difference, across or down, exceeds `threshold`; a slanted plane has
    a first difference as well, but hardly a second one. The sky and its neighbours are edges.
    """
    height, width = depth.shape[-2:]
    flat = depth.reshape(-1, 1, height, width)
    sky = (flat <= 0).to(flat.dtype)
    log = torch.where(flat > 0, flat, 1.0).log()
    padded = F.pad(log, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2] - 2 * log
    down = padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] - 2 * log
    # Replicated borders bend a plane that is none; there the neighbour inside speaks for them.
    across[..., [0, -1]] = across[..., [1, -2]]
    down[..., [0, -1], :] = down[..., [1, -2], :]
    bent = (torch.maximum(across.abs(), down.abs()) > threshold).to(flat.dtype)
    # Bilinear sampling reads the neighbours too.
    return (F.max_pool2d(torch.maximum(bent, sky), 3, stride=1, padding=1) > 0).reshape(depth.shape)

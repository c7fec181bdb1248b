"""Point clouds: from depth to the world, and distances between sets of points."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.geometry.camera import transform_points, unproject


def world_points(
    depth: Float[Tensor, "*batch H W"],
    intrinsics: Float[Tensor, "*cameras 3 3"],
    world_from_camera: Float[Tensor, "*cameras 4 4"],
) -> Float[Tensor, "*batch H W 3"]:
    """Every pixel's surface point in world axes [m]; where depth is 0 it is the camera's own position."""
    return transform_points(world_from_camera, unproject(depth, intrinsics))


def nearest_distance(
    points: Float[Tensor, "*batch N 3"],
    targets: Float[Tensor, "*batch M 3"],
    targets_mask: Bool[Tensor, "*batch M"] | None = None,
    *,
    chunk: int = 4096,
) -> Float[Tensor, "*batch N"]:
    """Distance from each point to the nearest target [m]; inf where no target is valid.

    The search runs over blocks of `chunk` x `chunk` without a graph and the distance to the winner is computed
    again with one, so memory is O(N + chunk^2) and gradients reach both sets.
    """
    if targets.shape[-2] == 0:
        return points.new_full(points.shape[:-1], math.inf)
    with torch.no_grad():
        index = torch.cat(
            [_nearest_index(block, targets, targets_mask, chunk) for block in points.split(chunk, dim=-2)],
            dim=-1,
        )
    winners = targets.gather(-2, index[..., None].expand(*index.shape, 3))
    distance = torch.linalg.vector_norm(points - winners, dim=-1)
    if targets_mask is not None:
        distance = torch.where(targets_mask.any(-1, keepdim=True), distance, math.inf)
    return distance


def chamfer_distance(
    a: Float[Tensor, "*batch N 3"],
    b: Float[Tensor, "*batch M 3"],
    a_mask: Bool[Tensor, "*batch N"] | None = None,
    b_mask: Bool[Tensor, "*batch M"] | None = None,
    *,
    truncation: float = math.inf,
    chunk: int = 4096,
) -> Float[Tensor, "*batch"]:
    """Symmetric Chamfer distance in metres, not squared, each distance truncated at tau = `truncation` [m].

    CD = 1/2 (mean_a min_b min(|a-b|, tau) + mean_b min_a min(|b-a|, tau)). Where exactly one set is empty the
    distance is tau; where both are, 0.
    """
    half_a = _mean_truncated(nearest_distance(a, b, b_mask, chunk=chunk), a_mask, truncation)
    half_b = _mean_truncated(nearest_distance(b, a, a_mask, chunk=chunk), b_mask, truncation)
    empty_a, empty_b = _empty(a, a_mask), _empty(b, b_mask)
    distance = 0.5 * (half_a + half_b)
    distance = torch.where(empty_a ^ empty_b, torch.full_like(distance, truncation), distance)
    return torch.where(empty_a & empty_b, torch.zeros_like(distance), distance)


def _nearest_index(points: Tensor, targets: Tensor, mask: Tensor | None, chunk: int) -> Tensor:
    best = points.new_full(points.shape[:-1], math.inf)
    index = torch.zeros(points.shape[:-1], dtype=torch.long, device=points.device)
    for start in range(0, targets.shape[-2], chunk):
        block = targets[..., start : start + chunk, :]
        # The matrix-product shortcut of cdist loses digits at small distances; here digits count.
        distance = torch.cdist(points, block, compute_mode="donot_use_mm_for_euclid_dist")
        if mask is not None:
            distance = distance.masked_fill(~mask[..., None, start : start + chunk], math.inf)
        value, where = distance.min(dim=-1)
        better = value < best
        best = torch.where(better, value, best)
        index = torch.where(better, where + start, index)
    return index


def _mean_truncated(distance: Tensor, mask: Tensor | None, truncation: float) -> Tensor:
    distance = distance.clamp_max(truncation)
    if mask is None:
        mask = torch.ones_like(distance, dtype=torch.bool)
    total = torch.where(mask, distance, torch.zeros_like(distance)).sum(-1)
    return total / mask.sum(-1).clamp_min(1)


def _empty(points: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        return ~mask.any(-1)
    return torch.full(points.shape[:-2], points.shape[-2] == 0, device=points.device)

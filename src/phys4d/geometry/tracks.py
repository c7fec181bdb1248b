"""Long-range tracks: surface points followed through time, in world axes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.geometry.camera import invert_rigid, pixel_centres, project, transform_points
from phys4d.geometry.points import world_points
from phys4d.geometry.warp import bilinear_sample


def project_tracks(
    tracks_world: Float[Tensor, "N T 3"],
    intrinsics: Float[Tensor, "T 3 3"],
    world_from_camera: Float[Tensor, "T 4 4"],
) -> tuple[Float[Tensor, "N T 2"], Float[Tensor, "N T"]]:
    """Pixels (x, y) [px] and z-depth [m] of tracked points in each frame's camera."""
    by_frame = tracks_world.transpose(0, 1)
    pixels, depth = project(transform_points(invert_rigid(world_from_camera), by_frame), intrinsics)
    return pixels.transpose(0, 1), depth.transpose(0, 1)


def visible_by_depth(
    tracks_world: Float[Tensor, "N T 3"],
    depth: Float[Tensor, "T H W"],
    intrinsics: Float[Tensor, "T 3 3"],
    world_from_camera: Float[Tensor, "T 4 4"],
    *,
    tolerance: float = 0.02,
) -> Bool[Tensor, "N T"]:
    """Which tracked points each frame sees: inside the picture, and not behind its depth map.

    `tolerance` is relative to the map's depth. A pixel without a surface hides nothing.
    """
    frames, height, width = depth.shape
    pixels, z = project_tracks(tracks_world, intrinsics, world_from_camera)
    column, row = pixels.floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (z > 0)
    frame = torch.arange(frames, device=depth.device).expand_as(column)
    surface = depth[frame, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return inside & ((surface <= 0) | (z <= surface * (1 + tolerance)))


def chain_tracks(
    pixels_first: Float[Tensor, "N 2"],
    depth: Float[Tensor, "T H W"],
    flow: Float[Tensor, "T-1 H W 2"],
    visible: Bool[Tensor, "T-1 H W"],
    intrinsics: Float[Tensor, "T 3 3"],
    world_from_camera: Float[Tensor, "T 4 4"],
) -> tuple[Float[Tensor, "N T 3"], Bool[Tensor, "N T"]]:
    """Follow pixels (x, y) [px] of frame 0 along the flow, and lift them to the world by each frame's depth.

    A track whose surface is hidden, leaves the picture or has no depth is lost: from then on it is invisible and
    stays where it was last seen. This is what dense two-frame motion can say: a track that lands on a silhouette
    may pass to the surface in front. Tracks of a simulation are exact and survive occlusion.
    """
    frames, height, width = depth.shape
    lifted = world_points(depth, intrinsics, world_from_camera)
    centres = pixel_centres(height, width, dtype=depth.dtype, device=depth.device)
    position = pixels_first
    alive = torch.ones(len(pixels_first), dtype=torch.bool, device=depth.device)
    tracks, seen = [], []
    for t in range(frames):
        row, column = _nearest_pixel(position, height, width)
        surface = depth[t, row, column]
        inside = ((position >= 0) & (position <= position.new_tensor([width, height]))).all(-1)
        alive = alive & inside & (surface > 0)
        # The nearest pixel's surface point, moved along its ray's neighbours to the sub-pixel position: the
        # offset scales with depth over focal length, and never mixes two surfaces as interpolation would.
        offset = (position - centres[row, column]) * surface[:, None]
        focal = intrinsics[t, [0, 1], [0, 1]]
        shift = torch.cat([offset / focal, torch.zeros_like(offset[:, :1])], dim=-1)
        point = lifted[t, row, column] + shift @ world_from_camera[t, :3, :3].T
        tracks.append(torch.where(alive[:, None], point, tracks[-1] if tracks else point))
        seen.append(alive)
        if t + 1 < frames:
            step, _ = bilinear_sample(flow[t], position[None])
            alive = alive & visible[t, row, column]
            position = torch.where(alive[:, None], position + step[0], position)
    return torch.stack(tracks, dim=1), torch.stack(seen, dim=1)


def _nearest_pixel(position: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    column, row = position.floor().long().unbind(-1)
    return row.clamp(0, height - 1), column.clamp(0, width - 1)

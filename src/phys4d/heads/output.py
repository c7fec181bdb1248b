"""What the heads say about a clip, and the 4D world that follows from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phys4d.errors import InputError
from phys4d.geometry import chain_tracks, pixel_centres, scene_flow_from_motion
from phys4d.world import Camera, World4D

TRACK_SPACING = 4
"""Tracks start at every so many pixels of the first frame."""
LOG_DEPTH_LIMIT = 9.0
"""A world's depths stay within exp(±9) metres, whatever an untrained network says."""


@dataclasses.dataclass(frozen=True)
class HeadOutput:
    """Depth, motion and cameras of B clips of T frames of HxW pixels.

    log_depth: (B,T,H,W) log of z-depth [log m]. depth_log_confidence: (B,T,H,W) in [-4, 4], larger is surer.
    motion: (B,T-1,H,W,3), frame t to t+1: u [px], v [px] and the change of the surface point's log-depth.
    motion_log_confidence: (B,T-1,H,W) in [-4, 4].
    visibility: (B,T-1,H,W) logit of being still in view and not hidden at t+1.
    sky: (B,T,H,W) logit of there being no surface.
    log_focal: (B,) log(focal length / image height), the same for all frames.
    gravity: (B,3) unit vector that points down, in the axes of camera 0.
    camera0_from_camera: (B,T,4,4) pose of every camera in the axes of camera 0 [m]; frame 0 is the identity.
    """

    log_depth: Float[Tensor, "B T H W"]
    depth_log_confidence: Float[Tensor, "B T H W"]
    motion: Float[Tensor, "B T-1 H W 3"]
    motion_log_confidence: Float[Tensor, "B T-1 H W"]
    visibility: Float[Tensor, "B T-1 H W"]
    sky: Float[Tensor, "B T H W"]
    log_focal: Float[Tensor, "B"]
    gravity: Float[Tensor, "B 3"]
    camera0_from_camera: Float[Tensor, "B T 4 4"]

    def __getitem__(self, index: slice | Tensor) -> HeadOutput:
        """Some of the clips."""
        return HeadOutput(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def intrinsics(self) -> Float[Tensor, "B T 3 3"]:
        """K [px]: square pixels, the principal point at the centre of the picture."""
        clips, frames, height, width = self.log_depth.shape
        focal = self.log_focal.exp() * height
        zero, one = torch.zeros_like(focal), torch.ones_like(focal)
        rows = [focal, zero, width / 2 * one, zero, focal, height / 2 * one, zero, zero, one]
        return torch.stack(rows, dim=-1).view(clips, 1, 3, 3).expand(-1, frames, -1, -1)

    def world_from_camera0(self) -> Float[Tensor, "B 4 4"]:
        """Pose of camera 0 in a world with z against gravity, y ahead and the origin in that camera."""
        up = -self.gravity
        # A camera that looks along gravity has no direction ahead but the top of its picture.
        axis = torch.where(up[:, 2:].abs() < 0.99, up.new_tensor([0.0, 0, 1]), up.new_tensor([0.0, -1, 0]))
        right = torch.linalg.cross(axis, up)
        right = right / right.norm(dim=-1, keepdim=True)
        pose = torch.eye(4, dtype=up.dtype, device=up.device).repeat(len(up), 1, 1)
        pose[:, :3, :3] = torch.stack([right, torch.linalg.cross(up, right), up], dim=1)
        return pose

    @torch.no_grad()
    def worlds(
        self,
        rgb: UInt8[Tensor, "B T H W 3"] | UInt8[np.ndarray, "B T H W 3"],
        fps: float,
        metas: Sequence[Mapping[str, Any]],
    ) -> list[World4D]:
        """One valid world a clip, on the CPU: camera 0 at the origin, z up along the predicted gravity.

        Scene flow follows from depth, motion and cameras, so that these cannot contradict each other. Where the
        sky is likelier than not, depth, flow and scene flow are 0. Tracks start on a regular grid of frame 0 and
        follow the flow; a first frame of sky alone has none. Raises InputError where rgb or metas do not fit, or
        the prediction is not finite.
        """
        if tuple(rgb.shape) != (*self.log_depth.shape, 3) or len(metas) != len(self.log_depth):
            raise InputError(
                f"a prediction of shape {tuple(self.log_depth.shape)} needs rgb of that shape and 3 channels, and "
                f"as many metas as clips, not rgb {tuple(rgb.shape)} and {len(metas)} metas"
            )
        pictures = np.ascontiguousarray(torch.as_tensor(rgb).cpu().numpy())
        output = HeadOutput(*(getattr(self, f.name).float().cpu() for f in dataclasses.fields(self)))
        intrinsics = output.intrinsics()
        poses = output.world_from_camera0()[:, None] @ output.camera0_from_camera
        return [
            _world(output[b : b + 1], pictures[b], intrinsics[b], poses[b], fps, dict(metas[b]))
            for b in range(len(metas))
        ]


def _world(
    output: HeadOutput, rgb: np.ndarray, k: Tensor, pose: Tensor, fps: float, meta: dict[str, Any]
) -> World4D:
    log_depth = output.log_depth[0].clamp(-LOG_DEPTH_LIMIT, LOG_DEPTH_LIMIT)
    depth = torch.where(output.sky[0] <= 0, log_depth.exp(), 0.0)
    surface = depth[:-1] > 0
    flow = torch.where(surface[..., None], output.motion[0, ..., :2], 0.0)
    moved = (log_depth[:-1] + output.motion[0, ..., 2]).exp()
    scene_flow = scene_flow_from_motion(depth[:-1], flow, moved, k[:-1], k[1:], pose[:-1], pose[1:])
    scene_flow = torch.where(surface[..., None], scene_flow, 0.0)
    height, width = depth.shape[1:]
    centres = pixel_centres(height, width)
    inside = ((centres + flow >= 0) & (centres + flow <= centres.new_tensor([width, height]))).all(-1)
    visible = (output.visibility[0] > 0) & surface & inside
    grid = slice(TRACK_SPACING // 2, None, TRACK_SPACING)
    starts = centres[grid, grid][depth[0, grid, grid] > 0]
    tracks = chain_tracks(starts, depth, flow, visible, k, pose) if len(starts) else None
    return World4D(
        rgb=rgb,
        depth=depth.numpy(),
        flow=flow.numpy(),
        scene_flow=scene_flow.numpy(),
        visible=visible.numpy(),
        camera=Camera(k.contiguous().numpy(), pose.numpy()),
        tracks=None if tracks is None else tracks[0].numpy(),
        track_visibility=None if tracks is None else tracks[1].numpy(),
        confidence=output.depth_log_confidence[0].exp().numpy(),
        fps=fps,
        meta=meta,
    ).validate()

"""What the heads say about overlapping windows of a long clip, joined to one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from phys4d.errors import InputError
from phys4d.geometry import invert_rigid
from phys4d.heads.output import HeadOutput


def windows(frames: int, window: int, overlap: int) -> list[int]:
    """First frames of windows that cover a clip, each beginning `overlap` before the end of the one before.

    The last one ends with the clip, hence may overlap more. Raises InputError for a clip shorter than a window.
    """
    if frames < window:
        raise InputError(f"{frames} frames do not fill a window of {window}")
    starts = list(range(0, frames - window + 1, max(1, window - overlap)))
    if starts[-1] + window < frames:
        starts.append(frames - window)
    return starts


def stitch(outputs: Sequence[HeadOutput], starts: Sequence[int]) -> HeadOutput:
    """Windows of the same B clips as one output.

    Every window has its own scale of depth and its own first camera. The scale is carried over by the median ratio
    of the depths in the frames that it shares with what is there already, where both see a surface; the cameras by
    the last of these frames, so that the path does not jump where windows disagree. Focal length and gravity are
    those of the first window.
    Raises InputError where windows do not overlap.
    """
    whole = outputs[0]
    for output, start in zip(outputs[1:], starts[1:]):
        have = whole.log_depth.shape[1]
        shared = have - start
        if shared < 1:
            raise InputError("windows must overlap by a frame at least")
        scale = _log_scale(whole, output, start, shared)
        poses = output.camera0_from_camera.clone()
        poses[:, :, :3, 3] = poses[:, :, :3, 3] * scale.exp()[:, None, None]
        poses = (whole.camera0_from_camera[:, -1] @ invert_rigid(poses[:, shared - 1]))[:, None] @ poses
        log_depth = output.log_depth + scale[:, None, None, None]
        whole = HeadOutput(
            log_depth=torch.cat([whole.log_depth, log_depth[:, shared:]], 1),
            depth_log_confidence=torch.cat(
                [whole.depth_log_confidence, output.depth_log_confidence[:, shared:]], 1
            ),
            motion=torch.cat([whole.motion, output.motion[:, shared - 1 :]], 1),
            motion_log_confidence=torch.cat(
                [whole.motion_log_confidence, output.motion_log_confidence[:, shared - 1 :]], 1
            ),
            visibility=torch.cat([whole.visibility, output.visibility[:, shared - 1 :]], 1),
            sky=torch.cat([whole.sky, output.sky[:, shared:]], 1),
            log_focal=whole.log_focal,
            gravity=whole.gravity,
            camera0_from_camera=torch.cat([whole.camera0_from_camera, poses[:, shared:]], 1),
        )
    return whole


def _log_scale(whole: HeadOutput, output: HeadOutput, start: int, shared: int) -> Float[Tensor, "B"]:
    """What to add to a window's log-depths to meet those of the clip that begins `start` frames before it."""
    difference = whole.log_depth[:, start:] - output.log_depth[:, :shared]
    surface = (whole.sky[:, start:] <= 0) & (output.sky[:, :shared] <= 0)
    # Depths of the sky mean nothing; where there is nothing else, the scale does not matter either.
    surface = surface | ~surface.flatten(1).any(1)[:, None, None, None]
    return torch.where(surface, difference, torch.nan).flatten(1).nanmedian(dim=1).values

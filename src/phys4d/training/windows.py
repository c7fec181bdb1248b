"""Short windows for the heads: the frames of a clip are much alike, and many clips teach more than many frames.

On a frozen backbone a window of 5 frames costs far less than a clip of 17. What only a whole clip can show, such
as features of late frames, is left to the last part of a run.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from phys4d.backbones import Backbone
from phys4d.errors import InputError

BETWEEN = ("flow", "scene_flow", "visible")
"""Fields from each frame to the next, of which a clip has one less."""
EVERY = ("rgb", "depth", "intrinsics", "world_from_camera")


class Windowed(Protocol):
    """Settings of a stage whose heads read short windows in the first short_share of its steps (0: never)."""

    @property
    def steps(self) -> int: ...
    @property
    def short_frames(self) -> int: ...
    @property
    def short_share(self) -> float: ...


def read_by_heads(batch: dict[str, Any], config: Windowed, step: int) -> dict[str, Any]:
    """What of the batch the heads read at this step."""
    if config.short_frames and step < config.short_share * config.steps:
        return short_window(batch, config.short_frames)
    return batch


def short_window(batch: dict[str, Any], frames: int) -> dict[str, Any]:
    """The batch with `frames` consecutive frames of each clip, the same for all, drawn by torch's generator."""
    start = int(torch.randint(batch["rgb"].shape[1] - frames + 1, ()))
    cut = {name: batch[name][:, start : start + frames] for name in EVERY if name in batch}
    return batch | cut | {name: batch[name][:, start : start + frames - 1] for name in BETWEEN if name in batch}


def check_short(backbone: Backbone, frames: int) -> None:
    """Raises InputError, naming the nearest, where the backbone has no window of so many frames."""
    if frames and backbone.valid_frames(frames) != frames:
        raise InputError(
            f"short_frames={frames}: the backbone reads windows of {backbone.valid_frames(frames)} frames, not of "
            f"{frames}; 0 reads whole clips"
        )

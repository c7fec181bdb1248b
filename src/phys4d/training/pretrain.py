"""Stage 1, pseudo-supervised pretraining: heads on a frozen backbone, with labels from teachers on RGB alone.

The noisy clip x_t, t in [0, t_max], goes through the frozen backbone; heads read its features:

    L = L_depth + L_motion + 0.1 (L_visibility + L_sky)

    L_depth    the teacher's depth has an unknown scale and shift, so both are fitted away in disparity, per clip;
               then |d - d*|, gradients at four scales, and change in time where the teacher's is small
               (a metric teacher: the same in log-depth, without the fit)
    L_motion   Charbonnier(F - F*) where the teacher's forward and backward flow agree; what moves and
               what stands still get the same weight. Of a metric teacher also the change of log-depth,
               log D*'(p + F*) - log D*(p), away from edges; a relative one does not know it
    L_visibility, L_sky   cross-entropy with that agreement, and with the teacher's sky

Beside each error e the predicted confidence c learns c e - a log c, which weighs nothing. The truth of simulated
worlds is never opened: data that no teacher has labelled are labelled here, from their RGB.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from phys4d import losses
from phys4d.backbones import Backbone
from phys4d.data.shards import WorldDataset, open_dataset
from phys4d.errors import InputError
from phys4d.geometry import backward_warp
from phys4d.model import WorldModel
from phys4d.teachers.labelling import label_videos
from phys4d.training.config import TrainConfig
from phys4d.training.denoising import dropped_prompts
from phys4d.training.measures import lifting_measures, stage_batches
from phys4d.training.placement import place
from phys4d.training.state import History
from phys4d.training.windows import check_short, read_by_heads
from phys4d.world import World4D

FIELDS = ("rgb", "depth", "flow", "visible")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainConfig):
    """Settings of stage 1, beside those of every stage.

    depth_teacher, flow_teacher: for data without labels. most_time: t_max, the noisiest clip that heads read.
    depth_weight, motion_weight: of the losses. text_drop: share of clips without their caption. head_width: of
    fresh heads. short_frames: length of the windows that heads read (0: whole clips) in the first short_share of
    the steps.
    """

    depth_teacher: str = "embedded"
    flow_teacher: str = "dis"
    most_time: float = 0.15
    depth_weight: float = 1.0
    motion_weight: float = 1.0
    text_drop: float = 0.5
    head_width: int = 24
    short_frames: int = 0
    short_share: float = 0.75

    @property
    def fields(self) -> tuple[str, ...]:
        return FIELDS


class PretrainStage:
    """See the module."""

    name = "pretrain"
    best = ("disparity_l1", "lower")
    stride = 1

    def __init__(
        self,
        model: WorldModel,
        config: PretrainConfig,
        data: Sequence[WorldDataset],
        held_out: Sequence[World4D],
    ) -> None:
        check_short(model.backbone, config.short_frames)
        if model.heads is None or model.fresh_heads:
            model.with_heads(width=config.head_width)
        assert model.heads is not None
        model.backbone.requires_grad_(False).eval()
        self.model, self.config, self.data, self.held_out = model, config, data, held_out
        self.trained: nn.Module = model.heads.requires_grad_(True).train()
        place(model, config)

    def batches(self, start: int) -> Iterator[dict[str, Any]]:
        return stage_batches(self.data, self.config.fields, self.config, start)

    def loss(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        config, device = self.config, self.model.device
        batch = read_by_heads(batch, config, step)
        video = self.model.to_video(batch["rgb"])
        depth, flow, visible = (batch[name].to(device) for name in FIELDS[1:])
        t = config.most_time * torch.rand(len(video), device=device)
        seen = self.model.read(video, dropped_prompts(batch["prompt"], config.text_drop), t=t)
        surface = depth > 0
        growth, steady = None, None
        if all(meta.get("depth_scale") == "metric" for meta in batch["meta"]):
            deep = losses.metric_depth_loss(seen.log_depth, depth, surface, seen.depth_log_confidence)
            growth, steady = depth_change(depth, flow, visible)
        else:
            disparity = torch.where(surface, 1 / depth.clamp_min(1e-6), 0.0)
            deep = losses.relative_depth_loss(seen.log_depth, disparity, surface, seen.depth_log_confidence)
        motion = losses.motion_loss(
            seen.motion,
            flow,
            visible,
            dlogdepth=growth,
            dlogdepth_mask=steady,
            log_confidence=seen.motion_log_confidence,
            moving=losses.moving_pixels(flow),
        )
        # Where the teacher sees sky it says nothing of what hides what.
        hidden = losses.visibility_loss(seen.visibility, visible, surface[:, :-1])
        sky = losses.sky_loss(seen.sky, ~surface)
        loss = config.depth_weight * deep.value + config.motion_weight * motion.value
        told = {"depth": deep.parts["data"], "motion": motion.parts["flow"], "coverage": motion.coverage["motion"]}
        return loss + 0.1 * (hidden.value + sky.value), {k: float(v) for k, v in told.items()}

    def validate(self) -> dict[str, float]:
        """Agreement with the teachers on held-out videos: disparity, AbsRel after one scale, end-point error.

        AbsRel not after a shift in disparity too: that puts the horizon of one clip in fifty near infinity, and
        the mean is then that clip's alone. But the loss leaves the shift open, so that AbsRel may rise at first.
        """
        names = ("abs_rel", "flow_epe")
        return lifting_measures(self.model, self.held_out, names, alignment="scale", relative=True)

    def stop_reason(self, history: History) -> str | None:
        return None


def depth_change(
    depth: Float[Tensor, "B T H W"], flow: Float[Tensor, "B T-1 H W 2"], visible: Bool[Tensor, "B T-1 H W"]
) -> tuple[Float[Tensor, "B T-1 H W"], Bool[Tensor, "B T-1 H W"]]:
    """Change of log-depth of each surface point, from a teacher's metric depth and flow, and where to trust it.

    That is where the point is visible and away from depth edges (and the sky) in both frames.
    """
    edge = losses.depth_edges(depth)
    log_depth = torch.where(depth > 0, depth, 1.0).log()
    after, inside = backward_warp(torch.stack([log_depth, edge.to(depth.dtype)], dim=-1)[:, 1:], flow)
    return after[..., 0] - log_depth[:, :-1], visible & inside & ~edge[:, :-1] & (after[..., 1] == 0)


def labelled(
    data: Sequence[str | Path], config: PretrainConfig, folder: Path, backbone: Backbone
) -> list[WorldDataset]:
    """Data sets that teachers have labelled; what is not yet, or is a video, is labelled into `folder`.

    That is done at the size and frame rate of the backbone, and on clips of its longest window.

    Raises InputError for data that cannot be opened, and for a set that is labelled in part.
    """
    ready, raw = [], []
    for source in map(Path, data):
        known = source.is_dir() and _is_labelled(open_dataset(source))
        (ready if known else raw).append(source)
    if raw:
        label_videos(
            raw,
            folder,
            depth=config.depth_teacher,
            flow=config.flow_teacher,
            size=backbone.size,
            fps=backbone.fps,
            frames=backbone.most_frames,
            workers=max(1, config.workers),
        )
        ready.append(folder)
    return [open_dataset(source) for source in ready]


def _is_labelled(dataset: WorldDataset) -> bool:
    """Whether teachers made these worlds; half of them is an error, for the other half would teach the truth."""
    if not len(dataset):
        raise InputError("a data set without worlds teaches nothing")
    marks = {"labels" in dataset.read(i, ()).meta for i in range(len(dataset))}
    if len(marks) > 1:
        raise InputError("a data set mixes labelled and other worlds; keep them apart")
    return marks.pop()

"""Stage 2, physics-grounded fine-tuning: a low-rank adapter and the heads, on the simulator's exact worlds.

    L = L_diffusion + ld L_depth + lm L_motion + lc L_camera + lw L_warp  (+ visibility and sky)

    L_depth    metric: |log D - log D*|, and gradients at four scales
    L_motion   Charbonnier(F - F*), and the change of log-depth; what moves and what stands still get
               the same weight
    L_camera   focal length, direction of gravity, pose relative to frame 0
    L_warp     mean |log D'(p + F) - log D(p) - delta|
               + gamma mean_static(|p_r - (p + F)| / W + |log z_r - log D(p) - delta|),
               which couples depth, motion and cameras with each other; (p_r, z_r) is the rigid prediction

The head losses reach the adapter through the features. `objective = "control"` is the same adapter, steps and
clips with L_diffusion alone: without it nobody can tell physics from more training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phys4d import losses
from phys4d.backbones import adapters
from phys4d.data.shards import WorldDataset
from phys4d.errors import InputError
from phys4d.geometry import motion_from_scene_flow
from phys4d.heads import HeadOutput
from phys4d.model import WorldModel
from phys4d.training.balance import balanced
from phys4d.training.config import TrainConfig
from phys4d.training.denoising import denoising_loss, dropped_prompts, given_frames
from phys4d.training.measures import generation_measures, lifting_measures, stage_batches
from phys4d.training.placement import place
from phys4d.training.state import History
from phys4d.training.windows import check_short, read_by_heads
from phys4d.world import World4D

FIELDS = ("rgb", "depth", "flow", "scene_flow", "visible", "camera")
STILL = 1e-4
"""Scene flow [m] below which a surface stands still."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainConfig):
    """Settings of stage 2, beside those of every stage.

    objective: "physics", or "control" for the diffusion loss alone. tuned: what of the backbone learns beside the
    heads: "adapter", "full" (every weight), or "heads" (nothing). rank, alpha: of the adapter. *_weight: of the
    losses; gamma: of the rigid part of the warp loss. most_time: the noisiest clip that heads read. moving_weight,
    text_drop, more_context: see the base stage. heads_share: length of the heads' gradient in the backbone, as a
    share of the diffusion loss's; 0: as it is. head_width: of heads that start here. short_frames, short_share: of
    what heads read, see stage 1.
    """

    objective: str = "physics"
    tuned: str = "adapter"
    rank: int = 16
    alpha: float = 32.0
    diffusion_weight: float = 1.0
    depth_weight: float = 1.0
    motion_weight: float = 0.5
    camera_weight: float = 0.2
    warp_weight: float = 1.0
    gamma: float = 1.0
    most_time: float = 0.15
    moving_weight: float = 4.0
    text_drop: float = 0.3
    more_context: float = 0.2
    heads_share: float = 0.0
    head_width: int = 24
    short_frames: int = 0
    short_share: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("objective", ("physics", "control"))
        self._one_of("tuned", ("adapter", "full", "heads"))
        if self.tuned == "heads" and self.objective == "control":
            raise InputError("the control trains no heads: with tuned=heads nothing would learn")
        if self.fsdp and self.tuned == "full" and self.heads_share:
            raise InputError(
                "heads_share weighs gradients against each other that fsdp keeps in shards where the whole "
                "backbone learns; take tuned=adapter, or heads_share=0"
            )
        self._at_least(1, "rank")

    @property
    def fields(self) -> tuple[str, ...]:
        return FIELDS if self.objective == "physics" else ("rgb",)


class FinetuneStage:
    """See the module."""

    name = "finetune"
    stride = 1

    def __init__(
        self,
        model: WorldModel,
        config: FinetuneConfig,
        data: Sequence[WorldDataset],
        held_out: Sequence[World4D],
    ) -> None:
        check_short(model.backbone, config.short_frames)
        self.physics = config.objective == "physics"
        self.best = ("abs_rel", "lower") if self.physics else ("change_iou_end", "higher")
        # Before the heads, whose random start would otherwise make it another one than the control's.
        model.backbone.requires_grad_(config.tuned == "full")
        if config.tuned == "full":
            # The weights are no longer those of the model that it began as.
            model.base = None
        if config.tuned == "adapter":
            name = "finetune" if self.physics else "control"
            adapters.add_adapter(model.backbone, free_name(model, name), rank=config.rank, alpha=config.alpha)
        if self.physics and (model.heads is None or model.fresh_heads):
            model.with_heads(width=config.head_width)
        if model.heads is not None:
            model.heads.requires_grad_(self.physics)
        self.model, self.config, self.data, self.held_out = model, config, data, held_out
        self.trained: nn.Module = place(model, config).train()

    def batches(self, start: int) -> Iterator[dict[str, Any]]:
        return stage_batches(self.data, self.config.fields, self.config, start)

    def loss(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        video = self.model.to_video(batch["rgb"])
        prompts = dropped_prompts(batch["prompt"], config.text_drop)
        context = given_frames(batch["meta"], self.model.backbone.most_frames // 2, config.more_context)
        with torch.set_grad_enabled(config.tuned != "heads"):
            diffusion, _ = denoising_loss(self.model, video, prompts, context, moving_weight=config.moving_weight)
        told = {"diffusion": float(diffusion.detach())}
        if not self.physics:
            return diffusion, told
        batch = read_by_heads(batch, config, step)
        video = self.model.to_video(batch["rgb"])
        t = config.most_time * torch.rand(len(video), device=video.device)
        seen = self.model.read(video, prompts, t=t)
        loss, parts = head_losses(seen, batch, config)
        if config.heads_share and config.tuned != "heads" and torch.is_grad_enabled():
            parts_of_it = (self.model.backbone, self.model.need_heads())
            tuned, heads = ([p for p in part.parameters() if p.requires_grad] for part in parts_of_it)
            return balanced(diffusion, loss, tuned, config.heads_share, heads), told | parts
        return config.diffusion_weight * diffusion + loss, told | parts

    def validate(self) -> dict[str, float]:
        """Errors of worlds lifted from held-out RGB against the simulator, and of clips that are generated."""
        made = generation_measures(self.model, self.held_out)
        if not self.physics:
            return made
        names = ("abs_rel", "flow_epe", "scene_flow_epe", "depth_warp_l1")
        return lifting_measures(self.model, self.held_out, names, alignment="none") | made

    def stop_reason(self, history: History) -> str | None:
        return None


def head_losses(
    seen: HeadOutput, batch: dict[str, Any], config: FinetuneConfig
) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum of all losses of the heads against the simulator's labels, and its parts to log.

    In full precision: poses and projections in bfloat16 would be off by pixels.
    """
    with torch.autocast(seen.log_depth.device.type, enabled=False):
        return _head_losses(seen, batch, config)


def _head_losses(
    seen: HeadOutput, batch: dict[str, Any], config: FinetuneConfig
) -> tuple[Tensor, dict[str, float]]:
    device = seen.log_depth.device
    depth, flow, scene_flow, visible, k, pose = (
        batch[name].to(device)
        for name in ("depth", "flow", "scene_flow", "visible", "intrinsics", "world_from_camera")
    )
    surface = depth > 0
    _, moved = motion_from_scene_flow(depth[:, :-1], scene_flow, k[:, :-1], k[:, 1:], pose[:, :-1], pose[:, 1:])
    known = surface[:, :-1] & (moved > 0)
    growth = torch.where(known, moved.clamp_min(1e-6).log() - depth[:, :-1].clamp_min(1e-6).log(), 0.0)
    still = scene_flow.norm(dim=-1) < STILL
    deep = losses.metric_depth_loss(seen.log_depth, depth, surface, seen.depth_log_confidence)
    motion = losses.motion_loss(
        seen.motion,
        flow,
        known,
        dlogdepth=growth,
        log_confidence=seen.motion_log_confidence,
        moving=~still & known,
    )
    camera = losses.camera_loss(
        seen.log_focal, seen.gravity, seen.camera0_from_camera, k, pose, height=depth.shape[2]
    )
    warp = losses.warp_loss(
        seen.log_depth,
        seen.motion,
        seen.intrinsics(),
        seen.camera0_from_camera,
        visible,
        still,
        losses.depth_edges(depth),
        gamma=config.gamma,
    )
    hidden = losses.visibility_loss(seen.visibility, visible, known)
    sky = losses.sky_loss(seen.sky, ~surface)
    loss = (
        config.depth_weight * deep.value
        + config.motion_weight * motion.value
        + config.camera_weight * camera.value
        + config.warp_weight * warp.value
        + 0.1 * (hidden.value + sky.value)
    )
    told = {
        "depth": deep.parts["data"],
        "motion": motion.parts["flow"],
        "camera": camera.value.detach(),
        "warp": warp.value.detach(),
        "warp_visible": warp.coverage["visible"],
        "warp_static": warp.coverage["static"],
    }
    return loss, {name: float(value) for name, value in told.items()}


def free_name(model: WorldModel, wanted: str) -> str:
    """A name that no adapter of the model has: `wanted`, or wanted_2, wanted_3, ..."""
    number = 1
    while (name := f"{wanted}_{number}" if number > 1 else wanted) in model.adapters:
        number += 1
    return name

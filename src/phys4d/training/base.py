"""Stage 0, the base: an appearance-driven video diffusion model, trained on RGB alone.

    L = E_t w(t) m || f(x_t, t; text, first frames) - target ||^2  +  e L_own

It sees no depth, no motion and no physics. For large backbones the public checkpoint takes this place. Two things
help a small model on few clips, both read off the RGB: pixels that differ from the last given frame weigh more
(m), and a backbone that predicts through something that the clean frames show is told so (L_own; for `nano`, where
they show each object that it cut out).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phys4d.data.shards import WorldDataset
from phys4d.model import WorldModel
from phys4d.training.config import TrainConfig
from phys4d.training.denoising import denoising_loss, dropped_prompts, given_frames
from phys4d.training.measures import generation_measures, stage_batches
from phys4d.training.placement import place
from phys4d.training.state import History
from phys4d.world import World4D


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseConfig(TrainConfig):
    """Settings of the base stage, beside those of every stage.

    flip: mirror half of the clips. recolour: exchange the colour channels of half of them. text_drop: share of
    clips without their caption. moving_weight: extra weight of pixels that differ from the last given frame.
    explained: weight of the backbone's own loss. more_context: share of clips that show more first frames than
    they need.
    """

    flip: bool = True
    recolour: bool = True
    text_drop: float = 0.1
    moving_weight: float = 4.0
    explained: float = 0.2
    more_context: float = 0.35


class BaseStage:
    """See the module."""

    name = "base"
    best = ("change_iou_end", "higher")
    stride = 1

    def __init__(
        self,
        model: WorldModel,
        config: BaseConfig,
        data: Sequence[WorldDataset],
        held_out: Sequence[World4D],
    ) -> None:
        self.model, self.config, self.data, self.held_out = model, config, data, held_out
        self.trained: nn.Module = model.backbone.requires_grad_(True).train()
        # The weights are no longer those of the model that it began as.
        model.base = None
        place(model, config)

    def batches(self, start: int) -> Iterator[dict[str, Any]]:
        return stage_batches(self.data, self.config.fields, self.config, start)

    def loss(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        video = self.model.to_video(batch["rgb"])
        if config.flip:
            mirrored = torch.rand(len(video)) < 0.5
            video[mirrored] = video[mirrored].flip(3)
        if config.recolour:
            for clip in torch.nonzero(torch.rand(len(video)) < 0.5).flatten().tolist():
                video[clip] = video[clip][..., torch.randperm(3)]
        loss, error = denoising_loss(
            self.model,
            video,
            dropped_prompts(batch["prompt"], config.text_drop),
            given_frames(batch["meta"], self.model.backbone.most_frames // 2, config.more_context),
            moving_weight=config.moving_weight,
            explained=config.explained,
        )
        return loss, {"diffusion": float(error)}

    def validate(self) -> dict[str, float]:
        """PSNR, and overlap of what changed, of clips made from held-out first frames."""
        return generation_measures(self.model, self.held_out)

    def stop_reason(self, history: History) -> str | None:
        return None

"""The recipes of large video models: `wan`, `cogvideox` and `opensora`, at the sizes of the paper.

There is no base stage: the public checkpoint takes its place. Stages 1 and 2 read windows of 33 frames, stage 3
makes smaller ones.
"""

from __future__ import annotations

from typing import Any

from phys4d.backbones.cogvideox import CogVideoX
from phys4d.backbones.opensora import OpenSora
from phys4d.backbones.pipeline import PipelineBackbone
from phys4d.backbones.wan import Wan
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.recipes.published import COGVIDEOX_1_5_5B_I2V, OPENSORA_1_2, WAN_2_2_TI2V_5B
from phys4d.recipes.recipe import Recipe, Window, recipes
from phys4d.training.base import BaseConfig
from phys4d.training.estimate import without_storage
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig
from phys4d.training.reinforce import ReinforceConfig


def large(init: str | None, published: Any, windows: dict[str, Window], *, clips: int = 4) -> Recipe:
    """The settings that all share. clips: that stage 2 takes at once; the batch is 4."""
    # Held-out clips are generated in fifty steps, each with and without the prompt: few of them, and seldom.
    every: dict[str, Any] = {
        "validation_worlds": 8, "validate_every": 500, "checkpoint_every": 250, "workers": 8, "cache": False,
        "warmup": 100, "lr": 1e-4,
    }  # fmt: skip
    adapter: dict[str, Any] = {"rank": 64, "alpha": 128.0}
    # Latents differ everywhere from those of a still video: no place is told apart as moving.
    loss: dict[str, Any] = {"moving_weight": 0.0}
    policy: dict[str, Any] = every | {"warmup": 10, "validate_every": 100, "checkpoint_every": 20}
    heads: dict[str, Any] = every | {"lr": 3e-4}
    return Recipe(
        start=lambda: _no_base(init),
        init=init,
        base=BaseConfig(**every, **loss),
        pretrain=PretrainConfig(steps=10_000, batch_size=4, head_width=48, **heads),
        finetune=FinetuneConfig(
            steps=10_000, batch_size=clips, accumulate=4 // clips, head_width=48, **adapter, **every, **loss
        ),
        reinforce=ReinforceConfig(
            steps=2_000, batch_size=16, accumulate=16, updates=4, sampling_steps=10, window=3,
            **adapter, **policy, **loss,
        ),
        windows=windows,
        published=published,
    )  # fmt: skip


def _no_base(init: str | None) -> WorldModel:
    where = f", or {init}" if init else " (docs/backbones.md says how to put it together)"
    raise InputError(f"the base of this recipe is a public checkpoint: give its folder with --init{where}")


@recipes.register("wan")
def wan() -> Recipe:
    """Wan 2.2 TI2V-5B."""
    wide, narrow = Window((480, 832), 33, 16.0), Window((256, 384), 33, 16.0)
    return large(
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        lambda: _on_meta(Wan, WAN_2_2_TI2V_5B, wide),
        {"pretrain": wide, "finetune": wide, "reinforce": narrow},
    )


@recipes.register("cogvideox")
def cogvideox() -> Recipe:
    """CogVideoX 1.5 5B I2V."""
    wide, narrow = Window((480, 720), 33, 16.0), Window((256, 384), 33, 16.0)
    return large(
        "zai-org/CogVideoX1.5-5B-I2V",
        lambda: _on_meta(CogVideoX, COGVIDEOX_1_5_5B_I2V, wide),
        {"pretrain": wide, "finetune": wide, "reinforce": narrow},
        clips=2,
    )


@recipes.register("opensora")
def opensora() -> Recipe:
    """Open-Sora 1.2."""
    wide, narrow = Window((480, 832), 33, 16.0), Window((256, 384), 33, 16.0)
    return large(
        None,
        lambda: _on_meta(OpenSora, OPENSORA_1_2, wide),
        {"pretrain": wide, "finetune": wide, "reinforce": narrow},
        clips=1,
    )


def _on_meta(kind: type[PipelineBackbone], published: dict[str, Any], window: Window) -> PipelineBackbone:
    return without_storage(kind, published, window.size, window.frames, window.fps)

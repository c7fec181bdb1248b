"""The recipe that runs anywhere in seconds: the real stages on a tiny model, to try data and machines."""

from __future__ import annotations

from typing import Any

import torch

from phys4d.model import WorldModel
from phys4d.recipes.recipe import Recipe, recipes
from phys4d.training.base import BaseConfig
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig
from phys4d.training.reinforce import ReinforceConfig


def tiny() -> WorldModel:
    """A tiny model of random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WorldModel.tiny("nano")


@recipes.register("debug")
def debug() -> Recipe:
    few: dict[str, Any] = {
        "steps": 4, "batch_size": 2, "warmup": 1, "log_every": 1, "validate_every": 2, "checkpoint_every": 2,
        "validation_worlds": 2,
    }  # fmt: skip
    return Recipe(
        start=tiny,
        init=None,
        base=BaseConfig(**few),
        pretrain=PretrainConfig(head_width=8, **few),
        finetune=FinetuneConfig(rank=2, alpha=4.0, head_width=8, **few),
        reinforce=ReinforceConfig(
            accumulate=1, updates=2, rank=2, alpha=4.0, sampling_steps=3, window=1, drop=False, **few
        ),
    )

"""The recipe of stage 3's proof: few frames of few pixels, so that several seeds of every arm take minutes."""

from __future__ import annotations

import torch

from phys4d.backbones import backbones
from phys4d.model import WorldModel
from phys4d.recipes.nano import nano
from phys4d.recipes.recipe import Recipe, recipes
from phys4d.training.base import BaseConfig
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig

SCENES = ("ball_drop", "ball_bounce", "ball_ramp", "projectile", "block_slide", "ball_rolls_off")


def untrained() -> WorldModel:
    """A nano for 9 frames of 32x32, of random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WorldModel(backbones["nano"](width=96, size=(32, 32), groups=2, objects=3))


@recipes.register("proof")
def proof() -> Recipe:
    return Recipe(
        start=untrained,
        init=None,
        base=BaseConfig(steps=2000, batch_size=16, lr=1.5e-3, warmup=50, ema=0.995, validate_every=1000),
        pretrain=PretrainConfig(
            steps=400, batch_size=16, lr=1e-3, depth_weight=2.0, motion_weight=0.5, ema=0.98, validate_every=200
        ),
        finetune=FinetuneConfig(
            steps=400,
            batch_size=8,
            lr=1.5e-3,
            backbone_rate=0.3,
            heads_share=0.5,
            ema=0.98,
            validate_every=400,
        ),
        reinforce=nano().reinforce,
        scenes=SCENES,
    )

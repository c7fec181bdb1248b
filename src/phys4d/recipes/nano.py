"""The recipe of the embedded model: two CPU cores, hours for the base and minutes for each stage."""

from __future__ import annotations

import torch

from phys4d.backbones import backbones
from phys4d.model import WorldModel
from phys4d.recipes.recipe import Recipe, recipes
from phys4d.training.base import BaseConfig
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig
from phys4d.training.reinforce import ReinforceConfig

SCENES = (
    "ball_drop", "ball_bounce", "ball_ramp", "ball_collide", "two_balls_pass", "block_domino", "stable_blocks",
    "unstable_block_stack", "projectile", "roll_behind_box", "ball_hits_duck", "ball_in_basket", "ball_rolls_off",
    "block_slide",
)  # fmt: skip


def untrained() -> WorldModel:
    """A nano of random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WorldModel(backbones["nano"]())


@recipes.register("nano")
def nano() -> Recipe:
    return Recipe(
        start=untrained,
        init="nano-base",
        base=BaseConfig(
            steps=5600, batch_size=8, lr=1.2e-3, warmup=100, ema=0.998, validate_every=1000, checkpoint_every=250
        ),
        # Small batches of short windows: at this length a run is short of steps, not of frames.
        pretrain=PretrainConfig(
            steps=800,
            batch_size=4,
            short_frames=5,
            lr=1e-3,
            depth_weight=2.0,
            motion_weight=0.5,
            ema=0.98,
            validate_every=400,
        ),
        finetune=FinetuneConfig(
            steps=800,
            batch_size=4,
            short_frames=5,
            lr=2.5e-3,
            backbone_rate=0.3,
            ema=0.98,
            validate_every=400,
        ),
        # Rollouts are what a small model lacks: each batch is used once, and awm
        # needs one pass of the network an update where kl_mask needs two for each step of its window.
        reinforce=ReinforceConfig(
            steps=60,
            updates=1,
            objective="awm",
            sampling_steps=3,
            lr=3e-4,
            backbone_rate=3.0,
            warmup=6,
            validate_every=30,
            checkpoint_every=20,
        ),
        scenes=SCENES,
    )

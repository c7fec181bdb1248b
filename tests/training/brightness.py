"""Stage 3 as a bandit: a backbone that paints cells, and a reward for bright ones that needs no lifter."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from phys4d.backbones.nano import Nano
from phys4d.data.shards import open_dataset
from phys4d.model import WorldModel
from phys4d.rewards import RewardParts, RewardScene, rewards
from phys4d.rewards.scene import Errors
from phys4d.training import reinforce, scenes
from phys4d.training.reinforce import ReinforceConfig, ReinforceStage
from phys4d.world import World4D

NOTHING = Errors(0.0, 0.0, 0.0)
REWARD = "brightness of the first cell"


@rewards.register(REWARD)
def brightness(world, scene):
    value = float(world.rgb[1:, :8, :8].mean()) / 255
    return RewardParts(value, value, value, value, NOTHING)


class Painter(Nano):
    """Frames of one colour a cell, which an adapter can change, under what noise there is.

    It paints without objects, so that it needs but one.
    """

    lora_targets = ("paint",)

    def __init__(self, width=32, **options):
        super().__init__(width, **{**options, "objects": 1})
        self.paint = nn.Linear(width, 3)

    def forward(self, x, t, condition):
        _, features = super().forward(x, t, condition)
        colour = self.paint(features[-2][:, 1:]).permute(0, 4, 1, 2, 3)
        for axis, factor in ((2, 4), (3, 8), (4, 8)):
            colour = colour.repeat_interleave(factor, dim=axis)
        made = torch.tanh(0.3 * colour + 0.5 * x[:, :, 1:])
        return condition.clamp(torch.cat([x[:, :, :1], made], dim=2)), features


def painter(heads=True) -> WorldModel:
    """A model of random weights, always the same."""
    torch.manual_seed(0)
    model = WorldModel(Painter.tiny())
    return model.with_heads(width=8) if heads else model


def unprepared(truth, lift):
    """A scene as `prepare_scene` makes it, without what a reward by geometry needs."""
    empty = dict.fromkeys(("nearest", "farthest", "track_pixels", "tracks", "track_judged", "order"), np.zeros(0))
    return RewardScene(
        truth=truth, extent=1.0, truncation=0.25, epsilon=0.02, dynamic=("a tree",), background=(),
        static=NOTHING, floor=NOTHING, dropped="", **empty,
    )  # fmt: skip


class ColourStage(ReinforceStage):
    """The real stage, whose lifter sees colours alone."""

    def lift(self, rgb, fps=12.0):
        return [World4D(rgb=frames, fps=fps) for frames in rgb]


@pytest.fixture
def colour_stage(clips, monkeypatch):
    """Makes a stage with some settings, on a model that is always the same."""
    for module in (reinforce, scenes):
        monkeypatch.setattr(module, "prepare_scene", unprepared)
    few = ReinforceConfig(
        steps=6, batch_size=2, accumulate=1, updates=2, rank=2, alpha=4.0, sampling_steps=3, window=1, warmup=1,
        log_every=1, validate_every=100, checkpoint_every=2, anchor_clips=1, reward=REWARD,
    )  # fmt: skip

    def make(model: WorldModel | None = None, **settings) -> ReinforceStage:
        config = dataclasses.replace(few, **settings)
        data = open_dataset(clips)
        held_out = [data.read(0, config.fields)]
        return ColourStage(model or painter(), config, [data[1:]], held_out)

    return make

"""Stage 0: colours alone, and weights that are its own afterwards."""

import collections
import itertools

import pytest
import torch

from phys4d.data.shards import open_dataset
from phys4d.model import WorldModel
from phys4d.training.base import BaseConfig, BaseStage
from phys4d.training.loop import seed_step


def stage_of(data, model=None, **settings):
    config = BaseConfig(steps=10, batch_size=2, **settings)
    return BaseStage(model or WorldModel.tiny("nano"), config, [open_dataset(data)], [])


def test_it_reads_colours_alone(rgb_clips):
    stage = stage_of(rgb_clips)
    batch = next(stage.batches(0))
    assert set(batch) == {"rgb", "fps", "key", "prompt", "meta"}
    stage.loss(batch, 0)[0].backward()
    assert all(p.grad is not None for p in stage.trained.parameters() if p.requires_grad)
    assert all(p.grad is None for p in stage.model.heads.parameters())


def test_the_backbones_own_loss_counts_as_much_as_it_is_told(rgb_clips):
    extra = []
    for explained in (0.0, 0.2, 0.4):
        stage = stage_of(rgb_clips, WorldModel.tiny("nano"), explained=explained)
        # Random, and the same for each.
        seed_step(0, 0)
        for parameter in stage.trained.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        batch = next(stage.batches(0))
        seed_step(0, 1)
        loss, told = stage.loss(batch, 0)
        extra.append(float(loss.detach()) - told["diffusion"])
    assert extra[0] == 0
    assert extra[1] > 0
    assert extra[2] == pytest.approx(2 * extra[1], rel=1e-3)


@pytest.fixture
def seen(monkeypatch):
    """The videos that losses were taken of."""
    videos = []
    monkeypatch.setattr(
        "phys4d.training.base.denoising_loss",
        lambda model, video, *rest, **options: videos.append(video.clone()) or (torch.zeros(()), torch.zeros(())),
    )
    return videos


def take_losses(stage, steps):
    """Losses of one batch again and again; returns its videos as they are."""
    batch = next(stage.batches(0))
    for step in range(steps):
        seed_step(0, step)
        stage.loss(batch, step)
    return batch["rgb"].float() / 255


def test_colours_of_half_of_the_clips_change_places(rgb_clips, seen):
    plain = take_losses(stage_of(rgb_clips, flip=False), 60)
    orders = list(itertools.permutations(range(3)))
    drawn = [
        [tuple(o) for o in orders if torch.equal(video[i], plain[i][..., list(o)])]
        for video in seen
        for i in (0, 1)
    ]
    assert all(len(found) == 1 for found in drawn), "a clip that is no exchange of its channels"
    counts = collections.Counter(found[0] for found in drawn)
    assert set(counts) == set(orders)
    assert 0.4 < counts[0, 1, 2] / len(drawn) < 0.75, "half of them, and a sixth of the other half"


def test_half_of_the_clips_are_mirrored(rgb_clips, seen):
    plain = take_losses(stage_of(rgb_clips, recolour=False), 40)
    mirrored = torch.tensor([[torch.equal(video[i], plain[i].flip(2)) for i in range(2)] for video in seen])
    kept = torch.tensor([[torch.equal(video[i], plain[i]) for i in range(2)] for video in seen])
    assert bool((mirrored ^ kept).all())
    assert 0.3 < float(mirrored.float().mean()) < 0.7


def test_its_weights_are_no_longer_those_of_the_model_that_it_began_as(rgb_clips):
    model = WorldModel.tiny("nano")
    # A model of this base is saved without its backbone.
    model.base = "nano-base"
    assert stage_of(rgb_clips, model).model.base is None

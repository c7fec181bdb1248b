"""What a clip tells of its anchor frame: what leaves is cut out; what arrives, passes or stays is not."""

import numpy as np
import pytest
import torch

from phys4d import simulate
from phys4d.backbones.leaving import cut_loss, leaving

SIDE, FRAMES = 64, 9


def film(lefts, top=24, side=10, stripes=False):
    """A red square at these columns, frame by frame (None: not there), over grey that brightens downwards."""
    video = torch.linspace(-0.6, 0.0, SIDE)[None, None, None, :, None].repeat(1, 3, len(lefts), 1, SIDE)
    for frame, left in enumerate(lefts):
        if left is not None:
            video[0, :, frame, top : top + side, left : left + side] = torch.tensor([1.0, -1, -1])[:, None, None]
            if stripes:
                video[0, :, frame, top : top + side : 2, left : left + side] *= -1
    return video


def box(left, top=24, side=10):
    mask = torch.zeros(SIDE, SIDE)
    mask[top : top + side, left : left + side] = 1
    return mask


def found(video, last=0):
    leaves, sure = leaving(video, torch.tensor([last]))
    return leaves[0, 0], sure[0, 0]


def overlap(a, b):
    return float((a * b).sum() / torch.maximum(a, b).sum())


def test_what_leaves_is_found_as_a_whole():
    leaves, sure = found(film([8 + 5 * i for i in range(FRAMES)]))
    assert overlap(leaves, box(8)) > 0.9
    assert sure[40:].min() == 1


def test_the_anchor_is_any_frame():
    leaves, _ = found(film([8, 8, 8, 14, 20, 26, 32, 38, 44]), last=4)
    assert overlap(leaves, box(20)) > 0.9


@pytest.mark.parametrize("lefts", [[None] * 5 + [20] * 4, [None, 5, 15, 25, 35, 45, 54, None, None]])
def test_what_arrives_or_passes_is_not_cut_out(lefts):
    assert found(film(lefts))[0].sum() == 0


def test_in_a_still_clip_nothing_leaves_and_that_is_certain():
    leaves, sure = found(film([20] * FRAMES))
    assert leaves.sum() == 0
    assert sure.min() == 1


def test_where_the_thing_covers_itself_all_along_nothing_is_claimed():
    # It sinks by half its height: its lower half shows stripes that have moved, at no time the background.
    video = film([20] * FRAMES, stripes=True)
    for frame in range(1, FRAMES):
        video[:, :, frame] = film([20], top=29, stripes=True)[:, :, 0]
    leaves, sure = found(video)
    assert leaves[24:28, 21:29].mean() > 0.9
    assert ((1 - sure) + leaves)[30:33, 21:29].mean() > 0.9


def test_the_loss_is_least_at_the_true_matte():
    video = film([8 + 5 * i for i in range(FRAMES)])
    last = torch.tensor([0])
    true, _ = found(video)
    none, whole = torch.zeros_like(true), torch.ones_like(true)
    losses = [cut_loss(torch.stack([matte, none])[None], video, last) for matte in (true, none, whole)]
    assert losses[0] < 0.01 < min(losses[1:])
    parts = torch.stack([true * box(8, side=5), true * (1 - box(8, side=5))])
    assert cut_loss(parts[None], video, last) == pytest.approx(float(losses[0]), abs=1e-6)


@pytest.mark.parametrize("scene", ["ball_drop", "ball_collide", "projectile"])
def test_in_simulated_films_it_agrees_with_the_simulator(scene):
    world = simulate(scene, seed=5, size=(64, 64), camera="static")
    last = int(world.meta["context_frames"]) - 1
    video = torch.from_numpy(world.rgb).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    leaves = found(video, last)[0].numpy() > 0
    moved = np.linalg.norm(world.scene_flow, axis=-1) > 0.02
    truth = moved[last]
    assert truth.sum() > 20
    assert leaves[truth].mean() > 0.8

"""Augmentation: colour and depth go through the same crop and the same mirror, and colours lose their meaning."""

import torch

from phys4d.teachers.augment import LEAST_CROP, crop_and_flip, recolour

CLIPS, FRAMES, SIDE = 64, 2, 32


def ramps() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures whose red and green say where they were taken, and a disparity that says the same."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) / SIDE, torch.arange(SIDE) / SIDE, indexing="ij")
    rgb = torch.stack([columns, rows, 0 * rows]).expand(CLIPS, FRAMES, 3, SIDE, SIDE)
    return rgb.clone(), (1 + columns + 10 * rows).expand(CLIPS, FRAMES, SIDE, SIDE).clone()


def test_depth_gets_the_same_crop_and_mirror():
    rgb, disparity = crop_and_flip(*ramps(), torch.Generator().manual_seed(0))
    said = 1 + rgb[:, :, 0] + 10 * rgb[:, :, 1]
    # The nearest pixel is at most half a pixel away in each direction.
    assert (said - disparity).abs().max() <= (0.5 + 5.0) / SIDE + 1e-5
    mirrored = rgb[:, 0, 0, 0, 0] > rgb[:, 0, 0, 0, -1]
    assert 0.25 < mirrored.float().mean() < 0.75
    width = (rgb[:, 0, 0].amax((1, 2)) - rgb[:, 0, 0].amin((1, 2))) * SIDE / (SIDE - 1)
    height = (rgb[:, 0, 1].amax((1, 2)) - rgb[:, 0, 1].amin((1, 2))) * SIDE / (SIDE - 1)
    assert (rgb[:, 0, 1].diff(dim=1) >= -1e-6).all(), "never upside down"
    assert (width - height).abs().max() < 0.03
    assert width.min() > LEAST_CROP - 0.03
    assert width.max() - width.min() > 0.2


def test_frames_of_a_clip_share_it_and_clips_differ():
    rgb, _ = crop_and_flip(*ramps(), torch.Generator().manual_seed(0))
    assert torch.equal(rgb[:, 0], rgb[:, 1])
    assert not torch.allclose(rgb[0], rgb[1])


def test_no_depth_is_invented_at_edges():
    """Nearest, not bilinear: nothing between a thing and the sky behind it."""
    rgb, disparity = ramps()
    disparity[:] = 0
    disparity[..., 10:20, 10:20] = 2
    _, cropped = crop_and_flip(rgb, disparity, torch.Generator().manual_seed(1))
    assert set(cropped.unique().tolist()) == {0.0, 2.0}


def test_recolouring_stays_a_picture_and_changes_it():
    rgb = torch.rand(CLIPS, FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    result = recolour(rgb, torch.Generator().manual_seed(1))
    assert result.shape == rgb.shape
    assert result.min() >= 0
    assert result.max() <= 1
    assert ((result - rgb).abs().mean(dim=(1, 2, 3, 4)) > 0.02).all()
    gray = (result - result.mean(dim=2, keepdim=True)).abs().flatten(1).mean(dim=1) < 0.03
    assert 0 < gray.sum() < CLIPS // 2, "some clips lose all colour, most do not"


def test_hue_no_longer_tells_anything():
    """Pure red becomes every colour: over clips no channel is preferred."""
    red = torch.zeros(512, 1, 3, 8, 8)
    red[:, :, 0] = 0.9
    mean = recolour(red, torch.Generator().manual_seed(2)).mean(dim=(0, 1, 3, 4))
    assert mean.max() - mean.min() < 0.1


def test_recolouring_moves_nothing():
    """An edge between dark and bright stays where it is, to the width of the blur."""
    rgb = torch.full((CLIPS, 1, 3, 32, 32), 0.2)
    rgb[..., 16:] = 0.8
    result = recolour(rgb, torch.Generator().manual_seed(3)).mean(dim=(1, 2, 3))
    step = result.diff(dim=-1).abs()
    clear = step[:, 15] > 0.15
    assert clear.float().mean() > 0.6
    assert (step[clear].argmax(dim=-1) == 15).float().mean() > 0.9


def test_the_seed_decides():
    draws = [recolour(ramps()[0], torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])

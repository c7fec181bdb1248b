"""The matched filter finds what was planted, and says how sure it is."""

import pytest
import torch

from phys4d.backbones.registration import MOST, likelihood, offsets, posterior

SIDE, CELL = 32, 8
SHIFTS = torch.tensor([[0, 0], [6, 4], [-4, 10]])
"""x, y [px] of the object in three frames."""


def scene(generator, noise):
    """(noisy frames, alpha, sigma, background, object) of a textured square on a texture."""
    background = torch.rand(1, 3, SIDE, SIDE, generator=generator) - 0.5
    matte = torch.zeros(1, 1, SIDE, SIDE)
    matte[..., 10:18, 8:16] = 1
    colours = torch.rand(1, 3, SIDE, SIDE, generator=generator) * 2 - 1
    cut = torch.cat([colours * matte, matte], dim=1)
    frames = []
    for x, y in SHIFTS.tolist():
        moved = torch.roll(cut, (y, x), dims=(2, 3))
        frames.append(background * (1 - moved[:, 3:]) + moved[:, :3])
    alpha, sigma = torch.full((1, len(frames)), 1 - noise), torch.full((1, len(frames)), noise)
    clip = torch.stack(frames, dim=2)
    x = (1 - noise) * clip + noise * torch.randn(clip.shape, generator=generator)
    return x, alpha, sigma, background, cut[:, None]


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_an_object_is_found_where_it_was_put(noise):
    logs = likelihood(*scene(torch.Generator().manual_seed(0), noise))
    wide = torch.full((1, 1, len(SHIFTS)), 3.0)
    place, spread, found = posterior(logs, torch.zeros(1, 1, len(SHIFTS), 2), wide, CELL)
    assert ((place[0, 0] - SHIFTS / CELL).abs() < 0.5 / CELL).all()
    assert (spread < 0.25).all()
    assert (found > 4).all()
    assert logs.max() <= MOST + 1e-3


def test_the_likelihood_is_that_of_the_model_pixel_by_pixel():
    """Against the residuals of every displacement, worked out one by one at half the resolution."""
    x, alpha, sigma, background, cut = scene(torch.Generator().manual_seed(1), 0.8)
    logs = likelihood(x, alpha, sigma, background, cut)[0, 0, 1]
    halve = torch.nn.functional.avg_pool2d
    seen, behind, piece = halve(x[:, :, 1], 2)[0], halve(background, 2)[0], halve(cut[0], 2)[0]
    variance = 0.8**2 / 4 + 0.2**2 * 0.01

    def misfit(down, right):
        moved = torch.zeros_like(piece)
        y0, y1, x0, x1 = max(down, 0), 16 + min(down, 0), max(right, 0), 16 + min(right, 0)
        moved[:, y0:y1, x0:x1] = piece[:, y0 - down : y1 - down, x0 - right : x1 - right]
        made = behind + moved[:3] - moved[3:] * behind
        return (seen - 0.2 * made).square().sum() / (2 * variance)

    nothing = (seen - 0.2 * behind).square().sum() / (2 * variance)
    for down, right in [(0, 0), (2, 3), (-5, 1), (6, -7), (-16, 15)]:
        ratio = nothing - misfit(down, right)
        torch.testing.assert_close(logs[16 + down, 16 + right], ratio, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("noise", [0.02, 0.4])
def test_a_pale_object_is_not_found_at_a_vivid_one(noise):
    """Against no object, three times its contrast would fit better than the object itself."""
    pale, vivid = torch.zeros(1, 4, SIDE, SIDE), torch.zeros(1, 4, SIDE, SIDE)
    pale[:, :, 4:12, 4:12] = torch.tensor([0.25, 0.2, 0.3, 1.0])[:, None, None]
    vivid[:, :, 18:26, 18:26] = torch.tensor([0.9, 0.7, 0.9, 1.0])[:, None, None]
    background = torch.zeros(1, 3, SIDE, SIDE)
    moved = torch.roll(pale, 6, dims=3)
    clip = (moved[:, :3] + vivid[:, :3])[:, :, None]
    x = (1 - noise) * clip + noise * torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
    alpha, sigma = torch.full((1, 1), 1 - noise), torch.full((1, 1), noise)
    logs = likelihood(x, alpha, sigma, background, pale[:, None])
    place, _, _ = posterior(logs, torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1), 3.0), CELL)
    torch.testing.assert_close(place[0, 0, 0], torch.tensor([6.0, 0.0]) / CELL, atol=0.25, rtol=0)


def test_pure_noise_leaves_what_was_expected():
    x, _, _, background, cut = scene(torch.Generator().manual_seed(2), 1.0)
    nothing = torch.zeros(1, len(SHIFTS))
    logs = likelihood(x, nothing, nothing + 1, background, cut)
    mean = torch.tensor([[0.5, -0.75], [0.0, 0.3], [1.0, 1.0]])[None, None]
    place, spread, _ = posterior(logs, mean, torch.full((1, 1, 3), 0.5), CELL)
    torch.testing.assert_close(place, mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(spread, torch.full((1, 1, 3), 0.5 * 2**0.5), atol=2e-3, rtol=0)


def test_two_sources_are_weighed_by_their_certainty():
    """Gaussian times Gaussian: the mean of both, each by its precision."""
    grid = offsets(64, CELL, torch.device("cpu"))
    seen, blur = torch.tensor([1.0, -0.5]), 0.6
    logs = -((grid - seen[1])[:, None].square() + (grid - seen[0]).square()) / (2 * blur**2)
    expected, width = torch.tensor([0.0, 0.5]), 1.2
    place, _, _ = posterior(logs[None, None, None], expected[None, None, None], torch.full((1, 1, 1), width), CELL)
    by_hand = (seen / blur**2 + expected / width**2) / (1 / blur**2 + 1 / width**2)
    torch.testing.assert_close(place[0, 0, 0], by_hand, atol=1e-3, rtol=0)


def test_an_object_without_a_pixel_says_nothing():
    x, alpha, sigma, background, cut = scene(torch.Generator().manual_seed(3), 0.1)
    assert likelihood(x, alpha, sigma, background, torch.zeros_like(cut)).abs().max() < 1e-3

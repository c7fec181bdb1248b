"""The depth loss: blind to one scale and shift a clip, and to nothing else."""

import pytest
import torch

from phys4d.teachers.depth_loss import (
    SKY_WEIGHT,
    THING_WEIGHT,
    depth_loss,
    gradient_loss,
    normalised,
    thing_weight,
)

GENERATOR = torch.Generator().manual_seed(0)
TARGET = 0.1 + torch.rand(3, 2, 16, 16, generator=GENERATOR)
TARGET[:, :, :4] = 0  # sky
RIGHT_SKY = torch.where(TARGET > 0, -20.0, 20.0)
UNSURE = torch.zeros_like(TARGET)


def loss(disparity, *, log_error=UNSURE, sky=RIGHT_SKY, target=TARGET) -> float:
    return float(depth_loss(disparity, log_error, sky, target))


def test_the_truth_up_to_scale_and_shift_costs_nothing():
    assert loss(TARGET) == pytest.approx(0, abs=1e-6)
    clips = torch.tensor([0.3, 1.0, 40.0]).reshape(3, 1, 1, 1)
    assert loss(clips * TARGET - 7 * clips) == pytest.approx(0, abs=1e-4)
    assert loss(-TARGET) > 1


def test_the_scale_must_be_one_for_all_frames_of_a_clip():
    frames = torch.tensor([1.0, 1.5]).reshape(1, 2, 1, 1)
    assert loss(frames * TARGET) > 0.05


def test_what_is_said_of_depth_in_the_sky_does_not_count():
    noisy = TARGET + (TARGET == 0) * 50 * torch.randn(TARGET.shape, generator=GENERATOR)
    assert loss(noisy) == pytest.approx(0, abs=1e-6)


def test_sky_is_asked_for():
    assert loss(TARGET, sky=-RIGHT_SKY) > 1
    assert loss(TARGET, sky=torch.zeros_like(TARGET)) == pytest.approx(SKY_WEIGHT * 0.6931, abs=1e-3)


def test_normalised_has_median_0_and_mean_deviation_1_over_the_mask():
    mask = TARGET > 0
    values = normalised(3 * TARGET + 2, mask)
    for clip, known in zip(values, mask):
        assert clip[known].median().abs() < 1e-6
        assert clip[known].abs().mean() == pytest.approx(1, abs=1e-5)


def test_a_thing_counts_for_more_than_the_ground_under_it():
    """Ground whose disparity grows evenly down the picture, and a near thing on a tenth of it."""
    ground = torch.linspace(0.1, 1, 16)[:, None].expand(1, 1, 16, 16).clone()
    target = ground.clone()
    target[..., 2:7, 5:10] = 1.5
    everywhere = torch.ones_like(target, dtype=torch.bool)
    weight = thing_weight(normalised(target, everywhere), everywhere)
    assert (weight[..., 2:7, 5:10] == 1 + THING_WEIGHT).all()
    assert (weight[..., 7:, :] == 1).all()
    assert (thing_weight(normalised(ground, everywhere), everywhere) == 1).all()


def test_a_missed_thing_costs_more_than_as_much_wrong_ground():
    target = torch.linspace(0.1, 1, 16)[:, None].expand(1, 1, 16, 16).clone()
    target[..., 2:7, 5:10] = 1.5
    sky, unsure = torch.full_like(target, -20.0), torch.zeros_like(target)
    missed, wrong = target.clone(), target.clone()
    missed[..., 2:7, 5:10] -= 0.3
    wrong[..., 9:14, 5:10] -= 0.3
    losses = [float(depth_loss(guess, unsure, sky, target)) for guess in (missed, wrong)]
    assert losses[0] > 1.25 * losses[1]


def test_gradients_of_a_step_are_counted_once_a_scale():
    """A residual step of height 1 between columns 7 and 8: one pair of 15, 7, 3 and 1."""
    residual = torch.zeros(1, 1, 16, 16)
    residual[..., 8:] = 1
    everywhere = torch.ones_like(residual, dtype=torch.bool)
    expected = (1 / 15 + 1 / 7 + 1 / 3 + 1) / 4
    assert gradient_loss(residual, everywhere) == pytest.approx(expected)
    assert gradient_loss(residual + 5, everywhere) == pytest.approx(expected)
    everywhere[..., 8:] = False
    assert gradient_loss(residual, everywhere) == 0


def test_the_best_foreseen_error_is_the_error():
    """d/ds (e exp(-s) + s) = 0 at s = log e, for the mean of e where s is constant."""
    wrong = TARGET + 0.3 * torch.randn(TARGET.shape, generator=GENERATOR)
    surface = TARGET > 0
    errors = (normalised(wrong, surface) - normalised(TARGET, surface)).abs()
    best = sum(e[m].mean() for e, m in zip(errors, surface)) / 3
    at = [loss(wrong, log_error=torch.full_like(UNSURE, float(best.log()) + d)) for d in (-0.5, 0, 0.5)]
    assert at[1] < min(at[0], at[2])


def test_a_clip_without_any_surface_has_finite_gradients():
    target = TARGET.clone()
    target[1] = 0
    disparity = torch.randn(TARGET.shape, generator=GENERATOR).requires_grad_()
    sky = torch.zeros_like(TARGET).requires_grad_()
    depth_loss(disparity, UNSURE, sky, target).backward()
    assert disparity.grad is not None
    assert torch.isfinite(disparity.grad).all()
    assert (disparity.grad[1] == 0).all()
    assert sky.grad is not None
    assert (sky.grad[1] != 0).all()

"""Depth losses: zero on the truth, blind to what a relative teacher does not know, and to nothing else."""

import pytest
import torch
from loss_truth import truth

from phys4d.errors import WorkError
from phys4d.losses import align_scale_shift, metric_depth_loss, relative_depth_loss


def blobs(seed=0, shape=(2, 5, 12, 16)):
    """Smooth positive disparities."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(shape[0], shape[1], 4, 5, generator=generator, dtype=torch.float64)
    return torch.nn.functional.interpolate(coarse, shape[2:], mode="bilinear") + 0.3


EVERYWHERE = torch.ones(2, 5, 12, 16, dtype=torch.bool)


def test_alignment_recovers_scale_and_shift_of_each_clip():
    disparity = blobs()
    a, b = torch.tensor([2.0, 0.3], dtype=torch.float64), torch.tensor([-0.5, 1.0], dtype=torch.float64)
    target = a[:, None, None, None] * disparity + b[:, None, None, None]
    target[:, :, 0] = 99.0
    mask = EVERYWHERE.clone()
    mask[:, :, 0] = False
    scale, shift = align_scale_shift(disparity, target, mask)
    torch.testing.assert_close(scale, a, rtol=1e-4, atol=0)
    torch.testing.assert_close(shift, b, rtol=1e-3, atol=1e-4)


def test_alignment_never_turns_depth_around():
    disparity = blobs()
    scale, _ = align_scale_shift(disparity, -disparity, EVERYWHERE)
    assert (scale > 0).all()
    log_depth = (-disparity.log()).requires_grad_()
    relative_depth_loss(log_depth, 3 - disparity, EVERYWHERE).value.backward()
    assert log_depth.grad.abs().sum() > 0


def test_relative_loss_is_blind_to_scale_and_shift_of_either_side():
    disparity, teacher = blobs(0), blobs(0) + 0.2 * blobs(1)
    reference = relative_depth_loss(-disparity.log(), teacher, EVERYWHERE).value
    assert reference > 0.05
    changed = relative_depth_loss(-(3 * disparity + 0.7).log(), teacher, EVERYWHERE).value
    torch.testing.assert_close(changed, reference, rtol=1e-4, atol=1e-5)
    other_unit = relative_depth_loss(-disparity.log(), 40 * teacher + 11, EVERYWHERE).value
    torch.testing.assert_close(other_unit, reference, rtol=1e-4, atol=1e-5)


def test_relative_loss_has_no_gradient_along_scale_and_shift():
    disparity = blobs(0).requires_grad_()
    relative_depth_loss(-disparity.log(), blobs(0).square() + 0.3 * blobs(1), EVERYWHERE).value.backward()
    size = disparity.grad.abs().sum()
    assert abs((disparity.grad * disparity.detach()).sum()) < 1e-3 * size
    assert abs(disparity.grad.sum()) < 1e-3 * size


def test_a_few_pixels_of_no_depth_come_back_instead_of_flattening_all_others():
    disparity = blobs(0)
    log_depth = -disparity.log()
    planted = torch.zeros_like(EVERYWHERE)
    planted[:, :, 3:5, 3:5] = True
    log_depth[planted] = -9.0
    log_depth.requires_grad_()
    loss = relative_depth_loss(log_depth, 2 * disparity - 0.3, EVERYWHERE, gradient=0.0, temporal=0.0)
    loss.value.backward()
    # The planted ones are told to move away, more than any other is told anything: those are right as they are.
    assert (log_depth.grad[planted] < 0).all()
    assert log_depth.grad[~planted].abs().max() < 0.5 * log_depth.grad[planted].abs().min()


def test_one_fit_a_clip_sees_flicker_that_a_fit_a_frame_would_forgive():
    disparity = blobs(0)
    flicker = disparity * torch.tensor([1.0, 1.3, 0.8, 1.2, 1.0]).double()[:, None, None]
    loss = relative_depth_loss(-flicker.log(), disparity, EVERYWHERE)
    assert loss.parts["data"] > 0.05
    # The teacher itself hardly changes here, so the temporal term sees all of the flicker.
    still = disparity[:, :1].expand_as(disparity)
    moved = still * torch.tensor([1.0, 1.3, 0.8, 1.2, 1.0]).double()[:, None, None]
    assert relative_depth_loss(-moved.log(), still, EVERYWHERE).parts["temporal"] > 0.2
    assert relative_depth_loss(-moved.log(), still, EVERYWHERE).coverage["temporal"] == 1
    assert loss.coverage["temporal"] < 1


def test_losses_are_zero_on_simulated_truth_and_see_errors():
    t = truth()
    disparity = torch.where(t.surface, 1 / t.depth.clamp_min(1e-3), 0.0)
    for loss in (
        relative_depth_loss(t.log_depth, disparity, t.surface),
        relative_depth_loss(t.log_depth, 7 * disparity + 2, t.surface),
        metric_depth_loss(t.log_depth, t.depth, t.surface),
    ):
        assert loss.value.item() == pytest.approx(0, abs=1e-3)
        assert loss.coverage["depth"].item() == pytest.approx(t.surface.double().mean().item())
    scaled = metric_depth_loss(t.log_depth + 0.1, t.depth, t.surface)
    assert scaled.value.item() == pytest.approx(0.1)
    doses = [
        relative_depth_loss(t.log_depth + dose * torch.sin(9 * t.log_depth), disparity, t.surface).value.item()
        for dose in (0.05, 0.1, 0.2)
    ]
    assert 0.01 < doses[0] < doses[1] < doses[2]


def test_gradient_term_sees_ripples_that_the_mean_hardly_does():
    depth = torch.full((1, 1, 16, 16), 2.0)
    ripple = 0.02 * (-1.0) ** torch.arange(16)
    mask = torch.ones_like(depth, dtype=torch.bool)
    rippled = metric_depth_loss(depth.log() + ripple, depth, mask)
    shifted = metric_depth_loss(depth.log() + 0.02, depth, mask)
    torch.testing.assert_close(rippled.parts["data"], shifted.parts["data"])
    torch.testing.assert_close(shifted.parts["scale"], torch.tensor(0.02), rtol=1e-4, atol=0)
    assert rippled.parts["gradient"] > 0.009
    assert shifted.parts["gradient"] == pytest.approx(0, abs=1e-6)


def test_confidence_is_learnt_where_the_error_is():
    depth = torch.full((1, 1, 8, 8), 2.0)
    log_depth = depth.log().clone()
    log_depth[..., :4] += 1.0
    confidence = torch.zeros_like(depth, requires_grad=True)
    metric_depth_loss(log_depth, depth, depth > 0, confidence).value.backward()
    assert (confidence.grad[..., :4] > 0).all()
    assert (confidence.grad[..., 4:] < 0).all()


def test_how_far_all_is_does_not_settle_which_way_a_pixel_is_pulled():
    depth = torch.full((1, 1, 8, 8), 2.0)
    log_depth = (depth.log() + 1.0).requires_grad_()
    with torch.no_grad():
        log_depth[..., :2, :2] -= 0.1  # too near for its surroundings, and too far all the same
    metric_depth_loss(log_depth, depth, depth > 0, gradient=0.0).value.backward()
    assert (log_depth.grad[..., :2, :2] < 0).all()
    assert (log_depth.grad[..., 2:, 2:] > 0).all()


def test_a_flat_prediction_still_learns():
    flat = torch.full((1, 2, 8, 8), 0.3, requires_grad=True)
    teacher = torch.linspace(1, 2, 8).expand(1, 2, 8, 8)
    loss = relative_depth_loss(flat, teacher, torch.ones(1, 2, 8, 8, dtype=torch.bool))
    loss.value.backward()
    assert torch.isfinite(flat.grad).all()
    assert flat.grad[..., 0].mean() * flat.grad[..., -1].mean() < 0
    assert flat.grad[..., -1].mean() > 0  # more disparity is less log-depth


def test_one_frame_has_no_temporal_term():
    disparity = blobs()[:, :1]
    loss = relative_depth_loss(-disparity.log(), disparity, EVERYWHERE[:, :1])
    assert loss.parts["temporal"] == 0
    assert loss.value.item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("lossy", [relative_depth_loss, metric_depth_loss])
def test_empty_masks_raise(lossy):
    with pytest.raises(WorkError, match="depth mask is empty"):
        lossy(blobs().log(), blobs(), ~EVERYWHERE)

"""Motion losses: units, balance between what moves and what stands still, and the labels' weights."""

import pytest
import torch
from loss_truth import truth

from phys4d.errors import WorkError
from phys4d.losses import motion_loss, moving_pixels


def test_zero_on_simulated_truth_and_in_pixels_elsewhere():
    t = truth()
    mask = t.visible
    loss = motion_loss(t.motion, t.flow, mask, dlogdepth=t.change)
    assert loss.value.item() == pytest.approx(0, abs=1e-9)
    off = motion_loss(t.motion + torch.tensor([3.0, 4.0, 0.0]), t.flow, mask, dlogdepth=t.change)
    assert off.parts["flow"].item() == pytest.approx(5, abs=0.11)
    assert off.parts["dlogdepth"] == 0
    deeper = motion_loss(t.motion + torch.tensor([0.0, 0.0, 0.1]), t.flow, mask, dlogdepth=t.change)
    assert deeper.parts["dlogdepth"].item() == pytest.approx(0.1 * 64, abs=0.11)
    halved = motion_loss(
        t.motion + torch.tensor([0.0, 0.0, 0.1]), t.flow, mask, dlogdepth=t.change, dlogdepth_weight=0.5
    )
    assert halved.value.item() == pytest.approx(deeper.value.item() / 2)


def test_balance_gives_the_few_that_move_half_the_say():
    t = truth(camera="static")
    moving = t.moving & t.visible
    assert 0 < moving.double().mean() < 0.1
    blind = torch.where(t.moving[..., None], 0.0, t.motion)
    plain = motion_loss(blind, t.flow, t.visible).value
    balanced = motion_loss(blind, t.flow, t.visible, moving=t.moving).value
    error = ((t.flow[moving]).square().sum(-1) + 0.01).sqrt() - 0.1
    assert balanced.item() == pytest.approx(error.mean().item() / 2, rel=1e-4)
    assert plain.item() == pytest.approx(error.sum().item() / t.visible.sum().item(), rel=1e-4)
    assert balanced > 5 * plain


def test_balance_with_one_side_only_is_the_plain_mean():
    flow, motion = torch.rand(1, 2, 4, 4, 2), torch.rand(1, 2, 4, 4, 3)
    mask = torch.rand(1, 2, 4, 4) > 0.3
    plain = motion_loss(motion, flow, mask).value
    for moving in (torch.zeros_like(mask), torch.ones_like(mask)):
        torch.testing.assert_close(motion_loss(motion, flow, mask, moving=moving).value, plain)


def test_weights_silence_what_the_teacher_does_not_trust():
    flow = torch.zeros(1, 1, 4, 4, 2)
    motion = torch.zeros(1, 1, 4, 4, 3)
    motion[..., :2, 0] = 9.0
    trust = torch.ones(1, 1, 4, 4)
    trust[..., :2] = 0
    everywhere = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    assert motion_loss(motion, flow, everywhere).value > 4
    assert motion_loss(motion, flow, everywhere, weight=trust).value == 0


def test_gradients_reach_all_three_and_only_what_has_labels():
    flow, everywhere = torch.ones(1, 1, 4, 4, 2), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    motion = torch.zeros(1, 1, 4, 4, 3, requires_grad=True)
    motion_loss(motion, flow, everywhere).value.backward()
    assert (motion.grad[..., :2] < 0).all()
    assert (motion.grad[..., 2] == 0).all()
    left = everywhere.clone()
    left[..., 2:] = False
    motion.grad = None
    motion_loss(motion, flow, everywhere, dlogdepth=flow[..., 0], dlogdepth_mask=left).value.backward()
    assert (motion.grad[..., :2, 2] < 0).all()
    assert (motion.grad[..., 2:, 2] == 0).all()


def test_moving_pixels_forgive_a_turning_camera():
    flow = torch.full((1, 1, 8, 8, 2), 5.0)
    flow[..., 2:4, 2:4, 0] += 2
    moving = moving_pixels(flow)
    assert moving.sum() == 4
    assert moving[..., 2:4, 2:4].all()


def test_empty_masks_raise():
    flow, everywhere = torch.ones(1, 1, 4, 4, 2), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    motion = torch.zeros(1, 1, 4, 4, 3)
    with pytest.raises(WorkError, match="the motion mask"):
        motion_loss(motion, flow, ~everywhere)
    with pytest.raises(WorkError, match="change of log-depth"):
        motion_loss(motion, flow, everywhere, dlogdepth=flow[..., 0], dlogdepth_mask=~everywhere)
    with pytest.raises(WorkError, match="the motion mask"):
        motion_loss(motion, flow, ~everywhere, moving=everywhere)

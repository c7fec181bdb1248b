"""Confidence-weighted means: the analytic minimum, weights, and masks that refuse to be empty."""

import math

import pytest
import torch

from phys4d.errors import WorkError
from phys4d.losses import confident, masked_mean


def test_best_confidence_is_penalty_over_error():
    error = torch.tensor([0.1, 0.4, 2.0])
    best = (0.2 / error).log().requires_grad_()
    mask = torch.ones(3, dtype=torch.bool)
    value = confident(error, best, mask, penalty=0.2, name="test")
    assert value.item() == pytest.approx((error + 0.2 - 0.2 * best.detach()).mean().item())
    value.backward()
    torch.testing.assert_close(best.grad, torch.zeros(3))
    for shift in (-0.3, 0.3):
        assert confident(error, best + shift, mask, penalty=0.2, name="test") > value


def test_the_error_learns_the_same_whatever_the_confidence():
    """Nothing is written off because it is hard."""
    mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    for confidence in (None, torch.full((4, 5), -3.0), torch.full((4, 5), 3.0)):
        error = torch.rand(4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
        confident(error, confidence, mask, name="test").backward()
        torch.testing.assert_close(error.grad, mask / mask.sum())
    torch.testing.assert_close(confident(error, None, mask, name="test"), error[mask].mean())


def test_masked_mean_weighs_and_ignores_what_is_outside():
    value = torch.tensor([1.0, 5.0, math.inf], requires_grad=True)
    mask = torch.tensor([True, True, False])
    mean = masked_mean(value, mask, torch.tensor([3.0, 1.0, 7.0]), name="test")
    assert mean.item() == pytest.approx(2)
    mean.backward()
    torch.testing.assert_close(value.grad, torch.tensor([0.75, 0.25, 0.0]))


def test_empty_masks_raise_and_name_themselves():
    value, empty = torch.ones(3), torch.zeros(3, dtype=torch.bool)
    with pytest.raises(WorkError, match="the left mask is empty"):
        masked_mean(value, empty, name="left")
    with pytest.raises(WorkError, match="right"):
        masked_mean(value, ~empty, torch.zeros(3), name="right")

"""Cross-entropies by hand."""

import math

import pytest
import torch

from phys4d.errors import WorkError
from phys4d.losses import sky_loss, visibility_loss


def test_cross_entropy_by_hand():
    logit = torch.tensor([0.0, 2.0, -50.0]).reshape(1, 1, 1, 3)
    label = torch.tensor([True, False, True]).reshape(1, 1, 1, 3)
    mask = torch.tensor([True, True, False]).reshape(1, 1, 1, 3)
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    for loss in (visibility_loss(logit, label, mask), sky_loss(logit, label, mask)):
        assert loss.value.item() == pytest.approx(expected, rel=1e-5)
    assert visibility_loss(logit, label, mask).coverage["visibility"].item() == pytest.approx(2 / 3)
    sure = torch.where(label, 40.0, -40.0)
    assert sky_loss(sure, label).value.item() == pytest.approx(0, abs=1e-6)
    assert sky_loss(-sure, label).value.item() == pytest.approx(40)


def test_empty_masks_raise():
    logit, label = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    with pytest.raises(WorkError, match="visibility"):
        visibility_loss(logit, label, ~label)
    with pytest.raises(WorkError, match="sky"):
        sky_loss(logit, label, ~label)

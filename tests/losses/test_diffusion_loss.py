"""The diffusion loss leaves out what is given."""

import pytest
import torch

from phys4d.errors import WorkError
from phys4d.losses import diffusion_loss


def test_conditioning_does_not_count_and_weights_multiply():
    target = torch.randn(2, 3, 4, 2, 2)
    known = torch.zeros(2, 1, 4, 1, 1, dtype=torch.bool)
    known[0, :, :1] = True
    known[1, :, :3] = True
    prediction = (target + torch.tensor([1.0, 2.0])[:, None, None, None, None]).requires_grad_()
    loss = diffusion_loss(prediction, target, known)
    assert loss.value.item() == pytest.approx((1 + 4) / 2)
    assert diffusion_loss(prediction, target, known, torch.tensor([2.0, 0.0])).value.item() == pytest.approx(1)
    loss.value.backward()
    assert (prediction.grad[0, :, 0] == 0).all()
    assert (prediction.grad[0, :, 1:] != 0).all()
    assert (prediction.grad[1, :, :3] == 0).all()
    wrong_where_known = target.masked_fill(known, 99.0)
    assert diffusion_loss(wrong_where_known, target, known).value == 0
    assert diffusion_loss(target.bfloat16(), target, known).value.dtype == torch.float32
    with pytest.raises(WorkError, match="every latent"):
        diffusion_loss(prediction, target, torch.ones_like(known))

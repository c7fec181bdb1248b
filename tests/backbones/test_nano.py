"""What `nano` promises beyond the contract: a clean clip, composed from the last frame that it knows."""

import pytest
import torch

from phys4d.backbones import backbones


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(0)
    return backbones["nano"].tiny().eval().requires_grad_(False)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_frames_that_it_was_given_are_predicted_as_given(nano, count):
    video = torch.rand(2, 9, *nano.size, 3, generator=torch.Generator().manual_seed(0))
    condition = nano.condition(video[:, :count], ["", "a ball"], 9)
    x = torch.randn(2, 3, 9, *nano.size, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0.3, 0.9])
    prediction = nano.predict(x, t, condition)
    x0 = nano.encode(video)
    assert torch.equal(prediction[:, :, :count], x0[:, :, :count])
    assert not torch.isclose(prediction[:, :, count:], x0[:, :, count:], atol=1e-3).all(dim=(1, 3, 4)).any()
    assert torch.equal(nano.to_x0_eps(prediction, x, t)[0], prediction)


def test_what_follows_is_made_of_the_last_known_frame(nano):
    """Of first frames that are black but for the last, an untrained network shows the last."""
    video = torch.zeros(1, 5, *nano.size, 3)
    video[:, 2] = 0.5
    condition = nano.condition(video[:, :3], [""], 5)
    made = nano.decode(nano.predict(torch.zeros(1, 3, 5, *nano.size), torch.tensor([1.0]), condition))
    assert (made[:, 3:] - 0.5).abs().mean() < 0.15

"""The depth network: its size, the pictures it takes, and that it sees each frame alone."""

import pytest
import torch

from phys4d.teachers.depth_net import LEAST_SIDE, MULTIPLE, DepthNet


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = DepthNet().eval()
    for parameter in net.parameters():  # the blocks start at zero and would hide their faults
        if parameter.ndim == 4 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net


def test_it_is_small(net):
    assert sum(parameter.numel() for parameter in net.parameters()) <= 1_000_000


@pytest.mark.parametrize(("height", "width"), [(48, 48), (48, 88), (64, 64), (136, 72)])
def test_any_multiple_of_eight_from_48_up(net, height, width):
    assert height >= LEAST_SIDE
    assert width % MULTIPLE == 0
    with torch.no_grad():
        parts = net(torch.rand(2, 3, height, width))
    assert [part.shape for part in parts] == [(2, height, width)] * 3
    assert all(torch.isfinite(part).all() for part in parts)


def test_frames_do_not_see_each_other(net):
    frames = torch.rand(3, 3, 48, 48)
    with torch.no_grad():
        together, alone = net(frames), [net(frame[None]) for frame in frames]
    for number, part in enumerate(together):
        torch.testing.assert_close(part, torch.cat([one[number] for one in alone]), atol=1e-5, rtol=1e-4)


def test_every_weight_learns(net):
    sum(part.square().mean() for part in net(torch.rand(2, 3, 48, 48))).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())

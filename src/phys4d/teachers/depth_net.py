"""The embedded depth network: a small convolutional U-Net that sees one frame at a time."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

MULTIPLE = 8
"""Heights and widths must be multiples of this [px]."""
LEAST_SIDE = 48
"""Smallest height and width at which the network was meant to work [px]."""


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _norm(channels), nn.SiLU(), _conv(channels, channels), _norm(channels), nn.SiLU()
        )
        self.last = _conv(channels, channels)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.body(x))


class Context(nn.Module):
    """Tells every place what the whole picture shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return x + self.mix(summary)[:, :, None, None]


class DepthNet(nn.Module):
    """One frame to affine-invariant disparity, its expected error, and sky.

    widths: channels at 1, 1/2, 1/4 and 1/8 of the resolution.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stem = _conv(3, widths[0])
        self.down = nn.ModuleList(_conv(a, b, stride=2) for a, b in pairwise(widths))
        self.encode = nn.ModuleList(Block(width) for width in widths[1:])
        self.context = Context(widths[-1])
        self.deep = Block(widths[-1])
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(Block(width) for width in widths[:-1])
        self.head = nn.Sequential(_norm(widths[0]), nn.SiLU(), _conv(widths[0], 3))

    def forward(
        self, rgb: Float[Tensor, "N 3 H W"]
    ) -> tuple[Float[Tensor, "N H W"], Float[Tensor, "N H W"], Float[Tensor, "N H W"]]:
        """Disparity up to scale and shift, the logarithm of its expected absolute error in units of the clip's
        mean absolute deviation, and the sky's logit. `rgb` in [0, 1]; height and width multiples of 8."""
        x = self.stem(2 * rgb - 1)
        skips = []
        for down, block in zip(self.down, self.encode):
            skips.append(x)
            x = block(down(x))
        x = self.deep(self.context(x))
        for number in reversed(range(len(skips))):
            larger = F.interpolate(self.up[number](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.decode[number](larger + skips[number])
        disparity, log_error, sky = self.head(x).float().unbind(1)
        return disparity, log_error.clamp(-6, 3), sky


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        before, after, 3, stride=stride, padding=1, padding_mode="replicate" if before == 3 else "zeros"
    )


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)

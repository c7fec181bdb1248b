"""Making few simulated pictures stand for many: crops and mirror images, and colours that mean nothing.

Everything is drawn once a clip, so that its frames still belong together, and from one generator.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

LEAST_CROP = 0.6
"""Smallest side of a crop, as a share of the picture's."""
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_CHANNEL_ORDERS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])


def crop_and_flip(
    rgb: Float[Tensor, "B F 3 H W"], disparity: Float[Tensor, "B F H W"], generator: Generator
) -> tuple[Float[Tensor, "B F 3 H W"], Float[Tensor, "B F H W"]]:
    """A random box of each clip, mirrored half the time, brought back to full size: the same for both.

    Disparity is taken from the nearest pixel: between a thing and what is behind it there is nothing, and where
    there is no surface (0) stays so.
    """
    clips, _frames, _, height, width = rgb.shape
    scale = _uniform(clips, LEAST_CROP, 1, generator)
    offset = _uniform((clips, 2), -1, 1, generator) * (1 - scale)[:, None]
    mirror = torch.where(_chance(clips, 0.5, generator), -1.0, 1.0)
    theta = torch.zeros(clips, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale * mirror, scale, offset
    grid = F.affine_grid(theta, [clips, 1, height, width], align_corners=False)

    def sample(values: Tensor, mode: str) -> Tensor:
        flat = values.reshape(clips, -1, height, width)
        taken = F.grid_sample(flat, grid, mode=mode, padding_mode="border", align_corners=False)
        return taken.reshape(values.shape)

    return sample(rgb, "bilinear"), sample(disparity, "nearest")


def recolour(rgb: Float[Tensor, "B F 3 H W"], generator: Generator) -> Float[Tensor, "B F 3 H W"]:
    """Other colours, light, sharpness and noise, and a patch cut out of some: what depth must not depend on."""
    clips = len(rgb)
    x = torch.einsum("bcd,bfdhw->bfchw", _colour_matrix(clips, generator), rgb)
    brightness = _uniform(clips, -0.2, 0.2, generator)
    contrast = _log_uniform(clips, 1.6, generator)
    mean = x.mean(dim=(1, 2, 3, 4), keepdim=True)
    x = (x - mean) * _per_clip(contrast) + mean + _per_clip(brightness)
    x = x.clamp(0, 1).clamp_min(1e-4) ** _per_clip(_log_uniform(clips, 1.7, generator))
    x = _sometimes(x, _blurred(x), 0.3, generator)
    noise = torch.randn(x.shape, generator=generator) * _per_clip(_uniform(clips, 0, 0.08, generator))
    x = _sometimes(x, x + noise, 0.5, generator)
    return _sometimes(x, _cut_out(x, generator), 0.3, generator).clamp(0, 1)


def _colour_matrix(clips: int, generator: Generator) -> Float[Tensor, "B 3 3"]:
    """Hue, saturation, a swap of channels and, for some, no colour at all, as one matrix a clip."""
    angle = _uniform(clips, -math.pi, math.pi, generator)
    saturation = _uniform(clips, 0.3, 1.6, generator) * ~_chance(clips, 0.15, generator)
    turn = torch.zeros(clips, 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    matrix = torch.linalg.inv(_YIQ) @ turn @ _YIQ
    order = _CHANNEL_ORDERS[torch.randint(len(_CHANNEL_ORDERS), (clips,), generator=generator)]
    return torch.eye(3)[order] @ matrix


def _blurred(x: Tensor) -> Tensor:
    kernel = torch.tensor([0.25, 0.5, 0.25])
    flat = F.pad(x.flatten(0, 2)[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(flat, torch.outer(kernel, kernel)[None, None]).reshape(x.shape)


def _cut_out(x: Tensor, generator: Generator) -> Tensor:
    """A box of one colour over up to a third of the height and width."""
    clips, _, _, height, width = x.shape
    rows, columns = torch.arange(height) / height, torch.arange(width) / width
    inside = []
    for axis in (rows, columns):
        start, length = _uniform(clips, -0.1, 1, generator), _uniform(clips, 0.05, 0.33, generator)
        inside.append((axis >= start[:, None]) & (axis < (start + length)[:, None]))
    box = (inside[0][:, :, None] & inside[1][:, None, :])[:, None, None]
    colour = torch.rand((clips, 1, 3, 1, 1), generator=generator)
    return torch.where(box, colour, x)


def _sometimes(x: Tensor, changed: Tensor, chance: float, generator: Generator) -> Tensor:
    return torch.where(_per_clip(_chance(len(x), chance, generator)), changed, x)


def _uniform(shape: int | tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _log_uniform(count: int, factor: float, generator: Generator) -> Tensor:
    """Between 1 / factor and factor."""
    return factor ** _uniform(count, -1, 1, generator)


def _chance(count: int, chance: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < chance


def _per_clip(value: Tensor) -> Tensor:
    return value.reshape(-1, 1, 1, 1, 1)

"""The parts of the heads: how tokens become cells, how frames mix, and how two frames are matched.

Pictures are (N,C,h,w) with N = B*T frames, clip by clip. Everything is a Conv2d or a Linear: a Conv3d is several
times slower on CPUs.
"""

from __future__ import annotations

import contextlib
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """No autocast for as long as this lasts; where there is no storage there is none to begin with."""
    if device.type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


class Cells(nn.Module):
    """Tokens (f,y,x) unfolded onto a finer grid (T,h,w) of cells.

    A token of a video transformer covers several frames and cells (a causal VAE: frame 0 alone, then k frames a
    latent). Each cell reads the token that covers it through hidden units gated by the place of the cell in its
    token, which for a given ratio amounts to one linear map per place, and holds for any ratio. Tokens finer than
    the cells are averaged.
    """

    HARMONICS = 4

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        hidden = 4 * width
        self.into = nn.Linear(channels, hidden)
        self.gates = nn.ModuleList(nn.Linear(2 * self.HARMONICS, hidden) for _ in range(3))
        self.out = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "B f y x D"], grid: tuple[int, int, int]) -> Float[Tensor, "N C h w"]:
        rows, columns = grid[1:]
        hidden = F.silu(self.into(_averaged(tokens, rows, columns)))
        gate: Tensor | float = 1.0
        for axis, count in enumerate(grid):
            place = _frames_of(hidden.shape[1], count) if axis == 0 else _cells_of(hidden.shape[1 + axis], count)
            index, phase = (p.to(tokens.device) for p in place)
            if hidden.shape[1 + axis] != count:
                hidden = hidden.index_select(1 + axis, index)
            angles = math.pi * phase[:, None] * torch.arange(1, self.HARMONICS + 1, device=phase.device)
            shape = [1, 1, 1, -1]
            shape[axis] = count
            gate = gate + self.gates[axis](torch.cat([angles.cos(), angles.sin()], dim=-1)).view(shape)
        return self.out(hidden * gate).reshape(-1, rows, columns, self.out.out_features).permute(0, 3, 1, 2)


def _averaged(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens that are finer than the cells, averaged by the whole number of them that a cell's edge holds."""
    clips, _, y, x, _ = tokens.shape
    factor = (max(1, y // rows), max(1, x // columns))
    if factor == (1, 1):
        return tokens
    # Adaptive pooling would take any ratio, but has no deterministic gradient on GPUs.
    pooled = F.avg_pool2d(tokens.flatten(0, 1).permute(0, 3, 1, 2), factor)
    return pooled.permute(0, 2, 3, 1).unflatten(0, (clips, -1))


def _frames_of(tokens: int, frames: int) -> tuple[Int[Tensor, "T"], Float[Tensor, "T"]]:
    """The token that covers each frame, and where in it, in (0, 1]; the first frame has a token alone, at 0."""
    t = torch.arange(frames)
    index = (t * (tokens - 1) + frames - 2).div(frames - 1, rounding_mode="floor")
    if tokens == 1:
        return index.clamp_max(0), t / (frames - 1)
    phase = t * (tokens - 1) / (frames - 1) - index + 1
    return index, torch.where(t == 0, 0.0, phase)


def _cells_of(tokens: int, cells: int) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """The token that covers the centre of each cell, and where in it, in (0, 1)."""
    position = (torch.arange(cells) + 0.5) * tokens / cells
    return position.floor().long(), position - position.floor()


class Block(nn.Module):
    """A residual step: 3x3 pixels, normalised frame by frame, then (if `temporal`) 3 frames."""

    def __init__(self, width: int, *, temporal: bool) -> None:
        super().__init__()
        self.space = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)
        self.mix = nn.Conv2d(3 * width if temporal else width, width, 1)
        self.temporal = temporal

    def forward(self, x: Float[Tensor, "N C h w"], frames: int = 1) -> Float[Tensor, "N C h w"]:
        h = F.silu(self.norm(self.space(x)))
        if self.temporal:
            h = torch.cat([shifted(h, frames, -1), h, shifted(h, frames, 1)], dim=1)
        return x + self.mix(h)


class Pair(nn.Module):
    """What a frame and the next show, side by side, in as many channels as one has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * width, width, 1)

    def forward(self, here: Float[Tensor, "N C h w"], after: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        return self.mix(torch.cat([here, after], dim=1))


class Match(nn.Module):
    """A local cost volume: each place of a frame against the next frame's within `radius`, by inner products.

    The matches go on both as they are (how well?) and as a distribution (where to?).
    """

    def __init__(self, channels: int, width: int, *, radius: int = 3, depth: int = 16) -> None:
        super().__init__()
        self.radius = radius
        self.key = nn.Conv2d(channels, depth, 1)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        self.out = nn.Conv2d(2 * (2 * radius + 1) ** 2, width, 1)

    def forward(self, x: Float[Tensor, "N C h w"], frames: int) -> Float[Tensor, "N D h w"]:
        key = F.normalize(self.key(x).float(), dim=1, eps=1e-3)
        volume = local_correlation(key, shifted(key, frames, 1), self.radius)
        likely = (self.sharpness * volume).softmax(dim=1)
        return self.out(torch.cat([volume, likely], dim=1))


def local_correlation(
    here: Float[Tensor, "N C h w"], after: Float[Tensor, "N C h w"], radius: int
) -> Float[Tensor, "N K h w"]:
    """Inner products of each place with those of `after` at every offset up to `radius`, rows first; 0 outside."""
    height, width = here.shape[-2:]
    span = range(2 * radius + 1)
    padded = F.pad(after, (radius,) * 4)
    products = [(here * padded[..., i : i + height, j : j + width]).sum(1) for i in span for j in span]
    return torch.stack(products, dim=1)


def shifted(x: Float[Tensor, "N *rest"], frames: int, step: int) -> Float[Tensor, "N *rest"]:
    """Each clip's pictures one frame later (step 1) or earlier (-1), the one at its end repeated."""
    clips = x.unflatten(0, (-1, frames))
    parts = [clips[:, 1:], clips[:, -1:]] if step > 0 else [clips[:, :1], clips[:, :-1]]
    return torch.cat(parts, dim=1).flatten(0, 1)

"""The output layer of `nano`: a clip is composed from its last known frame rather than painted anew.

At 64x64 and a few million weights a plain linear output blurs whatever moves, and adding to the first frame leaves
a ghost where an object was. Here the tokens say instead how layers of the anchor frame (the last known one) move:
a filled background and M mattes with the objects, each carried by a coarse flow and shown where an occupancy
allows. Everything is learned from RGB alone. There is no branch that paints pixels afresh: wherever it was tried,
a small model learned to paint a blur before it learned to move a layer. So what the last known frame does not show
cannot appear but as the filled background; larger models want such a branch.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

PATCH = 8
"""Height and width of a token's cell [px]."""
SPAN = 4
"""Frames of a token, after the anchor's."""
_GRID = {"background": 1, "motion": 1, "occupancy": 4}
"""Values per edge of a cell; all are interpolated to pixels, so that no cell shows."""


class Compositor(nn.Module):
    """From tokens to clean frames in [-1, 1].

    A matte moves along a course (velocity and acceleration, which early frames teach and late ones follow), plus a
    shift of its own in each frame, plus what single cells say.
    """

    def __init__(self, width: int, mattes: int = 2) -> None:
        super().__init__()
        self.mattes = mattes
        self.norm = nn.LayerNorm(width)
        channels = {"background": 2, "motion": 2 * mattes, "occupancy": mattes}
        self.parts = {name: SPAN * channels[name] * fine**2 for name, fine in _GRID.items()}
        self.moving = nn.Linear(width, sum(self.parts.values()))
        # Every token votes on how a matte moves as a whole; its own motion is on top of that.
        self.vote = nn.Linear(width, mattes)
        self.shift = nn.Linear(width, SPAN * mattes * 2)
        self.course = nn.Linear(width, mattes * 4)
        for layer, spread in ((self.moving, 0.002), (self.shift, 0.005), (self.course, 0.01)):
            # A start at rest: motions that wriggle from cell to cell are slow to unlearn.
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)
        self.still = nn.Linear(width, 8 * PATCH**2 // 4)
        self.layers = nn.Sequential(
            nn.Conv2d(8 + 3, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, mattes + 3, 3, padding=1),
        )

    def forward(
        self,
        anchor_tokens: Float[Tensor, "B y x D"],
        tokens: Float[Tensor, "B g y x D"],
        anchor: Float[Tensor, "B 3 H W"],
        last: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B 3 T H W"]:
        """Clean frames 1 to 4g of a clip whose last known frame is `anchor`, number `last` (default 0)."""
        start = self.norm(anchor_tokens)
        matte, background = self._layers(start, anchor)
        batch, groups, rows, columns, _ = tokens.shape
        frames, size = groups * SPAN, (rows * PATCH, columns * PATCH)
        normed = self.norm(tokens)
        raw = self.moving(normed).float().split(list(self.parts.values()), dim=-1)
        grids = {name: _grid(value, _GRID[name]) for name, value in zip(self.parts, raw)}

        def spread(image: Tensor) -> Tensor:
            return image[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)

        picture = _carry(spread(background), grids["background"], size)
        motion = grids["motion"] + self._shift(normed) + self._course(start, frames, last)
        occupancy = torch.sigmoid(_enlarged(grids["occupancy"], size) + 2)
        cut = torch.cat([anchor, matte], dim=1)
        for m in range(self.mattes):
            carried = _carry(spread(cut[:, [0, 1, 2, 3 + m]]), motion[:, 2 * m : 2 * m + 2], size)
            alpha = carried[:, 3:] * occupancy[:, m : m + 1]
            picture = torch.lerp(picture, carried[:, :3], alpha)
        return picture.reshape(batch, frames, 3, *size).transpose(1, 2)

    def _shift(self, tokens: Float[Tensor, "B g y x D"]) -> Float[Tensor, "N C 1 1"]:
        """Shift of each matte as a whole in each frame: N = B g SPAN, C = 2 mattes."""
        cells = tokens.flatten(2, 3)
        share = self.vote(cells).float().softmax(dim=2)
        said = self.shift(cells).float().unflatten(-1, (SPAN, self.mattes, 2))
        whole = torch.einsum("bgnm,bgnsmc->bgsmc", share, said)
        return whole.flatten(3).flatten(0, 2)[..., None, None]

    def _course(
        self, tokens: Float[Tensor, "B y x D"], frames: int, last: Int[Tensor, "B"] | None
    ) -> Float[Tensor, "N C 1 1"]:
        """v tau + a tau^2 of each matte, tau in groups of frames since the anchor."""
        cells = tokens.flatten(1, 2)
        share = self.vote(cells).float().softmax(dim=1)
        said = self.course(cells).float().unflatten(-1, (self.mattes, 2, 2))
        velocity, acceleration = torch.einsum("bnm,bnmkc->bmkc", share, said).unbind(2)
        since = torch.arange(1, frames + 1, device=tokens.device)[None] - (0 if last is None else last[:, None])
        tau = (since.clamp_min(0) / SPAN)[..., None, None]
        path = velocity[:, None] * tau + acceleration[:, None] * tau.square()
        return path.expand(len(tokens), -1, -1, -1).flatten(2).flatten(0, 1)[..., None, None]

    def _layers(self, tokens: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """Mattes (B,M,H,W) over the anchor frame, and what is behind them (B,3,H,W)."""
        coarse = _grid(self.still(tokens)[:, None], PATCH // 2, span=1)
        coarse = functional.interpolate(coarse, size=anchor.shape[-2:], mode="bilinear", align_corners=False)
        out = self.layers(torch.cat([coarse, anchor], dim=1)).float()
        matte = torch.sigmoid(out[:, : self.mattes] - 1)
        clear = (1 - matte).prod(dim=1, keepdim=True)
        return matte, torch.lerp(torch.tanh(out[:, self.mattes :]), anchor, clear)


def _grid(values: Tensor, fine: int, span: int = SPAN) -> Tensor:
    """(B,g,y,x, span*C*fine^2) to (B*g*span, C, y*fine, x*fine)."""
    batch, groups, rows, columns, _ = values.shape
    values = values.reshape(batch, groups, rows, columns, span, -1, fine, fine)
    return values.permute(0, 1, 4, 5, 2, 6, 3, 7).reshape(batch * groups * span, -1, rows * fine, columns * fine)


def _enlarged(values: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)


def _carry(image: Tensor, flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Backward warp of (N,C,H,W) by a coarse flow (N,2,y,x) in eighths of the picture."""
    identity = torch.eye(2, 3, dtype=image.dtype, device=image.device)[None]
    base = functional.affine_grid(identity, [1, 1, *size], align_corners=False)
    grid = base + _enlarged(flow, size).permute(0, 2, 3, 1) * 0.25
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=False)

"""Which pixels of the last known frame belong to which object of `nano`, and what is behind them.

Learned from RGB alone: from the error of the frames that are composed of the pieces, and from what leaves its
place in them (`leaving`). What helps it off the ground: each object is looked for in a window that points at
something unlike its surroundings, each next one where those before it do not look, and in a window a pixel counts
as the object's by how unlike it is to what surrounds the window.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from phys4d.backbones.layers import cells_to_pixels

PATCH = 8
"""Height and width of a token's cell [px]."""
REACH = 1.6
"""Radius of an object's window at first [cells]."""
TURF = 8.0
"""How much an object's window keeps later ones away from its middle (a logit)."""
UNLIKE = 10.0
"""Logit of the matte for a pixel that differs by 1 (of 2) more than TOLERANCE from what is behind the window."""
TOLERANCE = 0.15
ROWS_FIRST = 16
"""Holes are filled along rows as far as this part of the width, then from all around."""


class Cutter(nn.Module):
    """From tokens of the anchor frame to soft mattes. rows, columns: cells of a frame. objects: K."""

    cells: Tensor
    pixels: Tensor

    def __init__(self, width: int, rows: int, columns: int, objects: int) -> None:
        super().__init__()
        self.objects = objects
        self.norm = nn.LayerNorm(width)
        self.pointer = nn.Linear(width, objects)
        self.reach = nn.Linear(width, objects)
        nn.init.normal_(self.reach.weight, std=0.005)
        nn.init.zeros_(self.reach.bias)
        self.coarse = nn.Linear(width, 8 * (PATCH // 2) ** 2)
        self.cut = nn.Sequential(
            nn.Conv2d(8 + 3 + 3 + 1, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 1, 3, padding=1),
        )
        for name, step in (("cells", 1), ("pixels", PATCH)):
            y, x = ((torch.arange(n * step) + 0.5) / step for n in (rows, columns))
            self.register_buffer(name, torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1), persistent=False)
        # Each begins in another part of the picture.
        side = math.ceil(math.sqrt(objects))
        spots = torch.tensor([((i % side + 0.5) / side, (i // side + 0.5) / side) for i in range(objects)])
        away = self.cells.flatten(0, 1)[:, None] - spots * torch.tensor([columns, rows])
        self.spot = nn.Parameter(-away.square().sum(-1) / 8)

    def forward(
        self, tokens: Float[Tensor, "B n D"], anchor: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B K H W"], Float[Tensor, "B K 2"], Float[Tensor, "B K D"]]:
        """(matte, centre x, y [cells], token) of each object; the mattes of a pixel add up to 1 at most."""
        tokens, anchor = self.norm(tokens), anchor.float()
        share, centre, reach = self._windows(tokens, anchor)
        away = (self.pixels - centre[:, :, None, None]).norm(dim=-1) / reach[:, :, None, None]
        window = (-(away**4)).exp()
        # Whole objects: what lies in an earlier window is not shared with later ones.
        left = (1 - window).cumprod(dim=1)
        window = torch.cat([window[:, :1], window[:, 1:] * left[:, :-1]], dim=1)
        total = 1 - left[:, -1:]
        unlike = anchor - filled(anchor, 1 - 0.99 * total)
        coarse = self.coarse(tokens).unflatten(1, self.cells.shape[:2])[:, None]
        coarse = enlarged(cells_to_pixels(coarse, PATCH // 2)[:, 0].float(), 2)
        logit = self.cut(torch.cat([coarse, anchor, unlike, total], dim=1)).float()
        logit = logit + UNLIKE * (unlike.abs().mean(1, keepdim=True) - TOLERANCE)
        return torch.sigmoid(logit) * window, centre, torch.einsum("bnk,bnd->bkd", share, tokens)

    def _windows(
        self, tokens: Float[Tensor, "B n D"], anchor: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B n K"], Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
        """(what each looks at, its middle and its size [cells])."""
        around = functional.avg_pool2d(functional.avg_pool2d(anchor, PATCH), 3, stride=1, padding=1)
        salient = functional.avg_pool2d((anchor - enlarged(around, PATCH)).abs().mean(1), PATCH).flatten(1)
        wanted = self.pointer(tokens).float() + self.spot + 10 * salient[..., None]
        reaches = self.reach(tokens).float()
        cells = self.cells.flatten(0, 1)
        taken = torch.zeros_like(salient)
        shares, centres, sizes = [], [], []
        for k in range(self.objects):
            share = (wanted[..., k] - taken).softmax(dim=1)
            centre = (share[..., None] * cells).sum(1)
            size = (share * reaches[..., k]).sum(1).clamp(-1.0, 1.0).exp() * REACH
            away = (cells - centre[:, None]).norm(dim=-1) / size[:, None]
            taken = taken + TURF * (-(away**4)).exp()
            shares.append(share)
            centres.append(centre)
            sizes.append(size)
        return torch.stack(shares, dim=2), torch.stack(centres, dim=1), torch.stack(sizes, dim=1)


def filled(image: Float[Tensor, "B 3 H W"], clear: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 3 H W"]:
    """A picture whose pixels count as far as they are clear; the rest comes from ever coarser surroundings.

    Pull-push interpolation (Gortler et al. 1996, The Lumigraph, section 3.4), along the rows first: floors, walls
    and skies go on sideways, and what is above an object is seldom what is behind it.
    """
    levels = [(image * clear, clear)]
    height, width = image.shape[-2:]
    while height > 1 or width > 1:
        along = ROWS_FIRST * width > image.shape[-1]
        pool = (1 if along or height == 1 else 2, 1 if width == 1 else 2)
        levels.append((functional.avg_pool2d(levels[-1][0], pool), functional.avg_pool2d(levels[-1][1], pool)))
        height, width = levels[-1][1].shape[-2:]
    whole = levels[-1][0] / levels[-1][1].clamp_min(1e-4)
    for colours, weight in reversed(levels[:-1]):
        whole = functional.interpolate(whole, size=weight.shape[-2:], mode="bilinear", align_corners=False)
        whole = colours + (1 - weight) * whole
    return whole


def enlarged(values: Float[Tensor, "N C h w"], factor: int) -> Float[Tensor, "N C H W"]:
    """Bilinear, pixels being areas."""
    size = (values.shape[-2] * factor, values.shape[-1] * factor)
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)

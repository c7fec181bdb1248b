"""The output layer of `nano`: a clip is composed from its last known frame rather than painted anew.

At 64x64 and a few million weights a plain linear output blurs whatever moves, and adding to the first frame leaves
a ghost where an object was. Here the tokens say instead where what they show was in the anchor frame (the last
known one). A matte cuts the objects out of it, and what is behind them is filled in from around them. The matte
travels as a whole, and each cell of a frame adds a flow of its own and an occupancy, as far as which it shows the
matte. Everything is learned from RGB alone.

The matte covers only a small part of the picture and nothing has a colour of its own: wherever a small model could
paint (pixels, colours behind the matte, a matte of everything but the object, several mattes that hedge by
copies), it learned to paint a blur before it learned to move an object. So what the last known frame does not show
cannot appear; larger models want a branch that paints.
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
MOST = 0.15
"""Share of the picture that the matte covers at most."""
CLEAR = 4.0
"""How sure it is at first that a pixel is background: a start from the static world."""
BACKGROUND_PACE = 0.05
"""The background learns to move so much more slowly than the matte: most cameras stand still."""


class Compositor(nn.Module):
    """From tokens to clean frames in [-1, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.flow = nn.Linear(width, SPAN * 2 * 2)
        self.occupancy = nn.Linear(width, SPAN)
        # Where the matte is, as a share of every cell: in the anchor frame, and in each frame of a group.
        self.anchor_share = nn.Linear(width, 1)
        self.share = nn.Linear(width, SPAN)
        self.shift = nn.Linear(width, SPAN * 2)
        self.course = nn.Linear(width, 2 * 2)
        for layer in (self.flow, self.occupancy, self.shift, self.course):
            # A start at rest: motions that wriggle from cell to cell are slow to unlearn.
            nn.init.normal_(layer.weight, std=0.005)
            nn.init.zeros_(layer.bias)
        self.still = nn.Linear(width, 8 * PATCH**2 // 4)
        self.cut = nn.Sequential(
            nn.Conv2d(8 + 3, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 1, 3, padding=1),
        )

    def forward(
        self,
        anchor_tokens: Float[Tensor, "B y x D"],
        tokens: Float[Tensor, "B g y x D"],
        anchor: Float[Tensor, "B 3 H W"],
        last: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B 3 T H W"]:
        """Clean frames 1 to 4g of a clip whose last known frame is `anchor`, number `last` (default 0)."""
        start, tokens = self.norm(anchor_tokens), self.norm(tokens)
        matte = self._matte(start, anchor)
        behind = filled(anchor.float(), 1 - matte)
        flow = _grid(self.flow(tokens), 1)
        # Colours are multiplied by the matte, so that nothing of what was around it comes along.
        travel = self._travel(start, tokens, last)[..., None, None] + flow[:, :, :2]
        objects = _carry(torch.cat([anchor * matte, matte], dim=1), travel)
        background = _carry(behind, BACKGROUND_PACE * flow[:, :, 2:])
        size = (anchor.shape[-2], anchor.shape[-1])
        shown = _enlarged(_grid(self.occupancy(tokens), 1).flatten(0, 1), size)
        shown = torch.sigmoid(shown + 3).view(len(anchor), 1, -1, *size)
        return background * (1 - shown * objects[:, 3:]) + shown * objects[:, :3]

    def _travel(
        self, start: Float[Tensor, "B y x D"], tokens: Float[Tensor, "B g y x D"], last: Int[Tensor, "B"] | None
    ) -> Float[Tensor, "B T 2"]:
        """Where the matte as a whole was in the anchor frame, less where it is [cells].

        The tokens point at where it was and is (a spatial soft-argmax: it moved by the difference), say a shift
        beyond that, and a course v tau + a tau^2, tau in groups of frames since the anchor, which early frames
        teach and late ones follow.
        """
        groups, rows, columns = tokens.shape[1:4]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        cells = torch.stack([x, y], dim=-1).flatten(0, 1).to(tokens.device, torch.float32)
        start, tokens = start.flatten(1, 2), tokens.flatten(2, 3)
        before = self.anchor_share(start).float().softmax(dim=1)[..., 0]
        share = self.share(tokens).float().softmax(dim=2)
        said = self.shift(tokens).float().unflatten(-1, (SPAN, 2)) + cells[:, None]
        place = torch.einsum("bgns,bgnsc->bgsc", share, said).flatten(1, 2)
        course = self.course(start).float().unflatten(-1, (2, 2))
        velocity, acceleration = torch.einsum("bn,bnkc->bkc", before, course)[:, None].unbind(2)
        since = torch.arange(1, groups * SPAN + 1, device=tokens.device)[None]
        since = since if last is None else since - last[:, None]
        tau = (since.clamp_min(0) / SPAN)[..., None]
        return (before @ cells)[:, None] - place - velocity * tau - acceleration * tau.square()

    def _matte(
        self, start: Float[Tensor, "B y x D"], anchor: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 1 H W"]:
        """How far each pixel of the anchor frame is part of an object, in (0, 1)."""
        coarse = _grid(self.still(start)[:, None], PATCH // 2, span=1)[:, 0]
        coarse = _enlarged(coarse, (anchor.shape[-2], anchor.shape[-1]))
        logits = self.cut(torch.cat([coarse, anchor], dim=1)).float()
        spread = logits.flatten(2)
        # The value that a share of 1 - MOST of the pixels is below.
        edge = spread.kthvalue(int(spread.shape[-1] * (1 - MOST)), dim=-1).values[..., None, None]
        return torch.sigmoid(logits - edge.clamp_min(CLEAR))


def filled(image: Float[Tensor, "B 3 H W"], clear: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 3 H W"]:
    """A picture whose pixels count as far as they are clear; the rest comes from ever coarser surroundings.

    Pull-push interpolation (Gortler et al. 1996, The Lumigraph, section 3.4).
    """
    levels = [(image * clear, clear)]
    while min(levels[-1][1].shape[-2:]) > 1:
        levels.append((functional.avg_pool2d(levels[-1][0], 2), functional.avg_pool2d(levels[-1][1], 2)))
    whole = levels[-1][0] / levels[-1][1].clamp_min(1e-4)
    for colours, weight in reversed(levels[:-1]):
        whole = colours + (1 - weight) * _enlarged(whole, (weight.shape[-2], weight.shape[-1]))
    return whole


def _grid(values: Tensor, fine: int, span: int = SPAN) -> Float[Tensor, "B T C h w"]:
    """(B,g,y,x, span*C*fine^2) to (B, g*span, C, y*fine, x*fine)."""
    batch, groups, rows, columns, _ = values.shape
    values = values.float().reshape(batch, groups, rows, columns, span, -1, fine, fine)
    return values.permute(0, 1, 4, 5, 2, 6, 3, 7).reshape(batch, groups * span, -1, rows * fine, columns * fine)


def _carry(image: Float[Tensor, "B C H W"], flow: Float[Tensor, "B T 2 y x"]) -> Float[Tensor, "B C T H W"]:
    """Every frame, by a backward flow: where what each cell shows was, less where it is [cells]."""
    batch, _, height, width = image.shape
    frames, rows, columns = flow.shape[1], *flow.shape[-2:]
    y, x = (torch.arange(n, device=flow.device) + 0.5 for n in (rows, columns))
    source = flow + torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)])
    unit = flow.new_tensor([2 / columns, 2 / rows])[:, None, None]
    coarse = (source * unit - 1).flatten(0, 1)
    # Two matrix products instead of an interpolation: exact for what is linear, up to the border.
    down, across = _between(rows, flow.device), _between(columns, flow.device)
    tall = torch.matmul(down, coarse.permute(0, 2, 3, 1).flatten(2))
    grid = torch.matmul(tall, torch.kron(across, torch.eye(2, device=flow.device)).T)
    # All frames in one tall picture: the image need not be copied for each.
    grid = grid.view(batch, frames * height, width, 2)
    carried = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return carried.view(batch, -1, frames, height, width)


def _between(cells: int, device: torch.device) -> Float[Tensor, "n*PATCH n"]:
    """Matrix from values at the centres of cells to pixels: linear between centres, and beyond the outermost."""
    pixels = (torch.arange(cells * PATCH, device=device) + 0.5) / PATCH - 0.5
    left = pixels.floor().clamp(0, cells - 2)
    share = (pixels - left)[:, None]
    ones = functional.one_hot(left.long(), cells), functional.one_hot(left.long() + 1, cells)
    return (1 - share) * ones[0] + share * ones[1]


def _enlarged(values: Float[Tensor, "N C h w"], size: tuple[int, int]) -> Float[Tensor, "N C H W"]:
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)

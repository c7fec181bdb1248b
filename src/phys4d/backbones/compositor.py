"""The output layer of `nano`: a clip is composed from its last known frame rather than painted anew.

At 64x64 and a few million weights a plain linear output blurs whatever moves, and adding to the first frame leaves
a ghost where an object was. Here a few objects are cut out of the anchor frame (the last known one), what is
behind them is filled in from around them, and each object is moved and turned as a whole: it keeps its shape, and
it is in a frame once.

Nothing has a colour of its own: wherever a small model could paint, it learned to paint a blur before it learned
to move an object. So what the last known frame does not show cannot appear, and bodies that bend stay rigid;
larger models want a branch that paints.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from phys4d.backbones.cutter import PATCH
from phys4d.backbones.layers import cells_to_pixels
from phys4d.backbones.motions import Motion

SPAN = 4
"""Frames of a token, after the anchor's."""
FLOWS = 3 * SPAN
"""Channels of the motion that heads may read; see `Compositor.flows`."""
BACKGROUND_PACE = 0.05
"""The background learns to move so much more slowly than the objects: most cameras stand still."""


class Compositor(nn.Module):
    """From objects and their motion to clean frames in [-1, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.behind = nn.Linear(width, SPAN * 2)
        # A start at rest: motions that wriggle from cell to cell are slow to unlearn.
        nn.init.normal_(self.behind.weight, std=0.005)
        nn.init.zeros_(self.behind.bias)

    def forward(
        self,
        tokens: Float[Tensor, "B g y x D"],
        background: Float[Tensor, "B 3 H W"],
        objects: Float[Tensor, "B K 4 H W"],
        centre: Float[Tensor, "B K 2"],
        motion: Motion,
    ) -> tuple[Float[Tensor, "B 3 T H W"], Float[Tensor, "B f y x F"]]:
        """(frames 1 to T, `flows`).

        objects: colours times matte, and the matte, in the anchor frame. centre: of each [cells].
        """
        flow = BACKGROUND_PACE * cells_to_pixels(self.behind(self.norm(tokens)).float(), 1, SPAN)
        with torch.autocast(tokens.device.type, enabled=False):
            # Places in bfloat16 would be off by an eighth of a pixel.
            background = _carried(background, flow)
            moved = _placed(objects, centre, motion)
        front = moved * motion.order.exp()[:, :, None, :, None, None]
        # Their sum: pieces of one object that move together cover as much as the whole.
        cover = moved.sum(1)[:, 3:].clamp_max(1)
        colours, whole = front.sum(1).split([3, 1], dim=1)
        whole = whole.clamp_min(1e-4)
        shown = torch.cat([objects[:, :, 3:], front[:, :, 3] * (cover / whole)], dim=2)
        return background * (1 - cover) + cover / whole * colours, self.flows(shown, motion.travel)

    @staticmethod
    def flows(shown: Float[Tensor, "B K t H W"], travel: Float[Tensor, "B K T 2"]) -> Float[Tensor, "B f y x F"]:
        """How the objects that cells show move to the next frame: what the frames are composed by, for the heads.

        To each of the anchor's cells its frame's numbers, to every other cell those of its SPAN frames: share of
        objects, and that times their displacement to the next frame [cells] (0 in the last frame).
        """
        shown = functional.avg_pool2d(shown.flatten(0, 2), PATCH).unflatten(0, shown.shape[:3])
        step = torch.diff(functional.pad(travel, (0, 0, 1, 0)), dim=2)
        step = functional.pad(step, (0, 0, 0, 1))[..., None, None, :]
        told = torch.cat([shown.sum(1)[..., None], (shown[..., None] * step).sum(1)], dim=-1)
        first = functional.pad(told[:, :1], (0, 3 * (SPAN - 1)))
        rest = told[:, 1:].unflatten(1, (-1, SPAN)).movedim(2, -2).flatten(-2)
        return torch.cat([first, rest], dim=1)


def _placed(
    objects: Float[Tensor, "B K 4 H W"], centre: Float[Tensor, "B K 2"], motion: Motion
) -> Float[Tensor, "B K 4 T H W"]:
    """Every object in every frame, by a similarity about its centre."""
    batch, kinds, channels, height, width = objects.shape
    frames = motion.travel.shape[2]
    half = centre.new_tensor([width, height]) / PATCH / 2
    angle, size = motion.turn.unbind(-1)
    cos, sin = torch.exp(-size) * angle.cos(), torch.exp(-size) * angle.sin()
    inverse = torch.stack([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)], dim=-2)
    # Where it was: centre + R^-1 (here - centre - travel), in halves of the picture from its middle.
    middle = (centre - half)[:, :, None]
    shift = middle - (inverse * (middle + motion.travel)[..., None, :]).sum(-1)
    theta = torch.cat([inverse * (half / half[:, None]), (shift / half)[..., None]], dim=-1).flatten(0, 2)
    x, y = ((2 * torch.arange(n, device=theta.device) + 1) / n - 1 for n in (width, height))
    across, down, middle = theta[:, None, None].unbind(-1)
    grid = across * x[:, None] + (down * y[:, None, None] + middle)
    # All frames in one tall picture: the objects need not be copied for each.
    grid = grid.view(batch * kinds, frames * height, width, 2)
    placed = functional.grid_sample(objects.flatten(0, 1), grid, align_corners=False)
    return placed.view(batch, kinds, channels, frames, height, width)


def _carried(image: Float[Tensor, "B C H W"], flow: Float[Tensor, "B T 2 y x"]) -> Float[Tensor, "B C T H W"]:
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

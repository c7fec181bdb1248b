"""What the depth network learns from: disparity up to scale and shift, and sky.

Ranftl et al., MiDaS, TPAMI 2022, arXiv 1907.01341, eqs. 5 to 7 and 11, with one scale and shift for all frames of
a clip instead of one a frame: then the network itself keeps them in step. Nor are the largest residuals left out:
these labels are nowhere wrong, and what is hardest, and moves, is a small thing before much ground. Such things
get more weight instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

GRADIENT_SCALES = 4
GRADIENT_WEIGHT = 0.5
ERROR_WEIGHT = 0.1
SKY_WEIGHT = 0.5
THING_WEIGHT = 5.0
"""Added weight of a pixel whose normalised disparity is 1 or more away from the median of its row."""


def depth_loss(
    disparity: Float[Tensor, "B F H W"],
    log_error: Float[Tensor, "B F H W"],
    sky_logit: Float[Tensor, "B F H W"],
    target: Float[Tensor, "B F H W"],
) -> Float[Tensor, ""]:
    """Mean over clips of |residual| + gradients of the residual, sky, and how well the error was foreseen.

    target: true disparity [1/m], 0 where there is no surface. A clip without any surface counts for its sky alone.
    """
    surface = target > 0
    truth = normalised(target, surface)
    residual = (normalised(disparity, surface) - truth) * surface
    size = residual.abs()
    data = _mean(size, surface * thing_weight(truth, surface)).mean()
    foreseen = _mean(size.detach() * torch.exp(-log_error) + log_error, surface).mean()
    sky = F.binary_cross_entropy_with_logits(sky_logit, (~surface).float())
    gradients = gradient_loss(residual, surface)
    return data + GRADIENT_WEIGHT * gradients + ERROR_WEIGHT * foreseen + SKY_WEIGHT * sky


def normalised(values: Float[Tensor, "B F H W"], mask: Bool[Tensor, "B F H W"]) -> Float[Tensor, "B F H W"]:
    """Each clip less its median, over its mean absolute deviation, both over the mask: free of scale and shift.

    Where a clip's mask is empty, its values are finite and mean nothing."""
    masked = torch.where(mask, values, torch.nan).flatten(1)
    median = masked.nanmedian(dim=1).values.nan_to_num()[:, None, None, None]
    spread = _mean((values - median).abs(), mask)[:, None, None, None]
    return (values - median) / spread.clamp_min(1e-4)


def thing_weight(truth: Float[Tensor, "B F H W"], mask: Bool[Tensor, "B F H W"]) -> Float[Tensor, "B F H W"]:
    """1 on ground and walls, up to 1 + THING_WEIGHT on what stands out of its row of the picture."""
    row = torch.where(mask, truth, torch.nan).nanmedian(dim=-1, keepdim=True).values.nan_to_num()
    return 1 + THING_WEIGHT * (truth - row).abs().clamp_max(1)


def gradient_loss(residual: Float[Tensor, "B F H W"], mask: Bool[Tensor, "B F H W"]) -> Float[Tensor, ""]:
    """|d residual / dx| + |d residual / dy| where both neighbours are in the mask, over GRADIENT_SCALES sizes."""
    total = residual.new_zeros(())
    for scale in range(GRADIENT_SCALES):
        r, m = residual[..., :: 2**scale, :: 2**scale], mask[..., :: 2**scale, :: 2**scale]
        for axis in (-1, -2):
            pairs = m.narrow(axis, 1, m.shape[axis] - 1) & m.narrow(axis, 0, m.shape[axis] - 1)
            total = total + _mean(r.diff(dim=axis).abs(), pairs).mean()
    return total / GRADIENT_SCALES


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Of each clip, by a weight or a mask; 0 where that is 0 everywhere."""
    return (values * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1)

"""Yes-or-no outputs: is the surface still seen at t+1, is there a surface at all."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.losses.masked import Loss, coverage, masked_mean


def visibility_loss(
    logit: Float[Tensor, "B t H W"], visible: Bool[Tensor, "B t H W"], mask: Bool[Tensor, "B t H W"]
) -> Loss:
    """Binary cross-entropy of "this surface point is seen at t+1" over the pixels whose label is known.

    Raises WorkError for an empty mask.
    """
    return _cross_entropy(logit, visible, mask, "visibility")


def sky_loss(
    logit: Float[Tensor, "B T H W"], sky: Bool[Tensor, "B T H W"], mask: Bool[Tensor, "B T H W"] | None = None
) -> Loss:
    """Binary cross-entropy of "no surface here" (depth 0). Raises WorkError for an empty mask."""
    return _cross_entropy(logit, sky, torch.ones_like(sky) if mask is None else mask, "sky")


def _cross_entropy(logit: Tensor, label: Tensor, mask: Tensor, name: str) -> Loss:
    entropy = F.binary_cross_entropy_with_logits(logit, label.to(logit.dtype), reduction="none")
    value = masked_mean(entropy, mask, name=name)
    return Loss(value, {name: value.detach()}, {name: coverage(mask)})

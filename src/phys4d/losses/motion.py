"""Motion t -> t+1: where a pixel's surface goes, and how its depth changes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.losses.masked import Loss, confident, coverage

SOFTNESS = 0.1
"""Errors below this [px] count quadratically."""


def motion_loss(
    motion: Float[Tensor, "B t H W 3"],
    flow: Float[Tensor, "B t H W 2"],
    mask: Bool[Tensor, "B t H W"],
    *,
    weight: Float[Tensor, "B t H W"] | None = None,
    dlogdepth: Float[Tensor, "B t H W"] | None = None,
    dlogdepth_mask: Bool[Tensor, "B t H W"] | None = None,
    dlogdepth_weight: float = 1.0,
    log_confidence: Float[Tensor, "B t H W"] | None = None,
    moving: Bool[Tensor, "B t H W"] | None = None,
) -> Loss:
    """Charbonnier on (u, v) [px], and on the change of log-depth where the labels have it.

    motion: predicted (u, v, change of log-depth). weight: >= 0, such as a teacher's forward-backward agreement.
    dlogdepth: label of the change of log-depth, on `dlogdepth_mask` (default: the mask); its error is multiplied
    by the picture's width, which is about the focal length: then both are displacements in pixels. moving: where
    given, the moving and the still pixels of the batch get the same weight in all; without it the few per cent
    that move hardly count. Raises WorkError where a mask is empty.
    """
    error = _charbonnier((motion[..., :2] - flow).square().sum(-1))
    balanced = _balance(mask, weight, moving)
    planar = confident(error, log_confidence, mask, balanced, name="motion")
    value, parts, covered = planar, {"flow": planar.detach()}, {"motion": coverage(mask)}
    if dlogdepth is not None:
        dlogdepth_mask = mask if dlogdepth_mask is None else dlogdepth_mask
        error = _charbonnier(((motion[..., 2] - dlogdepth) * motion.shape[-2]).square())
        balanced = _balance(dlogdepth_mask, weight, moving)
        radial = confident(error, log_confidence, dlogdepth_mask, balanced, name="change of log-depth")
        value = value + dlogdepth_weight * radial
        parts["dlogdepth"] = radial.detach()
        covered["dlogdepth"] = coverage(dlogdepth_mask)
    return Loss(value, parts, covered)


def moving_pixels(flow: Float[Tensor, "B t H W 2"], threshold: float = 0.5) -> Bool[Tensor, "B t H W"]:
    """Pixels whose flow differs from the median flow of their frame by more than `threshold` [px].

    The median stands for a camera that turns; a label that knows what moves is better.
    """
    median = flow.flatten(2, 3).median(dim=2).values[:, :, None, None]
    return (flow - median).norm(dim=-1) > threshold


def _charbonnier(squared: Tensor) -> Tensor:
    return (squared + SOFTNESS**2).sqrt() - SOFTNESS


def _balance(mask: Tensor, weight: Tensor | None, moving: Tensor | None) -> Tensor | None:
    """Weights with which the moving and the still part of a mask have the same sum, where both have any."""
    if moving is None:
        return weight
    weight = torch.ones_like(mask, dtype=torch.float32) if weight is None else weight
    parts = [weight * (mask & moving), weight * (mask & ~moving)]
    return sum((part / part.sum().clamp_min(1e-12) for part in parts), start=torch.zeros_like(weight))

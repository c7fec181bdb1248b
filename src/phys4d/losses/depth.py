"""Depth: against a teacher that knows no scale, and against one that does."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.losses.masked import Loss, confident, coverage

LEAST_CORRELATION = 0.1
"""Floor on the correlation in the alignment: a fit of slope 0 or below would stop or turn the gradient."""

TRIMMED = 0.1
"""Share of the nearest pixels of a prediction that have no say in its alignment."""


def align_scale_shift(
    prediction: Float[Tensor, "B T H W"], target: Float[Tensor, "B T H W"], mask: Bool[Tensor, "B T H W"]
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """scale, shift of each clip that minimise sum_mask (scale * prediction + shift - target)^2; scale > 0.

    Both are disparities. The graph passes through the fit, so that a loss of the aligned prediction is exactly
    invariant to its scale and shift and has no gradient along them. Where the two are not correlated, or the wrong
    way round, the scale is that of a correlation of 0.1. A clip with an empty mask gets scale 1 and the mean of
    nothing, 0: callers check masks.
    """
    share = mask.to(prediction.dtype)
    count = share.sum(dim=(1, 2, 3)).clamp_min(1)

    def mean(value: Tensor) -> Tensor:
        return value.masked_fill(~mask, 0.0).sum(dim=(1, 2, 3)) / count

    def centred(value: Tensor, middle: Tensor) -> Tensor:
        return value - middle[:, None, None, None]

    middle_p, middle_t = mean(prediction), mean(target)
    p, t = centred(prediction, middle_p), centred(target, middle_t)
    # A flat prediction has no scale; the floor is a thousandth of its own size.
    variance = mean(p * p).clamp_min(1e-12) + 1e-6 * middle_p.detach() ** 2
    slope = mean(p * t) / variance
    least = LEAST_CORRELATION * (mean(t * t).clamp_min(1e-12) / variance).sqrt()
    scale = torch.maximum(slope, least)
    return scale, middle_t - scale * middle_p


def relative_depth_loss(
    log_depth: Float[Tensor, "B T H W"],
    teacher_disparity: Float[Tensor, "B T H W"],
    mask: Bool[Tensor, "B T H W"],
    log_confidence: Float[Tensor, "B T H W"] | None = None,
    *,
    gradient: float = 0.5,
    temporal: float = 1.0,
    steady: float = 0.05,
) -> Loss:
    """Aligned L1 in disparity + gradients at four scales + change in time (MiDaS arXiv 1907.01341; Video Depth
    Anything arXiv 2501.12375).

    teacher_disparity: up to a scale > 0 and a shift; it is brought to mean 0 and mean deviation 1 in each clip, so
    that the teacher's unit does not matter. The temporal term counts only where the teacher's own change is below
    `steady` of its range; where no two pixels that a gradient compares are in the mask, that gradient is left out.
    Gradients compare pairs of pixels, so that no confidence weighs them. The nearest pixels of the prediction do
    not settle the alignment: else a few of hardly any depth, hence of a huge disparity, have their way, all others
    become flat, and no gradient leads back. Raises WorkError for an empty mask.
    """
    target = _standardised(teacher_disparity, mask)
    disparity = torch.exp(-log_depth)
    scale, shift = align_scale_shift(disparity, target, _settling(disparity.detach(), mask))
    residual = scale[:, None, None, None] * disparity + shift[:, None, None, None] - target
    data = confident(residual.abs(), log_confidence, mask, name="relative depth")
    slopes = _multiscale_gradient(residual, mask)
    low = target.masked_fill(~mask, torch.inf).amin(dim=(1, 2, 3), keepdim=True)
    high = target.masked_fill(~mask, -torch.inf).amax(dim=(1, 2, 3), keepdim=True)
    still = mask[:, 1:] & mask[:, :-1] & (target.diff(dim=1).abs() < steady * (high - low))
    change = _mean_or_nothing(residual.diff(dim=1).abs(), still)
    return Loss(
        data + gradient * slopes + temporal * change,
        {"data": data.detach(), "gradient": slopes.detach(), "temporal": change.detach()},
        {"depth": coverage(mask), "temporal": coverage(still) if still.numel() else change.new_zeros(())},
    )


def metric_depth_loss(
    log_depth: Float[Tensor, "B T H W"],
    depth: Float[Tensor, "B T H W"],
    mask: Bool[Tensor, "B T H W"],
    log_confidence: Float[Tensor, "B T H W"] | None = None,
    *,
    gradient: float = 2.0,
) -> Loss:
    """|s| + |log D - log D* - s| + gradients of the difference at four scales, s its mean over the clip; depth [m]
    counts where mask is set.

    How far away all of it is shows in few pictures. Were s not apart, that error, of one sign all over a clip,
    would settle which way every pixel is pulled, and the shape of things would be learned last. Raises WorkError
    for an empty mask.
    """
    mask = mask & (depth > 0)
    residual = log_depth - torch.where(mask, depth, 1.0).log()
    count = mask.sum(dim=(1, 2, 3)).clamp_min(1)
    scale = residual.masked_fill(~mask, 0.0).sum(dim=(1, 2, 3)) / count
    shape = residual - scale[:, None, None, None]
    data = confident(shape.abs(), log_confidence, mask, expected=residual.abs(), name="metric depth")
    slopes = _multiscale_gradient(residual, mask)
    return Loss(
        data + scale.abs().mean() + gradient * slopes,
        {
            "data": (data + scale.abs().mean()).detach(),
            "scale": scale.detach().abs().mean(),
            "gradient": slopes.detach(),
        },
        {"depth": coverage(mask)},
    )


def _settling(disparity: Tensor, mask: Tensor) -> Tensor:
    """The mask without the largest disparities of each clip."""
    known = disparity.masked_fill(~mask, torch.nan).flatten(1)[:, ::7]
    most = known.nanquantile(1 - TRIMMED, dim=1)[:, None, None, None]
    # A mask of a few pixels, or a flat clip, keeps all.
    return torch.where(most > 0, mask & (disparity <= most), mask)


def _standardised(disparity: Tensor, mask: Tensor) -> Tensor:
    """To mean 0 and mean absolute deviation 1 over each clip's mask; 0 outside."""
    count = mask.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1)
    disparity = disparity.masked_fill(~mask, 0.0)
    middle = disparity.sum(dim=(1, 2, 3), keepdim=True) / count
    centred = (disparity - middle).masked_fill(~mask, 0.0)
    deviation = centred.abs().sum(dim=(1, 2, 3), keepdim=True) / count
    # A teacher that sees a plane parallel to the picture has no deviation, and nothing to teach but that.
    return centred / deviation.clamp_min(1e-3 * middle.abs()).clamp_min(1e-12)


def _multiscale_gradient(residual: Tensor, mask: Tensor, scales: int = 4) -> Tensor:
    """Mean over scales of mean |d/dx r| + mean |d/dy r|, each grid half as fine as the one before."""
    residual = residual.masked_fill(~mask, 0.0)
    total, used = residual.new_zeros(()), 0
    for level in range(scales):
        step = 2**level
        r, m = residual[..., ::step, ::step], mask[..., ::step, ::step]
        if min(r.shape[-2:]) < 2:
            break
        total = total + _mean_or_nothing(r.diff(dim=-1).abs(), m[..., 1:] & m[..., :-1])
        total = total + _mean_or_nothing(r.diff(dim=-2).abs(), m[..., 1:, :] & m[..., :-1, :])
        used += 1
    return total / max(used, 1)


def _mean_or_nothing(value: Tensor, mask: Tensor) -> Tensor:
    return value.masked_fill(~mask, 0.0).sum() / mask.sum().clamp_min(1)

"""Means over masks that refuse to be empty, and regression weighted by a predicted confidence."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.errors import WorkError


class Loss(NamedTuple):
    """value: a scalar with a graph. parts: its terms, before their weights, and coverage: the share of pixels that
    each mask let through; both are detached scalars, for the log."""

    value: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]
    coverage: dict[str, Float[Tensor, ""]]


def masked_mean(
    value: Float[Tensor, "*shape"],
    mask: Bool[Tensor, "*shape"],
    weight: Float[Tensor, "*shape"] | None = None,
    *,
    name: str,
) -> Float[Tensor, ""]:
    """Mean of `value` over `mask`, weighted where there are weights >= 0. What is outside does not matter.

    Raises WorkError naming the mask where it is empty, or has weights of 0 alone.
    """
    share = mask.to(value.dtype) if weight is None else weight * mask
    total = share.sum()
    if not bool(total > 0):
        raise WorkError(f"the {name} mask is empty: no pixel is left to learn from")
    return (value.masked_fill(~mask, 0.0) * share).sum() / total


def confident(
    error: Float[Tensor, "*shape"],
    log_confidence: Float[Tensor, "*shape"] | None,
    mask: Bool[Tensor, "*shape"],
    weight: Float[Tensor, "*shape"] | None = None,
    *,
    expected: Float[Tensor, "*shape"] | None = None,
    penalty: float = 0.2,
    name: str,
) -> Float[Tensor, ""]:
    """Mean over the mask of e + (c e' - a log c): c = exp(log_confidence), a = `penalty`, e' = `expected` or e.

    For an expected error e the best confidence is c = a / e, as in DUSt3R's loss (arXiv 2312.14132, equation 4).
    But there c weighs the error too, and what is hard, such as small objects that move, is written off before it
    is learned; here the confidence learns from the error and weighs nothing. Without a confidence, e alone. Raises
    WorkError where the mask is empty.
    """
    if log_confidence is not None:
        told = error if expected is None else expected
        error = error + log_confidence.exp() * told.detach() - penalty * log_confidence
    return masked_mean(error, mask, weight, name=name)


def coverage(mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The share of a mask that is set."""
    return mask.float().mean()

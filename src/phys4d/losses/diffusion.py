"""The diffusion loss, whatever the parametrisation."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.losses.masked import Loss, coverage
from phys4d.sampling import free_mean


def diffusion_loss(
    prediction: Float[Tensor, "B C t h w"],
    target: Float[Tensor, "B C t h w"],
    known: Bool[Tensor, "B 1 t 1 1"],
    weight: Float[Tensor, "B"] | None = None,
) -> Loss:
    """Mean squared error, float32, over the latents that are not conditioning; `weight` is each clip's.

    Weights multiply, they are not normalised. Raises WorkError where a clip is conditioning alone.
    """
    error = free_mean((prediction.float() - target.float()).square(), ~known)
    value = (error if weight is None else weight * error).mean()
    return Loss(value, {"diffusion": value.detach()}, {"diffusion": coverage(~known)})

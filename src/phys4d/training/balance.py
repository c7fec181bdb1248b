"""Two losses on the same weights, of which neither may drown the other whatever their sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def balanced(
    main: Float[Tensor, ""],
    other: Float[Tensor, ""],
    shared: Sequence[Tensor],
    share: float,
    own: Sequence[Tensor] = (),
) -> Float[Tensor, ""]:
    """The main loss, whose gradient in the shared weights is d main + share |d main| / |d other| d other.

    own: weights of which the other loss alone knows; its gradient there stays as it is. Stage 3's policy gradient
    is a mean over latents under noise that no two share, smaller than its anchor's by orders of magnitude
    (`benchmarks/policy.py`); in stage 2 the heads' losses outweigh the diffusion loss in the adapter: at fixed
    weights the larger decides alone where to go.
    """
    towards = torch.autograd.grad(main, shared, allow_unused=True, materialize_grads=True)
    back = torch.autograd.grad(other, [*shared, *own], allow_unused=True, materialize_grads=True)
    alone = back[len(shared) :]
    lengths = [
        torch.stack([g.square().sum() for g in some]).sum().sqrt() for some in (towards, back[: len(shared)])
    ]
    scale = share * lengths[0] / lengths[1].clamp_min(1e-20)
    pulls = [((a + scale * b) * p).sum() for a, b, p in zip(towards, back, shared)]
    pull = torch.stack([*pulls, *((g * p).sum() for g, p in zip(alone, own))]).sum()
    return main.detach() + pull - pull.detach()

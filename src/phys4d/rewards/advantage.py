"""From rewards to advantages."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.errors import WorkError


def advantages(
    rewards: Float[Tensor, "groups G"], floor: float = 1e-4, clip: float = 5.0
) -> tuple[Float[Tensor, "groups G"], Bool[Tensor, "groups"]]:
    """A = clip((R - mean of the group) / (std of the batch + floor), ±clip), and which groups were kept.

    A group whose standard deviation is below `floor` says nothing: its A is 0, it is not kept, and it has no part
    in the batch's standard deviation. Raises WorkError for a reward that is not finite.
    """
    if not bool(torch.isfinite(rewards).all()):
        raise WorkError("a reward is not finite; an advantage from it would poison the whole batch")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    kept = rewards.std(dim=1, correction=0) >= floor
    if not bool(kept.any()):
        return torch.zeros_like(rewards), kept
    scaled = centred / (rewards[kept].std(correction=0) + floor)
    return torch.where(kept[:, None], scaled.clamp(-clip, clip), 0.0), kept

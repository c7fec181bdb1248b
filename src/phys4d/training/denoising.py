"""The diffusion loss on real or simulated clips: all of the base stage, the anchor of the later ones.

    x = alpha x0 + sigma eps,   L = E_t w(t) || f(x, t; text, first frames) - target(x0, eps, t) ||^2

over the frames that are not given: the mean of every clip, then of the clips, so that micro-batches add up to the
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from phys4d.backbones.backbone import per_clip
from phys4d.model import WorldModel
from phys4d.sampling import free_mean


def denoising_loss(
    model: WorldModel,
    video: Float[Tensor, "B T H W 3"],
    prompts: Sequence[str],
    context: Sequence[int],
    *,
    moving_weight: float = 0.0,
    explained: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """(loss, the part of it that is the prediction's error).

    video: in [0, 1]. context: given first frames of each clip. moving_weight: extra weight of latents that differ
    from the last given one by more than 0.15, without which the few that move hardly count; and, times alpha, of
    those that differ in the prediction alone. explained: weight of the backbone's own loss
    (`Backbone.predict_and_explain`).
    """
    backbone = model.backbone
    condition = model.condition_mixed(video, context, prompts)
    x0 = backbone.encode(video)
    t = backbone.sample_time(len(video)).to(x0.device)
    eps = torch.randn_like(x0)
    noisy = condition.clamp(model.noised(x0, eps, t))
    if explained:
        prediction, own = backbone.predict_and_explain(noisy, t, condition, x0)
    else:
        prediction, own = backbone.predict(noisy, t, condition), x0.new_zeros(())
    free = ~condition.known
    change = (x0 - condition.latents).abs().amax(dim=1, keepdim=True)
    moves = (change > 0.15).float()
    if moving_weight:
        # What moves though it should not: wrong in itself only where the clip is clear enough to see where it is.
        made = backbone.to_x0_eps(prediction.detach().float(), noisy, t)[0]
        stirred = ((made - condition.latents).abs().amax(dim=1, keepdim=True) > 0.15).float()
        moves = torch.maximum(moves, stirred * per_clip(backbone.alpha_sigma(t)[0]))
    weight = free.float() * (1 + moving_weight * moves) * per_clip(backbone.loss_weight(t))
    error = prediction.float() - backbone.target(x0, eps, t)
    loss = free_mean(weight * error.square(), free).mean()
    return loss + explained * own, loss.detach()


def given_frames(metas: Sequence[dict[str, Any]], most: int, more: float = 0.0) -> list[int]:
    """How many first frames each clip is given: what determines it, or, for a share `more` of the clips, more."""
    least = [min(int(meta.get("context_frames") or 1), most) for meta in metas]
    return [int(torch.randint(k, most + 1, ())) if k < most and torch.rand(()) < more else k for k in least]


def dropped_prompts(prompts: Sequence[str], share: float) -> list[str]:
    """The prompts, a share of them emptied."""
    return [p if torch.rand(()) >= share else "" for p in prompts]

"""The policy gradient of stage 3: what a scene's rewarded rollouts say about the adapter's weights.

rho = exp(l - l_old),  l = mean(-(x' - mu)^2 / (2 s^2)) of a noisy step;  both are means over latents
kl_mask    -w A rho keep, keep = 0 where mean((mu - mu_old)^2 / (2 s^2)) > tau and A (rho - 1) > 0
clip       -w min(A rho, A clip(rho, 1 - clip, 1 + clip))
awm        the same as clip, with rho = exp(e_old - e), e the diffusion error of the rollout's own clip under the
           noise that its whole group shares
and + beta |v - v_ref|^2 at the noisy steps, v_ref without the adapter; `balanced` brings in the anchor
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from phys4d.backbones import Backbone, adapters
from phys4d.backbones.backbone import per_clip
from phys4d.sampling import Rollout, free_mean, guided_prediction, replay

OBJECTIVES = ("kl_mask", "clip", "awm")


@dataclasses.dataclass
class Sample:
    """A scene's rollouts, rewarded.

    advantage: (G,). told: numbers to log. t, eps, error: time (G,), noise (G,C,t,h,w) and error (G,) before the
    updates, of the objective "awm".
    """

    rollout: Rollout
    advantage: Float[Tensor, "G"]
    told: dict[str, float]
    t: Tensor | None = None
    eps: Tensor | None = None
    error: Tensor | None = None


def policy_loss(
    backbone: Backbone, sample: Sample, adapter: str, *, objective: str, kl_limit: float, clip: float, beta: float
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """The mean over the noisy steps of a sample, "kl_mask" or "clip"; see the module.

    To log: masked: share of rollouts whose gradient is cut off; moved: mean((mu - mu_old)^2 / (2 s^2));
    from_reference: the distance that beta weighs. On the first update after the rollouts masked and moved are 0.
    """
    made = sample.rollout
    free = ~made.condition.known
    total = torch.zeros((), device=sample.advantage.device)
    told = {"masked": 0.0, "moved": 0.0, "from_reference": 0.0}
    for step in made.steps:
        again = replay(backbone, step, made.condition, guidance=made.guidance)
        ratio = (again.log_prob - step.log_prob).exp()
        moved = free_mean((again.mu.detach() - step.mu).square(), free) / (2 * step.s**2)
        if objective == "clip":
            gain, cut = _clipped(sample.advantage, ratio, clip)
        else:
            cut = (moved > kl_limit) & (sample.advantage * (ratio - 1) > 0)
            gain = torch.where(cut, 0.0, sample.advantage * ratio)
        with adapters.without(backbone, adapter), torch.no_grad():
            reference = guided_prediction(backbone, step.x, step.t, made.condition, made.guidance)
        # The backbone's own weight turns its prediction's error into that of v.
        away = (free_mean((again.prediction - reference).square(), free) * backbone.loss_weight(step.t)).mean()
        total = total - step.weight * gain.mean() + beta * away
        for name, value in (("masked", cut.float()), ("moved", moved), ("from_reference", away.detach())):
            told[name] += float(value.mean()) / len(made.steps)
    return total / len(made.steps), told


def matching_loss(
    backbone: Backbone, sample: Sample, *, clip: float
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Advantage-weighted matching, "awm"; see the module."""
    assert sample.error is not None
    ratio = (sample.error - match_error(backbone, sample)).exp()
    gain, cut = _clipped(sample.advantage, ratio, clip)
    return -gain.mean(), {"masked": float(cut.float().mean())}


def match_error(backbone: Backbone, sample: Sample) -> Float[Tensor, "G"]:
    """Weighted diffusion error of the rollouts' own clips, at the sample's time and under its noise."""
    assert sample.t is not None
    assert sample.eps is not None
    made, t = sample.rollout, sample.t
    alpha, sigma = backbone.alpha_sigma(t)
    x = made.condition.clamp(per_clip(alpha) * made.latents + per_clip(sigma) * sample.eps)
    error = backbone.predict(x, t, made.condition).float() - backbone.target(made.latents, sample.eps, t)
    return free_mean(error.square(), ~made.condition.known) * backbone.loss_weight(t)


def _clipped(advantage: Tensor, ratio: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """PPO's pessimistic gain, and where the clip takes its gradient away."""
    gain, bound = advantage * ratio, advantage * ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(gain, bound), gain > bound

"""One sampler for every backbone: the ODE, rollouts with a noisy window, and their replay with a graph.

Everything goes through `alpha_sigma` and `to_x0_eps`: a step takes what the prediction says about the clean latent
and the noise, and puts them together with the coefficients of the next time. Flow-GRPO (arXiv 2505.05470) and
DanceGRPO (arXiv 2505.07818) turn the ODE into an SDE instead; the coefficient-preserving form keeps each step's
marginal right whatever the parametrisation. Trajectories are float32.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.backbones.backbone import Backbone, Condition, per_clip
from phys4d.errors import InputError, WorkError


@dataclasses.dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: unconditional + scale * (conditional - unconditional).

    unconditional: the condition without the caption, for the same clips.
    """

    scale: float
    unconditional: Condition

    def repeat(self, times: int) -> Guidance:
        """For every clip `times` times in a row."""
        return Guidance(self.scale, self.unconditional.repeat(times))


@dataclasses.dataclass(frozen=True)
class RolloutStep:
    """One noisy step of B clips: all that its replay needs, float32, without a graph.

    t, t_next: (B,) times. x, x_next: (B,C,t,h,w) latents before and after. mu: (B,C,t,h,w) mean of the transition
    and s: (B,) its standard deviation, under the weights that rolled out; log_prob: (B,) of x_next.
    weight: w of this step, 1 on average over the window (`step_weights`). eta: share of fresh noise.
    """

    t: Float[Tensor, "B"]
    t_next: Float[Tensor, "B"]
    x: Float[Tensor, "B C t h w"]
    x_next: Float[Tensor, "B C t h w"]
    mu: Float[Tensor, "B C t h w"]
    s: Float[Tensor, "B"]
    log_prob: Float[Tensor, "B"]
    weight: float
    eta: float


@dataclasses.dataclass(frozen=True)
class Rollout:
    """Generations of B clips with a noisy window.

    latents: (B,C,t,h,w) clean. steps: the window's steps. condition, guidance: what the clips were made under,
    already repeated for a group; the replay takes the same.
    """

    latents: Float[Tensor, "B C t h w"]
    steps: tuple[RolloutStep, ...]
    condition: Condition
    guidance: Guidance | None


class Replay(NamedTuple):
    """mu: (B,C,t,h,w), log_prob: (B,), prediction: (B,C,t,h,w), all with a graph."""

    mu: Float[Tensor, "B C t h w"]
    log_prob: Float[Tensor, "B"]
    prediction: Float[Tensor, "B C t h w"]


def sample(
    backbone: Backbone,
    condition: Condition,
    *,
    steps: int,
    seed: int | Sequence[int] = 0,
    guidance: Guidance | None = None,
) -> Float[Tensor, "B C t h w"]:
    """Clean latents of B clips by the deterministic ODE x' = alpha' x0 + sigma' eps; known latents stay as given.

    seed: see `item_generators`. Raises InputError for fewer than one step.
    """
    return _generate(backbone, condition, steps, (0, 0), 0.0, seed, guidance)[0]


def rollout(
    backbone: Backbone,
    condition: Condition,
    *,
    steps: int,
    window: tuple[int, int],
    eta: float = 0.8,
    seed: int | Sequence[int] = 0,
    group: int = 1,
    guidance: Guidance | None = None,
) -> Rollout:
    """Generations whose steps `window` = (first, count) are stochastic, and all others the ODE.

    Every clip of the condition is generated `group` times in a row, all in the same window. Raises InputError
    where the window is empty, or reaches the last step (whose standard deviation is 0), or eta is not in (0, 1].
    """
    first, count = window
    if first < 0 or count < 1 or first + count >= steps:
        raise InputError(
            f"a window of {count} noisy steps from step {first} does not fit into {steps} steps: the last step "
            f"is never noisy, so it must lie within steps 0 to {steps - 2}"
        )
    if not 0 < eta <= 1:
        raise InputError(f"eta must lie in (0, 1], not {eta:g}")
    if group < 1:
        raise InputError(f"a group needs at least one rollout, not {group}")
    condition = condition.repeat(group)
    guidance = guidance.repeat(group) if guidance is not None else None
    latents, noisy = _generate(backbone, condition, steps, window, eta, seed, guidance)
    return Rollout(latents, noisy, condition, guidance)


def replay(
    backbone: Backbone, step: RolloutStep, condition: Condition, *, guidance: Guidance | None = None
) -> Replay:
    """The same step under the present weights, with a graph; exp(log_prob - step.log_prob) is the ratio.

    With the same weights, condition, guidance and batch the ratio is exactly 1; another batch size may change the
    order of the network's sums, and then it is not.
    """
    prediction = guided_prediction(backbone, step.x, step.t, condition, guidance)
    mu, s = _transition(backbone, prediction, step.x, step.t, step.t_next, step.eta)
    return Replay(mu, log_probability(step.x_next, mu, s, ~condition.known), prediction)


def guided_prediction(
    backbone: Backbone,
    x: Float[Tensor, "B C t h w"],
    t: Float[Tensor, "B"],
    condition: Condition,
    guidance: Guidance | None = None,
) -> Float[Tensor, "B C t h w"]:
    """The network's prediction, float32, with classifier-free guidance where there is any."""
    prediction = backbone.predict(x, t, condition).float()
    if guidance is None or guidance.scale == 1:
        return prediction
    blind = backbone.predict(x, t, guidance.unconditional).float()
    return blind + guidance.scale * (prediction - blind)


def transition_mean(
    x0: Float[Tensor, "B C t h w"],
    eps: Float[Tensor, "B C t h w"],
    alpha_next: Float[Tensor, "B"],
    sigma_next: Float[Tensor, "B"],
    eta: float,
) -> tuple[Float[Tensor, "B C t h w"], Float[Tensor, "B"]]:
    """Mean and standard deviation of the coefficient-preserving transition x' = mu + s z.

    s = sigma' sin(eta pi/2), mu = alpha' x0 + sqrt(sigma'^2 - s^2) eps: with the true x0 and eps, x' is exactly
    N(alpha' x0, sigma'^2) over eps and z. eta = 0 is the ODE.
    """
    s = sigma_next * math.sin(eta * math.pi / 2)
    kept = sigma_next * math.cos(eta * math.pi / 2)
    return per_clip(alpha_next) * x0 + per_clip(kept) * eps, s


def log_probability(
    x_next: Float[Tensor, "B C t h w"],
    mu: Float[Tensor, "B C t h w"],
    s: Float[Tensor, "B"],
    free: Bool[Tensor, "B 1 t 1 1"],
) -> Float[Tensor, "B"]:
    """mean of -(x' - mu)^2 / (2 s^2) over the latents that are `free`, in float32.

    A mean, not a sum: its constant is left out and its scale does not depend on the latents' number. Raises
    WorkError where a clip has no free latent.
    """
    density = -((x_next.float() - mu.float()) ** 2) / (2 * per_clip(s.float()) ** 2)
    return free_mean(density, free)


def free_mean(value: Float[Tensor, "B C t h w"], free: Bool[Tensor, "B 1 t 1 1"]) -> Float[Tensor, "B"]:
    """Mean of each clip over the latents that are not given. Raises WorkError where all are."""
    if not bool(free.flatten(1).any(-1).all()):
        raise WorkError("every latent of a clip is conditioning: nothing is left to train or to sample")
    # The mask has one entry a latent frame; each stands for equally many latents.
    per_frame = value.mean(dim=(1, 3, 4))
    mask = free[:, 0, :, 0, 0]
    return torch.where(mask, per_frame, 0.0).sum(-1) / mask.sum(-1)


def step_weights(
    backbone: Backbone, times: Float[Tensor, "N+1"], window: tuple[int, int], eta: float
) -> Float[Tensor, "K"]:
    """w = g^-1 / mean(g^-1) of each step of the window, with g = |d mu / d prediction| / s.

    The gradient of log_prob grows with g; without w some steps would outweigh others by up to 80 times. mu is
    affine in the prediction, so that two predictions give its derivative, for any parametrisation.
    """
    first, count = window
    t, t_next = times[first : first + count], times[first + 1 : first + count + 1]
    x = torch.zeros(count, backbone.latent_channels, 1, 1, 1, dtype=torch.float32, device=times.device)
    mu_of_one, s = _transition(backbone, torch.ones_like(x), x, t, t_next, eta)
    mu_of_zero, _ = _transition(backbone, torch.zeros_like(x), x, t, t_next, eta)
    gain = (mu_of_one - mu_of_zero).square().mean(dim=(1, 2, 3, 4)).sqrt() / s
    return 1 / gain / (1 / gain).mean()


def draw_window(steps: int, count: int, seed: int) -> tuple[int, int]:
    """A window (first, count) in the first half of the steps, or as early as it fits, drawn by the seed.

    Raises InputError where `count` steps do not fit before the last one.
    """
    if not 1 <= count < steps:
        raise InputError(f"a window of {count} noisy steps needs at least {count + 1} steps, not {steps}")
    choices = max(1, steps // 2 - count + 1)
    return int(np.random.default_rng(seed).integers(choices)), count


def item_generators(seed: int | Sequence[int], count: int) -> list[torch.Generator]:
    """A CPU generator for each clip, so that its noise depends on neither the batch nor the device.

    seed: one number, from which the clips' seeds derive, or each clip's own. Raises InputError where their number
    is not `count`.
    """
    if isinstance(seed, int):
        states = [np.random.SeedSequence([seed, item]).generate_state(1, np.uint64)[0] for item in range(count)]
        seeds = [int(state) >> 1 for state in states]
    else:
        seeds = [int(number) for number in seed]
    if len(seeds) != count:
        raise InputError(f"{len(seeds)} seeds for {count} clips; give one a clip, or a single number")
    return [torch.Generator().manual_seed(number) for number in seeds]


@torch.no_grad()
def _generate(
    backbone: Backbone,
    condition: Condition,
    steps: int,
    window: tuple[int, int],
    eta: float,
    seed: int | Sequence[int],
    guidance: Guidance | None,
) -> tuple[Tensor, tuple[RolloutStep, ...]]:
    if steps < 1:
        raise InputError(f"a generation needs at least one step, not {steps}")
    like = condition.latents
    clips = len(like)
    generators = item_generators(seed, clips)
    times = backbone.schedule(steps).to(like.device, torch.float32)
    _, sigma = backbone.alpha_sigma(times[0])
    x = condition.clamp(sigma * _noise(backbone, like, generators))
    first, count = window
    weights = step_weights(backbone, times, window, eta).tolist() if count else []
    noisy = []
    for index in range(steps):
        t, t_next = times[index].expand(clips), times[index + 1].expand(clips)
        prediction = guided_prediction(backbone, x, t, condition, guidance)
        stochastic = first <= index < first + count
        mu, s = _transition(backbone, prediction, x, t, t_next, eta if stochastic else 0.0)
        x_next = mu
        if stochastic:
            x_next = condition.clamp(mu + per_clip(s) * _noise(backbone, like, generators))
            log_prob = log_probability(x_next, mu, s, ~condition.known)
            weight = weights[index - first]
            noisy.append(RolloutStep(t, t_next, x, x_next, mu, s, log_prob, weight, eta))
        x = condition.clamp(x_next)
    return x, tuple(noisy)


def _transition(
    backbone: Backbone, prediction: Tensor, x: Tensor, t: Tensor, t_next: Tensor, eta: float
) -> tuple[Tensor, Tensor]:
    x0, eps = backbone.to_x0_eps(prediction, x, t)
    alpha_next, sigma_next = backbone.alpha_sigma(t_next)
    return transition_mean(x0, eps, alpha_next, sigma_next, eta)


def _noise(backbone: Backbone, like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    noise = [backbone.draw_noise(like.shape[1:], generator) for generator in generators]
    return torch.stack(noise).to(like.device)

"""The policy gradient on a toy whose optimum is known: it goes there, and nowhere without a reason."""

import pytest
import torch
from torch import nn

from phys4d.backbones import adapters
from phys4d.backbones.backbone import Backbone, Condition, per_clip
from phys4d.rewards import advantages
from phys4d.sampling import Rollout, draw_window, rollout, sample
from phys4d.training.policy import OBJECTIVES, Sample, match_error, matching_loss, policy_loss

OPTIMUM = torch.tensor([1.0, -0.5, 0.8, -1.2])
SPREAD = 0.3
"""Variance of the clips around the policy's mean."""
GROUP, SCENES, STEPS = 16, 2, 5


class Archer(Backbone):
    """Flow matching of clips N(aim, SPREAD), exactly: its noise decides what it hits, its adapter the aim."""

    name = "archer"
    latent_channels = 4
    lora_targets = ("aim",)

    def __init__(self):
        super().__init__()
        self.aim = nn.Linear(1, 4, bias=False)
        nn.init.zeros_(self.aim.weight)

    def mean(self):
        return self.aim(torch.ones(1, 1)).reshape(1, 4, 1, 1, 1)

    def forward(self, x, t, condition):
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        gain = alpha * SPREAD / (alpha**2 * SPREAD + sigma**2)
        return self.mean() + gain * (x - alpha * self.mean()), []

    def alpha_sigma(self, t):
        return 1 - t, t

    def to_x0_eps(self, prediction, x, t):
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        return prediction, (x - alpha * prediction) / sigma.clamp_min(1e-6)

    def target(self, x0, eps, t):
        return x0

    def schedule(self, steps):
        return torch.linspace(1, 0, steps + 1)

    def unused(self, *arguments, **options):
        raise AssertionError("a policy has no business here")

    tiny = from_pretrained = encode = decode = encode_text = condition = sample_time = valid_frames = unused


def scenes(count=1):
    """Conditions of which the first of two frames is given, to be left alone."""
    known = torch.tensor([True, False]).reshape(1, 1, 2, 1, 1)
    return Condition(torch.zeros(1, 1), torch.zeros(1, 4, 2, 1, 1), known).repeat(count)


def distance(latents):
    return (latents[:, :, 1:] - OPTIMUM.reshape(1, 4, 1, 1, 1)).square().mean(dim=(1, 2, 3, 4))


def honest(latents):
    return -distance(latents)


def rolled(backbone, objective, seed):
    if objective != "awm":
        window = draw_window(STEPS, 2, seed)
        return rollout(backbone, scenes(), steps=STEPS, window=window, eta=0.8, seed=seed, group=GROUP)
    group = scenes(GROUP)
    return Rollout(sample(backbone, group, steps=STEPS, seed=seed), (), group, None)


def practise(objective, reward, *, seed=0, updates=75, permute=False):
    """How far from the optimum the policy aims in the end; in the beginning it is the optimum's own length."""
    torch.manual_seed(seed)
    backbone = Archer()
    adapters.add_adapter(backbone, "reinforce", rank=1, alpha=1.0)
    optimizer = torch.optim.Adam([p for p in backbone.parameters() if p.requires_grad], lr=0.05)
    for update in range(updates):
        made = [rolled(backbone, objective, 1000 * seed + SCENES * update + k) for k in range(SCENES)]
        advantage, _ = advantages(torch.stack([reward(group.latents) for group in made]))
        if permute:
            advantage = torch.stack([row[torch.randperm(GROUP)] for row in advantage])
        optimizer.zero_grad()
        for group, row in zip(made, advantage, strict=True):
            found = Sample(group, row, {})
            if objective == "awm":
                found.t = torch.full((GROUP,), 0.5)
                found.eps = torch.randn_like(group.latents[:1]).expand_as(group.latents)
                with torch.no_grad():
                    found.error = match_error(backbone, found)
                loss, _ = matching_loss(backbone, found, clip=1e-4)
            else:
                loss, _ = policy_loss(
                    backbone, found, "reinforce", objective=objective, kl_limit=1e-5, clip=1e-4, beta=0.0
                )
            (loss / SCENES).backward()
        optimizer.step()
    return float((backbone.mean().detach().flatten() - OPTIMUM).norm())


START = float(OPTIMUM.norm())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_reaches_the_known_optimum(objective):
    assert practise(objective, honest) < 0.15 * START


@pytest.mark.parametrize("objective", ["kl_mask", "awm"])
def test_with_the_sign_turned_it_goes_the_other_way(objective):
    assert practise(objective, distance, updates=30) > 1.2 * START


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_from_a_constant_reward_it_learns_nothing_at_all(objective):
    constant = practise(objective, lambda latents: torch.full((len(latents),), 0.7), updates=3)
    assert constant == pytest.approx(START, abs=1e-6)


def test_from_permuted_rewards_it_gains_nothing():
    """It wanders, but on average not towards the optimum."""
    gains = [START - practise("kl_mask", honest, seed=seed, updates=25, permute=True) for seed in range(6)]
    true = [START - practise("kl_mask", honest, seed=seed, updates=25) for seed in range(2)]
    assert min(true) > max(gains)
    assert abs(sum(gains) / len(gains)) < 0.2 * sum(true) / len(true)

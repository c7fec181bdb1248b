"""The policy gradient on a tiny backbone: ratios, signs, masks and clips against their definitions."""

import dataclasses

import pytest
import torch

from phys4d.backbones import adapters
from phys4d.backbones.backbone import per_clip
from phys4d.model import WorldModel
from phys4d.sampling import Rollout, free_mean, replay, rollout, sample
from phys4d.training.loop import autocast
from phys4d.training.policy import Sample, match_error, matching_loss, policy_loss

GROUP = 4
SETTINGS = {"kl_limit": 1e-5, "clip": 1e-4, "beta": 0.0}


@pytest.fixture
def backbone():
    model = WorldModel.tiny("nano").eval()
    adapters.add_adapter(model.backbone, "reinforce", rank=2, alpha=4.0)
    return model.backbone


@pytest.fixture
def condition(backbone):
    return backbone.condition(torch.rand(1, 1, 64, 64, 3), ["a ball"], 17)


def rolled(backbone, condition, advantage=(1.0, -1.0, 0.5, -0.5)):
    made = rollout(backbone, condition, steps=4, window=(0, 2), seed=1, group=GROUP)
    return Sample(made, torch.tensor(advantage), {})


def matched(backbone, condition, advantage=(1.0, -1.0, 0.5, -0.5)):
    group = condition.repeat(GROUP)
    made = Rollout(sample(backbone, group, steps=4, seed=1), (), group, None)
    noise = torch.randn_like(made.latents[:1]).expand_as(made.latents)
    found = Sample(made, torch.tensor(advantage), {}, torch.full((GROUP,), 0.6), noise)
    with torch.no_grad():
        found.error = match_error(backbone, found)
    return found


def trained(backbone):
    return [p for p in backbone.parameters() if p.requires_grad]


def step_downhill(backbone, loss, length=0.01):
    parameters = trained(backbone)
    slopes = torch.autograd.grad(loss, parameters)
    norm = torch.cat([slope.flatten() for slope in slopes]).norm()
    with torch.no_grad():
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter -= length * slope / norm


def moved(backbone, amount=0.3):
    """The adapter after an update in some direction."""
    with torch.no_grad():
        for parameter in trained(backbone):
            parameter.add_(amount * torch.randn_like(parameter))


def log_probs(backbone, found):
    with torch.no_grad():
        again = [replay(backbone, step, found.rollout.condition).log_prob for step in found.rollout.steps]
    return torch.stack(again)


@pytest.mark.parametrize("objective", ["kl_mask", "clip"])
def test_the_ratio_is_exactly_one_on_the_first_update(backbone, condition, objective):
    found = rolled(backbone, condition)
    loss, told = policy_loss(backbone, found, "reinforce", objective=objective, **{**SETTINGS, "beta": 1.0})
    for step in found.rollout.steps:
        assert torch.equal(replay(backbone, step, found.rollout.condition).log_prob, step.log_prob)
    assert told == {"masked": 0.0, "moved": 0.0, "from_reference": 0.0}
    # E[-w A rho] with rho = 1, and w is 1 on average.
    assert float(loss.detach()) == pytest.approx(-float(found.advantage.mean()), abs=1e-6)
    assert float(gradients(backbone, loss).abs().max()) > 0
    moved(backbone)
    _, told = policy_loss(backbone, found, "reinforce", objective=objective, **{**SETTINGS, "beta": 1.0})
    assert told["moved"] > 0
    assert told["from_reference"] > 0


@pytest.mark.slow
def test_the_ratio_is_exactly_one_in_half_precision_too(backbone, condition):
    with autocast("bfloat16", torch.device("cpu")):
        made = rollout(backbone, condition, steps=2, window=(0, 1), seed=1, group=2)
        loss, told = policy_loss(
            backbone, Sample(made, torch.tensor([1.0, -1.0]), {}), "reinforce", objective="kl_mask", **SETTINGS
        )
        assert torch.equal(replay(backbone, made.steps[0], made.condition).log_prob, made.steps[0].log_prob)
    assert told["moved"] == 0
    # The rollout's casts, made without a graph, must not stand in for those of the replay.
    assert float(gradients(backbone, loss).abs().max()) > 0


@pytest.mark.parametrize("objective", ["kl_mask", "clip"])
def test_an_update_makes_good_rollouts_likelier_than_bad_ones(backbone, condition, objective):
    found = rolled(backbone, condition)
    before = log_probs(backbone, found)
    loss, _ = policy_loss(backbone, found, "reinforce", objective=objective, **SETTINGS)
    step_downhill(backbone, loss)
    weights = torch.tensor([step.weight for step in found.rollout.steps])[:, None]
    assert float((weights * found.advantage * (log_probs(backbone, found) - before)).mean()) > 0


def test_awm_makes_good_clips_easier_to_denoise(backbone, condition):
    found = matched(backbone, condition)
    loss, told = matching_loss(backbone, found, clip=1e-4)
    assert torch.equal(found.error, match_error(backbone, found).detach())
    assert told == {"masked": 0.0}
    assert float(loss.detach()) == pytest.approx(-float(found.advantage.mean()), abs=1e-6)
    step_downhill(backbone, loss)
    with torch.no_grad():
        fell = found.error - match_error(backbone, found)
    assert float((found.advantage * fell).mean()) > 0


def gradients(backbone, loss):
    found = torch.autograd.grad(loss, trained(backbone), allow_unused=True)
    return torch.cat([torch.zeros(1) if g is None else g.flatten() for g in found])


def as_if_moved(backbone, condition, shift, growth, advantage):
    """One noisy step, written down as if mu had moved by `shift` and log_prob risen by `growth` since."""
    found = rolled(backbone, condition, advantage)
    step = found.rollout.steps[0]
    step = dataclasses.replace(
        step, mu=step.mu - per_clip(torch.tensor(shift)), log_prob=step.log_prob - torch.tensor(growth)
    )
    found.rollout = dataclasses.replace(found.rollout, steps=(step,))
    return found, step


def test_kl_mask_drops_what_moved_far_and_would_go_on(backbone, condition):
    # Far and likelier, far and unlikelier, near and likelier, far and likelier but unwanted.
    shift, growth, advantage = (0.3, 0.3, 0.01, 0.3), (0.02, -0.02, 0.02, 0.02), (1.0, 1.0, 1.0, -1.0)
    found, step = as_if_moved(backbone, condition, shift, growth, advantage)
    limit = float((0.1**2 / (2 * step.s**2)).mean())
    loss, told = policy_loss(backbone, found, "reinforce", objective="kl_mask", kl_limit=limit, clip=0, beta=0)
    assert told["masked"] == 0.25
    wide = float((torch.tensor(shift) ** 2 / (2 * step.s**2)).mean())
    assert told["moved"] == pytest.approx(wide, rel=1e-4)
    ratio = (replay(backbone, step, found.rollout.condition).log_prob - step.log_prob).exp()
    assert torch.allclose(ratio, torch.tensor(growth).exp(), rtol=1e-4)
    kept = torch.tensor([0.0, 1.0, 1.0, 1.0])
    wanted = -step.weight * (kept * found.advantage * ratio).mean()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert torch.allclose(gradients(backbone, loss), gradients(backbone, wanted), atol=1e-7)


def test_clip_cuts_the_gradient_of_ratios_that_went_too_far(backbone, condition):
    # Too far, far the wrong way, within, too far down for a bad one.
    growth, advantage = (0.02, -0.02, 0.005, -0.02), (1.0, 1.0, 1.0, -2.0)
    found, step = as_if_moved(backbone, condition, (0.0,) * 4, growth, advantage)
    loss, told = policy_loss(backbone, found, "reinforce", objective="clip", kl_limit=0, clip=0.01, beta=0)
    assert told["masked"] == 0.5
    ratio = (replay(backbone, step, found.rollout.condition).log_prob - step.log_prob).exp()
    free = torch.tensor([0.0, 1.0, 1.0, 0.0])
    constant = torch.tensor([1.01, 0.0, 0.0, -2 * 0.99])
    wanted = -step.weight * (free * found.advantage * ratio + constant).mean()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert torch.allclose(gradients(backbone, loss), gradients(backbone, wanted), atol=1e-7)


def test_the_distance_is_that_from_the_model_without_the_adapter(backbone, condition):
    found = rolled(backbone, condition, (0.0, 0.0, 0.0, 0.0))
    moved(backbone)
    loss, told = policy_loss(backbone, found, "reinforce", objective="kl_mask", kl_limit=1.0, clip=0, beta=2.0)
    wanted = []
    for step in found.rollout.steps:
        with torch.no_grad():
            mine = backbone.predict(step.x, step.t, found.rollout.condition)
            with adapters.without(backbone, "reinforce"):
                other = backbone.predict(step.x, step.t, found.rollout.condition)
        away = free_mean((mine - other).square(), ~found.rollout.condition.known)
        wanted.append(float((away / step.t.clamp_min(0.2) ** 2).mean()))
    assert told["from_reference"] == pytest.approx(sum(wanted) / 2, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(2 * told["from_reference"], rel=1e-5)
    # Nearer the reference is better.
    assert float(gradients(backbone, loss).norm()) > 0

"""The sampler against closed forms: marginals, the variance recursion, and the ratio that must be exactly 1."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from phys4d.backbones.backbone import Backbone, Condition, per_clip
from phys4d.errors import InputError, WorkError
from phys4d.sampling import (
    Guidance,
    draw_window,
    free_mean,
    item_generators,
    log_probability,
    replay,
    rollout,
    sample,
    step_weights,
    transition_mean,
)

QUARTER = math.pi / 2


class Fake(Backbone):
    """The contract on a formula: `flow` or `v` parametrisation, a subclass says what is predicted."""

    name = "fake"
    spatial_multiple = 1
    latent_channels = 2

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def alpha_sigma(self, t):
        return (1 - t, t) if self.kind == "flow" else (torch.cos(QUARTER * t), torch.sin(QUARTER * t))

    def to_x0_eps(self, prediction, x, t):
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        if self.kind == "flow":
            return x - sigma * prediction, x + alpha * prediction
        return alpha * x - sigma * prediction, sigma * x + alpha * prediction

    def target(self, x0, eps, t):
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        return eps - x0 if self.kind == "flow" else alpha * eps - sigma * x0

    def schedule(self, steps):
        return torch.linspace(1, 0, steps + 1)

    def unused(self, *arguments, **options):
        raise AssertionError("the sampler has no business here")

    tiny = from_pretrained = encode = decode = encode_text = condition = sample_time = valid_frames = unused


class PosteriorMean(Fake):
    """The best prediction there is, for data N(0, variance) in every latent."""

    def __init__(self, kind, variance):
        super().__init__(kind)
        self.variance = variance

    def forward(self, x, t, condition):
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        x0 = alpha * self.variance / (alpha**2 * self.variance + sigma**2) * x
        return self.target(x0, (x - alpha * x0) / sigma, t), []


class Oracle(Fake):
    """Knows the clean latents: they are the condition's, known or not."""

    def forward(self, x, t, condition):
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        return self.target(condition.latents, (x - alpha * condition.latents) / sigma, t), []


class Convolution(Fake):
    """Something with weights, that sees x, the time and the text."""

    def __init__(self, kind):
        super().__init__(kind)
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.GELU(), nn.Conv3d(8, 2, 3, padding=1))
        self.bias = nn.Linear(3, 2)

    def forward(self, x, t, condition):
        return self.net(x * per_clip(1 + t)) + self.bias(condition.text)[:, :, None, None, None], []


def clips(count=3, shape=(2, 4, 5, 5), known=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(count, 1, shape[1], 1, 1, dtype=torch.bool)
    mask[:, :, :known] = True
    text = torch.randn(count, 3, generator=generator)
    return Condition(text, torch.randn(count, *shape, generator=generator), mask)


def one_clip(latents):
    """A condition of one clip of which nothing is known."""
    return Condition(torch.zeros(1, 3), latents, torch.zeros(1, 1, latents.shape[2], 1, 1, dtype=torch.bool))


def test_fakes_agree_with_themselves():
    x0, eps, t = torch.randn(2, 2, 1, 3, 3), torch.randn(2, 2, 1, 3, 3), torch.tensor([0.3, 0.8])
    for kind in ("flow", "v"):
        fake = Oracle(kind)
        alpha, sigma = (per_clip(value) for value in fake.alpha_sigma(t))
        back = fake.to_x0_eps(fake.target(x0, eps, t), alpha * x0 + sigma * eps, t)
        torch.testing.assert_close(back, (x0, eps))


@pytest.mark.parametrize("eta", [0.0, 0.4, 0.8, 1.0])
def test_transition_preserves_coefficients(eta):
    """mu is linear in x0 with alpha' and the variance of eps and z together is sigma'^2: the exact marginal."""
    alpha, sigma = torch.tensor([0.6, 0.3]), torch.tensor([0.5, 0.9])
    one, zero = torch.ones(2, 1, 1, 1, 1), torch.zeros(2, 1, 1, 1, 1)
    of_x0, s = transition_mean(one, zero, alpha, sigma, eta)
    of_eps, _ = transition_mean(zero, one, alpha, sigma, eta)
    torch.testing.assert_close(of_x0.flatten(), alpha)
    torch.testing.assert_close(of_eps.flatten() ** 2 + s**2, sigma**2)
    torch.testing.assert_close(s, sigma * math.sin(eta * QUARTER))


@pytest.mark.parametrize("kind", ["flow", "v"])
def test_marginals_of_oracle_rollouts(kind):
    """Monte Carlo: after each noisy step x' is N(alpha' x0, sigma'^2), and the ODE ends on x0."""
    x0 = torch.full((1, 2, 1, 200, 200), 1.7)
    backbone = Oracle(kind)
    result = rollout(backbone, one_clip(x0), steps=6, window=(0, 5), eta=0.8, seed=1)
    assert len(result.steps) == 5
    for step in result.steps:
        alpha, sigma = backbone.alpha_sigma(step.t_next[0])
        assert step.x_next.mean().item() == pytest.approx(1.7 * alpha.item(), abs=0.015)
        assert step.x_next.std().item() == pytest.approx(sigma.item(), rel=0.015)
        fresh = (step.x_next - step.mu) / step.s
        assert fresh.std().item() == pytest.approx(1, rel=0.015)
    torch.testing.assert_close(result.latents, x0)


def variances(backbone, steps, window, eta):
    """Variance after every step with posterior-mean predictions: x' is linear in x, plus s z."""
    first, count = window
    times = backbone.schedule(steps).double()
    variance, history = backbone.alpha_sigma(times[0])[1].item() ** 2, []
    for index in range(steps):
        alpha, sigma = (value.item() for value in backbone.alpha_sigma(times[index]))
        alpha_next, sigma_next = (value.item() for value in backbone.alpha_sigma(times[index + 1]))
        angle = eta * QUARTER if first <= index < first + count else 0.0
        shrink = alpha * backbone.variance / (alpha**2 * backbone.variance + sigma**2)
        gain = alpha_next * shrink + sigma_next * math.cos(angle) * (1 - alpha * shrink) / sigma
        variance = gain**2 * variance + (sigma_next * math.sin(angle)) ** 2
        history.append(variance)
    return history


@pytest.mark.parametrize("kind", ["flow", "v"])
@pytest.mark.parametrize("window", [(0, 3), (2, 4), (0, 9)])
def test_variance_recursion_of_posterior_means(kind, window):
    backbone = PosteriorMean(kind, 0.5)
    result = rollout(backbone, one_clip(torch.zeros(1, 2, 1, 250, 250)), steps=10, window=window, eta=0.8, seed=2)
    expected = variances(backbone, 10, window, 0.8)
    for number, step in enumerate(result.steps):
        assert step.x_next.var().item() == pytest.approx(expected[window[0] + number], rel=0.02)
    assert result.latents.var().item() == pytest.approx(expected[-1], rel=0.02)


@pytest.mark.parametrize("kind", ["flow", "v"])
@pytest.mark.parametrize("eta", [0.4, 0.8, 1.0])
def test_variance_limits(kind, eta):
    """Noise on every step: (1 + cos)/2 of the truth. A short early window: the loss vanishes as 1/N."""
    backbone = PosteriorMean(kind, 0.5)
    limit = (1 + math.cos(eta * QUARTER)) / 2
    assert variances(backbone, 4000, (0, 3999), eta)[-1] / 0.5 == pytest.approx(limit, rel=5e-3)
    loss = {steps: 1 - variances(backbone, steps, (0, 3), eta)[-1] / 0.5 for steps in (200, 400, 800)}
    for steps in (200, 400):
        assert loss[steps] / loss[2 * steps] == pytest.approx(2, rel=0.05)
    many = rollout(backbone, one_clip(torch.zeros(1, 2, 1, 100, 100)), steps=150, window=(0, 149), eta=eta)
    assert many.latents.var().item() == pytest.approx(variances(backbone, 150, (0, 149), eta)[-1], rel=0.05)


def test_sampling_gaussian_data_gets_its_variance():
    """The ODE with the best predictions reproduces the data's spread."""
    latents = sample(PosteriorMean("flow", 0.5), one_clip(torch.zeros(1, 2, 1, 200, 200)), steps=60, seed=3)
    assert latents.var().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("kind", ["flow", "v"])
def test_known_latents_are_never_touched(kind):
    condition = clips(known=2)
    backbone = Convolution(kind)
    result = rollout(backbone, condition, steps=5, window=(1, 2))
    for latents in (sample(backbone, condition, steps=3), result.latents, *(s.x_next for s in result.steps)):
        assert torch.equal(latents[:, :, :2], condition.latents[:, :, :2])
        assert not torch.isclose(latents[:, :, 2:], condition.latents[:, :, 2:]).any(dim=(1, 3, 4)).all()


def test_noise_belongs_to_the_item():
    """A clip's generation depends on its own seed, not on the batch around it."""
    condition, backbone = clips(), Convolution("flow")
    together = sample(backbone, condition, steps=4, seed=[5, 6, 7])
    alone = sample(backbone, condition[1:2], steps=4, seed=[6])
    torch.testing.assert_close(together[1:2], alone)
    assert torch.equal(together, sample(backbone, condition, steps=4, seed=[5, 6, 7]))
    assert not torch.allclose(together[1:2], sample(backbone, condition[1:2], steps=4, seed=[9]))
    states = [generator.initial_seed() for generator in item_generators(3, 4)]
    assert len(set(states)) == 4
    assert states[:2] == [generator.initial_seed() for generator in item_generators(3, 2)]
    with pytest.raises(InputError, match="2 seeds for 3 clips"):
        sample(backbone, condition, steps=4, seed=[1, 2])


@pytest.mark.parametrize("kind", ["flow", "v"])
def test_ratio_is_exactly_one_on_the_same_weights_and_moves_with_them(kind):
    condition, backbone = clips(), Convolution(kind)
    blind = Guidance(3.0, dataclasses.replace(condition, text=torch.zeros_like(condition.text)))
    for guidance in (None, blind):
        result = rollout(backbone, condition, steps=6, window=(1, 3), seed=4, group=2, guidance=guidance)
        assert result.latents.shape[0] == 6
        for step in result.steps:
            again = replay(backbone, step, result.condition, guidance=result.guidance)
            assert torch.equal((again.log_prob - step.log_prob).exp(), torch.ones(6))
            assert torch.equal(again.mu, step.mu)
            assert again.log_prob.dtype == torch.float32
            assert not step.x.requires_grad
            again.log_prob.sum().backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in backbone.net.parameters())
    with torch.no_grad():
        backbone.net[0].weight.mul_(1.05)
    moved = replay(backbone, step, result.condition, guidance=result.guidance)
    assert not torch.equal(moved.log_prob, step.log_prob)
    unguided = replay(backbone, step, result.condition)
    assert not torch.equal(unguided.log_prob, moved.log_prob)


def test_a_step_along_the_gradient_makes_the_action_likelier():
    condition, backbone = clips(), Convolution("flow")
    (step,) = rollout(backbone, condition, steps=5, window=(1, 1)).steps
    replay(backbone, step, condition).log_prob.sum().backward()
    with torch.no_grad():
        for weight in backbone.parameters():
            weight += 1e-3 * weight.grad
    assert (replay(backbone, step, condition).log_prob > step.log_prob).any()
    assert replay(backbone, step, condition).log_prob.sum() > step.log_prob.sum()


def test_group_shares_condition_and_window_but_no_noise():
    result = rollout(Convolution("flow"), clips(count=2), steps=6, window=(0, 2), group=3)
    assert torch.equal(result.condition.text[:3], result.condition.text[:1].expand(3, -1))
    assert [step.t[0].item() for step in result.steps] == pytest.approx([1, 5 / 6])
    free = result.latents[:, :, 1:].flatten(1)
    assert torch.cdist(free[:3], free[:3])[~torch.eye(3, dtype=torch.bool)].min() > 0.1


@pytest.mark.parametrize("kind", ["flow", "v"])
def test_step_weights_even_out_the_gradients(kind):
    """Closed form of d mu / d prediction, and w g is the same on every step."""
    backbone, eta, window = Convolution(kind), 0.8, (1, 6)
    times = backbone.schedule(10)
    weights = step_weights(backbone, times, window, eta)
    gains = []
    for t, t_next in zip(times[1:7].tolist(), times[2:8].tolist(), strict=True):
        (alpha, sigma), (alpha_next, sigma_next) = (
            [v.item() for v in backbone.alpha_sigma(torch.tensor(number))] for number in (t, t_next)
        )
        slope = -alpha_next * sigma + sigma_next * math.cos(eta * QUARTER) * alpha
        gains.append(abs(slope) / (sigma_next * math.sin(eta * QUARTER)))
    products = weights * torch.tensor(gains)
    torch.testing.assert_close(products, products[:1].expand(6))
    assert weights.mean().item() == pytest.approx(1)
    assert weights.max() / weights.min() > 3
    steps = rollout(backbone, clips(), steps=10, window=window, eta=eta).steps
    assert [step.weight for step in steps] == pytest.approx(weights.tolist())


def test_log_probability_by_hand_and_leaves_out_what_is_known():
    x = torch.zeros(1, 1, 2, 1, 2)
    mu = torch.tensor([100.0, 100.0, 1.0, 3.0]).reshape(1, 1, 2, 1, 2)
    free = torch.tensor([False, True]).reshape(1, 1, 2, 1, 1)
    value = log_probability(x, mu, torch.tensor([2.0]), free)
    assert value.item() == pytest.approx(-(1 + 9) / 2 / (2 * 4))
    with pytest.raises(WorkError, match="every latent"):
        free_mean(x, torch.zeros_like(free))


@pytest.mark.parametrize("kind", ["flow", "v"])
def test_step_weights_equalise_the_gradients_of_the_log_probability(kind):
    """As autograd finds them in a replay: without the weights they differ by a factor."""
    backbone, condition = Convolution(kind), clips(count=1, shape=(2, 4, 24, 24))
    result = rollout(backbone, condition, steps=10, window=(0, 6), eta=0.8, seed=5)
    plain, weighted = [], []
    for step in result.steps:
        again = replay(backbone, step, result.condition)
        (slope,) = torch.autograd.grad(again.log_prob.sum(), again.prediction)
        plain.append(slope.norm().item())
        weighted.append(step.weight * plain[-1])
    assert max(plain) / min(plain) > 3
    assert max(weighted) / min(weighted) < 1.1


@pytest.mark.parametrize("kind", ["flow", "v"])
def test_log_probabilities_of_rollouts_equal_a_float64_reference(kind):
    """Written out from the definitions, with the network itself in float64."""
    backbone, condition = Convolution(kind), clips()
    result = rollout(backbone, condition, steps=6, window=(1, 3), eta=0.7, seed=8)
    exact = Convolution(kind).double()
    for step in result.steps:
        x, after, t, t_next = (v.double() for v in (step.x, step.x_next, step.t, step.t_next))
        v = exact(x, t, dataclasses.replace(condition, text=condition.text.double()))[0]
        t, t_next = per_clip(t), per_clip(t_next)
        if kind == "flow":
            x0, eps, alpha, sigma = x - t * v, x + (1 - t) * v, 1 - t_next, t_next
        else:
            cos, sin = torch.cos(QUARTER * t), torch.sin(QUARTER * t)
            x0, eps = cos * x - sin * v, sin * x + cos * v
            alpha, sigma = torch.cos(QUARTER * t_next), torch.sin(QUARTER * t_next)
        s = sigma * math.sin(0.7 * QUARTER)
        mu = alpha * x0 + (sigma**2 - s**2).sqrt() * eps
        free = after[:, :, 1:] - mu[:, :, 1:]
        expected = -(free**2 / (2 * s**2)).mean(dim=(1, 2, 3, 4))
        torch.testing.assert_close(step.log_prob.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [(0, 6), (5, 1), (4, 2), (-1, 2), (0, 0)])
def test_the_last_step_is_never_noisy(window):
    with pytest.raises(InputError, match="never noisy"):
        rollout(Convolution("flow"), clips(), steps=6, window=window)


def test_windows_are_early_and_seeded():
    drawn = [draw_window(10, 3, seed) for seed in range(40)]
    assert {first for first, _ in drawn} == {0, 1, 2}
    assert drawn == [draw_window(10, 3, seed) for seed in range(40)]
    assert draw_window(4, 3, 1) == (0, 3)
    with pytest.raises(InputError, match="at least 4 steps"):
        draw_window(3, 3, 0)


def test_impossible_requests():
    with pytest.raises(InputError, match="at least one step"):
        sample(Convolution("flow"), clips(), steps=0)
    with pytest.raises(InputError, match="eta"):
        rollout(Convolution("flow"), clips(), steps=6, window=(0, 2), eta=0.0)
    with pytest.raises(InputError, match="group"):
        rollout(Convolution("flow"), clips(), steps=6, window=(0, 2), group=0)
    with pytest.raises(WorkError, match="every latent"):
        rollout(Convolution("flow"), clips(known=4), steps=6, window=(0, 2))

"""What every backbone promises, asked of each that is registered."""

import pytest
import torch

from phys4d.backbones import Backbone, backbones
from phys4d.backbones.adapters import add_adapter
from phys4d.errors import InputError
from phys4d.sampling import sample

PROMPTS = ["a ball falls", "two balls pass"]


VARIANTS = {name: getattr(backbones[name], "variants", (None,)) for name in backbones}
# The others differ less; the pipelines' own tests go through every one.
KINDS = [(name, variant) for name, known in VARIANTS.items() for variant in dict.fromkeys((known[0], known[-1]))]


def tiny(name, variant) -> Backbone:
    torch.manual_seed(0)
    made = backbones[name].tiny() if variant is None else backbones[name].tiny(variant)
    return made.eval()


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(filter(None, kind)), scope="module")
def backbone(request) -> Backbone:
    return tiny(*request.param).requires_grad_(False)


def clip(backbone, clips=2, seed=0):
    """A video of the shortest window and its condition of one first frame."""
    frames = backbone.valid_frames(1)
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (clips, frames, *backbone.size, 3), generator=generator)
    video = pixels.float() / 255
    return video, backbone.condition(video[:, :1], PROMPTS[:clips], frames)


def noisy(backbone, video, t=0.6, seed=1):
    x0 = backbone.encode(video)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
    times = torch.full((len(video),), t)
    alpha, sigma = (value.reshape(-1, 1, 1, 1, 1) for value in backbone.alpha_sigma(times))
    return alpha * x0 + sigma * eps, x0, eps, times


def test_it_says_what_it_is(backbone):
    assert backbone.name in backbone.describe()
    assert backbones[backbone.name] is type(backbone)
    assert all(n % backbone.spatial_multiple == 0 for n in backbone.size)
    assert backbone.valid_frames(backbone.most_frames) == backbone.most_frames
    assert backbone.fps > 0
    again = type(backbone)(**backbone.config)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in backbone.state_dict().items()
    }


def test_shapes(backbone):
    video, condition = clip(backbone)
    x, x0, _, t = noisy(backbone, video)
    assert x0.shape[:2] == (2, backbone.latent_channels)
    assert condition.latents.shape == x0.shape
    assert condition.known.shape == (2, 1, x0.shape[2], 1, 1)
    assert condition.known.dtype == torch.bool
    prediction, features = backbone(x, t, condition)
    assert prediction.shape == x.shape
    assert backbone.decode(x0).shape == video.shape
    assert len(features) == len(backbone.feature_dims)
    grids = {tuple(f.shape[:4]) for f in features}
    assert len(grids) == 1, "all features lie on one grid"
    assert grids.pop()[0] == 2
    assert tuple(f.shape[-1] for f in features) == backbone.feature_dims
    assert all(bool(torch.isfinite(value).all()) for value in (prediction, *features))
    assert torch.equal(backbone.predict(x, t, condition), prediction)
    assert all(torch.equal(a, b) for a, b in zip(backbone.features(x, t, condition), features))


def test_known_latents_are_never_changed(backbone):
    video, condition = clip(backbone)
    _, x0, _, _ = noisy(backbone, video)
    known = condition.known.expand_as(x0)
    assert known.any() or condition.extra, "first frames are given in place, or beside"
    assert not known.all()
    if backbone.name not in ("cogvideox", "opensora"):
        # Their VAEs normalise over all frames, so that the first is encoded otherwise where more follow.
        torch.testing.assert_close(condition.latents[known], x0[known])
    made = sample(backbone, condition, steps=2, seed=3)
    assert torch.equal(made[known], condition.latents[known])
    assert not torch.equal(made[~known], x0[~known])


def test_what_is_noised_where_the_condition_knows_better_does_not_matter(backbone):
    video, condition = clip(backbone)
    x, _, _, t = noisy(backbone, video)
    other = torch.where(condition.known, 9.0, x)
    clamped = [backbone.predict(condition.clamp(value), t, condition) for value in (x, other)]
    assert torch.equal(*clamped)


def test_more_first_frames_are_more_known(backbone):
    video, one = clip(backbone)
    count = max(k for k in range(1, video.shape[1]) if backbone.valid_context(k) == k)
    most = backbone.condition(video[:, :count], PROMPTS, video.shape[1])
    assert int(most.known.sum()) >= int(one.known.sum())
    assert not most.known.all()
    for count in (backbone.least_context - 1, video.shape[1]):
        if count < 0:
            continue
        with pytest.raises(InputError, match=f"first frames, not {count}"):
            backbone.condition(video[:, :count], PROMPTS, video.shape[1])


@pytest.mark.parametrize("t", [0.05, 0.5, 1.0])
def test_x_is_alpha_x0_plus_sigma_eps(backbone, t):
    video, _ = clip(backbone)
    x, x0, eps, times = noisy(backbone, video, t)
    alpha, sigma = (value.reshape(-1, 1, 1, 1, 1) for value in backbone.alpha_sigma(times))
    prediction = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    said_x0, said_eps = backbone.to_x0_eps(prediction, x, times)
    torch.testing.assert_close(alpha * said_x0 + sigma * said_eps, x, rtol=1e-4, atol=1e-4)
    truth = backbone.to_x0_eps(backbone.target(x0, eps, times), x, times)
    for said, true in zip(truth, (x0, eps)):
        torch.testing.assert_close(said, true, rtol=1e-3, atol=1e-3)


def test_time_runs_from_clean_to_noise(backbone):
    t = torch.linspace(0, 1, 33)
    alpha, sigma = backbone.alpha_sigma(t)
    assert (alpha[0], sigma[0]) == (1, 0)
    assert alpha[-1] < 0.1
    assert abs(float(sigma[-1]) - 1) < 0.01
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()
    assert (backbone.loss_weight(t[1:]) > 0).all()
    drawn = backbone.sample_time(512, torch.Generator().manual_seed(0))
    assert drawn.shape == (512,)
    assert (drawn >= 0).all()
    assert (drawn <= 1).all()
    assert drawn.std() > 0.05
    assert torch.equal(drawn, backbone.sample_time(512, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("steps", [1, 2, 8, 50])
def test_the_schedule_falls_from_one_to_nought(backbone, steps):
    times = backbone.schedule(steps)
    assert times.shape == (steps + 1,)
    assert (times[0], times[-1]) == (1, 0)
    assert (times.diff() < 0).all()


def test_valid_frames_are_the_nearest(backbone):
    valid = [n for n in range(1, backbone.most_frames + 1) if backbone.valid_frames(n) == n]
    assert valid
    for frames in range(1, backbone.most_frames + 9):
        nearest = backbone.valid_frames(frames)
        assert nearest in valid
        assert abs(nearest - frames) == min(abs(n - frames) for n in valid)


def test_frames_and_sizes_that_cannot_be_are_refused_with_the_nearest(backbone):
    backbone.check(backbone.most_frames, backbone.size)
    frames = backbone.most_frames + 1
    with pytest.raises(InputError, match=f"cannot make {frames} frames .* nearest is {backbone.most_frames}"):
        backbone.check(frames, backbone.size)
    height, width = backbone.size
    with pytest.raises(InputError, match=f"nearest is {height}x{width}"):
        backbone.check(backbone.most_frames, (height + 1, width))


def test_pixels_survive_encoding(backbone):
    if backbone.latent_channels != 3:
        pytest.skip("a VAE of random weights keeps nothing")
    video, _ = clip(backbone)
    assert torch.equal((backbone.decode(backbone.encode(video)) * 255).round(), (video * 255).round())


def test_the_same_is_predicted_again_and_whatever_the_batch(backbone):
    video, condition = clip(backbone)
    x, _, _, t = noisy(backbone, video)
    together = backbone.predict(x, t, condition)
    assert torch.equal(together, backbone.predict(x, t, condition))
    for i in range(2):
        alone = backbone.predict(x[i : i + 1], t[i : i + 1], condition[i : i + 1])
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("changed", ["x", "t", "text", "first frame"])
def test_the_prediction_depends_on_what_it_is_told(backbone, changed):
    video, condition = clip(backbone, clips=1)
    x, _, _, t = noisy(backbone, video)
    before = backbone.features(x, t, condition)[-1]
    if changed == "x":
        x = x + 1
    elif changed == "t":
        t = t / 2
    elif changed == "text":
        condition = backbone.condition(video[:, :1], ["nothing moves"], video.shape[1])
    else:
        condition = backbone.condition(1 - video[:, :1], PROMPTS[:1], video.shape[1])
    assert not torch.allclose(before, backbone.features(x, t, condition)[-1], atol=1e-5)


@pytest.mark.parametrize("prompt", ["", "    ", "éø 球 !?", "word " * 400])
def test_any_words_will_do(backbone, prompt):
    video, _ = clip(backbone, clips=1)
    condition = backbone.condition(video[:, :1], [prompt], video.shape[1])
    x, _, _, t = noisy(backbone, video)
    assert torch.isfinite(backbone.predict(x, t, condition)).all()


def test_gradients_flow_from_the_features_to_every_adapter():
    for name in backbones:
        backbone = tiny(name, None)
        add_adapter(backbone, "new", rank=2, alpha=4.0)
        video, condition = clip(backbone, clips=1)
        x, _, _, t = noisy(backbone, video)
        sum(f.square().mean() for f in backbone.features(x, t, condition)).backward()
        grown = {n: p for n, p in backbone.named_parameters() if ".lora_B." in n}
        assert len(grown) >= len(backbone.lora_targets)
        dead = [n for n, p in grown.items() if p.grad is None or not p.grad.any()]
        assert not dead, f"{name}: no gradient reaches {dead}"


def test_what_it_explains_leaves_its_prediction_as_it_is(backbone):
    video, condition = clip(backbone)
    x, x0, _, t = noisy(backbone, video)
    prediction, own = backbone.predict_and_explain(x, t, condition, x0)
    torch.testing.assert_close(prediction, backbone.predict(x, t, condition))
    assert own.shape == ()
    assert own >= 0

"""The diffusion loss: over the frames that are not given, and the same in parts as in one piece."""

import pytest
import torch

from phys4d.model import WorldModel
from phys4d.training.denoising import denoising_loss, dropped_prompts, given_frames


@pytest.fixture
def still_model(monkeypatch):
    """A model whose prediction and time do not depend on the noise that is drawn."""
    model = WorldModel.tiny("nano")
    monkeypatch.setattr(model.backbone, "predict", lambda x, t, condition: 0.3 * condition.latents + 0.1)
    monkeypatch.setattr(model.backbone, "sample_time", lambda count: torch.full((count,), 0.5))
    return model


def test_micro_batches_average_to_the_batch(still_model):
    video = torch.rand(4, 17, 64, 64, 3)
    prompts, context = ["a ball"] * 4, [1, 8, 3, 1]
    whole, _ = denoising_loss(still_model, video, prompts, context, moving_weight=4.0)
    parts = [
        denoising_loss(still_model, video[i : i + 1], prompts[:1], context[i : i + 1], moving_weight=4.0)[0]
        for i in range(4)
    ]
    assert float(whole) == pytest.approx(float(sum(parts)) / 4, rel=1e-5)


def test_given_frames_do_not_count(still_model):
    video = torch.rand(1, 17, 64, 64, 3)
    first, _ = denoising_loss(still_model, video, [""], [4])
    changed = video.clone()
    # Not the last given one, which stands in for the frames to come.
    changed[:, :3] = torch.rand(1, 3, 64, 64, 3)
    assert torch.equal(denoising_loss(still_model, changed, [""], [4])[0], first)
    changed[:, 4] = 0
    assert not torch.equal(denoising_loss(still_model, changed, [""], [4])[0], first)


def test_moving_pixels_weigh_more(still_model):
    video = torch.full((1, 17, 64, 64, 3), 0.5)
    video[:, 1:, :8, :8] = 1.0
    plain, _ = denoising_loss(still_model, video, [""], [1])
    weighted, _ = denoising_loss(still_model, video, [""], [1], moving_weight=4.0)
    # At t = 0.5 nano's weight is 4. Of 64 cells one moves: its target is 1, the others' is 0; both predict 0.1.
    assert float(plain) == pytest.approx(4 * (0.9**2 + 63 * 0.1**2) / 64, rel=1e-5)
    assert float(weighted) == pytest.approx(4 * (5 * 0.9**2 + 63 * 0.1**2) / 64, rel=1e-5)


def test_what_moves_though_it_should_not_weighs_as_far_as_the_clip_is_clear(still_model, monkeypatch):
    video = torch.full((1, 17, 64, 64, 3), 0.5)

    def stirred(x, t, condition):
        made = condition.latents.clone()
        made[:, :, 1:, :8, :8] = 0.5
        return made

    monkeypatch.setattr(still_model.backbone, "predict", stirred)
    plain, _ = denoising_loss(still_model, video, [""], [1])
    weighted, _ = denoising_loss(still_model, video, [""], [1], moving_weight=4.0)
    # At t = 0.5 alpha is 0.5 as well: 1 + 4 / 2 times the error of the one cell that is wrong.
    assert float(plain) == pytest.approx(4 * 0.5**2 / 64, rel=1e-5)
    assert float(weighted) == pytest.approx(3 * float(plain), rel=1e-5)


def test_clips_are_given_what_determines_them_or_more():
    metas = [{"context_frames": 3}, {}, {"context_frames": 20}]
    assert given_frames(metas, 8) == [3, 1, 8]
    torch.manual_seed(0)
    drawn = torch.tensor([given_frames(metas, 8, 0.5) for _ in range(400)])
    assert drawn.min(dim=0).values.tolist() == [3, 1, 8]
    assert drawn.max(dim=0).values.tolist() == [8, 8, 8]
    # Half of them are redrawn from 3..8, one in six of those to 3 again.
    assert float((drawn[:, 0] == 3).float().mean()) == pytest.approx(0.5 + 0.5 / 6, abs=0.08)


def test_a_share_of_the_captions_is_emptied():
    assert dropped_prompts(["a", "b"], 0.0) == ["a", "b"]
    assert dropped_prompts(["a", "b"], 1.0) == ["", ""]
    assert dropped_prompts(["a"] * 1000, 0.3).count("") == pytest.approx(300, abs=60)

"""Stage 1: the backbone stays as it is, and the truth of simulated worlds is never opened."""

import numpy as np
import pytest
import torch

from phys4d import codecs
from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.heads.network import MAPS
from phys4d.model import WorldModel
from phys4d.training.config import override
from phys4d.training.loop import seed_step
from phys4d.training.pretrain import PretrainConfig, PretrainStage, depth_change, labelled
from phys4d.training.run import train


def quiet(_):
    pass


@pytest.fixture(scope="module")
def blind_and_seeing(clips, blinded_clips, tmp_path_factory):
    """(model, history) of the same few steps on clips whose labels are garbage, and on intact ones."""
    from phys4d.recipes import recipes

    recipe, out = recipes["debug"](), tmp_path_factory.mktemp("runs")
    found = []
    for data in (blinded_clips, clips):
        model = recipe.model("pretrain", None)
        config = override(recipe.pretrain, ["steps=2", "validation_worlds=1"])
        history = train("pretrain", config, model, [data], out / data.parent.name, say=quiet)
        found.append((model, history))
    return found


def test_the_truth_is_never_opened(blind_and_seeing, blinded_clips):
    with pytest.raises(InputError):
        open_dataset(blinded_clips).read(0, ("depth",))
    (blind, blind_history), (seeing, seeing_history) = blind_and_seeing
    pairs = zip(blind.state_dict().items(), seeing.state_dict().values(), strict=True)
    assert [name for (name, a), b in pairs if not torch.equal(a, b)] == []
    assert blind_history == seeing_history


def test_the_backbone_stays_as_it_is(blind_and_seeing, debug):
    model, _ = blind_and_seeing[0]
    start = debug.model("pretrain", None)
    assert all(p.grad is None and not p.requires_grad for p in model.backbone.parameters())
    now = model.backbone.state_dict()
    assert all(torch.equal(value, now[name]) for name, value in start.backbone.state_dict().items())
    heads = model.heads.state_dict()
    assert any(not torch.equal(value, heads[name]) for name, value in start.heads.state_dict().items())


@pytest.fixture
def stage(labelled_clips):
    dataset = open_dataset(labelled_clips)
    return PretrainStage(WorldModel.tiny("nano"), PretrainConfig(batch_size=2), [dataset], [])


def test_depth_motion_and_their_confidences_learn_from_the_first_step(stage):
    stage.loss(next(stage.batches(0)), 0)[0].backward()
    gradient = stage.model.heads.last.bias.grad.view(len(MAPS), 4).abs().amax(1)
    learned = ("log_depth", "u", "v", "depth_confidence", "motion_confidence")
    assert all(gradient[MAPS.index(what)] > 0 for what in learned)


def test_no_gradient_reaches_the_backbone(stage):
    batch = next(stage.batches(0))
    loss, told = stage.loss(batch, 0)
    loss.backward()
    assert all(p.grad is None for p in stage.model.backbone.parameters())
    # Nothing in the labels speaks of cameras.
    untaught = {n for n, p in stage.trained.named_parameters() if p.grad is None}
    assert untaught == {n for n, _ in stage.trained.named_parameters() if n.startswith("camera.")}
    assert set(told) == {"depth", "motion", "coverage"}


def loss_of(stage, batch):
    seed_step(0, 0)
    return float(stage.loss(batch, 0)[0].detach())


def test_a_relative_teacher_teaches_no_scale_and_a_metric_one_does(stage):
    batch = next(stage.batches(0))
    assert {meta["depth_scale"] for meta in batch["meta"]} == {"relative"}
    larger = {**batch, "depth": batch["depth"] * 3}
    assert loss_of(stage, larger) == pytest.approx(loss_of(stage, batch), rel=1e-4)
    metric = [{**meta, "depth_scale": "metric"} for meta in batch["meta"]]
    near, far = (loss_of(stage, {**b, "meta": metric}) for b in (batch, larger))
    assert abs(near - far) > 0.1


def test_the_change_of_depth_is_that_along_the_flow():
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    clock = torch.arange(3.0)[:, None, None]
    # log-depth rises by 0.02 a column and 0.1 a frame; everything moves right by 2 pixels a frame.
    log_depth = 0.02 * (columns - 2 * clock) + 0.1 * clock + 0.01 * rows
    flow = torch.zeros(1, 2, 16, 16, 2)
    flow[..., 0] = 2
    visible = torch.ones(1, 2, 16, 16, dtype=torch.bool)
    visible[0, 0, 5, 5] = False
    growth, steady = depth_change(log_depth.exp()[None], flow, visible)
    assert torch.allclose(growth[steady], torch.tensor(0.1), atol=1e-5)
    assert not steady[0, 0, 5, 5]
    assert not steady[..., -1].any()  # moves out of the picture
    assert float(steady.float().mean()) > 0.6
    sky = log_depth.exp()[None].clone()
    sky[:, 1, 8:] = 0
    assert not depth_change(sky, flow, visible)[1][0, :, 8:].any()


def test_labelled_data_are_taken_as_they_are(clips, labelled_clips, tmp_path):
    backbone = WorldModel.tiny("nano").backbone
    (found,) = labelled([labelled_clips], PretrainConfig(), tmp_path / "labels", backbone)
    assert len(found) == len(open_dataset(clips))
    assert not (tmp_path / "labels").exists()


def test_videos_are_labelled_at_the_size_of_the_backbone(tmp_path):
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    rgb = np.stack([np.roll(np.broadcast_to(ramp[None, :, None], (80, 96, 3)), t, axis=1) for t in range(20)])
    (tmp_path / "film.mp4").write_bytes(codecs.encode_preview(rgb, 12.0))
    backbone = WorldModel.tiny("nano").backbone
    (found,) = labelled([tmp_path / "film.mp4"], PretrainConfig(), tmp_path / "labels", backbone)
    assert [(r["frames"], r["height"], r["width"]) for r in found.index.to_pylist()] == [(17, 64, 64)]


def test_half_labelled_data_are_refused(clips, labelled_clips, tmp_path):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, source in enumerate((labelled_clips, clips, labelled_clips)):
        (mixed / f"{number}.tar").write_bytes(next(source.glob("*.tar")).read_bytes())
    with pytest.raises(InputError, match="mixes labelled and other worlds"):
        labelled([mixed], PretrainConfig(), tmp_path / "labels", WorldModel.tiny("nano").backbone)

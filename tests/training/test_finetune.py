"""Stage 2: head losses reach the adapter; the control sees colours and the diffusion loss alone."""

import pytest
import torch

from phys4d.backbones import adapters
from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.training.finetune import FinetuneConfig, FinetuneStage, free_name, head_losses
from phys4d.training.loop import autocast, seed_step


def stage_of(data, model=None, **settings):
    torch.manual_seed(0)
    model = model or WorldModel.tiny("nano")
    config = FinetuneConfig(batch_size=2, rank=2, alpha=4.0, head_width=8, **settings)
    return FinetuneStage(model, config, [open_dataset(data)], [])


def gradients(stage):
    """Largest gradient of the adapter, of the heads and of everything else."""
    found = {"adapter": 0.0, "heads": 0.0, "rest": 0.0}
    for name, parameter in stage.model.named_parameters():
        kind = "heads" if name.startswith("heads.") else "adapter" if ".lora_" in name else "rest"
        if parameter.grad is not None:
            found[kind] = max(found[kind], float(parameter.grad.abs().max()))
    return found


def test_head_losses_reach_the_adapter_and_nothing_else_of_the_backbone(clips):
    stage = stage_of(clips, diffusion_weight=0.0)
    before = {n: p.detach().clone() for n, p in stage.model.backbone.named_parameters()}
    seed_step(0, 0)
    loss, told = stage.loss(next(stage.batches(0)), 0)
    loss.backward()
    found = gradients(stage)
    assert found["adapter"] > 0
    assert found["heads"] > 0
    assert found["rest"] == 0
    trained = [p for p in stage.trained.parameters() if p.requires_grad]
    torch.optim.SGD(trained, lr=0.1).step()
    changed = {n for n, p in stage.model.backbone.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert all(".lora_" in name for name in changed)
    assert {"depth", "motion", "camera", "warp", "warp_visible", "warp_static", "diffusion"} == set(told)
    assert told["warp_static"] > 0.3


@pytest.mark.parametrize("weight", ["depth_weight", "motion_weight", "warp_weight", "camera_weight"])
def test_each_loss_has_its_weight(clips, weight):
    stage = stage_of(clips)
    batch = next(stage.batches(0))
    batch_of_heads = stage.model.read(stage.model.to_video(batch["rgb"]), batch["prompt"])
    values = []
    for factor in (0.0, 1.0, 3.0):
        loss, _ = head_losses(batch_of_heads, batch, FinetuneConfig(**{weight: factor}))
        values.append(float(loss.detach()))
    assert values[2] - values[0] == pytest.approx(3 * (values[1] - values[0]), rel=1e-3)
    assert values[1] != values[0]


def test_the_control_reads_colours_alone_and_takes_the_diffusion_loss_alone(rgb_clips, clips):
    control = stage_of(rgb_clips, objective="control")
    batch = next(control.batches(0))
    assert set(batch) == {"rgb", "fps", "key", "prompt", "meta"}
    seed_step(0, 0)
    loss, told = control.loss(batch, 0)
    loss.backward()
    assert float(loss.detach()) == told["diffusion"]
    assert list(told) == ["diffusion"]
    found = gradients(control)
    assert found["adapter"] > 0
    assert found["heads"] == found["rest"] == 0
    assert not any(p.requires_grad for p in control.model.heads.parameters())
    # The same adapter, clips and noise as with physics.
    physics = stage_of(clips)
    other = next(physics.batches(0))
    assert torch.equal(other["rgb"], batch["rgb"])
    seed_step(0, 0)
    assert physics.loss(other, 0)[1]["diffusion"] == told["diffusion"]


def test_the_adapter_starts_as_the_controls_even_where_heads_are_fresh(clips, rgb_clips):
    stages = []
    for data, objective in ((clips, "physics"), (rgb_clips, "control")):
        torch.manual_seed(3)
        model = WorldModel(WorldModel.tiny("nano").backbone)
        stages.append(stage_of(data, model, objective=objective))
    names = [stage.model.adapters for stage in stages]
    assert names == [["finetune"], ["control"]]
    states = [adapters.adapter_state(s.model.backbone, n[0]) for s, n in zip(stages, names, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    assert stages[0].model.heads is not None
    assert stages[1].model.heads is None


@pytest.mark.parametrize(("tuned", "learns"), [("heads", {"heads"}), ("full", {"heads", "rest"})])
def test_what_learns_can_be_chosen(clips, tuned, learns):
    stage = stage_of(clips, tuned=tuned)
    assert stage.model.adapters == []
    seed_step(0, 0)
    stage.loss(next(stage.batches(0)), 0)[0].backward()
    assert {kind for kind, size in gradients(stage).items() if size} == learns
    required = {n.startswith("heads.") for n, p in stage.trained.named_parameters() if p.requires_grad}
    assert required == ({True} if tuned == "heads" else {True, False})


def test_the_heads_pull_at_the_adapter_by_their_share_and_learn_as_before(clips):
    found = {}
    for name, changes in {"diffusion": {"objective": "control"}, "sum": {}, "share": {"heads_share": 0.5}}.items():
        torch.manual_seed(3)
        stage = stage_of(clips, **changes)
        seed_step(0, 0)
        stage.loss(next(stage.batches(0)), 0)[0].backward()
        grads = {n: p.grad for n, p in stage.model.named_parameters() if p.grad is not None}
        adapter = [g.flatten() for n, g in grads.items() if ".lora_B" in n]
        found[name] = torch.cat(adapter), {n: g for n, g in grads.items() if n.startswith("heads.")}
    alone = found["diffusion"][0]
    pull = found["share"][0] - alone
    assert float(pull.norm()) == pytest.approx(0.5 * float(alone.norm()), rel=1e-3)
    # In the same direction as in the sum.
    other = found["sum"][0] - alone
    assert float(torch.cosine_similarity(pull, other, dim=0)) == pytest.approx(1, abs=1e-4)
    assert found["share"][1].keys() == found["sum"][1].keys()
    for name, gradient in found["sum"][1].items():
        torch.testing.assert_close(found["share"][1][name], gradient)


def test_a_control_in_which_nothing_learns_is_refused():
    with pytest.raises(InputError, match="nothing would learn"):
        FinetuneConfig(objective="control", tuned="heads")


def test_losses_are_taken_in_full_precision(clips):
    stage = stage_of(clips)
    batch = next(stage.batches(0))
    seen = stage.model.read(stage.model.to_video(batch["rgb"]), batch["prompt"])
    plain, _ = head_losses(seen, batch, stage.config)
    with autocast("bfloat16", torch.device("cpu")):
        half, _ = head_losses(seen, batch, stage.config)
    assert torch.equal(plain, half)


def test_adapters_get_names_that_are_free():
    model = WorldModel.tiny("nano")
    for wanted in ("control", "control_2", "control_3"):
        assert free_name(model, "control") == wanted
        adapters.add_adapter(model.backbone, wanted, rank=2, alpha=4.0)
    assert free_name(model, "finetune") == "finetune"


def test_validation_needs_only_what_the_stage_reads(clips):
    config = FinetuneConfig(rank=2, alpha=4.0, head_width=8)
    worlds = open_dataset(clips)[:2]
    measured = []
    for fields in (None, config.fields):
        torch.manual_seed(0)
        stage = FinetuneStage(
            WorldModel.tiny("nano"), config, [worlds], [worlds.read(i, fields) for i in range(2)]
        )
        stage.model.eval()
        with torch.no_grad():
            measured.append(stage.validate())
    assert measured[0] == measured[1]
    assert {"abs_rel", "flow_epe", "scene_flow_epe", "depth_warp_l1", "psnr"} <= set(measured[0])

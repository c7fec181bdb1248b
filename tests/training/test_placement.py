"""What is sharded, recomputed and compiled: the right parts, with the same gradients."""

import dataclasses
import pickle

import pytest
import torch
from torch import nn

from phys4d.backbones import adapters, backbones
from phys4d.backbones.layers import Block
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.sampling import replay, rollout
from phys4d.training.base import BaseConfig
from phys4d.training.denoising import denoising_loss
from phys4d.training.placement import _shard, denoisers_of, place, whole

CONFIG = BaseConfig(precision="float32")


class Layer(nn.Module):
    def __init__(self, *names):
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(2, 2))


def layers(count, *names):
    return nn.ModuleList(Layer(*names) for _ in range(count))


class Pipeline(nn.Module):
    """Built as the pipelines of others are: the text encoder and the decoder are deep, too."""

    name = "pipeline"
    lora_targets = ("to_q", "net.2")

    def __init__(self):
        super().__init__()
        self.text_encoder = nn.ModuleDict({"block": layers(9, "q", "k")})
        self.vae = nn.ModuleDict({"up_blocks": layers(7, "conv")})
        self.transformer = nn.ModuleDict({"first": nn.Linear(2, 2), "blocks": layers(3, "to_q", "mlp")})


def test_the_denoiser_is_what_adapters_may_change():
    backbone = Pipeline()
    ((network, blocks),) = denoisers_of(backbone).items()
    assert network is backbone.transformer
    assert blocks == list(backbone.transformer["blocks"])
    backbone.transformer_2 = nn.ModuleDict({"blocks": layers(3, "to_q", "mlp")})
    assert list(denoisers_of(backbone)) == [backbone.transformer, backbone.transformer_2]
    with pytest.raises(InputError, match="fsdp shards one denoising network, pipeline has 2"):
        _shard(backbone, denoisers_of(backbone))
    del backbone.transformer["blocks"], backbone.transformer_2["blocks"]
    assert denoisers_of(backbone) == {}


@pytest.mark.parametrize("adapted", [False, True])
def test_the_blocks_of_nano(adapted):
    backbone = WorldModel.tiny("nano").backbone
    if adapted:
        adapters.add_adapter(backbone, "finetune", rank=2, alpha=4.0)
    ((network, blocks),) = denoisers_of(backbone).items()
    assert network is backbone
    assert blocks == [*backbone.looking, *backbone.blocks]
    assert all(isinstance(b, Block) for b in blocks)


def model(**settings):
    """A nano whose blocks hold most of the work."""
    torch.manual_seed(0)
    nano = backbones["nano"](width=64, depth=8, size=(32, 32), groups=2, objects=1)
    return place(WorldModel(nano), dataclasses.replace(CONFIG, **settings))


def learned(made):
    """(loss, gradients, bytes kept for the backward pass) of a batch."""
    torch.manual_seed(1)
    video = torch.rand(2, 9, 32, 32, 3)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = denoising_loss(made, video, ["a ball", ""], [1, 3], moving_weight=4.0, explained=0.2)
    loss.backward()
    found = {name: p.grad for name, p in made.backbone.named_parameters() if p.grad is not None}
    return loss.detach(), found, sum(kept.values())


def test_what_is_recomputed_has_the_same_gradients_and_is_not_kept():
    usual, again = learned(model()), learned(model(gradient_checkpointing=True))
    assert torch.equal(usual[0], again[0])
    assert usual[1].keys() == again[1].keys()
    assert all(torch.equal(value, again[1][name]) for name, value in usual[1].items())
    assert again[2] < 0.5 * usual[2]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_ratio_stays_one_where_blocks_are_recomputed(precision):
    made = model(gradient_checkpointing=True)
    condition = made.backbone.condition(torch.rand(1, 1, 32, 32, 3), ["a ball"], 9)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        found = rollout(made.backbone, condition, steps=3, window=(0, 2), seed=1, group=2)
        for step in found.steps:
            again = replay(made.backbone, step, found.condition)
            assert torch.equal(again.log_prob.detach(), step.log_prob)
            again.log_prob.sum().backward()
    assert all(p.grad is not None for p in made.backbone.blocks.parameters())


def test_a_placed_model_can_be_copied_saved_and_loaded(tmp_path):
    made = model(gradient_checkpointing=True)
    assert whole(made) is made
    again = pickle.loads(pickle.dumps(made))
    with torch.no_grad():
        for parameter in again.backbone.blocks.parameters():
            parameter.zero_()
    # The copy computes with its own weights.
    assert not torch.equal(learned(made)[0], learned(again)[0])
    made.save_pretrained(tmp_path / "model")
    loaded = WorldModel.from_pretrained(tmp_path / "model").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in made.state_dict().items())


def test_compiled_blocks_compute_the_same(monkeypatch):
    # With all of torch.compile but its last part, which takes half a minute.
    usual = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda block: usual(block, backend="aot_eager"))
    plain, compiled = learned(model()), learned(model(compile=True))
    assert torch.allclose(plain[0], compiled[0], rtol=1e-5)
    for name, value in plain[1].items():
        torch.testing.assert_close(compiled[1][name], value, rtol=1e-3, atol=1e-6)

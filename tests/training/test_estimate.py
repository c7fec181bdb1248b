"""What a step is said to cost, against counts by hand and against what a real pass keeps."""

import pytest
import torch
from torch import nn

from phys4d.backbones import adapters
from phys4d.backbones.pipeline import PipelineBackbone
from phys4d.backbones.wan import Wan
from phys4d.errors import InputError
from phys4d.recipes import recipes
from phys4d.training.config import override
from phys4d.training.estimate import cost_of, estimate, example, of_folder, without_storage
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig
from phys4d.training.reinforce import ReinforceConfig


def shapes() -> PipelineBackbone:
    made = Wan.tiny()
    return without_storage(Wan, made.parts.to_dict(), **made.window)


def test_operations_are_those_of_the_layers_one_by_one():
    real, counted = Wan.tiny(), {"linear": 0}

    def count(module, inputs, output):
        rows = output.numel() // output.shape[-1]
        counted["linear"] += 2 * rows * module.in_features * module.out_features

    for module in real.transformer.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(count)
    video = torch.rand(1, 17, 64, 64, 3)
    condition = real.condition(video[:, :1], ["a ball"], 17)
    with torch.no_grad():
        real(real.encode(video), torch.ones(1), condition)
    patches = real.transformer.patch_embedding
    tokens, texts, width, layers = 5 * 2 * 2, 512, 48, 4
    convolution = 2 * tokens * patches.weight[0].numel() * width
    cost = cost_of(shapes())
    assert cost.linear == counted["linear"] + convolution
    # Queries times keys and weights times values: of all tokens with each other, and with the text.
    assert cost.attention == layers * 4 * width * tokens * (tokens + texts)


def test_the_example_has_the_shapes_of_a_real_pass():
    for variant in Wan.variants:
        real = Wan.tiny(variant)
        x, _, condition = example(without_storage(Wan, real.parts.to_dict(), **real.window))
        video = torch.rand(1, 17, 64, 64, 3)
        told = real.condition(video[:, :1], ["a ball"], 17)
        assert x.shape == real.encode(video).shape
        assert condition.text.shape == told.text.shape
        assert condition.known.shape == told.known.shape
        assert {k: v.shape for k, v in condition.extra.items()} == {k: v.shape for k, v in told.extra.items()}


def test_trained_weights_are_those_of_the_adapter_and_the_heads():
    said = estimate(FinetuneConfig(rank=4, alpha=8.0, batch_size=2), shapes(), (64, 64), 17)
    real = Wan.tiny()
    whole = sum(p.numel() for p in real.parameters())
    adapters.add_adapter(real, "new", rank=4, alpha=8.0)
    assert said.parameters == whole
    assert said.trainable - said.heads == sum(p.numel() for p in real.parameters() if p.requires_grad)
    assert said.tokens == 20
    assert said.memory["frozen weights"] == 2 * whole


def test_more_work_costs_more():
    def cost(config, devices=1):
        return estimate(config, shapes(), (64, 64), 17, devices)

    one, two = (cost(FinetuneConfig(batch_size=b, rank=2, alpha=4.0)) for b in (1, 2))
    assert two.operations == 2 * one.operations
    assert two.memory["activations"] == 2 * one.memory["activations"]
    shared = cost(FinetuneConfig(batch_size=1, rank=2, alpha=4.0), devices=4)
    assert shared.operations == 4 * one.operations
    assert shared.memory["frozen weights"] == one.memory["frozen weights"] / 4
    heads = cost(PretrainConfig(batch_size=1))
    control = cost(FinetuneConfig(batch_size=1, rank=2, alpha=4.0, objective="control"))
    assert heads.operations < one.operations
    assert control.operations < one.operations
    few, many = (
        cost(ReinforceConfig(batch_size=2, accumulate=1, rank=2, alpha=4.0, sampling_steps=n, window=1))
        for n in (4, 8)
    )
    assert many.operations > few.operations
    assert many.memory == few.memory


def test_the_public_checkpoint_at_the_recipes_size():
    recipe = recipes["wan"]()
    config = override(recipe.settings("finetune"), ["batch_size=1"])
    said = recipe.estimate("finetune", config, None)
    # "5B" is what its makers call it; a latent is 16x16 px and 4 frames, a token 2x2 latents.
    assert said.parameters == pytest.approx(5.0e9, rel=0.01)
    assert said.tokens == 9 * 15 * 26
    # Twice forward (the noisy clip, the clip that heads read) and backward: 4 a weight and token, and more for
    # attention and the adapter.
    least = 2 * 4 * said.parameters * said.tokens
    assert least < said.operations < 1.5 * least
    lines = said.lines(1)
    assert lines[0].startswith("parameters  5.00 B in the backbone, 16")
    assert any(line.startswith("1 x H100 80 GB") and "h for 1,000 steps" in line for line in lines)


def test_what_cannot_be_estimated_says_so(tmp_path):
    nano = recipes["nano"]()
    with pytest.raises(InputError, match="only recipes of large models are estimated"):
        nano.estimate("finetune", nano.settings("finetune"), None)
    wan = recipes["wan"]()
    with pytest.raises(InputError, match="the base stage of a pipeline is its public checkpoint"):
        wan.estimate("base", wan.settings("base"), None)
    with pytest.raises(InputError, match="is no model on a diffusers pipeline"):
        wan.estimate("finetune", wan.settings("finetune"), "nano-base")
    with pytest.raises(InputError, match="give its folder with --init"):
        wan.model("base", None)


def test_folders_are_estimated_by_their_configurations_alone(tmp_path):
    from phys4d.model import WorldModel

    WorldModel(Wan.tiny()).save_pretrained(tmp_path / "tiny")
    for weights in (tmp_path / "tiny" / "backbone").rglob("*.safetensors"):
        weights.write_bytes(b"")
    assert of_folder(tmp_path / "tiny").describe().startswith("wan")
    assert all(p.device.type == "meta" for p in of_folder(tmp_path / "tiny").parameters())

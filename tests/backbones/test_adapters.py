"""Adapters change nothing at first, only themselves in training, and add up."""

import pytest
import torch

from phys4d.backbones import backbones
from phys4d.backbones.adapters import (
    activate,
    active_adapters,
    adapted,
    adapter_names,
    adapter_state,
    add_adapter,
    train_only,
    without,
)
from phys4d.errors import InputError


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return backbones["nano"].tiny()


def grow(backbone, name, seed):
    """Give an adapter weights with an effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in adapter_state(backbone, name).values():
            value.normal_(std=0.2, generator=generator)


def shown(backbone):
    video = torch.rand(1, 5, *backbone.size, 3, generator=torch.Generator().manual_seed(0))
    condition = backbone.condition(video[:, :1], ["a ball"], 5)
    with torch.no_grad():
        return backbone.features(backbone.encode(video), torch.tensor([0.5]), condition)[-1]


def test_a_fresh_adapter_changes_nothing(backbone):
    before = shown(backbone)
    add_adapter(backbone, "one", rank=2, alpha=4.0)
    assert torch.equal(shown(backbone), before)
    assert adapter_names(backbone) == active_adapters(backbone) == ["one"]
    wanted = [m for n, m in backbone.named_modules() if n.split(".")[-1] in backbone.lora_targets]
    assert len(list(adapted(backbone))) == len(wanted)


def test_without_takes_it_off_and_puts_it_back_exactly(backbone):
    bare = shown(backbone)
    add_adapter(backbone, "one", rank=2, alpha=4.0)
    grow(backbone, "one", 1)
    on = shown(backbone)
    assert not torch.allclose(on, bare, atol=1e-3)
    with without(backbone, "one"):
        assert torch.equal(shown(backbone), bare)
        assert active_adapters(backbone) == []
    assert torch.equal(shown(backbone), on)
    with pytest.raises(RuntimeError, match="inside"), without(backbone, "one"):
        raise RuntimeError("inside")
    assert torch.equal(shown(backbone), on)


def test_without_restores_what_was_on_and_not_more(backbone):
    for name in ("one", "two"):
        add_adapter(backbone, name, rank=2, alpha=4.0)
        grow(backbone, name, len(name))
    with without(backbone, "one"):
        assert active_adapters(backbone) == ["two"]
        with without(backbone, "two"):
            assert active_adapters(backbone) == []
        assert active_adapters(backbone) == ["two"]
    assert active_adapters(backbone) == ["one", "two"]


def test_switching_leaves_what_is_trained_as_it_is(backbone):
    add_adapter(backbone, "one", rank=2, alpha=4.0)
    add_adapter(backbone, "two", rank=2, alpha=4.0)
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert trained
    assert all(".two." in name for name in trained)
    with without(backbone, "two"):
        assert {n for n, p in backbone.named_parameters() if p.requires_grad} == trained
    activate(backbone, ["one"])
    assert {n for n, p in backbone.named_parameters() if p.requires_grad} == trained


def test_only_the_adapter_learns(backbone):
    add_adapter(backbone, "one", rank=2, alpha=4.0)
    grow(backbone, "one", 1)
    add_adapter(backbone, "two", rank=2, alpha=4.0)
    grow(backbone, "two", 2)
    before = {n: p.detach().clone() for n, p in backbone.named_parameters()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=1.0)
    video = torch.rand(1, 5, *backbone.size, 3)
    condition = backbone.condition(video[:, :1], [""], 5)
    features = backbone.features(backbone.encode(video), torch.tensor([0.5]), condition)
    sum(f.square().mean() for f in features).backward()
    optimizer.step()
    changed = {n for n, p in backbone.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n in before if ".lora_" in n and ".two." in n}
    train_only(backbone, "one")
    assert all(p.requires_grad == (".one." in n) for n, p in backbone.named_parameters())


def test_two_adapters_add_up_each_with_its_own_scale(backbone):
    layer_name = "blocks.1.up"
    weight = backbone.get_submodule(layer_name).weight.detach().clone()
    for name, rank, alpha in (("one", 2, 4.0), ("two", 3, 1.5)):
        add_adapter(backbone, name, rank=rank, alpha=alpha)
        grow(backbone, name, rank)
    x = torch.randn(7, weight.shape[1], generator=torch.Generator().manual_seed(3))
    layer = backbone.get_submodule(layer_name)
    expected = weight.clone()
    for name, scale in (("one", 4.0 / 2), ("two", 1.5 / 3)):
        expected += scale * layer.lora_B[name].weight.detach() @ layer.lora_A[name].weight.detach()
    torch.testing.assert_close(layer(x) - layer(torch.zeros_like(x)), x @ expected.T, rtol=1e-4, atol=1e-4)


def test_the_state_of_one_is_its_own_even_if_it_is_called_like_a_layer(backbone):
    for name in ("up", "one"):
        add_adapter(backbone, name, rank=2, alpha=4.0)
    layers = len(list(adapted(backbone)))
    states = [adapter_state(backbone, name) for name in ("up", "one")]
    assert [len(state) for state in states] == [2 * layers, 2 * layers]
    assert not states[0].keys() & states[1].keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "one"}, "already has an adapter 'one'"),
        ({"name": "a.b"}, "letters, digits and _, not 'a.b'"),
        ({"name": "../x"}, "letters, digits and _"),
        ({"name": "two", "rank": 0}, "from 1 up, not 0"),
        ({"name": "two", "rank": 2.5}, "from 1 up, not 2.5"),
        ({"name": "two", "alpha": 0.0}, "positive number, not 0.0"),
    ],
)
def test_adapters_that_cannot_be(backbone, options, message):
    add_adapter(backbone, "one", rank=2, alpha=4.0)
    with pytest.raises(InputError, match=message):
        add_adapter(backbone, **{"rank": 2, "alpha": 4.0, **options})


def test_unknown_adapters_are_named_with_the_nearest(backbone):
    add_adapter(backbone, "finetune", rank=2, alpha=4.0)
    with pytest.raises(InputError, match="Did you mean 'finetune'"), without(backbone, "finetun"):
        pass
    with pytest.raises(InputError, match="Did you mean 'finetune'"):
        activate(backbone, ["finetun"])

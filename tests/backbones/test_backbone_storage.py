"""Backbones on disk: the same weights come back, and anything else is refused with what differs."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from phys4d.backbones import backbones
from phys4d.backbones.storage import load_backbone, read_weights, save_backbone, save_weights
from phys4d.errors import InputError

NANO = backbones["nano"]


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    save_backbone(NANO.tiny(), tmp_path)
    return tmp_path


def test_the_same_weights_come_back(saved):
    torch.manual_seed(0)
    original = NANO.tiny().state_dict()
    loaded = load_backbone(NANO, saved)
    assert loaded.config == NANO.tiny().config
    assert loaded.state_dict().keys() == original.keys()
    assert all(torch.equal(v, original[k]) for k, v in loaded.state_dict().items())


def test_half_precision_is_kept_as_such_and_read_as_float32(tmp_path):
    values = {"a": torch.tensor([1.0, 1 / 3, 70000.0]), "n": torch.tensor([1, 2])}
    save_weights(values, tmp_path / "w.safetensors", dtype=torch.bfloat16)
    assert load_file(tmp_path / "w.safetensors")["a"].dtype == torch.bfloat16
    read = read_weights(tmp_path / "w.safetensors")
    assert read["a"].dtype == torch.float32
    assert torch.equal(read["a"], values["a"].bfloat16().float())
    assert torch.equal(read["n"], values["n"])


def change_weights(folder, change):
    weights = load_file(folder / "backbone.safetensors")
    change(weights)
    save_file(weights, folder / "backbone.safetensors")


def reshape(weights):
    weights["place"] = weights["place"][:-1].clone()


def change_config(folder, **changes):
    path = folder / "backbone.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **changes}))


FAULTS = [
    (lambda f: (f / "backbone.json").unlink(), r"backbone\.json: not found"),
    (lambda f: (f / "backbone.json").write_text("{"), r"backbone\.json: cannot be read"),
    (lambda f: (f / "backbone.json").write_text("[]"), "should hold a JSON object"),
    (lambda f: change_config(f, backbone="wan"), "holds the backbone 'wan', not 'nano'"),
    (lambda f: change_config(f, config=None), "configuration does not fit nano"),
    (lambda f: change_config(f, config={"width": 32, "colour": 1}), "configuration does not fit nano.*colour"),
    (lambda f: change_config(f, config={"width": -3}), "configuration does not fit nano"),
    (
        lambda f: change_config(f, config={"width": 32, "depth": 6}),
        "weights of another model than Nano: tensors .*missing",
    ),
    (lambda f: (f / "backbone.safetensors").unlink(), r"backbone\.safetensors: not found"),
    (lambda f: (f / "backbone.safetensors").write_bytes(b"x" * 100), "damaged or no safetensors file"),
    (lambda f: change_weights(f, lambda w: w.pop("place")), r"tensors 1 missing \(first: place\)"),
    (lambda f: change_weights(f, lambda w: w.update(more=torch.ones(1))), r"tensors 1 unknown \(first: more\)"),
    (lambda f: change_weights(f, reshape), r"tensors 1 of another shape \(first: place\)"),
]


@pytest.mark.parametrize(("break_it", "message"), FAULTS)
def test_what_is_wrong_is_said(saved, break_it, message):
    break_it(saved)
    with pytest.raises(InputError, match=message) as error:
        load_backbone(NANO, saved)
    assert len(str(error.value).splitlines()) <= 2


def test_a_file_that_was_cut_short(saved):
    path = saved / "backbone.safetensors"
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(InputError, match=r"backbone\.safetensors: damaged"):
        load_backbone(NANO, saved)

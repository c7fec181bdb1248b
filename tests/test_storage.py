"""Models on disk: what is loaded is what was saved, bit for bit; what cannot be loaded says why."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from phys4d.backbones.adapters import adapter_state, add_adapter
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.storage import changed_files, find_model, shipped_models

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def original() -> WorldModel:
    """Backbone, heads and two adapters that have learned something."""
    torch.manual_seed(0)
    model = WorldModel.tiny()
    for name, rank, alpha in (("finetune", 2, 4.0), ("reinforce", 3, 1.5)):
        add_adapter(model.backbone, name, rank=rank, alpha=alpha)
        for value in adapter_state(model.backbone, name).values():
            value.normal_(std=0.1)
    model.meta = {"name": "two adapters", "stage": "reinforce", "prompt": "é"}
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def once(original, tmp_path_factory):
    return original.save_pretrained(tmp_path_factory.mktemp("models") / "saved")


@pytest.fixture
def saved(once, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(once, tmp_path / "model")


def test_what_is_loaded_is_what_was_saved(original, once):
    loaded = WorldModel.from_pretrained(once)
    states = original.state_dict(), loaded.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert loaded.adapters == ["finetune", "reinforce"]
    assert loaded.meta == original.meta
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    worlds = [m.generate(PICTURE, "a ball", seed=2, frames=5, steps=1) for m in (original, loaded)]
    assert np.array_equal(worlds[0].rgb, worlds[1].rgb)
    assert np.array_equal(worlds[0].depth, worlds[1].depth)


def test_saving_again_gives_the_same_bytes(once, tmp_path):
    again = WorldModel.from_pretrained(str(once)).save_pretrained(tmp_path / "again")
    files = sorted(p.relative_to(once) for p in once.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for file in files:
        assert (once / file).read_bytes() == (again / file).read_bytes(), file
    assert {file.suffix for file in files} == {".json", ".safetensors", ".md"}


def test_each_part_is_optional(tmp_path):
    torch.manual_seed(0)
    bare = WorldModel(WorldModel.tiny().backbone)
    folder = bare.save_pretrained(tmp_path / "bare")
    loaded = WorldModel.from_pretrained(folder)
    assert loaded.heads is None
    assert loaded.adapters == []
    assert loaded.meta["name"] == "bare"


def test_half_precision_halves_the_files(original, once, tmp_path):
    half = original.save_pretrained(tmp_path / "half", dtype=torch.float16)
    sizes = [sum(p.stat().st_size for p in f.rglob("*.safetensors")) for f in (half, once)]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = WorldModel.from_pretrained(half)
    for name, value in loaded.state_dict().items():
        assert value.dtype == original.state_dict()[name].dtype
        torch.testing.assert_close(value, original.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_a_model_may_share_the_backbone_of_another_that_is_shipped(original, tmp_path, monkeypatch):
    monkeypatch.setattr("phys4d.storage.SHIPPED", tmp_path)
    assert shipped_models() == []
    torch.manual_seed(0)
    WorldModel(WorldModel.tiny().backbone).save_pretrained(tmp_path / "tiny-base")
    assert shipped_models() == ["tiny-base"]
    assert find_model("tiny-base") == tmp_path / "tiny-base"
    sharing = WorldModel(original.backbone, original.heads, base="tiny-base")
    folder = sharing.save_pretrained(tmp_path / "elsewhere" / "tiny")
    assert not (folder / "backbone.safetensors").exists()
    loaded = WorldModel.from_pretrained(folder)
    assert loaded.base == "tiny-base"
    mine = original.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in loaded.state_dict().items())
    shutil.rmtree(tmp_path / "tiny-base")
    with pytest.raises(InputError, match=r"config\.json: unknown model 'tiny-base'"):
        WorldModel.from_pretrained(folder)


def test_a_model_replaces_a_model_and_nothing_else(original, saved, tmp_path):
    (saved / "heads.safetensors").write_bytes(b"")
    original.save_pretrained(saved)
    WorldModel.from_pretrained(saved)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("one")
    for place in ("thesis", "thesis/chapter"):
        with pytest.raises(InputError, match="exists and is no model"):
            original.save_pretrained(tmp_path / place)
    assert (tmp_path / "thesis" / "chapter").read_text() == "one"
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        original.save_pretrained(tmp_path / "thesis" / "chapter" / "model")


def test_unknown_models_are_named_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.setattr("phys4d.storage.SHIPPED", tmp_path)
    for name in ("nano", "nano-base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(InputError) as error:
        WorldModel.from_pretrained("nanp")
    assert str(error.value).startswith("unknown model 'nanp'. Did you mean 'nano'?\nKnown: nano, nano-base.")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no config\.json; give the folder of a model"):
        WorldModel.from_pretrained(tmp_path / "empty")


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop_one(path):
    weights = load_file(path)
    weights.pop(min(weights))
    save_file(weights, path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-32])


ADAPTER = {"name": "finetune", "rank": 2, "alpha": 4.0}
FAULTS = [
    (lambda f: (f / "config.json").write_text("{"), r"config\.json: cannot be read"),
    (lambda f: change_config(f, phys4d=7), r'wanted "phys4d": 1, found 7'),
    (lambda f: change_config(f, backbone="nan"), r"config\.json: unknown backbone 'nan'. Did you mean 'nano'"),
    (lambda f: change_config(f, base="nowhere"), r"config\.json: unknown model 'nowhere'"),
    (lambda f: change_config(f, base=3), "base cannot be 3"),
    (lambda f: change_config(f, adapters="all"), "adapters cannot be 'all'"),
    (lambda f: change_config(f, adapters=[{"name": "finetune"}]), "an adapter cannot be built: 'rank'"),
    (lambda f: change_config(f, adapters=[{**ADAPTER, "name": "../finetune"}]), "letters, digits and _"),
    (lambda f: change_config(f, adapters=[{**ADAPTER, "rank": 4}]), r"another model, \d+ tensors differ"),
    (lambda f: change_config(f, adapters=[{**ADAPTER, "name": "other"}]), r"other\.safetensors: not found"),
    (lambda f: change_config(f, heads={"depth": 3}), "its heads cannot be built"),
    (lambda f: change_config(f, heads={"feature_dims": [7], "latent_channels": 3}), "heads of another backbone"),
    (lambda f: change_config(f, meta=[]), r"meta cannot be \[\]"),
    (lambda f: cut(f / "backbone.safetensors"), r"backbone\.safetensors: damaged"),
    (lambda f: cut(f / "heads.safetensors"), r"heads\.safetensors: damaged"),
    (lambda f: cut(f / "adapters" / "finetune.safetensors"), r"finetune\.safetensors: damaged"),
    (lambda f: drop_one(f / "heads.safetensors"), "weights of another model than Heads: tensors 1 missing"),
    (lambda f: drop_one(f / "adapters" / "reinforce.safetensors"), "adapter of another model, 1 tensors differ"),
    (lambda f: (f / "heads.safetensors").unlink(), r"heads\.safetensors: not found"),
]


@pytest.mark.parametrize(("break_it", "message"), FAULTS)
def test_what_is_wrong_is_said(saved, break_it, message):
    break_it(saved)
    with pytest.raises(InputError, match=message) as error:
        WorldModel.from_pretrained(saved)
    assert len(str(error.value).splitlines()) <= 2


def test_files_that_changed_since_they_were_written(saved):
    assert changed_files(saved) == []
    path = saved / "heads.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    WorldModel.from_pretrained(saved)
    (saved / "backbone.json").unlink()
    assert changed_files(saved) == ["backbone.json", "heads.safetensors"]

"""Diffusers folders as models: what is recognised, what is shared, what is said of folders that will not do."""

import json
import shutil

import numpy as np
import pytest
import torch
from pipelines import pipeline_folder

from phys4d.backbones import backbones
from phys4d.backbones.adapters import adapter_state, add_adapter
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.storage import changed_files

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return pipeline_folder(tmp_path_factory.mktemp("pipelines") / "wan", "wan", "ti2v-2.2")


@pytest.fixture(scope="module")
def cogvideox(tmp_path_factory):
    return pipeline_folder(tmp_path_factory.mktemp("pipelines") / "cogvideox", "cogvideox", "t2v-1.5")


@pytest.fixture
def copy(wan, tmp_path):
    """A folder that a test may damage."""
    return shutil.copytree(wan, tmp_path / "model")


def small(model):
    model.backbone.work_at((64, 64), 17, 12.0)
    return model


def test_a_folder_is_recognised_and_says_what_it_is(wan, cogvideox):
    model = WorldModel.from_pretrained(wan)
    assert (model.backbone.name, model.backbone.size, model.backbone.most_frames) == ("wan", (704, 1280), 121)
    assert model.describe().startswith("wan (WanImageToVideoPipeline, ")
    assert model.describe().endswith(f"windows of 121x704x1280 at 24 fps) from {wan}, untrained heads")
    assert WorldModel.from_pretrained(str(cogvideox)).backbone.name == "cogvideox"
    # Fresh heads are always the same.
    again = WorldModel.from_pretrained(wan)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not any(p.requires_grad for p in model.parameters())


def test_what_is_trained_further_names_the_folder_and_holds_no_copy_of_it(wan, tmp_path):
    model = small(WorldModel.from_pretrained(wan))
    add_adapter(model.backbone, "finetune", rank=2, alpha=4.0)
    for value in adapter_state(model.backbone, "finetune").values():
        value.data.normal_(std=0.1)
    saved = model.save_pretrained(tmp_path / "saved")
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert files == {"config.json", "README.md", "heads.safetensors", "adapters/finetune.safetensors"}
    assert changed_files(saved) == []
    loaded = WorldModel.from_pretrained(saved)
    assert (loaded.base, loaded.adapters) == (str(wan), ["finetune"])
    assert loaded.backbone.window == {"size": [64, 64], "frames": 17, "fps": 12.0}
    worlds = [m.generate(PICTURE, "a ball", steps=2) for m in (model, loaded)]
    assert np.array_equal(worlds[0].rgb, worlds[1].rgb)
    assert np.array_equal(worlds[0].depth, worlds[1].depth)
    card = (saved / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: "phys4d"')
    assert "finetune" in card


def test_a_folder_that_moved_is_asked_for(copy, tmp_path):
    saved = WorldModel.from_pretrained(copy).save_pretrained(tmp_path / "saved")
    copy.rename(tmp_path / "elsewhere")
    with pytest.raises(
        InputError, match=r'config\.json: its backbone .*model is not there; write where it is now as "base"'
    ):
        WorldModel.from_pretrained(saved)
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"base": str(tmp_path / "elsewhere")}))
    WorldModel.from_pretrained(saved)


def test_weights_that_changed_are_saved_whole(wan, tmp_path):
    model = small(WorldModel.from_pretrained(wan))
    add_adapter(model.backbone, "extra", rank=2, alpha=4.0)
    model.base = None
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(0.01)
    saved = model.save_pretrained(tmp_path / "saved")
    assert (saved / "backbone" / "model_index.json").is_file()
    assert not list(saved.rglob("*.bin"))
    assert not list(saved.rglob("*.pt"))
    loaded = WorldModel.from_pretrained(saved)
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    # The part that holds the weights is a pipeline again, with another's adapter left out.
    WorldModel.from_pretrained(saved / "backbone")


def test_weights_are_read_in_the_precision_asked_for(wan):
    model = small(WorldModel.from_pretrained(wan, dtype=torch.bfloat16))
    kinds = {p.dtype for n, p in model.backbone.named_parameters() if "attn" in n and p.ndim == 2}
    assert kinds == {torch.bfloat16}
    # What diffusers keeps in full precision stays so; so do adapters.
    assert model.backbone.transformer.condition_embedder.time_embedder.linear_1.weight.dtype == torch.float32
    add_adapter(model.backbone, "new", rank=2, alpha=4.0)
    assert {v.dtype for v in adapter_state(model.backbone, "new").values()} == {torch.float32}
    world = model.generate(PICTURE, "a ball", steps=2)
    assert np.isfinite(world.depth).all()


def damage(folder, part, names):
    for name in names:
        (folder / part / name).unlink()


BAD = {
    "no transformer": (
        lambda f: shutil.rmtree(f / "transformer"),
        r"transformer \(WanTransformer3DModel\) is missing",
    ),
    "no weights": (
        lambda f: damage(f, "vae", ["diffusion_pytorch_model.safetensors"]),
        r"vae: holds no weights",
    ),
    "a pickle": (
        lambda f: (f / "vae" / "diffusion_pytorch_model.safetensors").rename(f / "vae" / "model.bin"),
        "holds its weights as a pickle",
    ),
    "no configuration": (
        lambda f: damage(f, "transformer", ["config.json"]),
        r"transformer: holds no config\.json",
    ),
    "half a configuration": (
        lambda f: (f / "vae" / "config.json").write_text("{"),
        r"config\.json: cannot be read",
    ),
    "cut off": (
        lambda f: (f / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 100),
        "transformer: cannot be read as WanTransformer3DModel",
    ),
    "an unknown pipeline": (
        lambda f: (f / "model_index.json").write_text('{"_class_name": "WanPipelin"}'),
        r"unknown pipeline 'WanPipelin'. Did you mean 'WanPipeline'",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_folders_that_are_not_whole(copy, case):
    change, message = BAD[case]
    change(copy)
    with pytest.raises(InputError, match=message):
        WorldModel.from_pretrained(copy)


def test_folders_that_are_something_else(wan, cogvideox, tmp_path):
    with pytest.raises(InputError, match="holds CogVideoXPipeline, which is a cogvideox, not a wan"):
        backbones["wan"].from_pretrained(cogvideox)
    with pytest.raises(InputError, match=r"one part of a diffusers pipeline \(WanTransformer3DModel\)"):
        WorldModel.from_pretrained(wan / "transformer")
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"photos: holds no config\.json.*, or of a diffusers pipeline"):
        WorldModel.from_pretrained(tmp_path / "photos")
    with pytest.raises(InputError, match=f"{wan} is one"):
        WorldModel.from_pretrained(wan.parent)


def test_a_hub_that_cannot_be_reached(monkeypatch, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def unreachable(self, name, timeout):
        assert timeout <= 10, "at once"
        raise ConnectionError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    name = "nobody/of-this-name"
    with pytest.raises(InputError, match=r"hub cannot be reached .*no route to host") as error:
        WorldModel.from_pretrained(name)
    assert f"hf download {name} --local-dir FOLDER" in str(error.value)
    # What was fetched before is used.
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "cached"))
    pipeline_folder(tmp_path / "cached", "cogvideox", "t2v-1.0")
    model = WorldModel.from_pretrained(name)
    assert model.base == name
    saved = model.save_pretrained(tmp_path / "saved")
    assert f'base_model: "{name}"' in (saved / "README.md").read_text()
    # A path with a typing error is no name on the hub.
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match="unknown model 'runs/final'"):
        WorldModel.from_pretrained("runs/final")


def test_frames_and_sizes_that_cannot_be_are_never_cut_silently(wan, cogvideox):
    model = small(WorldModel.from_pretrained(wan))
    with pytest.raises(InputError, match="wan cannot make 16 frames in one window; the nearest is 17"):
        model.generate(PICTURE, frames=16, steps=1)
    with pytest.raises(InputError, match=r"17 frames out of 0, 1, 5, \.\.\., 13 first frames, not 3; give 1 or 5"):
        model.generate(np.stack([PICTURE] * 3), steps=1)
    with pytest.raises(InputError, match="multiples of 32, not 64x80; the nearest is 64x64"):
        model.backbone.work_at((64, 80), 17, 12.0)
    with pytest.raises(InputError, match="cannot make 12 frames in one window; the nearest is 13"):
        model.backbone.work_at((64, 64), 12, 12.0)
    with pytest.raises(InputError, match="3 frames are too few for wan: it reads 5 at least"):
        model.lift(np.stack([PICTURE] * 3))
    other = WorldModel.from_pretrained(cogvideox)
    with pytest.raises(InputError, match="cogvideox makes at most 64x64, not 128x64; the nearest is 64x64"):
        other.backbone.work_at((128, 64), 17, 12.0)
    assert model.generate(None, "a ball", frames=5, steps=1).meta["context_frames"] == 0


def test_without_the_library_the_extra_is_named(wan, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == "diffusers":
            raise ModuleNotFoundError("No module named 'diffusers'", name="diffusers")
        return real(name, *rest)

    monkeypatch.setattr("importlib.import_module", lambda name: without(name))
    with pytest.raises(InputError, match=r"need diffusers, which is not installed: pip install 'phys4d\[video\]'"):
        WorldModel.from_pretrained(wan)


def test_only_what_others_can_load_goes_to_the_hub(wan, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    sent = {}

    class Api:
        def create_repo(self, name, private, exist_ok):
            return f"hub of {name}"

        def upload_folder(self, repo_id, folder_path):
            sent[repo_id] = {path.name for path in folder_path.rglob("*") if path.is_file()}

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    model = WorldModel.from_pretrained(wan)
    with pytest.raises(InputError, match=r"takes its backbone from .*, which others do not have"):
        model.push_to_hub("ada/ball-world")
    model.base = "somebody/wan"
    with pytest.raises(InputError, match="owner/name, not 'ball-world'"):
        model.push_to_hub("ball-world")
    assert model.push_to_hub("ada/ball-world") == "hub of ada/ball-world"
    assert sent == {"ada/ball-world": {"config.json", "README.md", "heads.safetensors"}}

"""`phys4d verify` of models, checkpoints, training runs and reports: whole ones pass, planted damage is named."""

import hashlib
import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from phys4d.backbones.storage import read_weights, save_weights
from phys4d.evaluation import evaluate
from phys4d.model import WorldModel
from phys4d.training.checkpoint import save_checkpoint
from phys4d.world import World4D


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    place = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    WorldModel.tiny().save_pretrained(place / "tiny")
    worlds = [
        World4D(
            rgb=np.random.default_rng(seed).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8),
            meta={"scene_id": str(seed)},
        )
        for seed in range(3)
    ]
    evaluate(worlds, worlds[::-1], baselines=False).save(place / "report")
    run = place / "run"
    for step in (10, 20):
        save_checkpoint(run, step, {"weights.a": torch.ones(3)}, {"history": [{"step": 1.0}], "bad": 0}, keep=2)
    (run / "run.json").write_text('{"stage": "base"}')
    (run / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    worlds[0].save(run / "samples" / "a")
    return place


@pytest.fixture
def copy(home, tmp_path):
    """A copy of everything, to be damaged."""
    return shutil.copytree(home, tmp_path / "home")


def flip(path, at=-3):
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiny", "tiny: model, whole ("),
        ("run", "whole (1 tensor of step-00000010, 1 tensor of step-00000020, not finished, 1 world, 3 frames)"),
        ("run/checkpoints/step-00000010", "step-00000010: checkpoint, whole (1 tensor of step-00000010)"),
        ("report", "report: report, whole ("),
        ("report/report.json", "report.json: report, whole ("),
        ("run/samples/a", "a: world folder, whole (1 world, 3 frames)"),
    ],
)
def test_what_is_whole(run, home, name, says):
    code, out, err = run("verify", home / name)
    assert (code, err) == (0, "")
    assert says in out


def test_a_finished_run_has_a_model(run, copy):
    shutil.copytree(copy / "tiny", copy / "run" / "final")
    code, out, _ = run("verify", copy / "run")
    assert code == 0
    assert "not finished" not in out
    assert " M weights" in out


def change_report(folder, change):
    content = json.loads((folder / "report.json").read_text())
    change(content)
    (folder / "report.json").write_text(json.dumps(content))


def fill_with_nan(folder):
    weights = read_weights(folder / "heads.safetensors")
    next(v for v in weights.values() if v.is_floating_point()).fill_(torch.nan)
    save_weights(weights, folder / "heads.safetensors")


DAMAGE = [
    ("tiny", lambda p: flip(p / "backbone.safetensors"), "backbone.safetensors: is not as it was written"),
    ("tiny", lambda p: (p / "heads.safetensors").unlink(), "heads.safetensors: not found"),
    ("tiny", lambda p: (p / "config.json").write_text("{"), "config.json: cannot be read"),
    ("tiny", lambda p: (p / "config.json").unlink(), "config.json: not found"),
    ("tiny", fill_with_nan, "1 tensor with NaN or infinity (first: heads."),
    (
        "run",
        lambda p: flip(p / "checkpoints/step-00000010/state.json"),
        "step-00000010: damaged, the checksum of state.json differs",
    ),
    ("run/checkpoints/step-00000020", lambda p: (p / "state.sha256").unlink(), "step-00000020: cannot be read"),
    ("run", lambda p: (p / "run.json").unlink(), "run.json: not found"),
    ("run", lambda p: (p / "log.jsonl").write_text('{"step": 1}\n{"st'), "log.jsonl: damaged"),
    ("run", lambda p: (p / "samples/a/rgb.mkv").write_bytes(b"x"), "rgb.mkv"),
    ("report", lambda p: (p / "report.html").unlink(), "report.html: not found"),
    ("report", lambda p: (p / "report.json").write_text("{}"), "not a report of schema"),
    (
        "report",
        lambda p: change_report(p, lambda c: c["metrics"]["psnr"].update(value=40.0)),
        "psnr is 40, but its worlds amount to ",
    ),
    (
        "report",
        lambda p: change_report(p, lambda c: [w["metrics"].clear() for w in c["by_world"]]),
        "but no world has it",
    ),
    ("report", lambda p: change_report(p, lambda c: c["by_world"][0].pop("scene_id")), "not built as a report is"),
]


@pytest.mark.parametrize(("name", "break_it", "says"), DAMAGE)
def test_damage_is_found_and_named(run, copy, name, break_it, says):
    break_it(copy / name)
    code, out, err = run("verify", copy / name)
    assert (code, err) == (1, "")
    assert says in out


def test_a_checkpoint_of_numbers_that_are_none(run, tmp_path):
    folder = save_checkpoint(tmp_path, 3, {"exp_avg.w": torch.tensor([torch.nan])}, {}, keep=1)
    code, out, _ = run("verify", folder)
    assert code == 1
    assert "1 tensor with NaN or infinity (first: exp_avg.w)" in out


def test_a_pickle_in_a_checkpoint_is_not_opened(run, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'boom')!r}, 'w').close()",))

    folder = save_checkpoint(tmp_path, 1, {"a": torch.ones(3)}, {}, keep=1)
    (tensors,) = folder.glob("*.safetensors")
    before = hashlib.sha256(tensors.read_bytes()).hexdigest()
    tensors.write_bytes(pickle.dumps(Bomb()))
    sums = (folder / "state.sha256").read_text()
    now = hashlib.sha256(tensors.read_bytes()).hexdigest()
    (folder / "state.sha256").write_text(sums.replace(before, now))
    code, out, _ = run("verify", folder)
    assert code == 1
    assert "cannot be read" in out
    assert not (tmp_path / "boom").exists()

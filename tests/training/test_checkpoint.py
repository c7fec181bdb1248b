"""Checkpoints: whole or not at all, checked when read, the damaged ones passed over."""

import hashlib
import shutil
import subprocess

import pytest
import torch
from torch.distributed.checkpoint import hf_storage

from phys4d.errors import InputError, Phys4DWarning, WorkError
from phys4d.training.checkpoint import FOLDER, latest_checkpoint, open_checkpoint, save_checkpoint

TENSORS = "shard-00001-model-00001-of-00001.safetensors"


def save(run, step, keep=2, **tensors):
    tensors = tensors or {"w": torch.full((3,), float(step))}
    return save_checkpoint(run, step, tensors, {"history": [{"step": float(step)}], "bad": 0}, keep=keep)


def steps(run):
    return sorted(path.name for path in (run / FOLDER).iterdir())


def damage(run, step, name=TENSORS):
    path = run / FOLDER / f"step-{step:08d}" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def test_what_is_saved_comes_back(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    odd = {"a.b": torch.randn(2, 3), "half": torch.randn(5).bfloat16(), "nan": torch.tensor([torch.nan])}
    save(tmp_path, 7, **odd)
    found = latest_checkpoint(tmp_path)
    assert found.step == 7
    assert found.told == {"history": [{"step": 7.0}], "bad": 0}
    read = found.read()
    assert read.keys() == odd.keys()
    for name, tensor in odd.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name].view(torch.uint8), tensor.view(torch.uint8))
    into = {name: torch.zeros_like(tensor) for name, tensor in odd.items()}
    found.read_into(into)
    assert torch.equal(into["a.b"], odd["a.b"])


def test_others_can_check_it(tmp_path):
    folder = save(tmp_path, 3)
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "state.sha256"], cwd=folder, check=True)
    digest = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    assert digest in (folder / "state.sha256").read_text()


def test_only_the_latest_are_kept(tmp_path):
    for step in (2, 4, 6, 100):
        save(tmp_path, step)
    assert steps(tmp_path) == ["step-00000006", "step-00000100"]


@pytest.mark.parametrize("fault", ["bit", "number", "cut", "no sum", "no tensors", "one more"])
def test_a_damaged_latest_falls_back_with_a_warning(tmp_path, fault):
    for step in (2, 4):
        save(tmp_path, step)
    folder = tmp_path / FOLDER / "step-00000004"
    if fault in ("bit", "number"):
        damage(tmp_path, 4, TENSORS if fault == "bit" else "state.json")
    elif fault == "cut":
        (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:100])
    elif fault == "one more":
        shutil.copy(folder / TENSORS, folder / f"again-{TENSORS}")
    else:
        (folder / ("state.sha256" if fault == "no sum" else TENSORS)).unlink()
    with pytest.warns(Phys4DWarning, match="step-00000004.*going back"):
        found = latest_checkpoint(tmp_path)
    assert found.step == 2
    assert found.read()["w"][0] == 2


def test_nothing_is_made_up_where_all_are_damaged(tmp_path):
    for step in (2, 4):
        save(tmp_path, step)
        damage(tmp_path, step)
    with pytest.warns(Phys4DWarning), pytest.raises(WorkError, match="every checkpoint is damaged"):
        latest_checkpoint(tmp_path)


def test_damaged_ones_beyond_do_not_push_out_good_ones(tmp_path):
    save(tmp_path, 2, keep=1)
    save(tmp_path, 6)
    damage(tmp_path, 6)
    with pytest.warns(Phys4DWarning):
        assert latest_checkpoint(tmp_path).step == 2
    save(tmp_path, 4, keep=1)
    assert steps(tmp_path) == ["step-00000004"]
    assert latest_checkpoint(tmp_path).step == 4


def test_one_of_another_model_is_refused(tmp_path):
    found = open_checkpoint(save(tmp_path, 2))
    for other in ({"w": torch.zeros(4)}, {"v": torch.zeros(3)}, {"w": torch.zeros(3), "x": torch.zeros(1)}, {}):
        with pytest.raises(InputError, match=r"of another model: [12] tensors differ"):
            found.read_into(other)


def test_one_of_another_version_is_refused(tmp_path):
    folder = save(tmp_path, 2)
    state, sums = folder / "state.json", folder / "state.sha256"
    before = hashlib.sha256(state.read_bytes()).hexdigest()
    state.write_text(state.read_text().replace('"phys4d": 2', '"phys4d": 3'))
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(state.read_bytes()).hexdigest()))
    with pytest.raises(WorkError, match="written by another version"):
        open_checkpoint(folder)


def test_a_full_disk_while_saving_keeps_the_old_one(tmp_path, monkeypatch):
    save(tmp_path, 2, keep=1)
    usual = hf_storage.FileSystemWriter._write_data

    def runs_full(writer, planner, queue):
        usual(writer, planner, queue)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hf_storage.FileSystemWriter, "_write_data", runs_full)
    with pytest.raises(WorkError, match="step-00000004: the disk is full; free some space"):
        save(tmp_path, 4, keep=1)
    assert steps(tmp_path) == ["step-00000002"]
    assert latest_checkpoint(tmp_path).read()["w"][0] == 2

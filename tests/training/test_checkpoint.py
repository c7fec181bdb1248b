"""Checkpoints: whole or not at all, checked when read, the damaged ones passed over."""

import pytest
import torch

from phys4d.errors import Phys4DWarning, WorkError
from phys4d.training.checkpoint import FOLDER, load_checkpoint, save_checkpoint


def state(number):
    return {"weights": {"w": torch.full((3,), float(number))}, "history": [{"step": float(number)}], "bad": 0}


def steps(run):
    return sorted(path.name for path in (run / FOLDER).iterdir())


def damage(run, step):
    path = run / FOLDER / f"step-{step:08d}" / "state.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_saved_comes_back(tmp_path):
    assert load_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, 7, state(7), keep=2)
    step, found = load_checkpoint(tmp_path)
    assert step == 7
    assert torch.equal(found["weights"]["w"], torch.full((3,), 7.0))
    assert found["history"] == [{"step": 7.0}]


def test_only_the_latest_are_kept(tmp_path):
    for step in (2, 4, 6, 100):
        save_checkpoint(tmp_path, step, state(step), keep=2)
    assert steps(tmp_path) == ["step-00000006", "step-00000100"]


@pytest.mark.parametrize("fault", ["bit", "cut", "no sum", "no state"])
def test_a_damaged_latest_falls_back_with_a_warning(tmp_path, fault):
    for step in (2, 4):
        save_checkpoint(tmp_path, step, state(step), keep=2)
    folder = tmp_path / FOLDER / "step-00000004"
    if fault == "bit":
        damage(tmp_path, 4)
    elif fault == "cut":
        (folder / "state.pt").write_bytes((folder / "state.pt").read_bytes()[:100])
    else:
        (folder / ("state.sha256" if fault == "no sum" else "state.pt")).unlink()
    with pytest.warns(Phys4DWarning, match="step-00000004.*going back"):
        step, found = load_checkpoint(tmp_path)
    assert step == 2
    assert found["weights"]["w"][0] == 2


def test_nothing_is_made_up_where_all_are_damaged(tmp_path):
    for step in (2, 4):
        save_checkpoint(tmp_path, step, state(step), keep=2)
        damage(tmp_path, step)
    with pytest.warns(Phys4DWarning), pytest.raises(WorkError, match="every checkpoint is damaged"):
        load_checkpoint(tmp_path)


def test_damaged_ones_beyond_do_not_push_out_good_ones(tmp_path):
    save_checkpoint(tmp_path, 2, state(2), keep=1)
    save_checkpoint(tmp_path, 6, state(6), keep=2)
    damage(tmp_path, 6)
    with pytest.warns(Phys4DWarning):
        assert load_checkpoint(tmp_path)[0] == 2
    save_checkpoint(tmp_path, 4, state(4), keep=1)
    assert steps(tmp_path) == ["step-00000004"]
    assert load_checkpoint(tmp_path)[0] == 4


def test_nothing_in_a_checkpoint_can_run(tmp_path):
    save_checkpoint(tmp_path, 2, {"code": Tempting()}, keep=1)
    with pytest.warns(Phys4DWarning), pytest.raises(WorkError):
        load_checkpoint(tmp_path)


class Tempting:
    def __reduce__(self):
        return print, ("run",)

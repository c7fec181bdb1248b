"""The ledger only grows, by what is new."""

import dataclasses
import json
from pathlib import Path

import pytest
from planted_runs import planted, save_run

from phys4d.errors import InputError
from phys4d.ladder import ledger
from phys4d.ladder.rungs import read_runs

JUDGED = {
    "by": "nano-lifter",
    "weights": "f00",
    "data": "HELD",
    "data_id": "abc",
    "limit": None,
    "steps": None,
    "seed": 0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = save_run(tmp_path_factory.mktemp("runs") / "final-2", stage="reinforce", permute=False, seed=2)
    [run], _ = read_runs(place)
    return run


@pytest.fixture(scope="module")
def report():
    return planted()


def enter(path, run, report, **changes):
    return ledger.enter(path, run, {**JUDGED, **changes}, report, ["psnr", "tae"])


def test_the_same_run_judged_the_same_way_is_entered_once(tmp_path, run, report):
    path = tmp_path / "R" / "ledger.jsonl"
    assert enter(path, run, report)
    before = path.read_bytes()
    assert not enter(path, run, report)
    assert not enter(path, run, report, data="RENAMED")
    assert path.read_bytes() == before
    changed = [{"by": "own heads"}, {"limit": 4}, {"data_id": "abd"}, {"steps": 2}]
    assert all(enter(path, run, report, **change) for change in changed)
    assert enter(path, dataclasses.replace(run, weights="other"), report)
    assert enter(path, dataclasses.replace(run, seed=3), report)
    assert path.read_bytes().startswith(before)
    assert len(ledger.entries(path)) == 7


def test_a_line_says_what_it_takes_to_make_it_again(tmp_path, run, report):
    path = tmp_path / "ledger.jsonl"
    enter(path, run, report)
    [line] = ledger.entries(path)
    assert (line["rung"], line["seed"], line["stage"], line["run"]) == ("final", 2, "reinforce", "final-2")
    assert line["settings"]["permute"] is False
    assert line["data"] == {"train": ["TRAIN"], "held_out": ["VAL"]}
    assert line["judged"] == JUDGED
    assert line["metrics"]["psnr"]["value"] == pytest.approx(report.metrics["psnr"]["value"], rel=1e-5)
    assert list(line["metrics"]) == ["psnr"]
    # 20 steps of two batches of 4 clips, at 16 clips a second.
    assert line["compute"] == {"steps": 20, "clips": 160, "seconds": 10.0}
    # No path of a machine gets into what is shared.
    assert str(tmp_path.parent) not in path.read_text()
    assert "/" not in line["run"]


def test_compute_is_unknown_without_a_log_or_a_record(run):
    assert ledger.compute_of(dataclasses.replace(run, log=None)) == {"steps": 20, "clips": 160, "seconds": None}
    alone = dataclasses.replace(run, log=None, record={})
    assert ledger.compute_of(alone) == {"steps": None, "clips": None, "seconds": None}


def test_a_line_of_a_log_that_a_kill_cut_short_is_left_out(run, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(run.log.read_text() + '{"step": 30, "ki')
    assert ledger.compute_of(dataclasses.replace(run, log=log))["steps"] == 20


def test_a_ledger_that_cannot_be_read_is_not_written(tmp_path, run, report):
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps({"id": "a"}) + "\nbroken\n")
    with pytest.raises(InputError, match=r"ledger.jsonl:2: no entry of a ledger"):
        enter(path, run, report)
    assert path.read_text().endswith("broken\n")


def test_the_commit_is_that_of_the_code():
    found = ledger.checkout()
    if found is None:
        pytest.skip("this is no git checkout, or there is no git")
    assert len(found["commit"]) == 40
    assert (Path(ledger.__file__).parents[3] / ".git").exists()

"""Which run is which rung and seed, and what is refused."""

import json
import shutil

import pytest
from planted_runs import save_run

from phys4d.errors import InputError
from phys4d.ladder.rungs import RUNGS, final_of, in_order, pairs_of, read_runs


@pytest.fixture(scope="module")
def prototype(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("prototype") / "run", stage="finetune", objective="physics")


@pytest.fixture
def place(tmp_path, prototype):
    """A function that makes a folder of runs of these names."""

    def place(*names):
        for name in names:
            shutil.copytree(prototype, tmp_path / "runs" / name)
        return tmp_path / "runs"

    return place


def test_names_tell_rungs_and_seeds(place):
    runs, others = read_runs(place("finetune-2", "no_warp_3", "no-warp-seed1", "base", "mine-0", "control_12"))
    assert others == []
    assert [(run.rung, run.seed) for run in runs] == [
        ("base", 1), ("control", 12), ("finetune", 2), ("no-warp", 1), ("mine", 0), ("no_warp", 3),
    ]  # fmt: skip


def test_a_run_called_by_its_stage_is_told_by_its_record(tmp_path):
    save_run(tmp_path / "runs" / "reinforce-1", stage="reinforce", permute=False)
    save_run(tmp_path / "runs" / "reinforce-2", stage="reinforce", permute=True)
    runs, _ = read_runs(tmp_path / "runs")
    assert [(run.rung, run.seed) for run in runs] == [("final", 1), ("permuted", 2)]
    assert [run.doubt() for run in runs] == [None, None]


def test_what_is_no_run_is_named_and_what_is_the_output_is_not(place):
    runs = place("base-1")
    (runs / "notes").mkdir()
    (runs / "RESULTS").mkdir()
    (runs / "readme.txt").write_text("x")
    assert read_runs(runs, apart=[runs / "RESULTS"])[1] == ["notes"]


def test_a_run_or_a_model_folder_alone(place):
    runs = place("control-4")
    for path in (runs / "control-4", runs / "control-4" / "final"):
        [run], _ = read_runs(path)
        assert (run.rung, run.seed, run.source) == ("control", 4, str(runs / "control-4" / "final"))
        assert run.record["stage"] == "finetune"
        assert run.log == runs / "control-4" / "log.jsonl"


def test_a_file_names_rungs_and_models(place, tmp_path, monkeypatch):
    place("a", "b")
    # A log that happens to lie here is not that of a model that ships.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text("{}")
    (tmp_path / "ladder.json").write_text(json.dumps({"mine": ["runs/a", "runs/b/final"], "base": "nano-base"}))
    runs, _ = read_runs(tmp_path / "ladder.json")
    assert [(run.rung, run.seed, run.name) for run in runs] == [
        ("base", 0, "nano-base"), ("mine", 1, "a"), ("mine", 2, "b"),
    ]  # fmt: skip
    assert [run.log for run in runs] == [None, tmp_path / "runs/a/log.jsonl", tmp_path / "runs/b/log.jsonl"]
    # The two are copies, so their weights are the same; the base's are not.
    assert runs[1].weights == runs[2].weights != runs[0].weights
    assert runs[0].record["stage"] == "base"


BAD_FILES = [
    ("[1]", 'wants {"rung": "model"'),
    ("{", "cannot be read as JSON"),
    ('{"base": 3}', "what it says of 'base' is 3"),
    ('{"base": []}', "what it says of 'base' is []"),
    ("{}", "holds no run"),
    ('{"base": "nano-bas"}', "Did you mean 'nano-base'?"),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_bad_files(tmp_path, content, message):
    (tmp_path / "ladder.json").write_text(content)
    with pytest.raises(InputError) as error:
        read_runs(tmp_path / "ladder.json")
    assert message in str(error.value)


def test_what_cannot_be_a_ladder(place, tmp_path):
    with pytest.raises(InputError, match="no such folder or file"):
        read_runs(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no run"):
        read_runs(tmp_path / "empty")
    runs = place("base-1", "base_1")
    with pytest.raises(InputError, match="are both seed 1 of base; number them base-1, base-2"):
        read_runs(runs)
    save_run(tmp_path / "unfinished" / "final-1", final=False)
    with pytest.raises(InputError, match="final-1: a run without a model in final/"):
        read_runs(tmp_path / "unfinished")


def test_a_run_that_was_trained_otherwise_than_it_is_called_is_doubted(place):
    runs, _ = read_runs(place("finetune-1", "control-1", "mine-1"))
    assert {run.rung: run.doubt() for run in runs} == {
        "control": "control-1 is called control, and was trained otherwise: stage finetune, objective=physics",
        "finetune": None,
        "mine": None,
    }


def test_the_order_of_known_and_unknown_rungs():
    assert in_order(["zeta", "final", "alpha", "base", "no-warp"]) == ["base", "final", "no-warp", "alpha", "zeta"]
    assert final_of(["base", "pretrain", "finetune", "permuted"]) == "finetune"
    assert final_of(["base", "mine"]) == "mine"


def test_each_rung_is_compared_with_the_one_before_that_is_there():
    pairs = pairs_of(RUNGS, ["static"])
    assert pairs[:3] == [("base", "final"), ("control", "final"), ("permuted", "final")]
    assert {("base", "pretrain"), ("pretrain", "finetune"), ("finetune", "final")} <= set(pairs)
    assert {("finetune", "no-warp"), ("final", "no-finetune"), ("static", "final")} <= set(pairs)
    assert len(pairs) == len(set(pairs))
    assert pairs_of(["base", "finetune"]) == [("base", "finetune")]
    assert pairs_of(["final"]) == []

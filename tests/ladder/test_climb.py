"""`phys4d evaluate --ladder` as people call it: on tiny models and few worlds, interrupted, and on bad input."""

import json
import shutil

import pytest
from planted_runs import save_run

from phys4d import judge
from phys4d.cli import main
from phys4d.evaluation import Report
from phys4d.ladder import Results, climb
from phys4d.ladder.ledger import entries


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "HELD"
    words = ["simulate", "--scene", "ball_drop", "flag", "--frames", "5", "--clips", "2", "--camera", "static"]
    assert main([*words, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base without heads, and two seeds of a rung with heads."""
    place = tmp_path_factory.mktemp("ladder") / "runs"
    save_run(place / "base-1", stage="base", heads=False)
    for seed in (1, 2):
        save_run(place / f"finetune-{seed}", seed=seed, objective="physics")
    return place


@pytest.fixture(scope="module")
def lifter(runs, tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("lifter") / "mine", seed=7) / "final"


@pytest.fixture(scope="module")
def climbed(runs, data, lifter, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "R"
    assert main(words(runs, data, lifter, out)) == 0
    return out


def words(runs, data, lifter, out, *more):
    named = {"ladder": runs, "data": data, "lifter": lifter, "out": out, "steps": 1}
    return ["evaluate", *(str(part) for name, value in named.items() for part in (f"--{name}", value)), *more]


@pytest.fixture
def refused(capsys):
    """Run what must be refused as bad input; returns its message, of a line or two."""

    def refused(*arguments) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        # Bars of progress go to the same place, before.
        message = said.err[said.err.rindex("phys4d: ") :]
        assert "Traceback" not in said.err
        assert 1 <= len(message.strip().splitlines()) <= 2
        return message.removeprefix("phys4d: ")

    return refused


def test_every_run_is_judged_by_the_lifter_and_by_its_own_heads(climbed):
    results = Results.load(climbed)
    assert [(rung, found["seeds"]) for rung, found in results.rungs.items()] == [("base", 1), ("finetune", 2)]
    assert results.final == "finetune"
    assert results.rivals == ["static", "last_frame", "constant_velocity", "truth"]
    common, own = (results.judgings[name].groups[0] for name in ("common", "own"))
    assert list(common.metrics) == ["base", "finetune", *results.rivals]
    assert list(own.metrics) == ["finetune"]
    assert results.protocol["lifter"] == "mine"
    assert [results.protocol[key] for key in ("worlds", "scenes", "frames", "data")] == [2, 2, 5, "HELD"]
    # The instrument sees the truth's own RGB: what needs no depth is perfect, what it reads is not.
    assert common.metrics["truth"]["psnr"]["value"] == 100
    assert common.metrics["truth"]["abs_rel"]["value"] > 0
    assert common.metrics["static"]["mask_iou"]["value"] == 0
    # An untrained lifter, of which it is told.
    assert any(note.startswith("seen by the lifter, the truth itself is not shown") for note in results.notes)
    assert [group.name for group in results.judgings["common"].groups[1:3]] == [
        "rows that training knew, held-out seeds", "held-out rows",
    ]  # fmt: skip


def test_means_over_seeds_are_those_of_the_reports(climbed):
    results = Results.load(climbed)
    [common] = climbed.glob("reports/mine-*")
    values = [Report.load(path).metrics["psnr"]["value"] for path in sorted(common.glob("finetune-*"))]
    assert len(values) == 2
    row = results.judgings["common"].groups[0].metrics["finetune"]["psnr"]
    assert row["value"] == pytest.approx(sum(values) / 2, rel=1e-5)
    assert "std" in row
    assert "std" not in results.judgings["common"].groups[0].metrics["base"]["psnr"]


def test_one_line_for_each_run_and_judging(climbed):
    lines = entries(climbed / "ledger.jsonl")
    assert [(line["run"], line["judged"]["by"]) for line in lines] == [
        ("base-1", "mine"), ("finetune-1", "mine"), ("finetune-1", "own heads"), ("finetune-2", "mine"),
        ("finetune-2", "own heads"),
    ]  # fmt: skip


def test_what_is_finished_is_read_and_what_was_interrupted_goes_on(
    climbed, runs, data, lifter, tmp_path, monkeypatch
):
    out = tmp_path / "R"
    shutil.copytree(climbed, out)
    ledger = (out / "ledger.jsonl").read_bytes()
    # As if it had been killed before the last seed was judged by its own heads.
    [lost] = out.glob("reports/own-heads-*/finetune-2-*")
    lost.rename(lost.with_name(f".{lost.name}.1234.partial"))
    (out / "results.json").rename(out / ".results.json.1234.partial")
    made = []
    real = climb.evaluate_model
    monkeypatch.setattr(climb, "evaluate_model", lambda *a, **k: made.append((a[0], k["lifter"])) or real(*a, **k))
    monkeypatch.setattr(climb, "evaluate_rival", lambda *a, **k: pytest.fail("it is finished"))
    assert main(words(runs, data, lifter, out)) == 0
    assert made == [(str(runs / "finetune-2" / "final"), None)]
    assert (out / "ledger.jsonl").read_bytes() == ledger
    assert json.loads((out / "results.json").read_text()) == json.loads((climbed / "results.json").read_text())


def test_weights_that_changed_are_judged_anew_and_other_runs_are_not(
    climbed, runs, data, lifter, tmp_path, monkeypatch
):
    out, ladder = tmp_path / "R", tmp_path / "runs"
    shutil.copytree(climbed, out)
    shutil.copytree(runs, ladder)
    shutil.rmtree(ladder / "base-1")
    save_run(ladder / "base-1", stage="base", heads=False, seed=5)
    made = []
    real = climb.evaluate_model
    monkeypatch.setattr(climb, "evaluate_model", lambda *a, **k: made.append(a[0]) or real(*a, **k))
    assert main(words(ladder, data, lifter, out)) == 0
    assert made == [str(ladder / "base-1" / "final")]
    assert len(entries(out / "ledger.jsonl")) == 6


def test_one_model_as_two_seeds_is_said(climbed, runs, data, lifter, tmp_path, monkeypatch):
    ladder = tmp_path / "ladder.json"
    model = str(runs / "base-1")
    ladder.write_text(json.dumps({"base": [model, model], "finetune": str(runs / "finetune-1")}))
    out = tmp_path / "R"
    shutil.copytree(climbed, out)
    assert main(words(ladder, data, lifter, out)) == 0
    results = Results.load(out)
    assert "seeds 1, 2 of base are the same model" in results.notes
    assert results.judgings["common"].groups[0].metrics["base"]["psnr"]["std"] == 0


def test_a_baseline_that_the_data_cannot_give_is_left_out_and_said(
    runs, data, lifter, climbed, tmp_path, monkeypatch
):
    out = tmp_path / "R"
    shutil.copytree(climbed, out)
    shutil.rmtree(next(out.glob("reports/mine-*/constant_velocity")))

    def lacking(*arguments, **options):
        raise judge.MissingFieldError("the reference has no scene_flow")

    monkeypatch.setattr(climb, "evaluate_rival", lacking)
    assert main(words(runs, data, lifter, out)) == 0
    results = Results.load(out)
    assert "constant_velocity" not in results.rivals
    assert "constant velocity is left out: the reference has no scene_flow" in results.notes


COMBINED = ("--model nano", "--prediction x", "--suite video-depth", "--mode lift", "--runs 2", "--exact")


@pytest.mark.parametrize("more", COMBINED)
def test_options_that_do_not_go_with_it(refused, tmp_path, more):
    said = refused("evaluate", "--ladder", tmp_path, "--data", "d", "--out", tmp_path / "R", *more.split())
    assert said.startswith("--ladder RUNS wants --data DATA and --out, and takes no more than")


def test_what_is_missing_or_given_to_another(refused, tmp_path):
    assert "wants --data DATA" in refused("evaluate", "--ladder", tmp_path, "--out", tmp_path / "R")
    assert "say where the report goes" in refused("evaluate", "--ladder", tmp_path, "--data", "d")
    assert "--compare wants two reports" in refused("evaluate", "--compare", "a", "b", "--ladder", tmp_path)
    said = refused("evaluate", "--model", "nano", "--data", "d", "--out", tmp_path / "R", "--recipe", "nano")
    assert said == "--recipe belongs to --ladder RUNS\n"


def test_bad_input_leaves_nothing_behind(refused, runs, data, lifter, tmp_path):
    out = tmp_path / "R"
    (tmp_path / "empty").mkdir()
    assert "holds no run" in refused(*words(tmp_path / "empty", data, lifter, out))
    assert "no such data set" in refused(*words(runs, tmp_path / "nowhere", lifter, out))
    assert "unknown model 'nobody'" in refused(*words(runs, data, "nobody", out))
    assert "has no heads to read depth and motion with" in refused(*words(runs, data, "nano-base", out))
    assert "unknown recipe 'nan'. Did you mean 'nano'?" in refused(
        *words(runs, data, lifter, out, "--recipe", "nan")
    )
    assert "--limit must be at least 1" in refused(*words(runs, data, lifter, out, "--limit", "0"))
    assert not out.exists()
    strange = tmp_path / "S"
    strange.mkdir()
    (strange / "thesis.tex").write_text("x")
    assert "S: holds thesis.tex, which is no result of a ladder" in refused(*words(runs, data, lifter, strange))


def test_worlds_that_the_runs_cannot_make(refused, runs, lifter, data, tmp_path):
    small = tmp_path / "SMALL"
    simulate = ["simulate", "--scene", "ball_drop", "--frames", "5", "--clips", "1"]
    assert main([*simulate, "--size", "32", "32", "--out", str(small)]) == 0
    said = refused(*words(runs, small, lifter, tmp_path / "R"))
    assert "holds worlds of 32x32, the model makes 64x64" in said
    still = tmp_path / "STILL"
    assert main([*simulate[:4], "1", *simulate[5:], "--out", str(still)]) == 0
    assert "1 frame is too few" in refused(*words(runs, still, lifter, tmp_path / "R"))
    ladder = tmp_path / "ladder.json"
    ladder.write_text(json.dumps({"static": str(runs / "base-1")}))
    assert "no rung can be called static" in refused(*words(ladder, data, lifter, tmp_path / "R"))
    assert not (tmp_path / "R").exists()

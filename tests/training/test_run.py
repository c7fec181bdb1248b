"""A run from data to RUN/final: claimed, continued, finished, refused; and tried without a trace."""

import dataclasses
import json
import shutil

import pytest
import torch

from phys4d.data.shards import open_dataset
from phys4d.errors import InputError, MissingFieldError
from phys4d.model import WorldModel
from phys4d.training.base import BaseConfig, BaseStage
from phys4d.training.config import override
from phys4d.training.run import train


def quiet(_):
    pass


def state_of(folder):
    return WorldModel.from_pretrained(folder).state_dict()


@pytest.fixture
def base(debug, rgb_clips, tmp_path):
    """Runs the base stage into tmp_path/run."""

    def run(*settings, data=None, model=None, **options):
        config = override(debug.base, settings)
        model = model or debug.model("base", None)
        return train("base", config, model, data or [rgb_clips], tmp_path / "run", say=quiet, **options)

    return run


def test_a_run_leaves_a_model_and_is_not_run_twice(base, debug, rgb_clips, tmp_path):
    run, said = tmp_path / "run", []
    history = base("steps=2")
    assert [row["step"] for row in history] == [0, 2]
    record = json.loads((run / "run.json").read_text())
    assert record["settings"]["steps"] == 2
    assert record["data"] == ["clips"]
    assert json.loads((run / "history.json").read_text()) == history
    final = WorldModel.from_pretrained(run / "final")
    assert final.meta["stage"] == "base"
    assert WorldModel.from_pretrained(run / "best").meta["name"].endswith("best)")
    assert len(list((run / "samples").iterdir())) == 1
    start = debug.model("base", None).backbone.state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in final.backbone.state_dict().items())

    with pytest.raises(InputError, match="a run is there already; --resume continues it"):
        base("steps=2")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    config = override(debug.base, ["steps=2"])
    again = train("base", config, debug.model("base", None), [rgb_clips], run, resume=True, say=said.append)
    assert again == history
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert "finished before" in said[0]


@pytest.mark.parametrize("differs", ["settings", "data", "weights", "stage", "held_out"])
def test_a_run_of_something_else_is_refused(base, debug, clips, rgb_clips, tmp_path, differs):
    base("steps=0")
    config, data, model, stage, held = override(debug.base, ["steps=0"]), [rgb_clips], None, "base", ()
    if differs == "settings":
        config = dataclasses.replace(config, lr=1e-5)
    elif differs == "data":
        data = [rgb_clips, clips]
    elif differs == "held_out":
        held = [clips]
    elif differs == "weights":
        model = WorldModel.tiny("nano")
    else:
        stage, config, data = "finetune", override(debug.finetune, ["steps=0"]), [clips]
    with pytest.raises(InputError, match=f"was started with other .*{differs}"):
        train(
            stage, config, model or debug.model("base", None), data, tmp_path / "run", held_out=held, resume=True
        )


def test_how_it_is_computed_may_change_on_the_way(base, tmp_path):
    base("steps=0")
    base("steps=0", "keep=5", "log_every=7", "gradient_checkpointing=true", "fsdp=true", "workers=1", resume=True)
    with pytest.raises(InputError, match=r"a step would see another number of clips; accumulate=1 would keep it"):
        base("steps=0", "accumulate=2", resume=True)


def test_a_killed_run_continues_bit_for_bit(base, tmp_path, monkeypatch):
    whole = base("steps=6")
    expected = state_of(tmp_path / "run" / "final")
    shutil.rmtree(tmp_path / "run")
    usual = BaseStage.loss

    def dies(stage, batch, step):
        if step == 5:
            raise KeyboardInterrupt
        return usual(stage, batch, step)

    monkeypatch.setattr(BaseStage, "loss", dies)
    with pytest.raises(KeyboardInterrupt):
        base("steps=6")
    monkeypatch.undo()
    assert base("steps=6", resume=True) == whole
    found = state_of(tmp_path / "run" / "final")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_run_at_a_constant_rate_goes_on_with_more_steps(base, tmp_path):
    base("steps=6", "schedule=constant")
    expected = state_of(tmp_path / "run" / "final")
    shutil.rmtree(tmp_path / "run")
    base("steps=4", "schedule=constant")
    shorter = state_of(tmp_path / "run" / "final")
    history = base("steps=6", "schedule=constant", resume=True)
    assert history[-1]["step"] == 6
    found, kept = (state_of(tmp_path / "run" / name) for name in ("final", "final-4"))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert all(torch.equal(value, kept[name]) for name, value in shorter.items())
    for settings in (("steps=5", "schedule=constant"), ("steps=8", "schedule=cosine")):
        with pytest.raises(InputError, match="was started with other settings"):
            base(*settings, resume=True)


def test_to_resume_starts_where_there_is_nothing_yet(base, tmp_path):
    assert len(base("steps=0", resume=True)) == 1
    assert (tmp_path / "run" / "final").is_dir()


def test_another_folder_or_file_is_not_taken(base, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is no training run"):
        base()
    assert (tmp_path / "run" / "diary.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="exists and is no training run"):
        base()


def test_a_mistake_in_the_input_leaves_no_run_behind(base, debug, rgb_clips, tmp_path):
    with pytest.raises(InputError, match="no such data set"):
        base(data=[tmp_path / "nowhere"])
    with pytest.raises(InputError, match="5 worlds do not fill one batch of 16"):
        base("batch_size=16")
    with pytest.raises(MissingFieldError, match="5 of 5"):
        train("finetune", debug.finetune, debug.model("finetune", None), [rgb_clips], tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists()
    base("steps=0")


def test_missing_fields_are_named(debug, rgb_clips, tmp_path):
    with pytest.raises(MissingFieldError, match="has no depth, flow, scene_flow, visible, camera"):
        train("finetune", debug.finetune, debug.model("finetune", None), [rgb_clips], tmp_path / "run")


def test_a_wrong_stage_or_configuration_is_refused(debug, rgb_clips, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'finetune'"):
        train("finetun", debug.base, debug.start(), [rgb_clips], tmp_path / "run")
    with pytest.raises(InputError, match="pretrain wants a PretrainConfig, not a BaseConfig"):
        train("pretrain", debug.base, debug.start(), [rgb_clips], tmp_path / "run")


@pytest.mark.parametrize("stage", ["base", "pretrain", "finetune", "reinforce"])
def test_a_dry_run_leaves_nothing(debug, clips, tmp_path, stage):
    said = []
    config = dataclasses.replace(debug.settings(stage), batch_size=2, validation_worlds=1)
    before = sorted(clips.rglob("*"))
    history = train(
        stage, config, debug.model(stage, None), [clips], tmp_path / "run", dry_run=True, say=said.append
    )
    assert history == []
    assert list(tmp_path.iterdir()) == []
    assert sorted(clips.rglob("*")) == before
    assert f"{stage}: 5 worlds, 1 held out; the first loss is " in said[-1]


def test_the_control_trains_on_colours_alone(debug, rgb_clips, tmp_path):
    config = override(debug.finetune, ["objective=control", "steps=1", "validation_worlds=1"])
    history = train("finetune", config, debug.model("finetune", None), [rgb_clips], tmp_path / "run", say=quiet)
    assert set(history[-1]) == {"step", "psnr", "change_iou_half", "change_iou_end"}
    assert WorldModel.from_pretrained(tmp_path / "run" / "final").adapters == ["control"]


def test_held_out_worlds_are_read_no_further_than_the_stage_needs(rgb_clips, monkeypatch, debug, tmp_path):
    read = []
    usual = type(open_dataset(rgb_clips)).read
    monkeypatch.setattr(
        "phys4d.data.shards.WorldDataset.read",
        lambda ds, i, fields=None: read.append(fields) or usual(ds, i, fields),
    )
    config = dataclasses.replace(BaseConfig(), steps=0, batch_size=2)
    train("base", config, debug.model("base", None), [rgb_clips], tmp_path / "run", say=quiet)
    assert set(read) == {("rgb",)}

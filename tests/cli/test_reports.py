"""`phys4d evaluate`: what its exit code and its words say of the report that it wrote."""

import dataclasses
import json

import numpy as np
import pytest

from phys4d import judge
from phys4d.data import open_dataset
from phys4d.evaluation import Report, evaluate
from phys4d.model import WorldModel
from phys4d.world import World4D

SKIPPED = (("clip-3", "clip-3/rgb.mp4 is damaged"),)


@pytest.fixture
def asked(monkeypatch, made):
    """A suite that skips one of its videos, as often as it is asked."""
    worlds = list(open_dataset(made))
    report = dataclasses.replace(evaluate(worlds, worlds, metrics=["psnr"], baselines=False), skipped=SKIPPED)
    asked: list[str] = []
    monkeypatch.setattr(judge, "suite_of", lambda name: lambda request: asked.append(name) or report)
    return asked


def test_a_report_that_skipped_something_is_written_and_the_exit_code_says_so(run, asked, tmp_path):
    words = ("evaluate", "--suite", "some", "--out", tmp_path / "R")
    code, out, _ = run(*words)
    assert code == 1
    assert "clip-3/rgb.mp4 is damaged" in out
    assert Report.load(tmp_path / "R").skipped == SKIPPED
    # The same command tries again: the video may have been mended.
    assert run(*words)[0] == 1
    assert asked == ["some", "some"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, made):
    """Predictions and references as world folders: five of them, three of which are a little dark."""
    place = tmp_path_factory.mktemp("folders")
    world = next(iter(open_dataset(made)))
    for i in range(5):
        darker = np.maximum(world.rgb.astype(int) - 10 * (i % 2) - i, 0).astype(np.uint8)
        meta = {**world.meta, "scene_id": f"scene-{i}"}
        dataclasses.replace(world, meta=meta).save(place / "truth" / f"w{i}")
        dataclasses.replace(world, rgb=darker, meta=meta).save(place / "made" / f"w{i}")
    return place


def test_workers_change_no_bit_of_a_report(run, folders, tmp_path):
    words = ("evaluate", "--prediction", folders / "made", "--reference", folders / "truth")
    assert run(*words, "--out", tmp_path / "one")[0] == 0
    assert run(*words, "--workers", 2, "--out", tmp_path / "two")[0] == 0
    for name in ("report.json", "report.html", "report.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_damaged_world_is_skipped_and_named(run, folders, tmp_path):
    for i in range(5):
        World4D.load(folders / "made" / f"w{i}").save(tmp_path / "made" / f"w{i}")
    broken = tmp_path / "made" / "w2" / "rgb.mkv"
    broken.write_bytes(broken.read_bytes()[:200])
    words = (
        "evaluate",
        "--prediction",
        tmp_path / "made",
        "--reference",
        folders / "truth",
        "--out",
        tmp_path / "R",
    )
    code, out, _ = run(*words)
    assert code == 1
    report = Report.load(tmp_path / "R")
    assert [world["scene_id"] for world in report.by_world] == ["scene-0", "scene-1", "scene-3", "scene-4"]
    [(name, reason)] = report.skipped
    assert name == "w2"
    assert "rgb.mkv is damaged" in reason
    assert reason in out
    World4D.load(folders / "made" / "w2").save(tmp_path / "made" / "w2")
    assert run(*words)[0] == 0
    assert len(Report.load(tmp_path / "R").by_world) == 5


def test_where_every_world_is_damaged_there_is_no_report(refused, folders, tmp_path):
    for i in range(2):
        World4D.load(folders / "made" / f"w{i}").save(tmp_path / "made" / f"w{i}")
        (tmp_path / "made" / f"w{i}" / "rgb.mkv").write_bytes(b"nothing")
    said = refused("evaluate", "--prediction", tmp_path / "made", "--out", tmp_path / "R")
    assert said.startswith("w0: ")
    assert "so are 1 others" in said
    assert not (tmp_path / "R").exists()


def test_runs_of_a_model_have_seeds_of_their_own(run, tmp_path):
    """A damaged world among them is skipped; the others keep their seeds."""
    WorldModel.tiny("nano").save_pretrained(tmp_path / "tiny")
    data = tmp_path / "DATA"
    words = ("simulate", "--scene", "ball_drop", "--frames", 5, "--clips", 3, "--shard-size", 1)
    assert run(*words, "--out", data)[0] == 0
    words = ("evaluate", "--model", tmp_path / "tiny", "--data", data, "--steps", 2)
    assert run(*words, "--runs", 2, "--out", tmp_path / "R")[0] == 0
    report = Report.load(tmp_path / "R")
    assert report.protocol["runs"] == 2
    assert report.protocol["scenes"] == 3
    assert [world["run"] for world in report.by_world] == [0, 0, 0, 1, 1, 1]
    assert len({world["world"] for world in report.by_world}) == 6
    assert report.metrics["psnr"]["std"] > 0
    shard = data / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    code, out, _ = run(*words, "--out", tmp_path / "S")
    assert code == 1
    fewer = Report.load(tmp_path / "S")
    assert len(fewer.skipped) == 1
    assert "shard-000001.tar" in fewer.skipped[0][1]
    assert [world["metrics"]["psnr"] for world in fewer.by_world] == pytest.approx(
        [report.by_world[i]["metrics"]["psnr"] for i in (0, 2)], rel=1e-4
    )
    code, out, _ = run("evaluate", "--compare", tmp_path / "R", tmp_path / "S")
    assert code == 0
    assert "runs differs: 2 and 1" in out
    assert "over seeds" in out
    assert "chance alone would" in out
    assert json.loads((tmp_path / "R" / "report.json").read_text())["metrics"]["psnr"]["std"] > 0

"""The suite `horizon`, end to end on a tiny model: what it reports, and what it refuses."""

import math
from pathlib import Path

import numpy as np
import pytest

import phys4d
from phys4d.data.writer import Item, write_dataset
from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.judge import evaluate_suite
from phys4d.model import WorldModel
from phys4d.suites import SuiteRequest, horizon, suite_of


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A tiny model in a folder, which is its own lifter, and short clips."""
    model = WorldModel.tiny("nano")
    folder = model.save_pretrained(tmp_path / "tiny")
    monkeypatch.setattr(horizon, "FRAMES", model.backbone.most_frames)
    monkeypatch.setattr(horizon, "MEMBERS", 2)
    monkeypatch.setattr(horizon, "LIFTER", str(folder))
    return folder


def test_a_model_beside_its_rivals(small, tmp_path):
    request = SuiteRequest(model=str(small), subset=("pendulum",), steps=1, runs=2)
    report = evaluate_suite("horizon", request, tmp_path / "report")
    assert report.metrics["psnr_ratio"]["value"] > 1, "random weights foresee nothing"
    assert set(report.metrics) | set(report.missing) == {
        f"{m}_{part}" for m in (*horizon.COLOURS, *horizon.LIFTED) for part in ("ratio", "predictable")
    }
    assert all(reason for reason in report.missing.values())
    assert set(report.baselines) == {"static", "repetition"}
    static, repetition = (report.baselines[who]["psnr_ratio"]["value"] for who in ("static", "repetition"))
    assert repetition < static
    assert repetition < 3
    (world,) = report.by_world
    error, spread, ratio = (world["curves"][f"psnr_{part}"] for part in ("error", "spread", "ratio"))
    assert len(error) == len(spread) == len(ratio) == report.protocol["frames"]
    assert math.isnan(ratio[0]), "what was given is not judged"
    assert ratio[-1] == pytest.approx(error[-1] / spread[-1], rel=0.2) or ratio[-1] < error[-1] / spread[-1]
    again = Report.load(tmp_path / "report")
    assert again.metrics["psnr_ratio"] == pytest.approx(report.metrics["psnr_ratio"], nan_ok=True)
    assert evaluate_suite("horizon", request, tmp_path / "report").protocol == again.protocol


def test_videos_are_judged_as_a_model_is(small, tmp_path):
    size, frames = WorldModel.tiny("nano").backbone.size, horizon.FRAMES
    made = phys4d.simulate("pendulum", seed=3, size=size, frames=frames, perturb=9)
    made.meta["scene_id"], made.meta["mode"] = "pendulum-3", "generate"
    write_dataset(tmp_path / "made", [Item("a", made)], lambda world: world, arguments={}, progress=False)
    found = suite_of("horizon")(SuiteRequest(videos=tmp_path / "made", subset=("pendulum",), seed=3))
    assert found.metrics["psnr_ratio"]["value"] < found.baselines["static"]["psnr_ratio"]["value"]
    assert np.isfinite(found.metrics["psnr_predictable"]["value"])
    with pytest.raises(InputError, match="has no world with the scene_id pendulum-4"):
        suite_of("horizon")(SuiteRequest(videos=tmp_path / "made", subset=("pendulum",), seed=4))


REFUSED = [
    (SuiteRequest(), "needs --model M, or --videos DATA"),
    (SuiteRequest(model="nano", exact=True), "cannot use --exact"),
    (SuiteRequest(model="nano", workers=2), "cannot use --workers"),
    (SuiteRequest(videos=Path("made"), runs=2), "cannot use --runs"),
    (SuiteRequest(model="nano", subset=("pendulm",)), "unknown scene 'pendulm'"),
    (SuiteRequest(model="nano", limit=0), "--limit must be at least 1"),
    (SuiteRequest(model="nanoo"), "nanoo"),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED)
def test_what_it_cannot_use_is_refused_before_any_work(request_, message):
    with pytest.raises(InputError, match=message):
        suite_of("horizon")(request_)

"""The suite `physics-iq-sim`: takes from the simulator, a model's generations, and what may be asked."""

import numpy as np
import pytest

from phys4d.errors import InputError
from phys4d.evaluation.physics_iq import MEASURES, summarise
from phys4d.evaluation.physics_iq.likeness import OTHER_TAKE, STATIC
from phys4d.model import WorldModel
from phys4d.suites import SuiteRequest, suite_of
from phys4d.suites.physics_iq import simulated
from phys4d.suites.physics_iq.simulated import OWN_SIZE, ROWS, chosen_rows, measure


@pytest.fixture(scope="module")
def takes():
    """Two views of a projectile, for a model of 24x24 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "VIEWS", 2)
        return list(simulated.simulated(["projectile"], (24, 24), 9, 12.0))


def test_takes_are_alike_and_not_the_same(takes):
    assert [(t.row, t.view, t.category) for t in takes] == [("projectile", 0, "rigid"), ("projectile", 1, "rigid")]
    first = takes[0]
    assert first.given.shape == (3, 24, 24, 3)
    assert first.first.shape == first.second.shape == (7, 96, 96, 3)
    assert first.small.shape == (7, 24, 24, 3)
    np.testing.assert_array_equal(first.given[-1], first.small[0])
    assert (first.first != first.second).any()
    assert (first.first != takes[1].first).any(), "two cameras"


@pytest.mark.parametrize("exact", [False, True])
def test_who_scores_what(takes, exact):
    """The other take 100, its own pixels much, time reversed less, and the static world next to nothing."""
    videos = [{"true": t.first, "reversed": t.first[::-1], "still": t.small[:1].repeat(7, axis=0)} for t in takes]
    results = [measure(t, v, 12.0, exact) for t, v in zip(takes, videos)]
    names = (OTHER_TAKE, STATIC, OWN_SIZE, "reversed", "still")
    report = summarise(results, ["true"], {}, baselines=names, exact=exact)
    score = {name: report.baselines[name]["physics_iq_verified"]["value"] for name in names}
    assert [report.metrics[name]["value"] for name in MEASURES] == pytest.approx([1, 1, 1, 0])
    assert report.metrics["physics_iq_verified"]["value"] == 100
    assert score[OTHER_TAKE] == pytest.approx(100, abs=0.01)
    assert 100 > score[OWN_SIZE] > score["reversed"] > score[STATIC] + 10
    assert score["still"] == pytest.approx(score[STATIC], abs=1)


def test_a_model_is_judged(tmp_path, monkeypatch):
    model = WorldModel.tiny("nano")
    model.save_pretrained(tmp_path / "tiny")
    size, frames = model.backbone.size, model.backbone.most_frames
    monkeypatch.setattr(simulated, "VIEWS", 1)
    monkeypatch.setattr(simulated, "SHRINK", 2)
    filmed = list(simulated.simulated(["pendulum"], size, frames, 12.0))
    monkeypatch.setattr(simulated, "simulated", lambda *_: filmed)
    request = SuiteRequest(model=str(tmp_path / "tiny"), subset=("pendulum",), steps=1, runs=2)
    report = suite_of("physics-iq-sim")(request)
    assert report.protocol["rows"] == ["pendulum"]
    assert report.protocol["size"] == list(size)
    assert list(report.baselines) == [OTHER_TAKE, STATIC, OWN_SIZE]
    assert len(report.by_world) == 2
    assert 0 <= report.metrics["physics_iq_verified"]["value"] <= 100
    assert suite_of("physics-iq-sim")(request).to_dict() == report.to_dict()


def test_rows_are_chosen_by_name_and_category():
    assert chosen_rows((), None) == list(ROWS)
    assert chosen_rows((), 3) == [ROWS[0], ROWS[4], ROWS[8]]
    assert set(chosen_rows(("rope",), None)) == {"rope_swings", "wrecking_ball"}
    assert chosen_rows(("ball_drop",), None) == ["ball_drop"]
    with pytest.raises(InputError, match="Did you mean 'ball_drop'"):
        chosen_rows(("ball_drip",), None)


def test_what_cannot_be_asked_is_refused(tmp_path):
    for request, message in (
        (SuiteRequest(), "--suite physics-iq-sim needs --model"),
        (SuiteRequest(model="nano", videos=tmp_path), "makes its own scenes"),
        (SuiteRequest(model="nano", benchmark=tmp_path), "makes its own scenes"),
    ):
        with pytest.raises(InputError, match=message):
            suite_of("physics-iq-sim")(request)

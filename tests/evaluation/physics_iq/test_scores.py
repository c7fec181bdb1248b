"""Both scores in closed form, and the report that is made of them."""

import math

import numpy as np
import pytest

from phys4d.evaluation.physics_iq import MEASURES, ViewResult, original_score, summarise, verified_scores
from phys4d.evaluation.physics_iq.likeness import OTHER_TAKE, STATIC, Likeness
from phys4d.evaluation.physics_iq.scores import original_parts

VARIANCE = np.array([[0.5, 0.8, 0.6, 0.01], [0.4, 0.9, 0.7, 0.02]])


def test_the_other_take_scores_100_in_both():
    assert original_score(VARIANCE.mean(0), VARIANCE.mean(0)) == pytest.approx(100)
    np.testing.assert_allclose(verified_scores(VARIANCE, VARIANCE), 100, atol=1e-4)


def test_half_of_every_overlap_scores_half_less_the_error():
    half = VARIANCE * [0.5, 0.5, 0.5, 2]
    assert original_score(half.mean(0), VARIANCE.mean(0)) == pytest.approx(50 - 1.5)
    np.testing.assert_allclose(verified_scores(half, VARIANCE), 50, atol=1e-3)


def test_a_perfect_copy_is_clipped_in_both():
    copy = np.tile([1.0, 1.0, 1.0, 0.0], (2, 1))
    assert original_score(copy.mean(0), VARIANCE.mean(0)) == 100
    np.testing.assert_array_equal(verified_scores(copy, VARIANCE), 100)
    means = VARIANCE.mean(0)
    unclipped = 100 * (np.mean(1 / means[:3]) + means[3])
    np.testing.assert_allclose(original_parts(copy, means), unclipped)


def test_takes_that_never_overlap_leave_nothing_to_score_by():
    never = VARIANCE * [0, 1, 1, 1]
    assert math.isnan(original_score(VARIANCE.mean(0), never.mean(0)))


def test_the_score_before_clipping_is_the_mean_of_what_views_contribute():
    rng = np.random.default_rng(0)
    mine = VARIANCE * rng.uniform(0.2, 0.9, VARIANCE.shape)
    parts = original_parts(mine, VARIANCE.mean(0))
    assert parts.mean() == pytest.approx(float(original_score(mine.mean(0), VARIANCE.mean(0))))


def of(row, frames=3):
    """A likeness whose four numbers are these."""
    return Likeness(row[1], np.full(frames, row[0]), row[2], np.full(frames, row[3]))


def views(share=(0.5, 0.9), scenarios=4, runs=("run",)):
    rng = np.random.default_rng(1)
    made = []
    for scenario in range(scenarios):
        for view in ("left", "right"):
            variance = np.array([0.5, 0.8, 0.6, 0.01]) * rng.uniform(0.8, 1.2, 4)
            found = {OTHER_TAKE: of(variance), STATIC: of([0.1, 0.0, 0.0, 0.03])}
            found |= {run: of(variance * [*[rng.uniform(*share)] * 3, 1.5]) for run in runs}
            made.append(ViewResult(f"s{scenario}", view, "ab"[scenario % 2], found))
    return made


def test_a_report_can_be_recomputed_by_hand():
    report = summarise(views(), ["run"], {})
    mine, other = ([row[m]["value"] for m in MEASURES] for row in (report.metrics, report.baselines[OTHER_TAKE]))
    by_hand = 100 * (np.mean([a / b for a, b in zip(mine[:3], other)]) - (mine[3] - other[3]))
    assert report.metrics["physics_iq"]["value"] == pytest.approx(by_hand)
    each = [
        25 * (sum(min(w["metrics"][m] / w["baselines"][OTHER_TAKE][m], 1) for m in MEASURES[:3])
              + min(w["baselines"][OTHER_TAKE]["mse"] / w["metrics"]["mse"], 1))
        for w in report.by_world
    ]  # fmt: skip
    assert report.metrics["physics_iq_verified"]["value"] == pytest.approx(np.mean(each), abs=1e-3)
    assert np.mean([w["metrics"]["physics_iq"] for w in report.by_world]) == pytest.approx(by_hand)
    for row in report.metrics.values():
        assert row["lo"] <= row["value"] <= row["hi"]
        assert row["coverage"] == 1
    assert set(report.by_category) == {"a", "b", "left", "right"}
    assert report.baselines[OTHER_TAKE]["physics_iq"]["value"] == pytest.approx(100)
    assert report.baselines[STATIC]["physics_iq"]["value"] < report.metrics["physics_iq"]["value"]
    assert report.protocol["runs"] == 1
    assert all("std" not in row for row in report.metrics.values())


def test_runs_have_a_mean_and_a_spread():
    runs = ["a", "b", "c"]
    results = views(runs=runs)
    report = summarise(results, runs, {})
    alone = [summarise(results, [run], {}).metrics["physics_iq_verified"]["value"] for run in runs]
    assert report.protocol["each_run"]["physics_iq_verified"] == pytest.approx(alone)
    assert report.metrics["physics_iq_verified"]["std"] == pytest.approx(np.std(alone, ddof=1))
    assert report.metrics["physics_iq_verified"]["value"] == pytest.approx(np.mean(alone))
    assert len(report.by_world) == 3 * len(results)


def test_intervals_are_over_scenarios_not_views():
    one = [view for view in views() if view.scenario == "s0"]
    assert math.isnan(summarise(one, ["run"], {}).metrics["physics_iq"]["lo"])


def test_what_could_not_be_measured_is_named_and_left_out():
    results = views()
    lost = ViewResult("s9", "left", "a", {}, "x.mp4: breaks off")
    report = summarise([*results, lost], ["run"], {})
    assert report.metrics["physics_iq"]["value"] == summarise(results, ["run"], {}).metrics["physics_iq"]["value"]
    assert report.metrics["physics_iq"]["coverage"] == pytest.approx(8 / 9)
    assert report.skipped == (("s9/left", "x.mp4: breaks off"),)
    assert report.by_world[-1]["missing"]["physics_iq"] == "x.mp4: breaks off"
    nothing = summarise([lost], ["run"], {})
    assert not nothing.metrics
    assert "breaks off" in nothing.missing["physics_iq"]

"""Planted facts come out of the tables: who wins, by how much, over which worlds, and what is only chance."""

import json
import math
import re

import numpy as np
import pytest
from PIL import Image
from planted_runs import SCENES, change_of, planted

from phys4d.data import open_dataset
from phys4d.errors import InputError
from phys4d.evaluation import baselines, compare, evaluate
from phys4d.evaluation.pooling import part, pooled
from phys4d.ladder.pages import markdown
from phys4d.ladder.results import HEADLINES, Results, judging_of
from phys4d.ladder.schema import results_schema
from phys4d.ladder.tables import PUBLISHED, beaten, changes, published, standings
from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset

KNOWN = recipes["nano"]().scenes


def results_of(reports, rivals):
    judging = judging_of(reports, rivals, KNOWN, seed=0)
    runs = [
        {
            "name": "r",
            "seed": 1,
            "stage": None,
            "weights": "0",
            "compute": dict.fromkeys(("steps", "clips", "seconds")),
        }
    ]
    return Results(
        protocol={"lifter": "l", "size": [8, 8], "frames": 6, "fps": 12.0},
        rungs={rung: {"title": "", "seeds": len(some), "runs": runs} for rung, some in reports.items()},
        rivals=list(rivals),
        final="final",
        judgings={"common": judging},
        notes=["a doubt"],
        skipped=[("w", "is damaged")],
    )


@pytest.fixture(scope="module")
def results():
    """The final rung is better by 0.5 in what should be low, the control not at all."""
    reports = {
        "base": [planted(seed=1)],
        "control": [planted(seed=2), planted(seed=3)],
        "final": [planted(-0.5, seed=seed) for seed in (4, 5, 6)],
        "mine": [planted(seed=1)],
    }
    rivals = {"static": planted(0.2, seed=7), "constant_velocity": planted(-0.9, seed=8), "truth": planted(-0.95)}
    return results_of(reports, rivals)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "HELD"
    names = ["ball_drop", "ball_ramp"]
    simulate_dataset(out, names, clips=6, size=(32, 32), frames=7, camera="static", progress=False)
    return list(open_dataset(out))


def test_a_rung_that_is_the_truth_wins_wherever_the_other_errs(worlds):
    """By real metrics: against worlds that stand still, nothing may speak against the truth."""
    names = ("chamfer_dynamic", "flow_epe_moving", "scene_flow_epe", "mask_iou", "psnr", "sharpness_moving")
    still = [baselines.make("static", world) for world in worlds]
    reports = {
        "base": [evaluate(still, worlds, baselines=False, metrics=names, context_frames=1)],
        "final": [evaluate(worlds, worlds, baselines=False, metrics=names, context_frames=1)],
    }
    group = judging_of(reports, {}, KNOWN, seed=0).groups[0]
    assert (group.name, group.worlds, group.scenes) == ("all worlds", 6, 6)
    for name in set(names) - {"sharpness_moving"}:
        found = change_of(group, "base", "final", name)
        assert (found["verdict"], found["beyond"]) == ("better", True), name
        assert (found["seeds_better"], found["seed_pairs"]) == (1, 1)
    for name in ("chamfer_dynamic", "flow_epe_moving", "scene_flow_epe"):
        assert change_of(group, "base", "final", name)["relative"] == pytest.approx(-1)


def test_equal_runs_differ_by_nothing(results):
    for group in results.judgings["common"].groups:
        for metric in ("chamfer_dynamic", "mask_iou", "psnr"):
            found = change_of(group, "base", "mine", metric)
            assert (found["change"], found["lo"], found["hi"], found["relative"]) == (0, 0, 0, 0)
            assert (found["beyond"], found["verdict"], found["seeds_better"]) == (False, "none shown", 0)
            assert found["p"] == 1


def test_a_planted_gain_is_found_and_chance_is_not(results):
    group = results.judgings["common"].groups[0]
    low, high = (change_of(group, "base", "final", name) for name in ("chamfer_dynamic", "mask_iou"))
    assert low["change"] == pytest.approx(-0.5, abs=0.1)
    assert low["lo"] < -0.5 < low["hi"] < 0
    base = group.metrics["base"]["chamfer_dynamic"]["value"]
    assert low["relative"] == pytest.approx(low["change"] / base)
    assert (low["verdict"], high["verdict"]) == ("better", "worse")
    assert low["holds"]
    assert (low["seeds_better"], low["seed_pairs"]) == (3, 3)
    assert (high["seeds_better"], high["seed_pairs"]) == (0, 3)
    control = change_of(group, "base", "control", "chamfer_dynamic")
    assert not control["beyond"]


def test_the_mean_over_seeds_is_the_mean_and_the_spread_is_over_seeds():
    seeds = [planted(offset, seed=seed) for seed, offset in enumerate((0.0, 0.3, 0.9))]
    means = [report.metrics["psnr"]["value"] for report in seeds]
    row = pooled(seeds).metrics["psnr"]
    assert row["value"] == pytest.approx(np.mean(means))
    assert row["std"] == pytest.approx(np.std(means, ddof=1))
    by_hand = np.mean([[entry["metrics"]["psnr"] for entry in report.by_world] for report in seeds], axis=0)
    assert row["lo"] < by_hand.mean() < row["hi"]
    # Seeds are no more scenes: three equal ones are as sure as one.
    same = pooled([seeds[0]] * 3).metrics["psnr"]
    assert [same[key] for key in ("value", "lo", "hi")] == pytest.approx(
        [seeds[0].metrics["psnr"][key] for key in ("value", "lo", "hi")]
    )
    assert same["std"] == 0
    with pytest.raises(InputError, match="several runs"):
        pooled([pooled(seeds)])


def test_a_change_in_percent_is_of_the_worlds_that_both_have():
    first, second = planted(noise=0), planted(-0.5, noise=0)
    for entry in second.by_world:
        if entry["scene"] != "ball_drop":
            entry["metrics"].pop("psnr")
    found = compare(first, part(second, lambda entry: True)).differences["psnr"]
    drops = [entry["metrics"]["psnr"] for entry in first.by_world if entry["scene"] == "ball_drop"]
    assert found.relative == pytest.approx(-0.5 / np.mean(drops))


def test_groups_by_row_and_by_category_are_the_worlds_they_say(results):
    groups = {group.name: group for group in results.judgings["common"].groups}
    assert list(groups) == [
        "all worlds", "rows that training knew, held-out seeds", "held-out rows", "cloth", "fluid", "rigid",
    ]  # fmt: skip
    assert [group.worlds for group in groups.values()] == [16, 8, 8, 4, 4, 8]
    value = {name: group.metrics["base"]["psnr"]["value"] for name, group in groups.items()}
    assert value["rigid"] == value["rows that training knew, held-out seeds"]
    assert value["held-out rows"] == pytest.approx((value["cloth"] + value["fluid"]) / 2)
    assert value["all worlds"] == pytest.approx((value["rigid"] + value["held-out rows"]) / 2)


def test_where_every_row_is_known_there_are_no_groups_of_rows():
    reports = {"base": [planted()]}
    assert {g.kind for g in judging_of(reports, {}, SCENES, 0).groups} == {"all", "category"}


def test_curves_are_losses_with_intervals(results):
    curves = results.judgings["common"].curves
    curve = curves["base"]["chamfer_dynamic"]
    assert math.isnan(curve["mean"][0])
    assert curve["mean"][5] == pytest.approx(5 * curve["mean"][1])
    assert curve["lo"][5] < curve["mean"][5] < curve["hi"][5]
    # 20 dB of a range of 1 are a root mean square error of a tenth.
    assert curves["final"]["psnr"]["mean"][1:] == pytest.approx([0.1] * 5)


def test_where_the_final_rung_beats_what_foretells_nothing(results):
    header, *rows = beaten(results)
    assert [row[0] for row in rows] == ["all worlds", "cloth", "fluid", "rigid"]
    column = header.index("chamfer_dynamic, static")
    assert all(row[column].startswith("beats it -") for row in rows)
    column = header.index("chamfer_dynamic, constant velocity")
    assert rows[0][column].startswith("loses +")


def test_how_much_there_is_to_gain_is_told(results):
    group = results.judgings["common"].groups[0]
    assert change_of(group, "base", "truth", "chamfer_dynamic")["change"] == pytest.approx(-0.95, abs=0.1)


def test_tables_say_how_many_seeds_there_are(results):
    header, *rows = standings(results, results.judgings["common"].groups[0], HEADLINES)
    assert header == ["", "chamfer_dynamic [m] ↓", "mask_iou ↑"]
    assert [row[0] for row in rows] == [
        "base, n = 1", "control, n = 2", "final, n = 3", "mine, n = 1", "(static)", "(constant velocity)",
        "(truth)",
    ]  # fmt: skip
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", rows[0][1])
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\] ± [\d.]+", rows[2][1])
    [first] = [
        row for row in changes(results.judgings["common"].groups[0], HEADLINES) if row[0] == "final against base"
    ]
    assert re.fullmatch(r"-0\.\d+ \[-0\.\d+, -0\.\d+\] -\d+ % better", first[1])


def test_the_papers_gains_are_worked_out():
    assert [row[1:3] for row in published()[1:]] == [[f"{a}", f"{b}"] for _, a, b in PUBLISHED]
    assert published()[1][3] == "+11.4 (+61 %)"


def test_pages_hold_every_table(results):
    page = markdown(results)
    for title in (
        "## All worlds", "## final against base", "## final against control", "## Rung by rung", "## Skipped",
        "### held-out rows", "### cloth", "## Where final beats", "![Error against", "## What the paper reports",
    ):  # fmt: skip
        assert title in page
    assert "**Note:** a doubt" in page
    assert "nan" not in page
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({line.count("|") - line.count(r"\|") for line in block.splitlines()}) == 1
    text = results.table()
    assert "final against base" in text
    assert "is damaged" in text


def test_results_survive_the_disk_and_follow_the_schema(results, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    results.save(tmp_path / "R")
    content = json.loads((tmp_path / "R" / "results.json").read_text())
    jsonschema.Draft202012Validator(results_schema()).validate(content)
    assert Results.load(tmp_path / "R").to_dict() == content
    assert Results.load(tmp_path / "R" / "results.json").table().splitlines()[0] == results.table().splitlines()[0]
    with Image.open(tmp_path / "R" / "horizon.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 10
    content["judgings"]["common"]["groups"][0]["differences"][0].pop("beyond")
    assert not jsonschema.Draft202012Validator(results_schema()).is_valid(content)
    content["schema"] = 99
    (tmp_path / "R" / "results.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="or of another version"):
        Results.load(tmp_path / "R")
    with pytest.raises(InputError, match="no results there"):
        Results.load(tmp_path)

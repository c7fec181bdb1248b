"""Reports survive the disk, explain themselves, and know when a difference is one."""

import dataclasses
import html
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from ball_scene import as_prediction, ball_world, fall

from phys4d.errors import InputError
from phys4d.evaluation import Report, compare, evaluate


@pytest.fixture(scope="module")
def truths():
    return [ball_world(fall(start=(0.1 * seed, 0, 1.9)), seed=seed) for seed in range(4)]


@pytest.fixture(scope="module")
def saved(report, tmp_path_factory):
    return report.save(tmp_path_factory.mktemp("reports") / "result")


@pytest.fixture(scope="module")
def report(truths):
    slow = [as_prediction(ball_world(fall(7.0, start=(0.1 * s, 0, 1.9))), segmentation=None) for s in range(4)]
    return evaluate(slow, truths)


def synthetic(values, name="chamfer_dynamic", better="lower", scenes=None):
    worlds = [
        {
            "world": f"w{i}",
            "scene": "s",
            "scene_id": (scenes or range(99))[i],
            "category": "c",
            "metrics": {name: v},
        }
        for i, v in enumerate(values)
    ]
    row = {"value": float(np.mean(values)), "lo": math.nan, "hi": math.nan, "coverage": 1.0, "unit": "m"}
    return Report({"frames": 12}, {name: {**row, "better": better}}, {}, {}, worlds, {})


def test_the_dictionary_has_the_promised_keys(report):
    content = report.to_dict()
    assert list(content) == [
        "schema", "protocol", "metrics", "baselines", "by_category", "by_world", "missing", "skipped", "notes",
        "baseline_curves",
    ]  # fmt: skip
    assert content["schema"] == 1
    for rows in (content["metrics"], *content["baselines"].values(), *content["by_category"].values()):
        for row in rows.values():
            assert list(row) == ["value", "lo", "hi", "coverage", "unit", "better"]
    assert set(content["baselines"]) == {"static", "last_frame", "constant_velocity", "noise"}
    assert list(content["by_category"]) == ["rigid"]


def test_a_saved_report_comes_back(report, saved):
    assert sorted(path.name for path in saved.iterdir()) == ["report.html", "report.json", "report.md"]
    for place in (saved, saved / "report.json"):
        assert Report.load(place).to_json() == report.to_json()

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    json.loads((saved / "report.json").read_text(), parse_constant=refuse)


def test_what_was_skipped_is_named_everywhere_and_comes_back(report, tmp_path):
    partial = dataclasses.replace(report, skipped=(("w7", "w7/depth.mkv is damaged"),))
    partial.save(tmp_path / "r")
    assert Report.load(tmp_path / "r").skipped == partial.skipped
    for text in (partial.table(), *((tmp_path / "r" / f"report.{end}").read_text() for end in ("html", "md"))):
        assert "w7/depth.mkv is damaged" in text
    assert report.skipped == ()
    assert "skipped" not in report.table()


def test_an_older_report_is_replaced(truths, tmp_path):
    for truth in truths[:2]:
        small = evaluate(truth, truth, baselines=False, metrics=["delta1"])
        small.save(tmp_path / "r")
    assert Report.load(tmp_path / "r").by_world[0]["scene_id"] == "ball-1"


def test_what_is_not_a_report_is_neither_read_nor_replaced(report, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a report"):
        report.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    for text, message in (
        ("{}", "schema"),
        ("[]", "schema"),
        ("nonsense", "not a report"),
        ('{"schema": 1}', "without"),
    ):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(InputError, match=message):
            Report.load(tmp_path / "report.json")
    with pytest.raises(InputError, match="no report there"):
        Report.load(tmp_path / "nowhere")


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.outside = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not re.match(r"(data:|#)", value or ""):
                self.outside.append((tag, value))


def test_the_page_is_self_contained(report, saved):
    page = (saved / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert links.outside == []
    assert "link" not in links.tags
    assert "default-src 'none'" in html.unescape(page)
    assert links.tags.count("figure") == len(report.cases) + len(report.by_world[0]["curves"])
    assert links.tags.count("img") == len(report.cases) == 4
    assert page.count("data:image/webp;base64,") == 4
    for name in report.metrics:
        assert name in page


def test_the_page_alone_is_what_a_notebook_shows(truths, tmp_path):
    alone = evaluate(truths[0], truths[0], baselines=False, metrics=["delta1"])
    assert alone._repr_html_() in alone.save_html(tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_page_escapes_what_worlds_call_themselves(truths):
    world = dataclasses.replace(
        truths[0], meta={**truths[0].meta, "scene": "<script>x</script>", "scene_id": "<b>"}
    )
    page = evaluate(world, world, baselines=False, metrics=["abs_rel"])._repr_html_()
    assert "<script>" not in page
    assert "<b>" not in page


def test_worst_and_best_are_the_worst_and_the_best(report):
    values = sorted(world["metrics"]["chamfer_dynamic"] for world in report.by_world)
    titles = [case.title for case in report.cases]
    assert [title.split(":")[0] for title in titles] == ["worst", "worst", "best", "best"]
    shown = [float(title.rsplit(" ", 2)[1]) for title in titles]
    assert shown == pytest.approx(values[::-1], rel=1e-2)


def test_table_and_markdown_name_every_metric_and_its_interval(report, saved):
    for text in (report.table(), (saved / "report.md").read_text()):
        for name, row in report.metrics.items():
            line = next(line for line in text.splitlines() if name in line)
            assert f"{row['value']:.4g}" in line
            assert f"[{row['lo']:.4g}, {row['hi']:.4g}]" in line
        assert "4 scenes" in text


def test_one_scene_has_no_interval_to_show(truths):
    alone = evaluate(truths[0], truths[0], baselines=False, metrics=["abs_rel"])
    assert "one scene" in alone.table()
    assert json.loads(alone.to_json())["metrics"]["abs_rel"]["lo"] is None


def test_comparison_is_paired_where_the_worlds_are_the_same():
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 1, 20)
    better = first - 0.05 + rng.normal(0, 0.005, 20)
    scenes = [f"s{i}" for i in range(20)]
    found = compare(synthetic(first, scenes=scenes), synthetic(better, scenes=scenes)).differences[
        "chamfer_dynamic"
    ]
    assert found.paired
    assert found.beyond
    assert found.verdict == "b is better"
    assert found.change.value == pytest.approx(np.mean(better - first))
    other = synthetic(better, scenes=scenes)
    for world in other.by_world:
        world["world"] += "x"
    found = compare(synthetic(first, scenes=scenes), other).differences["chamfer_dynamic"]
    assert not found.paired
    assert not found.beyond
    assert found.verdict == "no difference shown"


def test_the_order_of_worlds_does_not_matter():
    first, second = [1.0, 2.0, 3.0], [1.1, 2.1, 3.1]
    a, b = synthetic(first, scenes=list("xyz")), synthetic(second, scenes=list("xyz"))
    b.by_world.reverse()
    assert compare(a, b).differences["chamfer_dynamic"].change.value == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("better", "verdict"), [("lower", "a is better"), ("higher", "b is better"), ("one", "b is better")]
)
def test_the_verdict_knows_which_way_is_better(better, verdict):
    a = synthetic([0.5, 0.6, 0.7], better=better, scenes=list("xyz"))
    b = synthetic([0.8, 0.9, 1.0], better=better, scenes=list("xyz"))
    comparison = compare(a, b)
    assert comparison.differences["chamfer_dynamic"].verdict == verdict
    assert verdict in comparison.table()


def test_unlike_protocols_are_noted_and_nothing_shared_is_refused():
    a, b = synthetic([1.0, 2.0], scenes=list("xy")), synthetic([1.0, 2.0], scenes=list("xy"))
    b.protocol["frames"] = 33
    assert compare(a, b).notes == ("frames differs: 12 and 33",)
    with pytest.raises(InputError, match="share no metric"):
        compare(a, synthetic([1.0, 2.0], name="psnr", scenes=list("xy")))


def several(shift, *, metrics=20, scenes=12, runs=1, seed=0):
    """A report of metrics that differ between seeds by chance alone, but for a `shift` of the first."""
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(metrics)]
    base = np.random.default_rng(9).normal(size=(scenes, metrics))
    worlds = []
    for run in range(runs):
        values = base + rng.normal(0, 0.3, base.shape)
        values[:, 0] += shift
        for i, row in enumerate(values):
            name = f"w{i}" + (f"/run{run}" if run else "")
            worlds.append({"world": name, "run": run, "scene": "s", "scene_id": f"s{i}", "category": "c",
                           "metrics": dict(zip(names, row))})  # fmt: skip
    rows = {
        name: {"value": float(np.mean([w["metrics"][name] for w in worlds])), "lo": math.nan, "hi": math.nan,
               "coverage": 1.0, "unit": "", "better": "lower", **({"std": 0.25} if runs > 1 else {})}
        for name in names
    }  # fmt: skip
    return Report({"runs": runs}, rows, {}, {}, worlds, {})


def test_a_comparison_says_what_chance_alone_would_do():
    found = compare(several(0.0), several(-1.0, seed=1))
    assert found.differences["m0"].holds
    assert [name for name, d in found.differences.items() if d.holds] == ["m0"]
    assert "20 metrics compared" in found.table()
    assert "put about 1.0" in found.table()
    assert "1 hold: m0" in found.table()
    # Something is beyond its interval by chance in some of these; nothing holds.
    pairs = [compare(several(0.0, seed=s), several(0.0, seed=s + 50)) for s in range(2, 6)]
    assert sum(d.beyond for pair in pairs for d in pair.differences.values()) > 0
    assert sum(d.holds for pair in pairs for d in pair.differences.values()) == 0


def test_runs_are_averaged_and_their_spread_is_shown():
    one, three = several(0.0), several(0.0, runs=3, seed=1)
    found = compare(one, three)
    assert found.differences["m3"].paired
    mean = three.metrics["m3"]["value"] - one.metrics["m3"]["value"]
    assert found.differences["m3"].change.value == pytest.approx(mean)
    assert found.notes == ("runs differs: 1 and 3",)
    assert "± 0.25" in found.table()
    assert "over seeds" not in compare(one, several(0.0, seed=4)).table()
    assert compare(three, three).differences["m3"].change.value == 0


def test_one_scene_tests_nothing():
    a, b = synthetic([1.0], scenes=["x"]), synthetic([2.0], scenes=["x"])
    assert "no difference is tested" in compare(a, b).table()

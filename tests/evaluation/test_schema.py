"""The published schema is that of the reports that are written, and tells a broken one."""

import copy
import json
from pathlib import Path

import pytest
from ball_scene import as_prediction, ball_world, fall

from phys4d.evaluation import evaluate
from phys4d.evaluation.evaluate import Item, evaluate_items
from phys4d.evaluation.schema import report_schema

jsonschema = pytest.importorskip("jsonschema")
PUBLISHED = Path(__file__).parents[2] / "docs" / "report.schema.json"


@pytest.fixture(scope="module")
def written():
    truth = ball_world()
    worlds = [as_prediction(ball_world(fall(g))) for g in (7.0, 6.0)]
    items = [Item(world, truth, run=run, place=0) for run, world in enumerate(worlds)]
    report = evaluate_items([*items, Item(None, name="w2", problem="is damaged")], skip=True)
    return json.loads(report.to_json())


def test_the_published_schema_is_the_one_of_the_code():
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == report_schema()
    jsonschema.Draft202012Validator.check_schema(report_schema())


def test_reports_follow_it(written):
    assert written["skipped"] == [{"name": "w2", "reason": "is damaged"}]
    assert "std" in written["metrics"]["psnr"]
    alone = json.loads(evaluate(as_prediction(ball_world())).to_json())
    for content in (written, alone):
        jsonschema.Draft202012Validator(report_schema()).validate(content)


def test_it_says_every_key_that_is_written(written):
    schema = report_schema()
    assert set(written) == set(schema["properties"])
    assert set(written["metrics"]["psnr"]) == set(schema["$defs"]["row"]["properties"])
    assert set(written["by_world"][0]) == set(schema["$defs"]["world"]["properties"])


def drop_a_key(content):
    del content["missing"]


def write_a_word(content):
    content["metrics"]["psnr"]["value"] = "good"


def cover_too_much(content):
    content["metrics"]["psnr"]["coverage"] = 1.5


def forget_a_reason(content):
    content["skipped"][0].pop("reason")


def lose_the_scene(content):
    del content["by_world"][0]["scene_id"]


@pytest.mark.parametrize("spoil", [drop_a_key, write_a_word, cover_too_much, forget_a_reason, lose_the_scene])
def test_a_broken_report_is_told(written, spoil):
    content = copy.deepcopy(written)
    spoil(content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(report_schema()).validate(content)

"""The page of a report in a real browser: nothing is cut off, tables sort, and the script has no fault."""

import dataclasses

import numpy as np
import pytest
from ball_scene import as_prediction, ball_world, fall

from phys4d.evaluation.evaluate import Item, evaluate_items
from phys4d.evaluation.figures import curve_svg, interval_svg
from phys4d.evaluation.page import page


@pytest.fixture(scope="module")
def report():
    items = []
    for i, (category, gravity) in enumerate((("rigid", 7.0), ("rigid", 8.0), ("soft and granular", 5.0))):
        meta = {"scene": f"a ball that falls, number {i}", "category": category}
        truth = ball_world(seed=i, **meta)
        for run in range(2):
            made = as_prediction(ball_world(fall(gravity + 0.2 * run)))
            items.append(Item(made, truth, place=i, run=run))
    items.append(Item(None, name="clip-7", problem="clip-7/rgb.mkv is damaged: not a readable video"))
    found = evaluate_items(items, skip=True)
    return dataclasses.replace(found, notes=("1 of 6 worlds: the prediction's depth is in another unit",))


WIDTHS = {"desk": 1300, "phone": 390}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nothing_is_cut_off(open_page, report, width):
    shown = open_page(page(report))
    shown.set_viewport_size({"width": width, "height": 844})
    reach = "Math.max(...[...document.querySelectorAll('.p4d *')].map(e => e.getBoundingClientRect().right))"
    assert shown.evaluate(reach) <= width
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    # Inside the tables nothing scrolls away either.
    inside = (
        "[...document.querySelectorAll('.p4d *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)"
    )
    assert shown.evaluate(f"{inside}.map(e => e.outerHTML.slice(0, 90))") == []


def column(shown, table, place):
    return shown.evaluate(
        f"[...document.querySelectorAll('{table} tbody:not([hidden]) tr:not(.group)')]"
        f".map(row => row.cells[{place}].textContent)"
    )


def test_a_table_sorts_by_the_heading_that_is_pressed(open_page, report):
    shown = open_page(page(report))
    table = "table.sortable >> nth=0"
    names = [f"{name}" for name in report.metrics]
    first = shown.locator(table)
    values = "rows => rows.map(row => Number(row.cells[1].dataset.value))"
    rows = first.locator("tbody tr")
    assert [text.split(" ")[0] for text in rows.locator("td:first-child").all_text_contents()] == names
    first.get_by_role("button", name="value").click()
    risen = rows.evaluate_all(values)
    assert risen == sorted(row["value"] for row in report.metrics.values()) or np.allclose(
        risen, sorted(row["value"] for row in report.metrics.values()), rtol=1e-6
    )
    # By the keyboard too, and the other way round.
    first.get_by_role("button", name="value").focus()
    shown.keyboard.press("Enter")
    assert rows.evaluate_all(values) == risen[::-1]
    assert first.locator("th[aria-sort='descending']").count() == 1


def test_one_metric_of_the_groups_is_shown_at_a_time(open_page, report):
    shown = open_page(page(report))
    table = "#p4d-category"
    assert column(shown, table, 0) == ["rigid", "soft and granular"]
    shown.select_option("select[data-table='p4d-category']", "psnr")
    expected = [f"{report.by_category[name]['psnr']['value']:.4g}" for name in report.by_category]
    assert column(shown, table, 1) == expected
    assert len(column(shown, "#p4d-worlds", 0)) == 6


def test_without_a_script_every_row_is_there(report):
    text = page(report)
    for name in report.metrics:
        assert text.count(f'<tbody data-metric="{name}">') == 3
    assert "<label hidden>" in text


def test_what_was_skipped_and_what_is_doubted_stand_above_the_numbers(report):
    text = page(report)
    assert text.index("clip-7/rgb.mkv is damaged") < text.index("<h2>Metrics</h2>")
    assert text.index("in another unit") < text.index("<h2>Metrics</h2>")


def test_cases_show_reference_prediction_depth_and_error(report):
    assert len(report.cases) == 3
    for case in report.cases:
        assert case.panels == ("reference", "prediction", "predicted depth", "error of depth, 0 to 25%")
        assert case.frames.shape[2] == 4 * 64
        assert "/run" not in case.title


def test_curves_break_where_there_is_nothing_and_noise_may_leave_the_scale():
    mean = [float("nan"), 1.0, 2.0, float("nan"), 3.0, 2.5]
    drawing, off = curve_svg("epe", mean, mean, mean, {"static": [1.0] * 6, "noise": [99.0] * 6})
    assert off == ["noise"]
    assert 'class="rival static"' in drawing
    assert "rival noise" not in drawing
    assert drawing.split('class="mean" d="')[1].count("M") == 2
    assert "nan" not in drawing.split(">", 1)[1]


def test_an_interval_is_drawn_where_there_is_one():
    assert "interval" in interval_svg(1.0, 0.5, 2.0, {"static": 1.2})
    alone = interval_svg(1.0, float("nan"), float("nan"), {})
    assert "dot" in alone
    assert "interval" not in alone
    assert interval_svg(float("nan"), 0.0, 0.0, {}) == ""

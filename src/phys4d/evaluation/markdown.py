"""A report as Markdown, for a pull request, a paper's appendix or a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from phys4d.evaluation.page import by_scene, headline
from phys4d.evaluation.report import MARKS
from phys4d.evaluation.tables import interval_text, markdown_table, number_text, spread_text

if TYPE_CHECKING:
    from phys4d.evaluation.report import Report


def markdown(report: Report) -> str:
    """The tables as Markdown."""
    seeds = any("std" in row for row in report.metrics.values())
    header = [
        "metric",
        "value",
        "95 % interval",
        *(["over seeds"] if seeds else []),
        "coverage",
        *report.baselines,
    ]
    rows = []
    for name, row in report.metrics.items():
        others = [number_text(entry.get(name, {}).get("value")) for entry in report.baselines.values()]
        value = f"{number_text(row['value'])} {row['unit']}".strip()
        spread = [spread_text(row)] if seeds else []
        cells = [f"{name} {MARKS[row['better']]}", value, interval_text(row), *spread, f"{row['coverage']:.0%}"]
        rows.append([*cells, *others])
    lines = ["# 4D world consistency", "", headline(report), "", *(f"**Note:** {note}\n" for note in report.notes)]
    lines += markdown_table(header, rows)
    if report.missing:
        lines += ["", "## Not measured", "", *(f"- `{name}`: {reason}" for name, reason in report.missing.items())]
    if report.skipped:
        lines += ["", "## Skipped", "", *(f"- {name}: {reason}" for name, reason in report.skipped)]
    for title, groups in (("By category", report.by_category), ("By scenario", by_scene(report))):
        if groups:
            cells = [[name, *(_group_cell(rows.get(name)) for rows in groups.values())] for name in report.metrics]
            lines += ["", f"## {title}", "", *markdown_table(["metric", *groups], cells)]
    lines += ["", "## Protocol", "", *(f"- {key}: {value}" for key, value in report.protocol.items())]
    return "\n".join(lines) + "\n"


def _group_cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    known = "lo" in row and math.isfinite(row["lo"])
    return number_text(row["value"]) + (f" {interval_text(row)}" if known else "")

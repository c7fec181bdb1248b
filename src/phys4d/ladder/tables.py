"""The tables of a ladder as rows of text, for terminals and pages alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from phys4d.evaluation.comparison import chance_text
from phys4d.evaluation.report import MARKS
from phys4d.evaluation.tables import number_text, ranged, row_text
from phys4d.ladder.results import COMMON, MOVING, MUST_BEAT, Group, Results

Rows = list[list[str]]
PUBLISHED = (("CogVideoX", 18.8, 30.2), ("Wan 2.2", 16.8, 25.6), ("Open-Sora 1.2", 14.5, 22.4))
"""(backbone, its score, its score with Phys4D): Physics-IQ as reported in arXiv 2603.03485."""


def standings(results: Results, group: Group, metrics: Iterable[str]) -> Rows:
    """Rungs and rivals down, metrics across; only metrics that something has."""
    rows = {name: row for some in group.metrics.values() for name, row in some.items()}
    chosen = [name for name in metrics if name in rows]
    header = [f"{name}{_unit(rows[name])} {MARKS[rows[name]['better']]}" for name in chosen]
    table = [["", *header]]
    for name, some in group.metrics.items():
        table.append([_label(results, name), *(row_text(some.get(metric)) for metric in chosen)])
    return table


def changes(group: Group, metrics: Sequence[str]) -> Rows:
    """Pairs down, metrics across: the change with its interval, in percent, and what it amounts to."""
    found = {(d["first"], d["second"], d["metric"]): d for d in group.differences}
    pairs = list(dict.fromkeys((first, second) for first, second, _ in found))
    chosen = [name for name in metrics if any(metric == name for *_, metric in found)]
    return [
        ["", *chosen],
        *(
            [f"{second} against {first}", *(change_text(found.get((first, second, m))) for m in chosen)]
            for first, second in pairs
        ),
    ]


def change_text(found: dict[str, Any] | None) -> str:
    """ "-0.12 [-0.2, -0.05] -32 % better", without the last word where the interval holds 0."""
    if found is None or not math.isfinite(found["change"]):
        return "-"
    known = math.isfinite(found["lo"])
    parts = [ranged(found["change"], found["lo"], found["hi"], "+") if known else f"{found['change']:+.3g}"]
    parts.append(_percent(found["relative"]))
    parts += [found["verdict"]] if found["beyond"] else []
    return " ".join(part for part in parts if part)


def one_pair(group: Group, first: str, second: str) -> Rows:
    """Every metric of one comparison, a line each."""
    rows = [["metric", first, second, "change", "95 % interval", "", "beyond it", "p (Holm)", "seeds ahead"]]
    for d in group.differences:
        if (d["first"], d["second"]) != (first, second):
            continue
        before, after = (group.metrics[rung][d["metric"]] for rung in (first, second))
        known = math.isfinite(d["lo"])
        rows.append(
            [
                f"{d['metric']}{_unit(before)} {MARKS[before['better']]}",
                number_text(before["value"]),
                number_text(after["value"]),
                f"{d['change']:+.3g}",
                f"[{d['lo']:+.3g}, {d['hi']:+.3g}]" if known else "one scene",
                _percent(d["relative"]) or "-",
                d["verdict"] if d["beyond"] else "no",
                number_text(d["p_adjusted"]),
                f"{d['seeds_better']} of {d['seed_pairs']}",
            ]
        )
    return rows


def chance(group: Group, first: str, second: str) -> str:
    """How much of a comparison chance alone could have made."""
    tested = [
        d for d in group.differences if (d["first"], d["second"]) == (first, second) and math.isfinite(d["p"])
    ]
    hold = [d["metric"] for d in tested if d["holds"]]
    return chance_text(len(tested), sum(d["beyond"] for d in tested), hold).replace("\n", " ")


def beaten(results: Results) -> Rows:
    """Where the final model beats what needs no model: categories down, those worlds and metrics across."""
    groups = [group for group in results.judgings[COMMON].groups if group.kind != "rows"]
    rivals = [name for name in MUST_BEAT if name in results.rivals]
    across = [(rival, metric) for rival in rivals for metric in MOVING]
    rows = [["", *(f"{metric}, {rival.replace('_', ' ')}" for rival, metric in across)]]
    for group in groups:
        found = {(d["first"], d["metric"]): d for d in group.differences if d["second"] == results.final}
        rows.append([group.name, *(_beaten(found.get(key)) for key in across)])
    return rows


def published() -> Rows:
    """What the paper reports."""
    rows = [["Physics-IQ, as the paper reports it", "base", "with Phys4D", "change"]]
    return rows + [[name, f"{a}", f"{b}", f"{b - a:+.1f} ({_percent(b / a - 1)})"] for name, a, b in PUBLISHED]


def runs(results: Results) -> Rows:
    """Every run, and what it took to train."""
    rows = [["run", "rung", "seed", "stage", "steps", "clips", "seconds", "weights"]]
    for rung, found in results.rungs.items():
        for run in found["runs"]:
            spent = [run["compute"][key] for key in ("steps", "clips", "seconds")]
            told = ["-" if value is None else f"{value:,.0f}" for value in spent]
            rows.append([run["name"], rung, str(run["seed"]), run["stage"] or "-", *told, run["weights"]])
    return rows


def _label(results: Results, name: str) -> str:
    if name not in results.rungs:
        return f"({name.replace('_', ' ')})"
    title, seeds = results.rungs[name]["title"], results.rungs[name]["seeds"]
    return f"{name}{f': {title}' if title else ''}, n = {seeds}"


def _unit(row: dict[str, Any]) -> str:
    return f" [{row['unit']}]" if row["unit"] else ""


def _percent(share: float) -> str:
    return f"{100 * share:+.0f} %" if math.isfinite(share) else ""


def _beaten(found: dict[str, Any] | None) -> str:
    if found is None or not math.isfinite(found["change"]):
        return "-"
    words = {"better": "beats it", "worse": "loses", "none shown": "not shown"}[found["verdict"]]
    return f"{words} {_percent(found['relative'])}".strip()

"""Reports put together and taken apart: seeds of one method as runs of one report, or some of its worlds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from phys4d.errors import InputError
from phys4d.evaluation.evaluate import METRICS
from phys4d.evaluation.report import Report
from phys4d.evaluation.summary import summary


def pooled(reports: Sequence[Report]) -> Report:
    """One report of which each of these, on the same worlds, is a run: its values are means over the runs.

    The intervals are over scenes and `std` is the spread over the runs, as where one model generates several
    times. Baselines, categories and cases are left out. Raises InputError without a report, and for one that has
    several runs already.
    """
    if not reports:
        raise InputError("there is no report to put together")
    entries: list[dict[str, Any]] = []
    for run, report in enumerate(reports):
        if any(entry["run"] for entry in report.by_world):
            raise InputError("a report of several runs cannot be one run of another")
        # `compare` finds a world in several runs by this ending.
        ending = f"/run{run}" if run else ""
        entries += [{**entry, "world": entry["world"] + ending, "run": run} for entry in report.by_world]
    protocol = {**reports[0].protocol, "runs": len(reports)}
    missing = {name: why for name, why in reports[0].missing.items() if all(name in r.missing for r in reports)}
    skipped = tuple(dict.fromkeys(one for report in reports for one in report.skipped))
    return _of_entries(entries, protocol, missing, skipped)


def part(report: Report, chosen: Callable[[dict[str, Any]], bool]) -> Report:
    """The report of the worlds for whose entries `chosen` is true; without metrics where there is none."""
    entries = [entry for entry in report.by_world if chosen(entry)]
    return _of_entries(entries, report.protocol, report.missing, report.skipped)


def _of_entries(
    entries: Sequence[dict[str, Any]],
    protocol: dict[str, Any],
    missing: dict[str, str],
    skipped: tuple[tuple[str, str], ...],
) -> Report:
    counts = {"worlds": len(entries), "scenes": len({entry["scene_id"] for entry in entries})}
    rows = summary(entries, METRICS, int(protocol.get("seed") or 0))
    return Report({**protocol, **counts}, rows, {}, {}, list(entries), missing, skipped)

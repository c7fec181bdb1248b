"""The pages of a ladder: results.md, and what a terminal shows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from phys4d.evaluation.evaluate import AXES
from phys4d.evaluation.tables import markdown_table, text_of
from phys4d.ladder import tables
from phys4d.ladder.results import COMMON, HEADLINES, OWN, Group, Results

WIDTH = 115
"""Of sentences between the tables [letters]."""
READING = (
    "Means over seeds, then over scenes; square brackets: 95 % intervals by bootstrap over scenes; ±: standard "
    "deviation over seeds, where there are several."
)
CHANGES = (
    "The first's mean less the second's over the same scenes, with its 95 % interval, and in percent of the "
    "second's. A last word stands where the interval leaves out 0; several of so many comparisons do so by chance."
)


def text(results: Results) -> str:
    """The short tables as plain text: all worlds, by the common lifter."""
    whole = results.judgings[COMMON].groups[0]
    parts = [
        _headline(results),
        *(["\n".join(f"note: {note}" for note in results.notes)] if results.notes else []),
        text_of(tables.standings(results, whole, HEADLINES)),
        textwrap.fill(READING, WIDTH),
        text_of(tables.changes(whole, HEADLINES)),
        textwrap.fill(CHANGES, WIDTH),
    ]
    if len((rows := tables.beaten(results))[0]) > 1:
        parts.append(f"Where {results.final} beats what foretells nothing\n{text_of(rows)}")
    if results.skipped:
        parts.append("\n".join(["skipped:", *(f"  {name}: {why}" for name, why in results.skipped)]))
    return "\n\n".join(parts)


def markdown(results: Results) -> str:
    """results.md: every table."""
    groups = results.judgings[COMMON].groups
    whole, final = groups[0], results.final
    lines = ["# The ladder", "", _headline(results), ""]
    lines += [f"**Note:** {note}\n" for note in results.notes]
    lines += ["## All worlds", "", READING, "", *_markdown(tables.standings(results, whole, HEADLINES)), ""]
    for other in ("base", "control"):
        rows = tables.one_pair(whole, other, final)
        if len(rows) > 1:
            lines += [f"## {final} against {other}", "", *_markdown(rows), ""]
            lines += [f"{tables.chance(whole, other, final)}.", ""]
    lines += ["## Rung by rung", "", CHANGES, "", *_markdown(tables.changes(whole, HEADLINES)), ""]
    if len(tables.beaten(results)[0]) > 1:
        lines += [f"## Where {final} beats what foretells nothing", "", *_markdown(tables.beaten(results)), ""]
    lines += ["## Error against time", "", "![Error against the frame, by metric and rung](horizon.png)", ""]
    for kind, title in (("rows", "Held-out rows, and held-out seeds"), ("category", "By category")):
        some = [group for group in groups if group.kind == kind]
        lines += [f"## {title}", ""] if some else []
        for group in some:
            lines += [f"### {group.name}", "", _count(group), "", *_group(results, group)]
    if OWN in results.judgings:
        lines += ["## Seen by their own heads", "", *_group(results, results.judgings[OWN].groups[0])]
    lines += ["## Every metric", ""]
    for axis, rows in AXES.items():
        table = tables.standings(results, whole, [row.name for row in rows])
        lines += [f"### {axis}", "", *_markdown(table), ""] if len(table[0]) > 1 else []
    lines += ["## What the paper reports", "", *_markdown(tables.published()), ""]
    lines += ["Theirs (arXiv 2603.03485), of other models on real films: no number above compares with these.", ""]
    lines += ["## Runs", "", *_markdown(tables.runs(results)), ""]
    if results.skipped:
        lines += ["## Skipped", "", *(f"- {name}: {reason}" for name, reason in results.skipped), ""]
    lines += ["## Protocol", "", *(f"- {key}: {value}" for key, value in results.protocol.items())]
    return "\n".join(lines) + "\n"


def _group(results: Results, group: Group) -> list[str]:
    changes = tables.changes(group, HEADLINES)
    lines = [*_markdown(tables.standings(results, group, HEADLINES)), ""]
    return lines + ([*_markdown(changes), ""] if len(changes) > 1 else [])


def _headline(results: Results) -> str:
    protocol = results.protocol
    whole = results.judgings[COMMON].groups[0]
    runs = sum(rung["seeds"] for rung in results.rungs.values())
    size = "×".join(str(n) for n in protocol["size"] or ())
    return (
        f"{runs} runs of {len(results.rungs)} rungs on {_count(whole)}, {protocol['frames']} frames of {size} at "
        f"{protocol['fps']:g} fps, seen by {protocol['lifter']}"
    )


def _count(group: Group) -> str:
    return f"{group.worlds} worlds of {group.scenes} scenes"


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    return markdown_table(rows[0], rows[1:])

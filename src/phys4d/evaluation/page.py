"""A report as a self-contained page: sortable tables, curves over the horizon, worst and best worlds."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from phys4d.evaluation.figures import curve_svg, interval_svg, key_svg
from phys4d.evaluation.report import MARKS, Case
from phys4d.evaluation.tables import interval_text, number_text, spread_text

if TYPE_CHECKING:
    from phys4d.evaluation.report import Report

CASE_WIDTH = 768
"""Width [px] at which small pictures are stored."""
MOST_WORLDS = 200
"""Worlds in the page's table; all are in report.json."""
RIVAL_LABELS = {"constant_velocity": "constant velocity", "last_frame": "last frame"}


def page(report: Report) -> str:
    """The whole page, with its styles, script, pictures and curves inside. It may load nothing from anywhere."""
    script = _file("report.js")
    # `eval` stays allowed for the tools that drive browsers; the page never uses it.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(_file('report.css'))}; "
        f"script-src {_digest(script)} 'unsafe-eval'"
    )
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>phys4d evaluation</title>'
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body>{body(report)}'
        f"<script>{script}</script></body></html>\n"
    )


def body(report: Report) -> str:
    """What stands inside the page; a notebook shows it as it is, without sorting."""
    parts = [f"<style>{_file('report.css')}</style>", "<h1>4D world consistency</h1>"]
    parts += [f'<p class="quiet">{html.escape(headline(report))}</p>', _doubts(report)]
    parts += [
        "<h2>Metrics</h2>",
        _legend(report, "value and its 95 % interval"),
        _metrics(report),
    ]
    parts.append(_curves(report))
    scenes = by_scene(report)
    if len(report.by_category) > 1 or (report.by_category and not scenes):
        parts += ["<h2>By category</h2>", _groups(report, report.by_category, "category")]
    if scenes:
        parts += ["<h2>By scenario</h2>", _groups(report, scenes, "scenario")]
    if report.cases:
        parts += ["<h2>Worst and best</h2>", f'<div class="cases">{"".join(map(_case, report.cases))}</div>']
    if report.by_world:
        parts += ["<h2>Worlds</h2>", _worlds(report)]
    if report.missing:
        rows = [[_cell(name), _cell(reason)] for name, reason in report.missing.items()]
        parts += ["<h2>Not measured</h2>", _table(["metric", "why"], {"": rows}, "words")]
    terms = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(_plain(value))}</dd>"
        for key, value in report.protocol.items()
    )
    parts += ["<h2>Protocol</h2>", f"<dl>{terms}</dl>"]
    return f'<div class="p4d">{"".join(parts)}</div>'


def headline(report: Report) -> str:
    """One sentence on how much was judged."""
    protocol = report.protocol
    runs = int(protocol.get("runs") or 1)
    known = {"frames": "{} frames", "size": "of {}", "fps": "at {:g} fps"}
    size = protocol.get("size")
    values = {**protocol, "size": "×".join(str(n) for n in size) if size else None}
    extent = " ".join(word.format(values[key]) for key, word in known.items() if values.get(key) is not None)
    return (
        f"{len(report.by_world)} worlds of {protocol.get('scenes')} scenes"
        + (f" in {runs} runs" if runs > 1 else "")
        + (f", {extent}; " if extent else "; ")
        + "intervals are 95 %, by bootstrap over scenes"
        + ("; ± is the standard deviation of the means of the runs." if runs > 1 else ".")
    )


def by_scene(report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    """scenario -> metric -> {value, worlds}, where there are several scenarios."""
    found: dict[str, dict[str, list[float]]] = {}
    for world in report.by_world:
        for name, value in world["metrics"].items():
            if math.isfinite(value):
                found.setdefault(world["scene"], {}).setdefault(name, []).append(value)
    if len(found) < 2:
        return {}
    return {
        scene: {name: {"value": float(np.mean(values)), "worlds": len(values)} for name, values in rows.items()}
        for scene, rows in sorted(found.items())
    }


def _doubts(report: Report) -> str:
    lines = [html.escape(note) for note in report.notes]
    if report.skipped:
        rows = "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in report.skipped)
        lines.append(f"{len(report.skipped)} skipped, in no number here: <ul>{rows}</ul>")
    return "".join(f'<div class="warn">{line}</div>' for line in lines)


def _legend(report: Report, own: str, kind: str = "interval") -> str:
    keys = [(kind, own), *((f"rival {rival}", RIVAL_LABELS.get(rival, rival)) for rival in report.baselines)]
    return (
        '<ul class="legend">'
        + "".join(f"<li>{key_svg(kind)}{html.escape(label)}</li>" for kind, label in keys)
        + "</ul>"
    )


def _metrics(report: Report) -> str:
    seeds = any("std" in row for row in report.metrics.values())
    rows = []
    for name, row in report.metrics.items():
        others = {rival: rows.get(name, {}).get("value", math.nan) for rival, rows in report.baselines.items()}
        plot = interval_svg(row["value"], row["lo"], row["hi"], others)
        cells = [
            _cell(f"{name} {MARKS[row['better']]}"),
            _cell(f"{number_text(row['value'])} {row['unit']}".strip(), row["value"], "num"),
            _cell(interval_text(row), row["hi"] - row["lo"], "num"),
        ]
        if seeds:
            cells.append(_cell(spread_text(row), row.get("std"), "num"))
        cells.append(f'<td class="picture">{plot}</td>')
        cells.append(_cell(f"{row['coverage']:.0%}", row["coverage"]))
        rows.append(cells + [_cell(number_text(value), value) for value in others.values()])
    spread = ["over seeds"] if seeds else []
    rivals = [RIVAL_LABELS.get(rival, rival) for rival in report.baselines]
    header = ["metric", "value", "95 % interval", *spread, "", "coverage", *rivals]
    return _table(header, {"": rows}, "stacked")


def _curves(report: Report) -> str:
    names = sorted({name for world in report.by_world for name in world.get("curves", {})})
    if not names:
        return ""
    figures = []
    for name in names:
        low, mean, high = _spread([w["curves"][name] for w in report.by_world if name in w.get("curves", {})])
        rivals = {
            rival: [math.nan if v is None else v for v in curves[name]]
            for rival, curves in report.baseline_curves.items()
            if name in curves
        }
        drawing, off = curve_svg(name, low, mean, high, rivals)
        row = report.metrics.get(name, {})
        unit = f" [{row['unit']}]" if row.get("unit") else ""
        mark = f" {MARKS[row['better']]}" if row else ""
        beyond = f"<small> {', '.join(RIVAL_LABELS.get(o, o) for o in off)} off the scale</small>" if off else ""
        figures.append(
            f"<figure><figcaption>{html.escape(name + unit)}{mark}{beyond}</figcaption>{drawing}</figure>"
        )
    return (
        f"<h2>Error against horizon</h2>{_legend(report, 'mean over worlds; band: 10 to 90 % of them', 'mean')}"
        f'<div class="curves">{"".join(figures)}</div>'
    )


def _groups(report: Report, groups: Mapping[str, Mapping[str, Mapping[str, Any]]], kind: str) -> str:
    """A table of groups for each metric, of which one is shown at a time."""
    bodies: dict[str, list[list[str]]] = {}
    intervals = any("lo" in row for rows in groups.values() for row in rows.values())
    for name in report.metrics:
        known = [rows[name] for rows in groups.values() if name in rows]
        shared = [row[end] for row in known for end in ("value", "lo", "hi") if end in row]
        for group, rows in groups.items():
            if name not in rows:
                continue
            row = rows[name]
            lo, hi = row.get("lo", math.nan), row.get("hi", math.nan)
            plot = interval_svg(row["value"], lo, hi, {}, shared)
            cells = [_cell(group), _cell(number_text(row["value"]), row["value"], "num")]
            if intervals:
                share = row.get("coverage", math.nan)
                cells += [_cell(interval_text(row), hi - lo, "num"), f'<td class="picture">{plot}</td>']
                cells.append(_cell(f"{share:.0%}" if math.isfinite(share) else "-", share))
            else:
                cells.append(_cell(str(row["worlds"]), row["worlds"]))
            bodies.setdefault(name, []).append(cells)
    header = [kind, "value", *(["95 % interval", "", "coverage"] if intervals else ["worlds"])]
    return _chosen_table(report, header, bodies, f"p4d-{kind}")


def _worlds(report: Report) -> str:
    entries = report.by_world[:MOST_WORLDS]
    bodies: dict[str, list[list[str]]] = {}
    for name in report.metrics:
        for world in entries:
            value = world["metrics"].get(name, math.nan)
            why = world.get("missing", {}).get(name, "")
            share = world.get("coverage", {}).get(name, math.nan)
            cells = [_cell(world["world"]), _cell(world["category"])]
            cells += [_cell(number_text(value) if math.isfinite(value) else why or "-", value)]
            cells.append(_cell(f"{share:.0%}" if math.isfinite(share) else "-", share))
            for rival in report.baselines:
                other = world.get("baselines", {}).get(rival, {}).get(name)
                cells.append(_cell(number_text(other), other))
            bodies.setdefault(name, []).append(cells)
    rivals = [RIVAL_LABELS.get(rival, rival) for rival in report.baselines]
    header = ["world", "category", "value", "coverage", *rivals]
    more = len(report.by_world) - len(entries)
    note = f'<p class="quiet">{more} more are in report.json.</p>' if more > 0 else ""
    return _chosen_table(report, header, bodies, "p4d-worlds") + note


def _chosen_table(report: Report, header: list[str], bodies: dict[str, list[list[str]]], identity: str) -> str:
    units = {name: f" [{report.metrics[name]['unit']}]" if report.metrics[name]["unit"] else "" for name in bodies}
    options = "".join(
        f'<option value="{html.escape(name)}">{html.escape(name + units[name])} '
        f"{MARKS[report.metrics[name]['better']]}</option>"
        for name in bodies
    )
    choice = f'<label hidden>Metric <select data-table="{identity}">{options}</select></label>'
    return choice + _table(header, bodies, "stacked", identity)


def _spread(curves: list[list[float]]) -> tuple[list[float], list[float], list[float]]:
    """The 10 % quantile, mean and 90 % quantile over the curves at each frame, NaN where none has a number."""
    table = np.full((len(curves), max(len(curve) for curve in curves)), np.nan)
    for row, curve in zip(table, curves):
        row[: len(curve)] = [math.nan if value is None else value for value in curve]
    known = np.isfinite(table).any(axis=0)
    low, mean, high = (np.full(table.shape[1], np.nan) for _ in range(3))
    low[known], high[known] = np.nanquantile(table[:, known], [0.1, 0.9], axis=0)
    mean[known] = np.nanmean(table[:, known], axis=0)
    return low.tolist(), mean.tolist(), high.tolist()


def _case(case: Case) -> str:
    picture = base64.b64encode(_webp(case)).decode()
    caption = html.escape(case.title)
    height, width = case.frames.shape[1:3]
    panels = "".join(f"<span>{html.escape(name)}</span>" for name in case.panels)
    return (
        f'<figure><figcaption>{caption}</figcaption><img width="{width}" height="{height}" alt="{caption}" '
        f'src="data:image/webp;base64,{picture}"><div class="panels">{panels}</div></figure>'
    )


def _webp(case: Case) -> bytes:
    scale = max(1, CASE_WIDTH // case.frames.shape[2])
    frames = case.frames.repeat(scale, axis=1).repeat(scale, axis=2)
    first, *rest = [Image.fromarray(frame) for frame in frames]
    times = np.diff(np.rint(np.arange(len(frames) + 1) * 1000 / case.fps)).clip(1, None)
    buffer = io.BytesIO()
    first.save(
        buffer, "WEBP", save_all=True, append_images=rest, loop=0, duration=[int(t) for t in times], quality=80
    )
    return buffer.getvalue()


def _table(
    header: Sequence[str], bodies: Mapping[str, Iterable[Iterable[str]]], kind: str, identity: str = ""
) -> str:
    """A sortable table of ready cells, in one body a metric ("" for one alone)."""
    head = "".join(f"<th>{html.escape(cell)}</th>" if cell else '<th class="picture"></th>' for cell in header)
    parts = []
    for name, rows in bodies.items():
        title = f'<tr class="group"><th colspan="{len(header)}">{html.escape(name)}</th></tr>' if name else ""
        lines = "".join(f"<tr>{''.join(_labelled(row, header))}</tr>" for row in rows)
        parts.append(f'<tbody data-metric="{html.escape(name)}">{title}{lines}</tbody>')
    named = f' id="{identity}"' if identity else ""
    return f'<table class="sortable {kind}"{named}><thead><tr>{head}</tr></thead>{"".join(parts)}</table>'


def _labelled(cells: Iterable[str], header: Sequence[str]) -> list[str]:
    """Cells that know their heading, for windows too narrow for a table."""
    return [cell.replace("<td", f'<td data-label="{html.escape(label)}"', 1) for cell, label in zip(cells, header)]


def _cell(text: str, value: float | None = None, kind: str = "") -> str:
    number = "" if value is None or not math.isfinite(value) else f' data-value="{value:.9g}"'
    shown = f' class="{kind}"' if kind else ""
    return f"<td{shown}{number}>{html.escape(text)}</td>"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items() if entry is not None)
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value))
    return "none" if value is None else str(value)


def _file(name: str) -> str:
    return (resources.files("phys4d.evaluation") / "page_files" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""A report as a self-contained page and as Markdown: tables, curves over the horizon, worst and best worlds."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from phys4d.evaluation.report import MARKS, Case, interval_text

if TYPE_CHECKING:
    from phys4d.evaluation.report import Report

STYLE = """
.p4d { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; max-width: 1080px; margin: 2em auto; padding: 0 1em }
.p4d table { border-collapse: collapse; margin: .5em 0 1.5em; display: block; overflow-x: auto }
.p4d th, .p4d td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
.p4d th:first-child, .p4d td:first-child { text-align: left }
.p4d small, .p4d .unit { color: #666 }
.p4d figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top }
.p4d figure img { image-rendering: pixelated; display: block }
.p4d svg { max-width: 100%; height: auto }
"""
CASE_WIDTH = 384
"""Width [px] at which small pictures are shown."""


def page(report: Report) -> str:
    """The whole page, with its styles, pictures and curves inside."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>phys4d evaluation</title>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body(report)}</body></html>\n'


def body(report: Report) -> str:
    """What stands inside the page; a notebook shows it as it is."""
    parts = [f"<style>{STYLE}</style>", "<h1>4D world consistency</h1>", f"<p>{_summary(report)}</p>"]
    parts += ["<h2>Metrics</h2>", _metric_table(report)]
    if report.missing:
        rows = [[html.escape(name), html.escape(reason)] for name, reason in report.missing.items()]
        parts += ["<h2>Not measured</h2>", _table(["metric", "why"], rows)]
    if report.skipped:
        rows = [[html.escape(name), html.escape(reason)] for name, reason in report.skipped]
        parts += ["<h2>Skipped</h2>", _table(["what", "why"], rows)]
    curves = curves_svg(report)
    if curves:
        parts += [
            "<h2>Error against horizon</h2>",
            "<p><small>Mean over worlds and its 10–90 % range.</small></p>",
        ]
        parts.append(curves)
    for title, groups in (("By category", report.by_category), ("By scene", _by_scene(report))):
        if groups:
            parts += [f"<h2>{title}</h2>", _group_table(report, groups)]
    if report.cases:
        parts += ["<h2>Worst and best</h2>", "<p><small>Reference left, prediction right.</small></p>"]
        parts += [_figure(case) for case in report.cases]
    protocol = [[html.escape(str(key)), html.escape(str(value))] for key, value in report.protocol.items()]
    parts += ["<h2>Protocol</h2>", _table(["", ""], protocol)]
    return f'<div class="p4d">{"".join(parts)}</div>'


def markdown(report: Report) -> str:
    """The tables as Markdown."""
    header = ["metric", "value", "95 % interval", "coverage", *report.baselines]
    lines = ["# 4D world consistency", "", _summary(report), "", _md_row(header), _md_row(["---"] * len(header))]
    for name, row in report.metrics.items():
        others = [_value(entry.get(name)) for entry in report.baselines.values()]
        value = f"{_value(row)} {row['unit']}".strip()
        cells = [f"{name} {MARKS[row['better']]}", value, interval_text(row), f"{row['coverage']:.0%}", *others]
        lines.append(_md_row(cells))
    if report.missing:
        lines += ["", "## Not measured", "", *(f"- `{name}`: {reason}" for name, reason in report.missing.items())]
    if report.skipped:
        lines += ["", "## Skipped", "", *(f"- {name}: {reason}" for name, reason in report.skipped)]
    if report.by_category:
        names = list(report.metrics)
        lines += ["", "## By category", "", _md_row(["category", *names]), _md_row(["---"] * (len(names) + 1))]
        for category, rows in report.by_category.items():
            lines.append(_md_row([category, *(_value(rows.get(name)) for name in names)]))
    lines += ["", "## Protocol", "", *(f"- {key}: {value}" for key, value in report.protocol.items())]
    return "\n".join(lines) + "\n"


def curves_svg(report: Report) -> str:
    """Every metric that has curves, against the frame, as one inline SVG; empty without any."""
    names = sorted({name for world in report.by_world for name in world.get("curves", {})})
    if not names:
        return ""
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.4 * rows))
    figure.subplots_adjust(0.06, 0.2 / rows, 0.99, 1 - 0.12 / rows, wspace=0.25, hspace=0.6)
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        frames, low, mean, high = _spread([w["curves"][name] for w in report.by_world if name in w["curves"]])
        axes.fill_between(frames, low, high, alpha=0.2, linewidth=0)
        axes.plot(frames, mean)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("frame", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "phys4d", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _spread(curves: list[list[float]]) -> tuple[np.ndarray, ...]:
    """Frames that any curve knows, and the 10 % quantile, mean and 90 % quantile over the curves there."""
    table = np.full((len(curves), max(len(curve) for curve in curves)), np.nan)
    for row, curve in zip(table, curves):
        row[: len(curve)] = [math.nan if value is None else value for value in curve]
    frames = np.flatnonzero(np.isfinite(table).any(axis=0))
    known = table[:, frames]
    low, high = np.nanquantile(known, [0.1, 0.9], axis=0)
    return frames, low, np.nanmean(known, axis=0), high


def _figure(case: Case) -> str:
    scale = max(1, round(CASE_WIDTH / case.frames.shape[2]))
    width, height = case.frames.shape[2] * scale, case.frames.shape[1] * scale
    picture = base64.b64encode(_webp(case)).decode()
    caption = html.escape(case.title)
    return (
        f'<figure><img width="{width}" height="{height}" alt="{caption}" src="data:image/webp;base64,{picture}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _webp(case: Case) -> bytes:
    first, *rest = [Image.fromarray(frame) for frame in case.frames]
    times = np.diff(np.rint(np.arange(len(case.frames) + 1) * 1000 / case.fps)).clip(1, None)
    buffer = io.BytesIO()
    first.save(
        buffer, "WEBP", save_all=True, append_images=rest, loop=0, duration=[int(t) for t in times], quality=80
    )
    return buffer.getvalue()


def _metric_table(report: Report) -> str:
    rows = []
    for name, row in report.metrics.items():
        value = f'{_value(row)} <span class="unit">{html.escape(row["unit"])}</span>'
        others = [_value(entry.get(name)) for entry in report.baselines.values()]
        cells = [f"{html.escape(name)} {MARKS[row['better']]}", value, interval_text(row)]
        rows.append([*cells, f"{row['coverage']:.0%}", *others])
    return _table(["metric", "value", "95 % interval", "coverage", *report.baselines], rows)


def _group_table(report: Report, groups: dict[str, dict[str, dict[str, Any]]]) -> str:
    rows = []
    for group, entries in groups.items():
        cells = []
        for name in report.metrics:
            row = entries.get(name)
            spread = f"<br><small>{interval_text(row)}</small>" if row and "lo" in row else ""
            cells.append(_value(row) + spread)
        rows.append([html.escape(group), *cells])
    return _table(["", *report.metrics], rows)


def _by_scene(report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    scenes: dict[str, dict[str, list[float]]] = {}
    for world in report.by_world:
        for name, value in world["metrics"].items():
            if math.isfinite(value):
                scenes.setdefault(world["scene"], {}).setdefault(name, []).append(value)
    return {
        scene: {name: {"value": float(np.mean(values))} for name, values in metrics.items()}
        for scene, metrics in sorted(scenes.items())
    }


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _md_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _value(row: dict[str, Any] | None) -> str:
    return "–" if row is None or not math.isfinite(row["value"]) else f"{row['value']:.4g}"


def _summary(report: Report) -> str:
    protocol = report.protocol
    size = "×".join(str(n) for n in protocol.get("size") or [])
    return (
        f"{len(report.by_world)} worlds of {protocol.get('scenes')} scenes, {protocol.get('frames')} frames of "
        f"{size} at {protocol.get('fps')} fps; intervals are 95 %, by bootstrap over scenes."
    )

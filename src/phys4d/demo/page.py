"""What the demo leaves behind: `report.html`, `table.txt`, `world.html`, `lifted.html` and `worlds.webp`."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from phys4d.atomic import write_text
from phys4d.evaluation import Report, compare
from phys4d.evaluation.tables import row_text, text_of
from phys4d.pictures import depth_limits, depth_picture
from phys4d.training.state import History
from phys4d.viewers import world_page
from phys4d.viewers.pictures import animation
from phys4d.world import World4D

ROWS = (
    "chamfer_dynamic", "chamfer_background", "scene_flow_epe", "flow_epe_moving", "tapvid3d_aj", "depth_warp_l1",
    "gravity_error", "mask_iou", "psnr", "sharpness_moving",
)  # fmt: skip
"""Metrics of the table, those that were measured."""
STAGE_MEASURES = {
    "pretrain": ("disparity_l1", "abs_rel", "flow_epe", "flow_epe_moving"),
    "finetune": ("depth_warp_l1", "abs_rel", "flow_epe", "flow_epe_moving", "change_iou_end"),
    "reinforce": ("held_out_reward", "mask_iou", "sharpness", "diversity"),
}
CELL = 112
"""Edge of a picture in the animation [px]."""
SHOWN = 7
"""Scenes in the animation."""

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1c1e21; max-width: 72em; margin: 2em auto; padding: 0 1em }
p, li { max-width: 85ch }
table { border-collapse: collapse; margin: .6em 0 1.6em; font-variant-numeric: tabular-nums }
th, td { padding: .3em .7em; border-bottom: 1px solid #ddd; text-align: right; overflow-wrap: anywhere }
th { overflow-wrap: normal }
td small { display: block; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
small { color: #666 } img { max-width: 100%; border-radius: 6px }
@media (prefers-color-scheme: dark) {
  body { background: #101216; color: #e4e6ea } th, td { border-color: #333 }
  small { color: #999 } a { color: #8ab4f8 }
}
@media (max-width: 760px) {
  table, tbody, tr { display: block } th { display: none }
  tr { padding: .5em 0; border-bottom: 1px solid #8884 }
  td { display: flex; justify-content: space-between; border: 0; padding: .05em 0 }
  td::before { content: attr(data-label); color: #888 }
  td:first-child { font-weight: 600 } td:first-child::before { content: none } td small { display: inline }
}
"""


def write(
    out: Path,
    truths: Sequence[World4D],
    made: dict[str, list[World4D]],
    reports: dict[str, Report],
    histories: dict[str, History],
    lifted: World4D,
    *,
    film: bool,
) -> Path:
    """All pages and pictures into `out`; returns `report.html`. film: whether a user's own video was lifted."""
    chosen = _spread(truths)
    animation(side_by_side(truths, made, chosen), out / "worlds.webp", truths[0].fps)
    best = made["final"][chosen[0]]
    best.save(out / "worlds" / "generated")
    write_text(out / "world.html", world_page(best, title=f"generated: {best.meta.get('prompt', '')}"))
    write_text(out / "lifted.html", world_page(lifted, title=f"lifted: {lifted.meta.get('source', 'video')}"))
    stages, judged = stage_table(histories), model_table(reports)
    write_text(out / "table.txt", f"{text_of(stages)}\n\n{text_of(judged)}\n\n{verdicts(reports)}\n")
    print(f"\n{text_of(stages)}\n\n{text_of(judged)}\n\n{verdicts(reports)}\n")
    picture = base64.b64encode((out / "worlds.webp").read_bytes()).decode()
    source = "your video" if film else "a held-out scene, stored as an ordinary mp4"
    count = len({str(w.meta.get("scene_id")) for w in truths})
    links = [
        f'<li><a href="{report_folder(name)}/report.html">the whole report: {name}</a></li>' for name in reports
    ]
    body = f"""<h1>phys4d: the story on the embedded model</h1>
<p>Worlds generated from the first frames of {count} held-out scenes. Rows: the simulator's truth, the base video
model, the control (the same further training without physics), the model after three stages, and the depth that it
sees.</p>
<p><img alt="truth, base, control, final, depth" src="data:image/webp;base64,{picture}"></p>
<h2>What each stage moves</h2>
<p>A few steps from the shipped model before it, on newly simulated scenes; measured on held-out ones.</p>
{_html_of(stages)}
<h2>What the stages gained</h2>
<p>The shipped models, judged on the held-out scenes by one lifter that no reward ever used; beside them two worlds
that need no model, and the truth, seen by the same lifter: its errors are in every column. Square brackets: 95 %
intervals by bootstrap over scenes.</p>
{_html_of(judged)}
<p>{html.escape(verdicts(reports)).replace(chr(10), "<br>")}</p>
<h2>Look</h2>
<ul><li><a href="world.html">a generated world in 4D</a></li>
<li><a href="lifted.html">a lifted video in 4D</a> <small>({source})</small></li>
<li><a href="gallery/index.html">the held-out scenes, every label exact</a></li>
{"".join(links)}</ul>"""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>phys4d demo</title>'
    write_text(
        out / "report.html",
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n',
    )
    return out / "report.html"


def report_folder(column: str) -> str:
    """Of the report of a column of the table."""
    return f"reports/{column.replace(' ', '-')}"


def stage_table(histories: dict[str, History]) -> list[list[str]]:
    """Rows of (stage, measure, before, after, steps)."""
    rows = [["stage", "measure on held-out scenes", "before", "after", "steps"]]
    for stage, history in histories.items():
        for name in STAGE_MEASURES[stage]:
            if name in history[0]:
                before, after = history[0][name], history[-1][name]
                rows.append([stage, name, f"{before:.4g}", f"{after:.4g}", f"{history[-1]['step']:.0f}"])
    return rows


def model_table(reports: dict[str, Report]) -> list[list[str]]:
    """Rows of metrics, columns of models, trivial baselines and the truth, with 95 % intervals."""
    table = [["metric", "better", *reports]]
    for name in ROWS:
        cells = [report.metrics.get(name) for report in reports.values()]
        if not any(cells):
            continue
        row = next(cell for cell in cells if cell)
        label = f"{name} [{row['unit']}]" if row["unit"] else name
        table.append([label, row["better"], *map(row_text, cells)])
    return table


def verdicts(reports: dict[str, Report]) -> str:
    """Where the final model differs from the control beyond the interval of the paired difference."""
    differences = compare(reports["control"], reports["final"]).differences
    lines = []
    for name in ROWS:
        if name in differences:
            found = differences[name]
            beyond = "beyond its interval" if found.beyond else "within its interval"
            lines.append(f"{name}: final against control {found.change.value:+.3g}, {beyond}")
    return "\n".join(lines)


def side_by_side(
    truths: Sequence[World4D], made: dict[str, list[World4D]], chosen: Sequence[int]
) -> UInt8[np.ndarray, "T h w 3"]:
    """Columns of scenes; rows: truth, every model's RGB, the final model's depth. The last frame is held."""
    columns = []
    for index in chosen:
        rows = [truths[index].rgb, *(worlds[index].rgb for worlds in made.values())]
        pictures = [_resized(frames) for frames in rows if frames is not None]
        depth = made["final"][index].depth
        if depth is not None:
            pictures.append(_resized(depth_picture(depth, depth_limits(depth))))
        columns.append(np.concatenate(pictures, axis=1))
    wall = np.concatenate(columns, axis=2)
    return np.concatenate([wall, np.repeat(wall[-1:], 6, axis=0)])


def _html_of(table: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table[0])
    rows = "".join(f"<tr>{''.join(map(_html_cell, table[0], row))}</tr>" for row in table[1:])
    return f"<table><tr>{head}</tr>{rows}</table>"


def _html_cell(label: str, cell: str) -> str:
    """A cell that knows its heading, for narrow windows; an interval stands below its value."""
    value, bracket, interval = cell.partition(" [")
    below = (
        f"<small>[{html.escape(interval)}</small>" if bracket and interval[-1] == "]" and "," in interval else ""
    )
    shown = html.escape(value if below else cell)
    return f'<td data-label="{html.escape(label)}"><span>{shown}{below}</span></td>'


def _spread(truths: Sequence[World4D]) -> list[int]:
    """One world of each of up to SHOWN scenes, those that move first."""
    seen: dict[str, int] = {}
    for index, world in enumerate(truths):
        name = str(world.meta.get("scene"))
        if name != "stable_blocks":
            seen.setdefault(name, index)
    indices = list(seen.values()) or [0]
    return indices[: SHOWN - 1] + indices[-1:] if len(indices) > SHOWN else indices


def _resized(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T h w 3"]:
    size = (CELL, CELL)
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in frames])

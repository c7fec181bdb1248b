"""Error against time, drawn: one panel a metric, one line a rung."""

from __future__ import annotations

import math
from pathlib import Path

from phys4d.atomic import new_file
from phys4d.evaluation.evaluate import METRICS
from phys4d.ladder.results import COMMON, Results

COLUMNS = 3
PANEL = (4.2, 2.9)
"""Width and height of a panel [inches]."""
RIVALS = {"static": ":", "last_frame": "-.", "constant_velocity": "--", "truth": "-"}
"""How lines of what needs no model are drawn, all of them grey."""


def draw(results: Results, path: Path, *, dpi: int = 110) -> Path:
    """The curves of the common judging as a picture, of the format that the path's name says.

    Bands: 95 % intervals over scenes of the final rung and of the base.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = results.judgings[COMMON].curves
    metrics = list(dict.fromkeys(name for some in curves.values() for name in some))
    rows = max(math.ceil(len(metrics) / COLUMNS), 1)
    figure = Figure(figsize=(COLUMNS * PANEL[0], rows * PANEL[1] + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axis, metric in zip(axes, metrics):
        for number, rung in enumerate(name for name in curves if name in results.rungs):
            colour = "black" if rung == results.final else f"C{number}"
            _line(axis, curves[rung].get(metric), rung, colour, "-", band=rung in ("base", results.final))
        for rival, style in RIVALS.items():
            label = rival.replace("_", " ")
            _line(axis, curves.get(rival, {}).get(metric), label, "0.55", style, band=False)
        row = METRICS[metric]
        lost = {"psnr": "RMSE, range of 1"}.get(metric, f"1 − {metric}" if row.better == "higher" else metric)
        unit = f" [{row.unit}]" if row.unit and row.better == "lower" else ""
        axis.set_title(f"{lost}{unit}", fontsize=10, loc="left")
        axis.set_xlabel("frame", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
    for axis in axes[len(metrics) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=8)
    with new_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format=path.suffix.removeprefix("."))
    return path


def _line(axis, curve: dict[str, list[float]] | None, label: str, colour: str, style: str, *, band: bool) -> None:
    if curve is None:
        return
    frames = range(len(curve["mean"]))
    thick = 2.2 if colour == "black" else 1.3
    axis.plot(frames, curve["mean"], style, color=colour, linewidth=thick, label=label)
    if band:
        axis.fill_between(frames, curve["lo"], curve["hi"], color=colour, alpha=0.12, linewidth=0)

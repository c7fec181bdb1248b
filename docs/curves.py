"""Draws the learning curves of the models that ship into docs/curves.webp, and prints where they ended.

The curves are what the runs logged (docs/runs, kept by tools/ship.py): thin, a training loss; dots, a measure on
held-out scenes.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

DOCS = Path(__file__).resolve().parent
PANELS = (
    ("base, last leg", {"nano-base": ("diffusion", "psnr")}),
    ("base, last leg", {"nano-base": ("diffusion", "change_iou_end")}),
    ("stage 1", {"nano-pretrain": ("depth", "disparity_l1")}),
    ("stage 1", {"nano-pretrain": ("motion", "flow_epe_moving")}),
    ("stage 2, and the lifter", {"nano-finetune": ("depth", "abs_rel"), "nano-lifter": ("depth", "abs_rel")}),
    (
        "stage 2, and the lifter",
        {"nano-finetune": ("motion", "flow_epe_moving"), "nano-lifter": ("motion", "flow_epe_moving")},
    ),
    ("stage 2, and the control", {"nano-finetune": ("", "psnr"), "nano-control": ("", "psnr")}),
    ("stage 3", {"nano": ("reward", "held_out_reward"), "nano-permuted": ("reward", "held_out_reward")}),
    ("stage 3, not rewarded", {"nano": ("", "mask_iou"), "nano-permuted": ("", "mask_iou")}),
)
"""(title, model -> (training curve, held-out measure))."""
SMOOTH = 5
"""Logged steps of which the mean is drawn."""


def main() -> None:
    figure, axes = plt.subplots(3, 3, figsize=(12, 8.5), layout="constrained")
    for axis, (title, curves) in zip(axes.flat, PANELS, strict=True):
        panel(axis, title, curves)
    figure.savefig(DOCS / "curves.webp", dpi=80)
    for model in sorted({model for _, curves in PANELS for model in curves}):
        first, *_, last = logged(model, "validation")
        measures = ", ".join(f"{k} {first[k]:.4g} -> {last[k]:.4g}" for k in last if k not in ("step", "kind"))
        print(f"{model:14} {last['step']:5} steps: {measures}")


def panel(axis: Axes, title: str, curves: dict[str, tuple[str, str]]) -> None:
    """One measure of one or two runs, and the loss that leads to it on a scale of its own."""
    thin = axis.twinx() if any(loss for loss, _ in curves.values()) else None
    for number, (model, (loss, measure)) in enumerate(curves.items()):
        colour = f"C{number}"
        rows = logged(model, "validation")
        axis.plot([r["step"] for r in rows], [r[measure] for r in rows], "o-", color=colour, label=model, zorder=3)
        if thin is not None and loss:
            rows = [row for row in logged(model, "train") if loss in row]
            values = np.convolve([row[loss] for row in rows], np.ones(SMOOTH) / SMOOTH, "valid")
            steps = [row["step"] for row in rows][SMOOTH - 1 :]
            thin.plot(steps, values, color=colour, linewidth=0.7, alpha=0.6)
            thin.set_ylabel(f"{loss} (training)", fontsize=8, color="0.4")
            thin.tick_params(labelsize=7, colors="0.4")
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_ylabel(" / ".join(dict.fromkeys(measure for _, measure in curves.values())), fontsize=9)
    axis.set_xlabel("step", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)
    if len(curves) > 1:
        axis.legend(fontsize=7)


def logged(model: str, kind: str) -> list[dict[str, float]]:
    """The rows of a run's log of one kind."""
    lines = (DOCS / "runs" / f"{model}.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


if __name__ == "__main__":
    main()

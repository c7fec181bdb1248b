"""Errors of lifted recordings beside trivial predictors.

    python benchmarks/lift.py [RECORDING] [--model nano]

RECORDING: a folder of RGB-D frames that `phys4d.read_rgbd` reads (its intrinsics in `intrinsics.txt`, or given by
--intrinsics); default, the kitchen sequence below $PHYS4D_REAL or ../shared/real. Without one it stops.
Depth is judged after one scale and shift of disparity per video, for the predictors as well.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from phys4d import World4D, WorldModel, read_rgbd
from phys4d.evaluation import evaluate

KITCHEN_INTRINSICS = (292.5, 292.5, 160.0, 120.0)
METRICS = ("abs_rel", "delta1", "flow_epe")


def rows_of(world: World4D) -> np.ndarray:
    """A depth that falls with the picture's rows, the best guess about a floor: disparity grows to the bottom."""
    assert world.rgb is not None
    frames, height, width, _ = world.rgb.shape
    disparity = np.linspace(0.1, 1.0, height, dtype=np.float32)
    return np.broadcast_to(1 / disparity[None, :, None], (frames, height, width)).astype(np.float32)


def main() -> None:
    home = Path(os.environ.get("PHYS4D_REAL", Path(__file__).resolve().parents[2] / "shared" / "real"))
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", nargs="?", type=Path, default=home / "kitchen_rgbd")
    parser.add_argument("--intrinsics", nargs=4, type=float, default=None)
    parser.add_argument("--model", default="nano")
    chosen = parser.parse_args()
    if not chosen.recording.is_dir():
        print("no recording here: give a folder of RGB-D frames, or set PHYS4D_REAL")
        return
    intrinsics = chosen.intrinsics or (
        None if (chosen.recording / "intrinsics.txt").exists() else KITCHEN_INTRINSICS
    )
    model = WorldModel.from_pretrained(chosen.model)
    truth = read_rgbd(chosen.recording, intrinsics=intrinsics, fps=model.backbone.fps, size=model.backbone.size)
    lifted = model.lift(truth)
    still = np.zeros((truth.frames - 1, *truth.size, 2), np.float32)
    flat = np.ones((truth.frames, *truth.size), np.float32)
    worlds = {
        f"{chosen.model}, lifted": lifted,
        "depth by rows, no motion": World4D(depth=rows_of(truth), flow=still, fps=truth.fps),
        "flat depth, no motion": World4D(depth=flat, flow=still, fps=truth.fps),
    }
    print(f"{chosen.recording.name}: {truth.frames} frames at {truth.size[0]}x{truth.size[1]}")
    print(f"{'':26}" + "".join(f"{name:>12}" for name in METRICS))
    for name, world in worlds.items():
        report = evaluate(world, truth, baselines=False, metrics=METRICS, alignment="scale+shift")
        values = (report.metrics.get(metric, {}).get("value", float("nan")) for metric in METRICS)
        print(f"{name:26}" + "".join(f"{value:12.3f}" for value in values))


if __name__ == "__main__":
    main()

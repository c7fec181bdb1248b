"""Does stage 3 gain anything that its controls do not? Several seeds of every arm, on few frames of few pixels.

    python benchmarks/long/proof.py [--out RUNS] [--seeds 3] [--clips 1200] [--steps 60]

Everything is made here, by the recipe `proof`: clips, a base, stages 1 and 2; then for every seed stage 3, the
same run with its rewards permuted within each group, and stage 2 continued for the same time. All are measured on
held-out scenes: the reward (through frozen stage 2), and what no reward looks at. What is finished in RUNS is
read. Square brackets: 95 % intervals by bootstrap over scenes of the mean over seeds; after them single seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from phys4d import WorldModel, open_dataset
from phys4d.evaluation.bootstrap import interval, paired_interval
from phys4d.evaluation.tables import text_of
from phys4d.recipes import recipes
from phys4d.rewards import prepare_scene, reward_of
from phys4d.sim.dataset import simulate_dataset
from phys4d.training.config import override
from phys4d.training.guards import Guarded
from phys4d.training.run import train

RECIPE = recipes["proof"]()
MEASURES = ("held_out_reward", "mask_iou", "sharpness", "diversity")
TAKES = 4
"""Of which the reward picks one: what a policy could gain without any learning."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the runs; default, one that is removed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--held-out", type=int, default=96)
    parser.add_argument("--steps", type=int, default=RECIPE.reinforce.steps, help="of stage 3")
    chosen = parser.parse_args()
    with _folder(chosen.out) as runs:
        start = prepared(runs, chosen.clips, chosen.held_out)
        arms = {"stage 2": [start], "best of 4": [start], "stage 3": [], "permuted": [], "stage 2 continued": []}
        for seed in range(chosen.seeds):
            seconds = 0.0
            for name, permute in (("stage 3", "false"), ("permuted", "true")):
                changes = [f"seed={seed}", f"steps={chosen.steps}", f"permute={permute}"]
                place, took = run("reinforce", start, runs, f"{name.replace(' ', '-')}-{seed}", *changes)
                seconds = max(seconds, took)
                arms[name].append(place)
            pace = json.loads((start.parent / "pace.json").read_text())["seconds"] / RECIPE.finetune.steps
            changes = [f"seed={seed + 1}", f"steps={max(round(seconds / pace), 1)}", "lr=5e-4"]
            arms["stage 2 continued"].append(run("finetune", start, runs, f"continued-{seed}", *changes)[0])
        report(measured(arms, runs), chosen)


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        yield out
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def prepared(runs: Path, clips: int, held_out: int) -> Path:
    """Clips, a base, and stages 1 and 2; the model of stage 2."""
    options: dict[str, Any] = {"camera": "static", "size": (32, 32), "frames": 9, "progress": False}
    simulate_dataset(runs / "STILL", list(RECIPE.scenes), clips=clips, seed=1000, **options)
    simulate_dataset(runs / "HELD", list(RECIPE.scenes), clips=held_out, seed=900_000, **options)
    place: Path | None = None
    for stage in ("base", "pretrain", "finetune"):
        place, _ = run(stage, place, runs, stage)
    assert place is not None
    return place


def run(stage: str, start: Path | None, runs: Path, name: str, *changes: str) -> tuple[Path, float]:
    """A run from a model, or from the recipe's own start; its model, and the seconds that it took."""
    config = override(RECIPE.settings(stage), changes)
    model = RECIPE.model(stage, None if start is None else str(start))
    began, there = time.perf_counter(), (runs / name / "final").exists()
    train(stage, config, model, [runs / "STILL"], runs / name, held_out=[runs / "HELD"], resume=True)
    pace = runs / name / "pace.json"
    if not there:
        pace.write_text(json.dumps({"seconds": time.perf_counter() - began}))
    return runs / name / "final", json.loads(pace.read_text())["seconds"]


def measured(arms: dict[str, list[Path]], runs: Path) -> dict[str, dict[str, np.ndarray]]:
    """arm -> measure -> (seeds, scenes)."""
    lifter = WorldModel.from_pretrained(arms["stage 2"][0])

    def lift(rgb: np.ndarray, fps: float = 12.0) -> list[Any]:
        return lifter.read_worlds(list(rgb), [""] * len(rgb), fps, [{} for _ in rgb])

    scenes = [prepare_scene(world, lift) for world in open_dataset(runs / "HELD")]
    guards = Guarded(scenes, lift, reward_of(RECIPE.reinforce.reward), RECIPE.reinforce.sampling_steps)
    found = {}
    for name, places in tqdm(arms.items(), desc="measuring", unit="arm"):
        best_of = TAKES if name.startswith("best") else 1
        rows = [guards.by_scene(WorldModel.from_pretrained(place), best_of=best_of) for place in places]
        found[name] = {measure: np.array([row[measure] for row in rows]) for measure in MEASURES}
    return found


def report(found: dict[str, dict[str, np.ndarray]], chosen: argparse.Namespace) -> None:
    scenes = [str(i) for i in range(found["stage 2"][MEASURES[0]].shape[1])]
    print(
        f"{len(scenes)} held-out scenes that can be rewarded, {chosen.seeds} seeds, {chosen.steps} batches each\n"
    )
    rows = [["", *found]]
    for measure in MEASURES:
        values = [interval(arm[measure].mean(0), scenes) for arm in found.values()]
        rows.append([measure, *(f"{v.value:.3f} [{v.lo:.3f}, {v.hi:.3f}]" for v in values)])
    print(text_of(rows))
    print()
    for other in ("stage 2", "permuted", "stage 2 continued"):
        told = []
        for measure in MEASURES:
            first, second = found["stage 3"][measure], found[other][measure]
            each = np.nanmean(first, axis=1) - np.nanmean(second, axis=1)
            gain = paired_interval(second.mean(0), first.mean(0), scenes)
            seeds = ", ".join(f"{value:+.4f}" for value in each)
            told.append(f"{measure} {gain.value:+.4f} [{gain.lo:+.4f}, {gain.hi:+.4f}] ({seeds})")
        print(f"stage 3 against {other}:\n  " + "\n  ".join(told))


if __name__ == "__main__":
    main()

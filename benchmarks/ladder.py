"""What each stage gained in its whole length: the shipped models on scenes that nothing was trained on.

    python benchmarks/ladder.py [--clips 112] [--pretrain MODEL] [--finetune MODEL] [--final MODEL]

Lifting: errors of depth and motion read off held-out films by each stage's own heads, against the simulator;
beside them stage 1's teachers, and a predictor that does not look. Generating: stage 3's reward, through frozen
stage 2, beside what no reward looks at; the control (--permuted) is the same run with rewards permuted within each
group. Square brackets: 95 % intervals by bootstrap over scenes, of the paired difference where two are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from held_out import KNOWN, held_out
from lift import rows_of

from phys4d import World4D, WorldModel, open_dataset
from phys4d.errors import InputError
from phys4d.evaluation import Report, compare, evaluate
from phys4d.evaluation.bootstrap import Interval, interval, paired_interval
from phys4d.evaluation.tables import ranged, text_of
from phys4d.rewards import Lift, prepare_scene, rewards
from phys4d.teachers.labelling import label_videos
from phys4d.training.guards import Guarded
from phys4d.training.measures import relift

TAKES = 4
"""Of which the reward picks one, to see whether what it likes is better in colours, too."""
METRICS = ("abs_rel", "flow_epe_moving", "scene_flow_epe", "depth_warp_l1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8 * len(KNOWN))
    for rung in ("pretrain", "finetune", "permuted"):
        parser.add_argument(f"--{rung}", default=f"nano-{rung}")
    parser.add_argument("--final", default="nano")
    chosen = parser.parse_args()
    with held_out(chosen.clips) as data, tempfile.TemporaryDirectory() as folder:
        labelled = Path(folder) / "labels"
        label_videos([data], labelled, progress=False)
        worlds, labels = (list(open_dataset(path)) for path in (data, labelled))
    models = {
        name: WorldModel.from_pretrained(getattr(chosen, name)) for name in ("pretrain", "finetune", "final")
    }
    print(f"{len(worlds)} held-out films, lifted\n")
    lifting(worlds, labels, models)
    try:
        models["permuted"] = WorldModel.from_pretrained(chosen.permuted)
    except InputError:
        print("\n(no model was trained with permuted rewards)")
    print("\nGenerated from their first frames, seen by stage 2\n")
    rewarding(worlds, models)


def lifting(worlds: list[World4D], labels: list[World4D], models: dict[str, WorldModel]) -> None:
    """Errors by each stage's own heads."""
    still = np.zeros((worlds[0].frames - 1, *worlds[0].size, 2), np.float32)
    blind = [dataclasses.replace(world, depth=rows_of(world), flow=still) for world in labels]
    seen = {name: relift(model, worlds, captions=True) for name, model in models.items()}
    reports = {
        name: evaluate(found, worlds, baselines=False, metrics=METRICS)
        for name, found in {"rows, no motion": blind, "teachers": labels, **seen}.items()
    }
    rows = [["against the simulator", *reports]]
    for metric in METRICS:
        cells = (report.metrics.get(metric) for report in reports.values())
        rows.append(
            [metric, *("-" if c is None else _range(Interval(c["value"], c["lo"], c["hi"], 0)) for c in cells)]
        )
    agree = {
        name: evaluate(found, labels, baselines=False, metrics=("abs_rel", "flow_epe"))
        for name, found in {"rows, no motion": blind, "pretrain": seen["pretrain"]}.items()
    }
    for metric in ("abs_rel", "flow_epe"):
        told = {
            name: _range(Interval(*(r.metrics[metric][k] for k in ("value", "lo", "hi")), 0))
            for name, r in agree.items()
        }
        rows.append([f"{metric} against the teachers", *(told.get(name, "-") for name in reports)])
    print(text_of(rows))
    print()
    for before, after in (("pretrain", "finetune"), ("finetune", "final")):
        print(f"{after} against {before}: {_changes(reports[before], reports[after])}")


def rewarding(worlds: list[World4D], models: dict[str, WorldModel]) -> None:
    """Stage 3's own measure, and the guards'."""
    judge = models["finetune"]

    def lift(rgb: np.ndarray) -> list[World4D]:
        return judge.read_worlds(list(rgb), [""] * len(rgb), worlds[0].fps, [{} for _ in rgb])

    measured = _measured(worlds, lift, {name: model for name, model in models.items() if name != "pretrain"})
    keys = [str(i) for i in range(len(measured["finetune"]["held_out_reward"]))]
    names = list(measured["finetune"])
    rows = [[f"{len(keys)} scenes that can be rewarded", *measured]]
    for name in names:
        rows.append([name, *(_range(interval(found[name], keys)) for found in measured.values())])
    print(text_of(rows))
    print()
    others = [("finetune", name) for name in measured if name != "finetune"]
    for before, after in (*others, ("permuted", "final")):
        if before in measured and after in measured:
            told = (
                f"{name} {_range(paired_interval(measured[before][name], measured[after][name], keys), sign='+')}"
                for name in names
            )
            print(f"{after} against {before}: {', '.join(told)}")


def _measured(
    worlds: list[World4D], lift: Lift, models: dict[str, WorldModel]
) -> dict[str, dict[str, list[float]]]:
    scenes = [prepare_scene(world, lift) for world in worlds]
    guards = Guarded(scenes, lift, rewards["chamfer"], models["finetune"].backbone.sampling_steps)
    found = {name: guards.by_scene(model) for name, model in models.items()}
    return found | {f"best of {TAKES}": guards.by_scene(models["finetune"], best_of=TAKES)}


def _changes(before: Report, after: Report) -> str:
    found = compare(before, after).differences
    return ", ".join(f"{name} {_range(found[name].change, sign='+')}" for name in METRICS if name in found)


def _range(found: Interval, sign: str = "") -> str:
    return ranged(found.value, found.lo, found.hi, sign)


if __name__ == "__main__":
    main()

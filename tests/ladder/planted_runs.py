"""Reports with planted numbers, and folders that look like runs."""

import json
from pathlib import Path

import numpy as np

from phys4d.evaluation import METRICS, Report
from phys4d.evaluation.pooling import part
from phys4d.model import WorldModel

SCENES = ("ball_drop", "ball_ramp", "flag", "dam_break")
"""Two that the recipe nano knows, and two that it does not."""
CATEGORIES = {"ball_drop": "rigid", "ball_ramp": "rigid", "flag": "cloth", "dam_break": "fluid"}


def planted(offset=0.0, *, seed=0, noise=0.1, clips=4, frames=6, metrics=("chamfer_dynamic", "mask_iou", "psnr")):
    """A report of `clips` worlds of each scene: a scene's own difficulty, `offset`, and noise by `seed`."""
    rng = np.random.default_rng(seed)
    entries = []
    for number, scene in enumerate(SCENES):
        for clip in range(clips):
            value = 1.0 + 0.3 * number + 0.1 * clip + offset + noise * rng.normal()
            curve = [float("nan")] + [value * t / frames for t in range(1, frames)]
            entries.append(
                {
                    "world": f"{scene}-{clip}", "scene": scene, "scene_id": f"{scene}-{clip}",
                    "category": CATEGORIES[scene], "run": 0, "metrics": dict.fromkeys(metrics, value),
                    "coverage": dict.fromkeys(metrics, 1.0), "missing": {}, "baselines": {},
                    "curves": {"chamfer_dynamic": curve, "psnr": [float("nan"), *([20.0] * (frames - 1))]},
                }
            )  # fmt: skip
    assert set(metrics) <= set(METRICS)
    protocol = {
        "seed": 0, "frames": frames, "size": [8, 8], "fps": 12.0, "alignment": "scale", "judged_from": 1,
        "runs": 1, "bootstrap": {}, "versions": {"phys4d": "0"},
    }  # fmt: skip
    return part(Report(protocol, {}, {}, {}, entries, {}), lambda entry: True)


def change_of(group, first, second, metric):
    [found] = [d for d in group.differences if (d["first"], d["second"], d["metric"]) == (first, second, metric)]
    return found


def save_run(folder: Path, *, heads=True, final=True, stage="finetune", seed=1, **settings) -> Path:
    """A folder as `phys4d train` leaves it, with a tiny model whose weights depend on `seed`."""
    import torch

    folder.mkdir(parents=True)
    settings = {"steps": 20, "batch_size": 4, "accumulate": 2, "seed": seed, **settings}
    record = {"stage": stage, "settings": settings, "data": ["TRAIN"], "held_out": ["VAL"], "versions": {}}
    (folder / "run.json").write_text(json.dumps(record))
    rows = [{"step": step, "kind": "train", "loss": 1.0, "clips_per_second": 16.0} for step in (10, 20)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if final:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = WorldModel.tiny("nano")
        if not heads:
            model.heads = None
        model.meta = {"name": f"{stage} ({folder.name})", "run": record}
        model.save_pretrained(folder / "final")
    return folder

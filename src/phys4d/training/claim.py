"""Whose run a folder is: `RUN/run.json` says what was asked for; a run goes on where the same is asked again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from phys4d.atomic import write_text
from phys4d.backbones.storage import read_record
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.storage import CONFIG
from phys4d.training.config import INDIFFERENT, TrainConfig
from phys4d.training.ranks import rank_and_size


def record_of(
    stage: str, config: TrainConfig, model: WorldModel, data: Sequence[str | Path], held_out: Sequence[str | Path]
) -> dict[str, Any]:
    """What a run was asked for, as JSON."""
    return {
        "stage": stage,
        "settings": config.to_dict(),
        "model": model.meta.get("name", model.backbone.name),
        "weights": _fingerprint(model),
        "data": [Path(p).name for p in data],
        "held_out": [Path(p).name for p in held_out],
        "processes": rank_and_size()[1],
        "versions": {name: importlib.metadata.version(name) for name in ("phys4d", "torch", "numpy")},
    }


def _fingerprint(model: WorldModel) -> str:
    """A number that differs for models of other weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def claim(run: Path, record: dict[str, Any], resume: bool) -> bool:
    """Make the run's folder, or check that it is this run's; True where it is finished."""
    path = run / "run.json"
    if not path.exists():
        if not unclaimed(run):
            raise InputError(f"{run}: exists and is no training run; choose another folder")
        write_text(path, json.dumps(record, indent=1) + "\n")
        return False
    if not resume:
        raise InputError(f"{run}: a run is there already; --resume continues it, another --out starts a new one")
    there = read_record(path)
    before, now = _learning(there), _learning(record)
    differ = [key for key in now if before.get(key) != now[key]]
    if differ == ["settings"] and _goes_on(before["settings"], now["settings"]):
        if (run / "final").exists():
            (run / "final").rename(run / f"final-{there['settings']['steps']}")
        write_text(path, json.dumps(record, indent=1) + "\n")
    elif differ == ["settings"] and now["settings"] == before["settings"] | {"clips": now["settings"]["clips"]}:
        share, rest = divmod(before["settings"]["clips"], record["processes"])
        mend = f"accumulate={share} would keep it" if not rest else "their number does not divide it"
        raise InputError(
            f"{run}: was started by {there['processes']} processes, now there are {record['processes']}, and a "
            f"step would see another number of clips; {mend}"
        )
    elif differ:
        raise InputError(
            f"{run}: was started with other {', '.join(differ)}; give the same again, or another --out"
        )
    return (run / "final" / CONFIG).exists()


def _learning(record: dict[str, Any]) -> dict[str, Any]:
    """What of a run's record settles what it learns.

    Of the clips of a step, how many processes share them in how many micro-batches does not matter.
    """
    told = {key: record.get(key) for key in ("stage", "settings", "weights", "data", "held_out")}
    settings = dict(told["settings"] or {})
    settings["clips"] = settings.pop("accumulate", 1) * record.get("processes", 1)
    told["settings"] = {key: value for key, value in settings.items() if key not in INDIFFERENT}
    return told


def _goes_on(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a run only gets more steps, at a rate that does not depend on their number."""
    same = before | {"steps": now["steps"]} == now
    return same and now["schedule"] == "constant" and now["steps"] > before["steps"]


def unclaimed(run: Path) -> bool:
    """Whether a folder is free for a new run."""
    return not run.exists() or (run.is_dir() and not any(run.iterdir()))

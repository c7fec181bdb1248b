"""A training run from beginning to end: data in, `RUN/final` out, continued where it was interrupted.

RUN/run.json          what was asked for: stage, settings, model, data, versions
RUN/checkpoints       see `checkpoint.py`;  RUN/log.jsonl, RUN/tensorboard: numbers
RUN/history.json      validations;  RUN/samples: worlds of held-out scenes, to look at
RUN/best              a model folder, of the best validation by the stage's own measure
RUN/final             a model folder, written last
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from phys4d.atomic import write_text
from phys4d.backbones.storage import read_record
from phys4d.data.shards import WorldDataset, open_dataset
from phys4d.errors import InputError, unknown_name
from phys4d.model import WorldModel
from phys4d.storage import CONFIG
from phys4d.training.base import BaseConfig, BaseStage
from phys4d.training.config import TrainConfig
from phys4d.training.finetune import FinetuneConfig, FinetuneStage
from phys4d.training.loop import History, Stage, autocast, run_stage, seed_step
from phys4d.training.measures import generate_from
from phys4d.training.pretrain import PretrainConfig, PretrainStage, labelled
from phys4d.training.ranks import agreed, rank_and_size, wait_for_all
from phys4d.training.reinforce import ReinforceConfig, ReinforceStage
from phys4d.training.split import check, split
from phys4d.world import World4D

STAGES: dict[str, tuple[Callable[..., Stage], type[TrainConfig]]] = {
    "base": (BaseStage, BaseConfig),
    "pretrain": (PretrainStage, PretrainConfig),
    "finetune": (FinetuneStage, FinetuneConfig),
    "reinforce": (ReinforceStage, ReinforceConfig),
}
"""Stages in the order in which they are run, with their settings."""

Made = TypeVar("Made")

SAMPLES = 4
"""Held-out worlds that are generated at the end, to look at."""


def train(
    stage: str,
    config: TrainConfig,
    model: WorldModel,
    data: Sequence[str | Path],
    out: str | Path,
    *,
    held_out: Sequence[str | Path] = (),
    resume: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = tqdm.write,
) -> History:
    """Run a stage; returns its validations on held-out scenes, step 0 first. The trained model is in `out`/final.

    stage: a key of STAGES, config: of its class. model: what to start from; it is changed. data: data sets, for
    `pretrain` also videos. held_out: data sets that are never trained on; default, some scenes of `data` are kept
    apart. resume: go on from the last checkpoint, from 0 where there is none; a finished run returns at once. At a
    constant rate a run may go on with more `steps` than it was started with; its model becomes `final-STEPS`.
    dry_run: build everything, take the loss of one batch, write nothing but into a folder that is removed again.
    Raises InputError for an existing run without `resume`, a run of something else, too few or unfit data.
    """
    if stage not in STAGES:
        raise InputError(unknown_name("stage", stage, STAGES))
    kind, wanted = STAGES[stage]
    if not isinstance(config, wanted):
        raise InputError(f"{stage} wants a {wanted.__name__}, not a {type(config).__name__}")
    run = Path(out)
    record = _record(stage, config, model, data, held_out)
    first = rank_and_size()[0] == 0
    claimed = not dry_run and first and _unclaimed(run)
    if not dry_run and agreed(first and _claim(run, record, resume)):
        say(f"{run}: finished before; its model is {run / 'final'}")
        return json.loads((run / "history.json").read_text(encoding="utf-8"))
    try:
        with tempfile.TemporaryDirectory() as aside:
            place = Path(aside) if dry_run else run
            sets, validation = _by_turns(lambda: _open(config, data, held_out, place, model))
            worlds, apart = split(sets, validation, config.validation_worlds)
            check(model.backbone, stage, config.fields, worlds, apart)
            held = [apart.read(i, config.fields) for i in range(len(apart))]
            model.backbone.work_at(held[0].size, held[0].frames, held[0].fps)
            torch.manual_seed(config.seed)
            made = kind(model, config, [worlds], held)
            made.batches(0)  # too little data should be said now, not after the first validation
            if dry_run:
                _try_one(made, len(worlds), len(held), say)
                return []
    except InputError:
        if claimed:
            # Nothing was trained: the same folder may be used once the input is mended.
            shutil.rmtree(run, ignore_errors=True)
        raise
    wait_for_all()
    told = {"name": f"{stage} ({run.name})", "stage": stage, "run": record}

    def keep_best() -> None:
        before = model.meta
        model.meta = before | told | {"name": f"{stage} ({run.name}, best)"}
        shutil.rmtree(run / "best", ignore_errors=True)
        model.save_pretrained(run / "best")
        model.meta = before

    history = run_stage(made, run, resume=resume, keep_best=keep_best, say=say)
    model.eval()
    if not first:
        return history
    _show(model, held, run / "samples")
    model.meta |= told
    model.save_pretrained(run / "final")
    say(f"{run / 'final'}: the trained model")
    return history


def _open(
    config: TrainConfig, data: Sequence[str | Path], held_out: Sequence[str | Path], place: Path, model: WorldModel
) -> tuple[list[WorldDataset], list[WorldDataset]]:
    """Data sets to train on and to validate on; for stage 1 with teachers' labels, made in `place`."""
    if not isinstance(config, PretrainConfig):
        return [open_dataset(path) for path in data], [open_dataset(path) for path in held_out]
    return (
        labelled(data, config, place / "labels", model.backbone),
        labelled(held_out, config, place / "labels-held-out", model.backbone),
    )


def _by_turns(make: Callable[[], Made]) -> Made:
    """What `make` returns; the first process makes it alone, and the others find its files."""
    first = rank_and_size()[0] == 0
    if not first:
        wait_for_all()
    made = make()
    if first:
        wait_for_all()
    return made


def _try_one(made: Stage, worlds: int, held: int, say: Callable[[str], None]) -> None:
    seed_step(made.config.seed, 0)
    batch = next(made.batches(0))
    with autocast(made.config.precision, next(made.trained.parameters()).device):
        loss, told = made.loss(batch, 0)
    loss.backward()
    numbers = ", ".join(f"{k} {v:.4g}" for k, v in told.items())
    value = float(loss.detach())
    say(f"{made.name}: {worlds} worlds, {held} held out; the first loss is {value:.4g} ({numbers})")


def _record(
    stage: str, config: TrainConfig, model: WorldModel, data: Sequence[str | Path], held_out: Sequence[str | Path]
) -> dict[str, Any]:
    return {
        "stage": stage,
        "settings": config.to_dict(),
        "model": model.meta.get("name", model.backbone.name),
        "weights": _fingerprint(model),
        "data": [Path(p).name for p in data],
        "held_out": [Path(p).name for p in held_out],
        "versions": {name: importlib.metadata.version(name) for name in ("phys4d", "torch", "numpy")},
    }


def _fingerprint(model: WorldModel) -> str:
    """A number that differs for models of other weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _claim(run: Path, record: dict[str, Any], resume: bool) -> bool:
    """Make the run's folder, or check that it is this run's; True where it is finished."""
    path = run / "run.json"
    if not path.exists():
        if not _unclaimed(run):
            raise InputError(f"{run}: exists and is no training run; choose another folder")
        write_text(path, json.dumps(record, indent=1) + "\n")
        return False
    if not resume:
        raise InputError(f"{run}: a run is there already; --resume continues it, another --out starts a new one")
    there = read_record(path)
    differ = [key for key in ("stage", "settings", "weights", "data", "held_out") if there.get(key) != record[key]]
    if differ == ["settings"] and _goes_on(there["settings"], record["settings"]):
        if (run / "final").exists():
            (run / "final").rename(run / f"final-{there['settings']['steps']}")
        write_text(path, json.dumps(record, indent=1) + "\n")
    elif differ:
        raise InputError(
            f"{run}: was started with other {', '.join(differ)}; give the same again, or another --out"
        )
    return (run / "final" / CONFIG).exists()


def _goes_on(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a run only gets more steps, at a rate that does not depend on their number."""
    same = before | {"steps": now["steps"]} == now
    return same and now["schedule"] == "constant" and now["steps"] > before["steps"]


def _unclaimed(run: Path) -> bool:
    return not run.exists() or (run.is_dir() and not any(run.iterdir()))


def _show(model: WorldModel, worlds: Sequence[World4D], folder: Path) -> None:
    for world in generate_from(model, worlds[:SAMPLES]) if worlds else ():
        world.save(folder / str(world.meta.get("scene_id", "world")).replace("/", "-"))

"""A training run from beginning to end: data in, `RUN/final` out, continued where it was interrupted.

RUN/run.json          what was asked for: stage, settings, model, data, versions
RUN/checkpoints       see `checkpoint.py`;  RUN/log.jsonl, RUN/tensorboard: numbers
RUN/history.json      validations;  RUN/samples: worlds of held-out scenes, to look at
RUN/best              a model folder, of the best validation by the stage's own measure
RUN/final             a model folder, written last
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

from phys4d.data.shards import WorldDataset, open_dataset
from phys4d.errors import InputError, unknown_name
from phys4d.model import WorldModel
from phys4d.training.base import BaseConfig, BaseStage
from phys4d.training.claim import claim, record_of, unclaimed
from phys4d.training.config import TrainConfig
from phys4d.training.finetune import FinetuneConfig, FinetuneStage
from phys4d.training.loop import Stage, autocast, run_stage, seed_step
from phys4d.training.measures import generate_from
from phys4d.training.placement import sharded, whole
from phys4d.training.pretrain import PretrainConfig, PretrainStage, labelled
from phys4d.training.ranks import agreed, rank_and_size, wait_for_all
from phys4d.training.reinforce import ReinforceConfig, ReinforceStage
from phys4d.training.split import check, split
from phys4d.training.state import History
from phys4d.training.trackers import check_tracker
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
    check_tracker(config.tracker)
    run = Path(out)
    record = record_of(stage, config, model, data, held_out)
    first = rank_and_size()[0] == 0
    say = say if first else _keep_quiet
    claimed = not dry_run and first and unclaimed(run)
    if not dry_run and agreed(first and claim(run, record, resume)):
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
        _save(model, run / "best")
        model.meta = before

    history = run_stage(made, run, resume=resume, keep_best=keep_best, say=say)
    model.eval()
    if first or sharded(config):
        samples = generate_from(model, held[:SAMPLES]) if held else []
        if first:
            _show(samples, run / "samples")
    model.meta |= told
    _save(model, run / "final")
    say(f"{run / 'final'}: the trained model")
    return history


def _keep_quiet(_: str) -> None:
    """What the first process says the others need not say again."""


def _save(model: WorldModel, folder: Path) -> None:
    """Write the model, put together from all processes where it is sharded."""
    made = whole(model)
    if made is not None:
        made.save_pretrained(folder)


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


def _show(worlds: Sequence[World4D], folder: Path) -> None:
    for world in worlds:
        world.save(folder / str(world.meta.get("scene_id", "world")).replace("/", "-"))

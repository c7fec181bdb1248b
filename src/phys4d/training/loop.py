"""The training loop that every stage shares. A stage says what a batch is and what its loss is; nothing more.

Everything random in step n is seeded by (seed, n) alone, so a run that is continued from a checkpoint computes
what it would have computed without the interruption.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from phys4d.atomic import write_text
from phys4d.errors import WorkError
from phys4d.training.checkpoint import latest_checkpoint
from phys4d.training.config import TrainConfig
from phys4d.training.ending import EndedError, asked_to_end
from phys4d.training.log import BAD_STEPS, RunLog
from phys4d.training.optimizer import clip_gradients, optimizer_of, parts_of, rate_at
from phys4d.training.placement import sharded
from phys4d.training.ranks import agreed, any_of, average_gradients, from_all, rank_and_size
from phys4d.training.state import History, RunState


class Stage(Protocol):
    """What is particular to a stage."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> TrainConfig: ...

    @property
    def trained(self) -> nn.Module:
        """Its parameters that require gradients are what is optimized, averaged and checkpointed."""
        ...

    @property
    def stride(self) -> int:
        """Checkpoints fall on multiples of this many steps."""
        ...

    @property
    def best(self) -> tuple[str, str]:
        """The measure of `validate` that tells the better model, and whether "lower" or "higher" is better."""
        ...

    def batches(self, start: int) -> Iterator[Any]:
        """Batches from step `start` on, without end."""
        ...

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a (micro-)batch, and numbers to log."""
        ...

    def validate(self) -> dict[str, float]:
        """The stage's measures on held-out worlds, with the averaged weights in place."""
        ...

    def stop_reason(self, history: History) -> str | None:
        """Why the run should end now, given the validations so far; None to go on."""
        ...


def run_stage(
    stage: Stage,
    run: Path,
    *,
    resume: bool = False,
    keep_best: Callable[[], object] = lambda: None,
    say: Callable[[str], None] = tqdm.write,
) -> History:
    """Train a stage to its last step; returns its validations, step 0 first.

    Writes `RUN/checkpoints`, `RUN/log.jsonl` and TensorBoard events. The averaged weights are in the stage's model
    afterwards. keep_best: called when a validation was the best so far, with the averaged weights in place. A step
    without a finite loss and gradient is skipped; raises WorkError after `max_bad_steps` such steps in a row, and
    EndedError, with everything saved, where the process is asked to end (SIGTERM).

    Of several processes the first validates and logs; where models are sharded all of them validate and
    call `keep_best`, as none could do so alone.
    """
    config = stage.config
    rank, ranks = rank_and_size()
    first = rank == 0
    parameters = {n: p for n, p in stage.trained.named_parameters() if p.requires_grad}
    parts = parts_of(parameters)
    optimizer = optimizer_of(parts, config)
    average = {n: p.detach().clone() for n, p in parameters.items()} if config.ema else None
    state, start = RunState(parameters, optimizer, average), 0
    found = latest_checkpoint(run) if resume else None
    if found is not None:
        state.restore(found)
        start = found.step
        say(f"{run}: continuing from step {start} of {config.steps}")
    log = RunLog(run, start, tracker=config.tracker, settings=config.to_dict()) if first else None
    validates = first or sharded(config)
    if start == 0 and validates:
        _validate(stage, state, 0, log, keep_best, say)
    # A run that was stopped, but not finished, is not trained beyond where it stopped.
    reason = stage.stop_reason(state.history) if start and first else None
    stop = agreed(reason is not None)
    stride = math.ceil(config.checkpoint_every / stage.stride) * stage.stride
    batches = stage.batches(start)
    steps = range(start, config.steps)
    progress = tqdm(steps, initial=start, total=config.steps, unit="step", desc=stage.name, disable=not first)
    with asked_to_end() as asked:
        for step in progress:
            if stop:
                say(f"{stage.name}: stopped at step {step}: {reason}")
                break
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = config.lr * group["share"] * rate_at(step, config)
            optimizer.zero_grad(set_to_none=True)
            numbers, trouble, clips_read = _gradients(stage, batches, step)
            numbers = average_gradients(parameters.values(), numbers)
            # Each part by itself, or the heads' gradients would settle how far the backbone goes.
            norms = {name: clip_gradients(part, config.grad_clip) for name, part in parts.items()}
            norm = math.hypot(*norms.values())
            if not trouble and math.isfinite(norm) and math.isfinite(numbers["loss"]):
                optimizer.step()
                state.bad = 0
            else:
                state.bad += 1
                trouble = trouble or "its loss or gradient is not finite"
                clips_read = [key for keys in from_all(clips_read) for key in keys]
                say(f"{stage.name}: step {step} skipped, {trouble} ({state.bad} in a row)")
                if log is not None:
                    log.bad_step(step, trouble, clips_read)
                if state.bad >= config.max_bad_steps:
                    raise WorkError(
                        f"{stage.name}: {state.bad} bad steps in a row, stopped at step {step}: {trouble}. "
                        f"Lower the learning rate, or look at the clips that {run / BAD_STEPS} names with "
                        "`phys4d verify`"
                    )
            state.update_average(step, config.ema)
            done = step + 1
            clips = ranks * config.batch_size * config.accumulate / (time.perf_counter() - began)
            numbers |= {f"grad_norm_{name}": value for name, value in norms.items()}
            numbers |= {"lr": config.lr * rate_at(step, config), "clips_per_second": clips}
            if done % config.log_every == 0 or done == config.steps:
                progress.set_postfix(loss=f"{numbers['loss']:.4f}", clips_s=f"{clips:.1f}")
                if log is not None:
                    log.write(done, numbers, "train")
            if done % config.validate_every == 0 or done == config.steps:
                if validates:
                    _validate(stage, state, done, log, keep_best, say)
                    reason = stage.stop_reason(state.history) if done < config.steps else None
                stop = agreed(reason is not None)
            # Batches that serve several steps cannot be taken up in their midst.
            ended = any_of(asked()) and done % stage.stride == 0 and done < config.steps
            if done % stride == 0 or done == config.steps or stop or ended:
                # Numbers of the first process, which may be the only one to have validated.
                state.history = from_all(state.history)[0]
                state.save(run, done, keep=config.keep)
            if ended:
                raise EndedError(f"{stage.name}: asked to end, saved at step {done}; --resume continues it")
    progress.close()
    if average is not None:
        state.fill(average)
    if log is not None:
        log.close()
        write_text(run / "history.json", json.dumps(state.history, indent=1) + "\n")
    return state.history


def _gradients(stage: Stage, batches: Iterator[Any], step: int) -> tuple[dict[str, float], str, list[str]]:
    """Gradients of the mean loss of the step's micro-batches.

    Returns numbers to log, what went wrong in any process, if anything, and the keys of the clips that this one
    read.
    """
    config = stage.config
    numbers: dict[str, float] = {}
    keys: list[str] = []
    rank, ranks = rank_and_size()
    device = next(stage.trained.parameters()).device
    for micro in range(config.accumulate):
        seed_step(config.seed, step, micro * ranks + rank)
        batch = next(batches)
        keys += _keys(batch)
        loss, told, trouble = None, {}, ""
        try:
            with autocast(config.precision, device):
                loss, told = stage.loss(batch, step)
        except (WorkError, torch.linalg.LinAlgError) as error:  # pyright: ignore[reportPrivateImportUsage]
            # Such as a mask that is empty, because no clip has such pixels or a prediction is not finite.
            trouble = str(error)
        # No process may go on into a backward pass in which the others do not take part.
        trouble = next(filter(None, from_all(trouble)), "")
        if trouble or loss is None:
            for _ in range(micro + 1, config.accumulate):
                next(batches)
            return {"loss": math.nan}, trouble, keys
        (loss / config.accumulate).backward()
        for key, value in {"loss": float(loss.detach()), **told}.items():
            numbers[key] = numbers.get(key, 0.0) + value / config.accumulate
    return numbers, "", keys


def _keys(batch: Any) -> list[str]:
    """Keys of the clips of a batch, wherever it keeps them."""
    parts = batch if isinstance(batch, tuple) else (batch,)
    return [str(key) for part in parts if isinstance(part, dict) for key in part.get("key", ())]


def seed_step(seed: int, step: int, micro: int = 0) -> None:
    """Seed torch for one (micro-)step, so that continuing needs no saved random state."""
    torch.manual_seed(int(np.random.default_rng([seed, step, micro]).integers(2**62)))


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """bf16 autocast over fp32 master weights, where asked for or worth it."""
    if precision == "auto":
        fast = device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        precision = "bfloat16" if fast else "float32"
    enabled = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _improved(history: History, measure: str, better: str) -> bool:
    """Whether the last validation after step 0 is the best of them."""
    sign = 1 if better == "higher" else -1
    values = [sign * row.get(measure, math.nan) for row in history if row["step"]]
    return math.isfinite(values[-1]) and all(not value >= values[-1] for value in values[:-1])


def _validate(
    stage: Stage,
    state: RunState,
    step: int,
    log: RunLog | None,
    keep_best: Callable[[], object],
    say: Callable[[str], None],
) -> None:
    was = stage.trained.training
    stage.trained.eval()
    # Validation draws the same noise every time: what differs between two of them is the model.
    seed_step(stage.config.seed, 2**31)
    with state.averaged(), torch.no_grad():
        measures = stage.validate()
        state.history.append({"step": float(step), **measures})
        if step and _improved(state.history, *stage.best):
            keep_best()
    stage.trained.train(was)
    if log is not None:
        log.write(step, measures, "validation")
    say(f"{stage.name}: step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in measures.items()))

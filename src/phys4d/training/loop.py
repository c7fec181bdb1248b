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
from phys4d.training.checkpoint import load_checkpoint, save_checkpoint
from phys4d.training.config import TrainConfig
from phys4d.training.ending import EndedError, asked_to_end
from phys4d.training.log import BAD_STEPS, RunLog
from phys4d.training.optimizer import optimizer_of, parts_of, rate_at
from phys4d.training.ranks import agreed, any_of, average_gradients, rank_and_size

History = list[dict[str, float]]


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
    """
    config = stage.config
    rank, ranks = rank_and_size()
    first = rank == 0
    parameters = {n: p for n, p in stage.trained.named_parameters() if p.requires_grad}
    parts = parts_of(parameters)
    optimizer = optimizer_of(parts, config)
    average = {n: p.detach().clone() for n, p in parameters.items()} if config.ema else None
    start, bad, history = 0, 0, []
    found = load_checkpoint(run) if resume else None
    if found is not None:
        start, state = found
        _fill(parameters, state["weights"])
        if average is not None:
            average = {n: state["average"][n].to(p.device) for n, p in parameters.items()}
        optimizer.load_state_dict(state["optimizer"])
        bad, history = state["bad"], state["history"]
        say(f"{run}: continuing from step {start} of {config.steps}")
    log = RunLog(run, start) if first else None
    if start == 0 and log is not None:
        _validate(stage, parameters, average, 0, history, log, keep_best, say)
    # A run that was stopped, but not finished, is not trained beyond where it stopped.
    reason = stage.stop_reason(history) if start and first else None
    stop = agreed(reason is not None)
    stride = math.ceil(config.checkpoint_every / stage.stride) * stage.stride
    batches = stage.batches(start)
    steps = range(start, config.steps)
    progress = tqdm(steps, initial=start, total=config.steps, unit="step", desc=stage.name, disable=not first)
    with asked_to_end() as asked:
        for step in progress:
            if stop:
                if first:
                    say(f"{stage.name}: stopped at step {step}: {reason}")
                break
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = config.lr * group["share"] * rate_at(step, config)
            optimizer.zero_grad(set_to_none=True)
            numbers, trouble, clips_read = _gradients(stage, batches, step)
            numbers["loss"] = average_gradients(parameters.values(), numbers["loss"])
            # Each part by itself, or the heads' gradients would settle how far the backbone goes.
            norms = {name: float(nn.utils.clip_grad_norm_(part, config.grad_clip)) for name, part in parts.items()}
            norm = math.hypot(*norms.values())
            if not trouble and math.isfinite(norm) and math.isfinite(numbers["loss"]):
                optimizer.step()
                bad = 0
            else:
                bad += 1
                trouble = trouble or "its loss or gradient is not finite"
                say(f"{stage.name}: step {step} skipped, {trouble} ({bad} in a row)")
                if log is not None:
                    log.bad_step(step, trouble, clips_read)
                if bad >= config.max_bad_steps:
                    raise WorkError(
                        f"{stage.name}: {bad} bad steps in a row, stopped at step {step}: {trouble}. Lower the "
                        f"learning rate, or look at the clips that {run / BAD_STEPS} names with `phys4d verify`"
                    )
            if average is not None:
                # Young runs would otherwise drag their random start along.
                decay = min(config.ema, (1 + step) / (10 + step))
                with torch.no_grad():
                    for name, parameter in parameters.items():
                        average[name].lerp_(parameter, 1 - decay)
            done = step + 1
            clips = ranks * config.batch_size * config.accumulate / (time.perf_counter() - began)
            numbers |= {f"grad_norm_{name}": value for name, value in norms.items()}
            numbers |= {"lr": config.lr * rate_at(step, config), "clips_per_second": clips}
            if done % config.log_every == 0 or done == config.steps:
                progress.set_postfix(loss=f"{numbers['loss']:.4f}", clips_s=f"{clips:.1f}")
                if log is not None:
                    log.write(done, numbers, "train")
            if done % config.validate_every == 0 or done == config.steps:
                if log is not None:
                    _validate(stage, parameters, average, done, history, log, keep_best, say)
                    reason = stage.stop_reason(history) if done < config.steps else None
                stop = agreed(reason is not None)
            # Batches that serve several steps cannot be taken up in their midst.
            ended = any_of(asked()) and done % stage.stride == 0 and done < config.steps
            if first and (done % stride == 0 or done == config.steps or stop or ended):
                state = {
                    "weights": {n: p.detach() for n, p in parameters.items()},
                    "average": average or {},
                    "optimizer": optimizer.state_dict(),
                    "bad": bad,
                    "history": history,
                }
                save_checkpoint(run, done, state, keep=config.keep)
            if ended:
                raise EndedError(f"{stage.name}: asked to end, saved at step {done}; --resume continues it")
    progress.close()
    if average is not None:
        _fill(parameters, average)
    if log is not None:
        log.close()
        write_text(run / "history.json", json.dumps(history, indent=1) + "\n")
    return history


def _gradients(stage: Stage, batches: Iterator[Any], step: int) -> tuple[dict[str, float], str, list[str]]:
    """Gradients of the mean loss of the step's micro-batches.

    Returns numbers to log, what went wrong, if anything, and the keys of the clips that this process read.
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
        try:
            with autocast(config.precision, device):
                loss, told = stage.loss(batch, step)
        except (WorkError, torch.linalg.LinAlgError) as error:  # pyright: ignore[reportPrivateImportUsage]
            # Such as a mask that is empty, because no clip has such pixels or a prediction is not finite.
            for _ in range(micro + 1, config.accumulate):
                next(batches)
            return {"loss": math.nan}, str(error), keys
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


@contextlib.contextmanager
def weights_in_place(parameters: dict[str, nn.Parameter], average: dict[str, Tensor] | None) -> Iterator[None]:
    """The averaged weights in the model, for as long as this lasts."""
    if average is None:
        yield
        return
    kept = {n: p.detach().clone() for n, p in parameters.items()}
    try:
        _fill(parameters, average)
        yield
    finally:
        _fill(parameters, kept)


@torch.no_grad()
def _fill(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])


def _improved(history: History, measure: str, better: str) -> bool:
    """Whether the last validation after step 0 is the best of them."""
    sign = 1 if better == "higher" else -1
    values = [sign * row.get(measure, math.nan) for row in history if row["step"]]
    return math.isfinite(values[-1]) and all(not value >= values[-1] for value in values[:-1])


def _validate(
    stage: Stage,
    parameters: dict[str, nn.Parameter],
    average: dict[str, Tensor] | None,
    step: int,
    history: History,
    log: RunLog,
    keep_best: Callable[[], object],
    say: Callable[[str], None],
) -> None:
    was = stage.trained.training
    stage.trained.eval()
    # Validation draws the same noise every time: what differs between two of them is the model.
    seed_step(stage.config.seed, 2**31)
    with weights_in_place(parameters, average), torch.no_grad():
        measures = stage.validate()
        history.append({"step": float(step), **measures})
        if step and _improved(history, *stage.best):
            keep_best()
    stage.trained.train(was)
    log.write(step, measures, "validation")
    say(f"{stage.name}: step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in measures.items()))

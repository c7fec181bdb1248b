"""What every stage's configuration has in common, and how `--set key=value` changes one."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from phys4d.errors import InputError, unknown_name
from phys4d.training.trackers import trackers

INDIFFERENT = ("fsdp", "gradient_checkpointing", "compile", "tracker", "workers", "cache", "log_every", "keep")
"""Settings that change how a run computes what it learns, but not what: it may go on with others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings that every stage shares.

    steps: optimizer steps. batch_size: clips in a micro-batch. accumulate: micro-batches in a step, of every
    process. lr, warmup, schedule: the rate rises over `warmup` steps, then stays ("constant") or falls to a 20th
    ("cosine"). backbone_rate: the backbone's (or its adapter's) rate as a share of the heads'. weight_decay,
    grad_clip: of AdamW and of the gradient's norm, backbone and heads each by itself. ema: decay of the averaged
    weights, which are what is validated and saved; 0 keeps none. precision: "float32", "bfloat16", or "auto":
    bfloat16 where the processor multiplies it fast.
    fsdp: where torchrun started several processes, shard the backbone over them instead of copying it (FSDP2).
    gradient_checkpointing: keep the inputs of the backbone's blocks alone and compute the rest again in the
    backward pass. compile: the blocks, with torch.compile. tracker: "none", "trackio" or "wandb", beside
    TensorBoard.
    log_every, validate_every, checkpoint_every: in steps; keep: checkpoints kept. max_bad_steps: the run stops
    when so many steps in a row had no finite loss and gradient. workers: loader processes. cache: keep decoded
    worlds in memory. validation_worlds: held-out worlds that validation looks at. seed: of order, noise and times.
    """

    steps: int = 1000
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 3e-4
    warmup: int = 50
    schedule: str = "cosine"
    backbone_rate: float = 1.0
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    ema: float = 0.99
    precision: str = "auto"
    fsdp: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    tracker: str = "none"
    log_every: int = 10
    validate_every: int = 250
    checkpoint_every: int = 250
    keep: int = 2
    max_bad_steps: int = 10
    workers: int = 0
    cache: bool = True
    validation_worlds: int = 28
    seed: int = 0

    def __post_init__(self) -> None:
        self._at_least(
            1, "batch_size", "accumulate", "log_every", "validate_every", "checkpoint_every", "keep",
            "max_bad_steps", "validation_worlds",
        )  # fmt: skip
        self._at_least(0, "steps", "warmup", "weight_decay", "workers", "seed")
        if not (self.lr > 0 and self.backbone_rate > 0 and self.grad_clip > 0 and 0 <= self.ema < 1):
            raise InputError(
                f"lr, backbone_rate and grad_clip must be above 0, and ema within 0 <= ema < 1, not lr={self.lr}, "
                f"backbone_rate={self.backbone_rate}, grad_clip={self.grad_clip}, ema={self.ema}"
            )
        self._one_of("schedule", ("cosine", "constant"))
        self._one_of("precision", ("auto", "float32", "bfloat16"))
        self._one_of("tracker", ("none", *trackers))

    @property
    def fields(self) -> tuple[str, ...]:
        """What the stage reads of every world, to train and to validate; no other member is opened."""
        return ("rgb",)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def _at_least(self, least: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise InputError(unknown_name(name, str(getattr(self, name)), known))


Config = TypeVar("Config", bound=TrainConfig)


def override(config: Config, assignments: Sequence[str]) -> Config:
    """The configuration with `key=value` texts applied. Raises InputError for an unknown key or a wrong value."""
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise InputError(f"--set wants key=value, not {text!r}")
        if key not in hints:
            raise InputError(unknown_name(f"setting of {type(config).__name__}", key, hints))
        changes[key] = _parse(key, value.strip(), hints[key])
    return dataclasses.replace(config, **changes)


def _parse(key: str, text: str, kind: type) -> bool | int | float | str:
    """A value of the field's type, from text."""
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        value = kind(text)
    except (ValueError, KeyError):
        value = math.nan
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"--set {key}={text}: not a value of type {kind.__name__}")
    return value

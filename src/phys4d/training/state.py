"""All of a run that a checkpoint holds: weights, their averages, the optimizer's moments, and plain numbers.

Everything is kept by the names of the parameters, so that it does not matter how the optimizer groups them, nor
how they are sharded.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from phys4d.training.checkpoint import Checkpoint, save_checkpoint

History = list[dict[str, float]]
"""Validations, step 0 first."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's, of a parameter that has had a gradient."""


@dataclasses.dataclass
class RunState:
    """parameters: what is trained. average: of their values over the steps; None: not kept. bad: steps that were
    skipped in a row."""

    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] | None
    bad: int = 0
    history: History = dataclasses.field(default_factory=list)

    @torch.no_grad()
    def update_average(self, step: int, ema: float) -> None:
        """Follow the weights as they are after `step`."""
        # Young runs would otherwise drag their random start along.
        decay = min(ema, (1 + step) / (10 + step))
        for name, average in (self.average or {}).items():
            average.lerp_(self.parameters[name], 1 - decay)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the model, for as long as this lasts."""
        if self.average is None:
            yield
            return
        kept = {n: p.detach().clone() for n, p in self.parameters.items()}
        try:
            self.fill(self.average)
            yield
        finally:
            self.fill(kept)

    @torch.no_grad()
    def fill(self, values: dict[str, Tensor]) -> None:
        """Give the parameters these values."""
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def save(self, run: Path, step: int, *, keep: int) -> None:
        """Write a checkpoint; see `save_checkpoint`."""
        counts = {n: float(self.optimizer.state[p]["step"]) for n, p in self._stepped()}
        told = {"bad": self.bad, "history": self.history, "updates": counts}
        save_checkpoint(run, step, self._tensors(), told, keep=keep)

    def restore(self, found: Checkpoint) -> None:
        """Become what a checkpoint holds, in place. Raises InputError where it is that of another model."""
        for name, count in found.told["updates"].items():
            parameter = self.parameters.get(name)
            if parameter is not None:
                moments = {kind: torch.zeros_like(parameter) for kind in MOMENTS}
                self.optimizer.state[parameter] = {"step": torch.tensor(count), **moments}
        found.read_into(self._tensors())
        self.bad, self.history = found.told["bad"], found.told["history"]

    def _tensors(self) -> dict[str, Tensor]:
        kinds = {
            "weights": dict(self.parameters),
            "average": self.average or {},
            **{kind: {n: self.optimizer.state[p][kind] for n, p in self._stepped()} for kind in MOMENTS},
        }
        return {f"{kind}.{name}": tensor for kind, some in kinds.items() for name, tensor in some.items()}

    def _stepped(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((n, p) for n, p in self.parameters.items() if p in self.optimizer.state)

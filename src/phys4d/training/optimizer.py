"""What is optimized, in parts, and at which rate."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from phys4d.training.config import TrainConfig


def parts_of(parameters: dict[str, nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """A model's parameters as its backbone's and its heads'; those of a lone module count as the backbone's."""
    heads = [p for n, p in parameters.items() if n.startswith("heads.")]
    backbone = [p for n, p in parameters.items() if not n.startswith("heads.")]
    return {name: part for name, part in (("backbone", backbone), ("heads", heads)) if part}


def optimizer_of(parts: dict[str, list[nn.Parameter]], config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW: matrices decay, vectors do not; each group's `share` of the learning rate is its part's."""
    groups = [
        {"params": params, "weight_decay": decay, "share": config.backbone_rate if name == "backbone" else 1.0}
        for name, part in parts.items()
        for params, decay in (
            ([p for p in part if p.ndim > 1], config.weight_decay),
            ([p for p in part if p.ndim <= 1], 0.0),
        )
        if params
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))


def clip_gradients(part: list[nn.Parameter], most: float) -> float:
    """Scale the gradients of a part down to a norm of `most`; returns the norm that they had."""
    norm = nn.utils.clip_grad_norm_(part, most)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step, as a share of `config.lr`."""
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    if config.schedule == "constant":
        return rise
    done = min(1.0, step / max(config.steps, 1))
    return rise * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))

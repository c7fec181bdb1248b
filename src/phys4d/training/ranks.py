"""Several processes that train one model on shares of every batch, started by torchrun; one process otherwise.

    torchrun --nproc-per-node 2 -m phys4d train base --data DATA --out RUN

Each process has the whole model, and gradients are averaged, unless `fsdp` shards the model (`placement.py`). On a
CPU two processes of one thread each are faster than one of two threads.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

Said = TypeVar("Said")


def rank_and_size() -> tuple[int, int]:
    """(rank, number of processes); joins the group that torchrun described, the first time."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return 0, 1
    if not dist.is_initialized():
        device = own_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), size


def own_device() -> torch.device:
    """Where this process trains: its own CUDA device, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if rank_and_size()[1] > 1:
        dist.barrier()


def average_gradients(parameters: Collection[nn.Parameter], numbers: dict[str, float]) -> dict[str, float]:
    """Gradients, in place, and numbers to log as means over the processes, so that all take the same step.

    Sharded parameters have theirs as means already. Every process gives numbers of the same names.
    """
    _, size = rank_and_size()
    if size == 1:
        return numbers
    parameters = [p for p in parameters if not isinstance(p, DTensor)]
    # A parameter that one process did not use has no gradient there, but must take part in the sum.
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    told = torch.tensor(list(numbers.values()), dtype=torch.float32, device=own_device())
    flat = torch.cat([g.flatten().float() for g in gradients] + [told])
    dist.all_reduce(flat)
    flat /= size
    position = 0
    for parameter, gradient in zip(parameters, gradients):
        mean = flat[position : position + gradient.numel()].view_as(gradient)
        parameter.grad = mean.to(gradient.dtype, copy=True)
        position += gradient.numel()
    return dict(zip(numbers, flat[position:].tolist()))


def any_of(flag: bool) -> bool:
    """Whether any process says so."""
    return any(from_all(flag)) if rank_and_size()[1] > 1 else flag


def agreed(flag: bool) -> bool:
    """What the first process says."""
    return from_all(flag)[0] if rank_and_size()[1] > 1 else flag


def from_all(said: Said) -> list[Said]:
    """What every process says, by rank; small things that can be pickled."""
    _, size = rank_and_size()
    if size == 1:
        return [said]
    heard: list[Said | None] = [None] * size
    dist.all_gather_object(heard, said)
    return heard  # pyright: ignore[reportReturnType]

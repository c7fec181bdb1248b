"""Several processes that train one model on shares of every batch, started by torchrun; one process otherwise.

    torchrun --nproc-per-node 2 -m phys4d train base --data DATA --out RUN

On a CPU two processes of one thread each are faster than one of two threads.
"""

from __future__ import annotations

import os
from collections.abc import Collection

import torch
import torch.distributed as dist
from torch import nn


def rank_and_size() -> tuple[int, int]:
    """(rank, number of processes); joins the group that torchrun described, the first time."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), size


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if rank_and_size()[1] > 1:
        dist.barrier()


def average_gradients(parameters: Collection[nn.Parameter], loss: float) -> float:
    """Gradients, in place, and the loss as means over the processes, so that all take the same step."""
    _, size = rank_and_size()
    if size == 1:
        return loss
    # A parameter that one process did not use has no gradient there, but must take part in the sum.
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    like = gradients[0]
    flat = torch.cat([g.flatten() for g in gradients] + [like.new_tensor([loss])])
    dist.all_reduce(flat)
    flat /= size
    position = 0
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = flat[position : position + gradient.numel()].view_as(gradient).clone()
        position += gradient.numel()
    return float(flat[-1])


def any_of(flag: bool) -> bool:
    """Whether any process says so."""
    _, size = rank_and_size()
    if size == 1:
        return flag
    said = torch.tensor([float(flag)], device="cuda" if torch.cuda.is_available() else "cpu")
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said.item())


def agreed(flag: bool) -> bool:
    """What the first process says."""
    _, size = rank_and_size()
    if size == 1:
        return flag
    said = torch.tensor([float(flag)], device="cuda" if torch.cuda.is_available() else "cpu")
    dist.broadcast(said, src=0)
    return bool(said.item())

"""What one process holds in memory, and what a step costs, with the ways to make a large model fit.

    python benchmarks/scale.py [--width 256] [--depth 12] [--clips 2]

A nano of that width and depth learns as in the base stage, by one process or by two of them (gloo), each row in
fresh processes. held: weights, gradients, Adam's moments and averages in one process after a step. passing: what
the process needed beside them at most (resident memory), activations above all. s: the better of two later steps.
loss: of the first step, the mean of the processes'.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import socket
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from phys4d import WorldModel
from phys4d.backbones import backbones
from phys4d.demo.page import text_of
from phys4d.training.base import BaseConfig
from phys4d.training.denoising import denoising_loss
from phys4d.training.loop import autocast, seed_step
from phys4d.training.optimizer import clip_gradients, optimizer_of, parts_of
from phys4d.training.placement import place
from phys4d.training.ranks import average_gradients
from phys4d.training.state import MOMENTS, RunState

ROWS: dict[str, tuple[int, dict[str, bool]]] = {
    "one process": (1, {}),
    "one, gradient_checkpointing": (1, {"gradient_checkpointing": True}),
    "two, copied": (2, {}),
    "two, fsdp": (2, {"fsdp": True}),
    "two, fsdp, gradient_checkpointing": (2, {"fsdp": True, "gradient_checkpointing": True}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--clips", type=int, default=2, help="of every process")
    chosen = parser.parse_args()
    model = nano(chosen.width, chosen.depth)
    count = sum(p.numel() for p in model.parameters())
    print(f"nano of width {chosen.width} and depth {chosen.depth}, {count / 1e6:.1f} M weights, ", end="")
    print(f"{chosen.clips} clips of 17x64x64 a process\n")
    table = [["", "held [MB]", "passing [MB]", "step [s]", "loss"]]
    for name, (ranks, settings) in ROWS.items():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with ProcessPoolExecutor(ranks, get_context("spawn")) as pool:
            given = (chosen.width, chosen.depth, chosen.clips, settings, ranks, port)
            found = [each.result() for each in [pool.submit(steps, rank, *given) for rank in range(ranks)]]
        held, peak, seconds, loss = found[0]
        table.append([name, f"{held / 1e6:.0f}", f"{peak / 1e6:.0f}", f"{seconds:.2f}", f"{loss:.4f}"])
    print(text_of(table))


def nano(width: int, depth: int) -> WorldModel:
    """Always the same random weights."""
    torch.manual_seed(0)
    return WorldModel(backbones["nano"](width=width, depth=depth, heads=4))


def steps(
    rank: int, width: int, depth: int, clips: int, settings: dict[str, bool], ranks: int, port: int
) -> tuple[int, int, float, float]:
    """(bytes held, bytes needed beside them, seconds a step, the first loss), as one of the processes finds."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    config = dataclasses.replace(BaseConfig(precision="float32"), **settings)
    model = place(nano(width, depth), config)
    parameters = dict(model.named_parameters())
    parts = parts_of(parameters)
    average = {name: p.detach().clone() for name, p in parameters.items()}
    state = RunState(parameters, optimizer_of(parts, config), average)
    seed_step(0, 0, rank)
    video = torch.rand(clips, 17, 64, 64, 3)
    before, taken, losses = _resident(), [], []
    for step in range(3):
        start = time.perf_counter()
        state.optimizer.zero_grad()
        seed_step(0, step, rank)
        with autocast(config.precision, torch.device("cpu")):
            loss, _ = denoising_loss(model, video, ["a ball falls"] * clips, [1] * clips, explained=0.2)
        loss.backward()
        losses.append(average_gradients(parameters.values(), {"loss": float(loss.detach())})["loss"])
        for part in parts.values():
            clip_gradients(part, config.grad_clip)
        state.optimizer.step()
        state.update_average(step, config.ema)
        taken.append(time.perf_counter() - start)
    grads = [p.grad for p in parameters.values() if p.grad is not None]
    moments = [state.optimizer.state[p][kind] for p in parameters.values() for kind in MOMENTS]
    new = sum(map(_bytes, grads + moments))
    held = new + sum(map(_bytes, [*parameters.values(), *average.values()]))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return held, most - before - new, min(taken[1:]), losses[0]


def _bytes(tensor: torch.Tensor) -> int:
    own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return own.numel() * own.element_size()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()

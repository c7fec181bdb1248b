"""What a training step costs: nano against the machine's peak, the loader's wait, and stage 3's memory.

    python benchmarks/training.py [--steps 8] [--precision auto]

Peak: the best of several square matrix products in the precision that training uses. A step: forward and backward
of nano's base loss on one batch; its operations are counted by torch, matrix products and attention alone, so
that all else that the step does (matched filter, compositing, normalisation) counts as lost time. The loader reads
a stored data set beside it. Stage 3: rollouts a second, the share of a batch that goes into what, and peak memory
with few and with many denoising steps outside the window.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from phys4d import WorldModel, open_dataset
from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset
from phys4d.training.base import BaseStage
from phys4d.training.config import override
from phys4d.training.loop import autocast, seed_step
from phys4d.training.reinforce import ReinforceStage

ROWS = ("ball_drop", "ball_ramp")
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--precision", default="auto", choices=("auto", "bfloat16", "float32"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        simulate_dataset(data, list(ROWS), clips=32, camera="static", progress=False)
        base_step(data, chosen.steps, chosen.precision)
        print("\nstage 3, a batch of 2 scenes with 8 rollouts each (nano, kl_mask)")
        for steps in (4, 16):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                print(pool.submit(stage_3, data, steps, chosen.precision).result())


def peak(precision: str, size: int = 1536) -> float:
    """Operations a second of a square matrix product, the best of several."""
    with autocast(precision, CPU):
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    a, b = (torch.randn(size, size, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def base_step(data: Path, steps: int, precision: str) -> None:
    """Forward and backward of the base stage, and how long each step waits for its batch."""
    model = WorldModel.from_pretrained("nano-base")
    config = override(recipes["nano"]().base, ["batch_size=8", f"precision={precision}"])
    stage = BaseStage(model, config, [open_dataset(data)], [])
    batches = stage.batches(0)
    next(batches)
    seed_step(0, 0)
    with FlopCounterMode(display=False) as counter, autocast(precision, CPU):
        stage.loss(next(batches), 0)[0].backward()
    operations = counter.get_total_flops()
    waits, works = [], []
    for step in range(steps):
        start = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - start)
        start = time.perf_counter()
        with autocast(precision, CPU):
            loss, _ = stage.loss(batch, step)
        loss.backward()
        works.append(time.perf_counter() - start)
    best, top = min(works), peak(precision)
    print(f"nano, forward and backward of 8 clips of 17x64x64, {torch.get_num_threads()} threads")
    print(f"  peak of a matrix product        {top / 1e9:8.1f} GFLOP/s")
    print(f"  a step                          {best:8.2f} s, {8 / best:.1f} clips/s")
    print(
        f"  its products and attention      {operations / best / 1e9:8.1f} GFLOP/s, {operations / best / top:.0%}"
    )
    print(f"  waiting for the loader          {sum(waits) / (sum(waits) + sum(works)):8.1%} of the time")


def stage_3(data: Path, steps: int, precision: str) -> str:
    """One batch of rollouts and its update: where the time goes, and the peak of memory."""
    settings = [
        "batch_size=8", "accumulate=2", "updates=1", f"sampling_steps={steps}", "window=2", "objective=kl_mask",
        "drop=false", f"precision={precision}",
    ]  # fmt: skip
    config: Any = override(recipes["nano"]().reinforce, settings)
    worlds = open_dataset(data)
    held = [worlds.read(i, config.fields) for i in range(2)]
    stage = ReinforceStage(WorldModel.from_pretrained("nano-finetune"), config, [worlds], held)
    spent: dict[str, float] = {}
    timed(stage.source, "batch", spent)
    timed(stage.rollouts, "make", spent)
    timed(stage.rollouts, "generations", spent)
    timed(stage, "loss", spent)
    batches = stage.batches(0)
    for micro in range(config.accumulate):
        seed_step(0, 0, micro)
        batch = next(batches)
        with autocast(precision, CPU):
            loss, _ = stage.loss(batch, 0)
        start = time.perf_counter()
        loss.backward()
        spent["loss"] += time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    parts = {
        "truths as the lifter sees them": spent["batch"],
        "rollouts": spent["generations"],
        "their lifting and rewards": spent["make"] - spent["generations"],
        "gradients": spent["loss"],
    }
    whole = sum(parts.values())
    shares = ", ".join(f"{name} {seconds / whole:.0%}" for name, seconds in parts.items())
    return f"  {steps:2} denoising steps: {2 * 8 / whole:.2f} rollouts/s, {memory:.0f} MB at most; {shares}"


def timed(owner: object, method: str, spent: dict[str, float]) -> None:
    """Add up the seconds that a method takes from now on."""
    inner = getattr(owner, method)

    def measured(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return inner(*given, **named)
        finally:
            spent[method] = spent.get(method, 0.0) + time.perf_counter() - start

    setattr(owner, method, measured)


if __name__ == "__main__":
    main()

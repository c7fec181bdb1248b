"""How the embedded depth teacher is made, from simulated RGB-D:

python -m phys4d.teachers.train_depth --data DATA... --held-out DATA --out FILE --steps N
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from phys4d.data import WorldDataset, open_dataset
from phys4d.errors import InputError, Phys4DError, WorkError
from phys4d.teachers.alignment import aligned_error
from phys4d.teachers.augment import crop_and_flip, recolour
from phys4d.teachers.depth import EmbeddedDepth, save_depth_net
from phys4d.teachers.depth_loss import depth_loss
from phys4d.teachers.depth_net import DepthNet

WARM_UP = 0.05
EMA_DECAY = 0.995
MOST_HELD_OUT = 200
"""Held-out worlds that are looked at."""


def train_depth_teacher(
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    steps: int = 3000,
    *,
    held_out: str | Path | None = None,
    clips: int = 8,
    frames: int = 2,
    kept: int = 3,
    learning_rate: float = 2e-3,
    seed: int = 0,
    log_every: int = 100,
) -> dict[str, Any]:
    """Train the depth network on the `rgb` and `depth` of data sets, and write its weights to `out`.

    clips: a batch. frames: of each clip in a batch, under one scale and shift. kept: random frames of each world
    that are held in memory. held_out: a data set of other seeds.
    Returns (and stores with the weights) the report: the settings, the curve of the mean training loss, and
    `held_out` (see `check_depth`). The same seed on the same machine gives the same weights.
    Raises InputError for data without rgb or depth, of several sizes, or too few; WorkError where it diverges.
    """
    if min(steps, clips, frames, kept) < 1 or kept < frames:
        raise InputError(f"impossible training: steps={steps}, clips={clips}, frames={frames} of {kept} kept")
    rng = np.random.default_rng(seed)
    rgb, disparity = read_frames(open_dataset(data), kept, rng)
    if len(rgb) < clips:
        raise InputError(f"{len(rgb)} worlds with a surface do not fill one batch of {clips}")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = DepthNet()
    # Twice as fast on CPUs.
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    average = copy.deepcopy(net).requires_grad_(False)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    curve: list[tuple[int, float]] = []
    recent: list[float] = []
    start = time.monotonic()
    for step in range(1, steps + 1):
        worlds = torch.randperm(len(rgb), generator=generator)[:clips]
        chosen = torch.randperm(kept, generator=generator)[:frames]
        images = rgb[worlds][:, chosen].permute(0, 1, 4, 2, 3).float() / 255
        images, target = crop_and_flip(images, disparity[worlds][:, chosen].float(), generator)
        loss = _loss(net, recolour(images, generator), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        # A short memory at first: the average must not remember the random start.
        _follow(average, net, min(EMA_DECAY, step / (step + 10)))
        recent.append(float(loss.detach()))
        if not math.isfinite(recent[-1]):
            raise WorkError(f"the loss of step {step} is {recent[-1]}; use a smaller learning rate")
        if step % log_every == 0 or step == steps:
            curve.append((step, round(float(np.mean(recent)), 5)))
            speed = step * clips * frames / (time.monotonic() - start)
            print(f"step {step}/{steps}  loss {curve[-1][1]:.4f}  {speed:.0f} frames/s", flush=True)
            recent = []
    report: dict[str, Any] = {
        "steps": steps, "clips": clips, "frames": frames, "worlds": len(rgb), "learning_rate": learning_rate,
        "seed": seed, "loss": curve,
    }  # fmt: skip
    save_depth_net(average, Path(out), report)
    if held_out is not None:
        report["held_out"] = check_depth(EmbeddedDepth(Path(out)), open_dataset(held_out))
        save_depth_net(average, Path(out), report)
    return report


def check_depth(teacher: EmbeddedDepth, dataset: WorldDataset) -> dict[str, float]:
    """How well a teacher of relative depth does on worlds whose depth is known, beside guesses that see nothing.

    Means over worlds of |d - truth| / truth after one scale and shift of disparity a clip, of the teacher and of
    two guesses: `constant`, one depth everywhere, and `rows`, a disparity that grows evenly down the picture.
    Those of `_things` use the same scale and shift and look at the pixels of instances alone, where there are any.
    `sky_iou`: of the sky of all worlds together.
    """
    found: dict[str, list[float]] = {}
    hits = either = 0
    for i in range(min(len(dataset), MOST_HELD_OUT)):
        world = dataset.read(i, ("rgb", "depth", "segmentation")).require("rgb", "depth", "segmentation")
        rgb, depth, instances = cast(tuple[np.ndarray, ...], (world.rgb, world.depth, world.segmentation))
        labels = teacher(rgb)
        surface = depth > 0
        sky = cast(np.ndarray, labels.sky)
        hits += int((sky & ~surface).sum())
        either += int((sky | ~surface).sum())
        rows = np.broadcast_to(np.linspace(0, 1, depth.shape[1])[:, None], depth.shape)
        for name, guess in {"teacher": labels.values, "rows": rows, "constant": np.zeros_like(rows)}.items():
            error = aligned_error(guess, depth, surface)
            found.setdefault(name, []).append(error[surface].mean())
            things = surface & (instances > 0)
            if things.any():
                found.setdefault(f"{name}_things", []).append(error[things].mean())
    result = {name: round(float(np.mean(values)), 4) for name, values in found.items()}
    return {**result, "sky_iou": round(hits / either, 4) if either else math.nan, "worlds": len(found["rows"])}


def read_frames(dataset: WorldDataset, kept: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """`kept` random frames of every world that shows a surface: (N,kept,H,W,3) uint8, and disparity [1/m] float16.

    Raises InputError where worlds have several sizes or too few frames, MissingFieldError without rgb or depth.
    """
    images, disparities = [], []
    for i in range(len(dataset)):
        world = dataset.read(i, ("rgb", "depth"))
        if world.frames < kept:
            raise InputError(f"{dataset.row(i)['key']} has {world.frames} frames; {kept} are to be kept")
        chosen = np.sort(rng.choice(world.frames, kept, replace=False))
        rgb, depth = (cast(np.ndarray, values)[chosen] for values in (world.rgb, world.depth))
        if not all((frame > 0).mean() > 0.2 for frame in depth):
            continue
        images.append(rgb)
        disparities.append(np.where(depth > 0, 1 / np.maximum(depth, 1e-3), 0).astype(np.float16))
        if images[-1].shape != images[0].shape:
            raise InputError(f"worlds of several sizes: {images[0].shape[1:3]} and {images[-1].shape[1:3]}")
    if not images:
        raise InputError("no world of the data shows enough of a surface to learn depth from")
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(disparities))


def _loss(net: DepthNet, images: Float[Tensor, "B F 3 H W"], target: Float[Tensor, "B F H W"]) -> Tensor:
    flat = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    disparity, log_error, sky = (part.reshape(target.shape) for part in net(flat))
    return depth_loss(disparity, log_error, sky, target)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to 2 % of the peak."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@torch.no_grad()
def _follow(average: DepthNet, net: DepthNet, decay: float) -> None:
    for kept, new in zip(average.parameters(), net.parameters()):
        kept.lerp_(new, 1 - decay)


def _command(
    data: tuple[Path, ...],
    out: Path,
    steps: int = 3000,
    held_out: Path | None = None,
    seed: int = 0,
) -> None:
    report = train_depth_teacher(data, out, steps, held_out=held_out, seed=seed)
    print(f"{out}: {report.get('held_out', 'no held-out data given')}")


if __name__ == "__main__":
    try:
        tyro.cli(_command)
    except Phys4DError as error:
        raise SystemExit(f"{error}") from error

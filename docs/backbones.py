"""What every backbone was put through: the table in docs/backbones.md.

Each is a tiny instance of the real classes with random weights, written as a diffusers folder (by diffusers, where
it has the pipeline) and loaded from there. It generates, lifts, goes through the three stages for two steps each,
is saved, loaded, continues a run that was interrupted, and learns the same from the same clips by two processes
that share its weights (FSDP2) as by one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from phys4d.backbones import backbones
from phys4d.backbones.pipeline import PipelineBackbone
from phys4d.errors import Phys4DError, WorkError
from phys4d.model import WorldModel
from phys4d.sim.dataset import simulate_dataset
from phys4d.teachers.labelling import label_videos
from phys4d.training.config import override
from phys4d.training.run import STAGES, train

FRAMES, SIZE = 17, (64, 64)
FEW = (
    "steps=2", "batch_size=2", "warmup=1", "log_every=1", "validate_every=2", "checkpoint_every=1",
    "validation_worlds=1",
)  # fmt: skip
SETTINGS = {
    "pretrain": ("head_width=8",),
    "finetune": ("head_width=8", "rank=2", "alpha=4"),
    "reinforce": (
        "accumulate=1", "updates=2", "rank=2", "alpha=4", "sampling_steps=3", "window=1", "drop=false",
        "anchor_clips=1",
    ),
}  # fmt: skip


WHOLE = ("precision=float32", "schedule=constant", "checkpoint_every=2")
"""Of runs whose numbers are held against each other."""


def write_folder(name: str, variant: str | None, folder: Path) -> Path:
    """A folder of random weights, always the same, as diffusers writes it; else as phys4d does."""
    torch.manual_seed(0)
    backbone: Any = backbones[name].tiny() if variant is None else backbones[name].tiny(variant)  # type: ignore[call-arg]
    if not isinstance(backbone, PipelineBackbone):
        return WorldModel(backbone).save_pretrained(folder)
    parts = dict(backbone.named_children())
    parts |= {part: backbone.parts.get(part) for part in backbone.parts.specs if part not in parts}
    kind = getattr(importlib.import_module("diffusers"), backbone.parts.pipeline, None)
    with contextlib.redirect_stderr(io.StringIO()):
        if kind is None:
            backbone.parts.save(folder, parts)
        else:
            kind(**parts, **backbone.parts.options).save_pretrained(folder)
    return folder


def quick() -> None:
    """Validations generate; few steps will do where the weights are random."""
    PipelineBackbone.sampling_steps = 2


def small(model: WorldModel) -> WorldModel:
    """Windows of few frames of few pixels."""
    model.backbone.work_at(SIZE, FRAMES, 12.0)
    return model


def run(stage: str, model: WorldModel, source: Path, out: Path, *more: str, **options: Any) -> Path:
    """Two steps of a stage; the model that comes of them."""
    config = override(STAGES[stage][1](), [*FEW, *SETTINGS[stage], *more])
    train(stage, config, model, [source], out, say=lambda _: None, **options)
    return out / "final"


def by_both(start: Path, data: Path, out: Path) -> None:
    """What each of two processes does: stage 2, each with half of the clips and of the weights."""
    torch.set_num_threads(1)
    quick()
    run("finetune", WorldModel.from_pretrained(start), data, out, *WHOLE, "fsdp=true")
    dist.destroy_process_group()


def learns_alike(start: Path, data: Path, place: Path) -> bool:
    """Whether stage 2 by two processes that share the weights moves them as by one: to a hundredth of that.

    Where a gradient is nearly 0, the order of its sums decides which way Adam goes.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    about = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, __file__, "--together", *map(str, (start, data, place / "two"))]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [subprocess.Popen(command, env=os.environ | about | {"RANK": str(r)}, **quiet) for r in (0, 1)]
    told = [each.communicate()[0] for each in both]
    if any(each.returncode for each in both):
        reason = told[0].strip().splitlines()[-1].rpartition("Error: ")[2]
        raise WorkError(reason.partition(":")[0])
    run("finetune", WorldModel.from_pretrained(start), data, place / "one", *WHOLE, "accumulate=2")
    one, two = (WorldModel.from_pretrained(place / n / "final").state_dict() for n in ("one", "two"))
    before = WorldModel.from_pretrained(start).state_dict()
    moved = sum(float((v - before[n]).square().sum()) if n in before else 0.0 for n, v in one.items())
    apart = sum(float((v - two[n]).square().sum()) for n, v in one.items())
    return one.keys() == two.keys() and moved > 0 and apart < 1e-4 * moved


def put_through(
    name: str, variant: str | None, data: Path, labelled: Path, place: Path
) -> Iterator[tuple[str, bool]]:
    """(operation, whether it did what it should) in turn. Raises what goes wrong."""

    folder = write_folder(name, variant, place / "model")
    model = small(WorldModel.from_pretrained(folder))
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    made = [model.generate(picture, "a ball falls", seed=seed, frames=FRAMES, steps=2).rgb for seed in (1, 1, 2)]
    yield "generate", np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    pretrained = run("pretrain", model, labelled, place / "pretrain")
    first = WorldModel.from_pretrained(pretrained)
    film = np.random.default_rng(1).integers(0, 256, (FRAMES, *SIZE, 3), dtype=np.uint8)
    lifted = first.lift(film)
    yield "lift", all(field is not None for field in (lifted.depth, lifted.flow, lifted.scene_flow, lifted.camera))
    yield "pretrain", first.adapters == [] and not first.fresh_heads
    tuned = run("finetune", first, data, place / "finetune")
    second = WorldModel.from_pretrained(tuned)
    yield "finetune", second.adapters == ["finetune"]
    third = WorldModel.from_pretrained(run("reinforce", second, data, place / "reinforce"))
    yield "reinforce", third.adapters == ["finetune", "reinforce"]
    again = WorldModel.from_pretrained(third.save_pretrained(place / "again"))
    worlds = [m.generate(picture, "a ball falls", frames=FRAMES, steps=2) for m in (third, again)]
    state = again.state_dict()
    same = all(torch.equal(value, state[key]) for key, value in third.state_dict().items())
    yield "save/load", same and np.array_equal(worlds[0].rgb, worlds[1].rgb)
    cut = run("finetune", WorldModel.from_pretrained(pretrained), data, place / "cut")
    # As if the process had died after its first step.
    for path in sorted((cut.parent / "checkpoints").glob("step-*"))[1:]:
        path.rename(path.with_name("gone"))
    cut.rename(cut.with_name("gone"))
    cut = run("finetune", WorldModel.from_pretrained(pretrained), data, place / "cut", resume=True)
    resumed = WorldModel.from_pretrained(cut).state_dict()
    same = all(
        torch.equal(value, resumed[key]) for key, value in WorldModel.from_pretrained(tuned).state_dict().items()
    )
    yield "resume", same
    yield "FSDP2", learns_alike(pretrained, data, place)


OPERATIONS = ("generate", "lift", "pretrain", "finetune", "reinforce", "save/load", "resume", "FSDP2")


def kinds() -> list[tuple[str, str | None]]:
    return [(name, variant) for name in backbones for variant in getattr(backbones[name], "variants", (None,))]


def make_data(place: Path) -> tuple[Path, Path]:
    """Simulated worlds and labelled ones."""
    data = place / "DATA"
    rows = ["ball_drop", "ball_ramp"]
    simulate_dataset(data, rows, clips=6, size=SIZE, frames=FRAMES, progress=False)
    label_videos([data], place / "LABELLED", progress=False)
    return data, place / "LABELLED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="backbones whose name begins so")
    parser.add_argument("--together", nargs=3, type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.together:
        by_both(*chosen.together)
        return
    quick()
    only = chosen.only
    print(f"{'':26}" + "".join(f"{name:11}" for name in OPERATIONS) + "seconds")
    with tempfile.TemporaryDirectory() as aside:
        data, labelled = make_data(Path(aside))
        for name, variant in kinds():
            label = f"{name} {variant or ''}".strip()
            if not label.startswith(only):
                continue
            began, found, wrong = time.process_time(), dict.fromkeys(OPERATIONS, "-"), ""
            try:
                for operation, done in put_through(
                    name, variant, data, labelled, Path(aside) / label.replace(" ", "-")
                ):
                    found[operation] = "yes" if done else "NO"
            except Phys4DError as error:
                wrong = f"  {error.line}"
            row = f"{label:26}" + "".join(f"{found[operation]:11}" for operation in OPERATIONS)
            print(f"{row}{time.process_time() - began:.0f}{wrong}", flush=True)


if __name__ == "__main__":
    main()

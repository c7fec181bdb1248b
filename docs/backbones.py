"""What every backbone was put through: the table in docs/backbones.md.

Each is a tiny instance of the real classes with random weights, written as a diffusers folder (by diffusers, where
it has the pipeline) and loaded from there. It generates, lifts, goes through the three stages for two steps each,
is saved, loaded, and continues a run that was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phys4d.backbones import backbones
from phys4d.backbones.pipeline import PipelineBackbone
from phys4d.errors import Phys4DError
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


def put_through(
    name: str, variant: str | None, data: Path, labelled: Path, place: Path
) -> Iterator[tuple[str, bool]]:
    """(operation, whether it did what it should) in turn. Raises what goes wrong."""

    def run(stage: str, model: WorldModel, source: Path, *more: str, out: str = "", **options: Any) -> Path:
        config = override(STAGES[stage][1](), [*FEW, *SETTINGS[stage], *more])
        train(stage, config, model, [source], place / (out or stage), say=lambda _: None, **options)
        return place / (out or stage) / "final"

    folder = write_folder(name, variant, place / "model")
    model = small(WorldModel.from_pretrained(folder))
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    made = [model.generate(picture, "a ball falls", seed=seed, frames=FRAMES, steps=2).rgb for seed in (1, 1, 2)]
    yield "generate", np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    pretrained = run("pretrain", model, labelled)
    first = WorldModel.from_pretrained(pretrained)
    film = np.random.default_rng(1).integers(0, 256, (FRAMES, *SIZE, 3), dtype=np.uint8)
    lifted = first.lift(film)
    yield "lift", all(field is not None for field in (lifted.depth, lifted.flow, lifted.scene_flow, lifted.camera))
    yield "pretrain", first.adapters == [] and not first.fresh_heads
    tuned = run("finetune", first, data)
    second = WorldModel.from_pretrained(tuned)
    yield "finetune", second.adapters == ["finetune"]
    third = WorldModel.from_pretrained(run("reinforce", second, data))
    yield "reinforce", third.adapters == ["finetune", "reinforce"]
    again = WorldModel.from_pretrained(third.save_pretrained(place / "again"))
    worlds = [m.generate(picture, "a ball falls", frames=FRAMES, steps=2) for m in (third, again)]
    state = again.state_dict()
    same = all(torch.equal(value, state[key]) for key, value in third.state_dict().items())
    yield "save/load", same and np.array_equal(worlds[0].rgb, worlds[1].rgb)
    cut = run("finetune", WorldModel.from_pretrained(pretrained), data, out="cut")
    # As if the process had died after its first step.
    for path in sorted((cut.parent / "checkpoints").glob("step-*"))[1:]:
        path.rename(path.with_name("gone"))
    cut.rename(cut.with_name("gone"))
    cut = run("finetune", WorldModel.from_pretrained(pretrained), data, out="cut", resume=True)
    resumed = WorldModel.from_pretrained(cut).state_dict()
    same = all(
        torch.equal(value, resumed[key]) for key, value in WorldModel.from_pretrained(tuned).state_dict().items()
    )
    yield "resume", same


OPERATIONS = ("generate", "lift", "pretrain", "finetune", "reinforce", "save/load", "resume")


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
    quick()
    only = parser.parse_args().only
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

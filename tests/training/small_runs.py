"""Runs of every stage that take a second: nine frames of 32x32 px, and a model of few random weights."""

import json
import shutil

import pytest
import torch

from phys4d.backbones import backbones
from phys4d.model import WorldModel
from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset
from phys4d.training.config import override
from phys4d.training.run import train

FEW = ("schedule=constant", "validate_every=2", "checkpoint_every=2", "validation_worlds=1", "precision=float32")


def quiet(_):
    pass


def small() -> WorldModel:
    """Always the same."""
    torch.manual_seed(0)
    nano = backbones["nano"](width=32, size=(32, 32), groups=2, objects=2)
    return WorldModel(nano).with_heads(width=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with eight clips to learn from and two to validate on."""
    place = tmp_path_factory.mktemp("place")
    for name, clips, seed in (("data", 8, 0), ("held-out", 2, 1000)):
        rows = ["ball_drop", "ball_ramp"]
        simulate_dataset(place / name, rows, clips=clips, size=(32, 32), frames=9, seed=seed, progress=False)
    return place


def run(place, name, stage, *settings, resume=False):
    """A run of a stage, by however many processes there are."""
    config = override(recipes["debug"]().settings(stage), (*FEW, *settings))
    data, held_out = [place / "data"], [place / "held-out"]
    return train(stage, config, small(), data, place / name, held_out=held_out, resume=resume, say=quiet)


def weights(run):
    return WorldModel.from_pretrained(run / "final").state_dict()


def logged(run, kind="train"):
    """What was logged, but for times and the kind."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    left_out = ("clips_per_second", "scene_wait_seconds", "kind")
    return [{k: v for k, v in row.items() if k not in left_out} for row in rows if row["kind"] == kind]


def as_if_stopped_at(run, out, step):
    """A copy of a run as it was after the checkpoint of a step."""
    shutil.copytree(run, out)
    shutil.rmtree(out / "final")
    for folder in (out / "checkpoints").iterdir():
        if int(folder.name.removeprefix("step-")) > step:
            shutil.rmtree(folder)
    assert len(list((out / "checkpoints").iterdir())) == 1

"""Two processes learn what one learns from the clips of both, with the model copied to each or sharded (FSDP2)."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from phys4d.backbones import backbones
from phys4d.errors import InputError, WorkError
from phys4d.model import WorldModel
from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset
from phys4d.training.base import BaseStage
from phys4d.training.checkpoint import latest_checkpoint
from phys4d.training.config import override
from phys4d.training.run import train

pytestmark = pytest.mark.slow
SIZE = 2
FEW = ("schedule=constant", "validate_every=2", "checkpoint_every=2", "validation_worlds=1", "precision=float32")
STAGES = {
    "base": ("steps=4",),
    "finetune": ("steps=2", "heads_share=0.5"),
    "reinforce": ("steps=2", "updates=2", "batch_size=3", "anchor_clips=1"),
}
"""With their settings."""


def quiet(_):
    pass


def small() -> WorldModel:
    """A nano of 9x32x32 with random weights, always the same."""
    torch.manual_seed(0)
    nano = backbones["nano"](width=32, size=(32, 32), groups=2, objects=2)
    return WorldModel(nano).with_heads(width=8)


def run(place, name, stage, *settings, resume=False):
    """A run of a stage on the clips in `place`, by however many processes there are."""
    config = override(recipes["debug"]().settings(stage), (*FEW, *STAGES[stage], *settings))
    data, held_out = [place / "data"], [place / "held-out"]
    return train(stage, config, small(), data, place / name, held_out=held_out, resume=resume, say=quiet)


def by_both(rank, port, place):
    """What two processes do together; see the fixture."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(SIZE),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    for stage in ("base", "reinforce"):
        run(place, f"{stage}-copied", stage)
    for stage in STAGES:
        run(place, f"{stage}-sharded", stage, "fsdp=true", "gradient_checkpointing=true")
    run(place, "two-then-one", "base", "fsdp=true", "steps=2")
    run(place, "one-then-two", "base", "fsdp=true", resume=True)
    usual = BaseStage.loss

    def fails(stage, batch, step):
        found = usual(stage, batch, step)
        if step == 2 and rank == 1:
            raise WorkError("a mask is empty")
        return found

    BaseStage.loss = fails
    run(place, "faulty", "base", "fsdp=true")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Runs by one process with batches of two micro-batches, and by two processes with one each."""
    place = tmp_path_factory.mktemp("scale")
    for name, clips, seed in (("data", 8, 0), ("held-out", 2, 1000)):
        rows = ["ball_drop", "ball_ramp"]
        simulate_dataset(place / name, rows, clips=clips, size=(32, 32), frames=9, seed=seed, progress=False)
    for stage in STAGES:
        run(place, f"{stage}-one", stage, "accumulate=2")
    run(place, "one-then-two", "base", "accumulate=2", "steps=2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(by_both, (port, place), nprocs=SIZE)
    return place


def weights(run):
    return WorldModel.from_pretrained(run / "final").state_dict()


def logged(run, kind="train"):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    timed = ("clips_per_second", "scene_wait_seconds")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows if row["kind"] == kind]


def assert_alike(one, two):
    """The same weights but for the order of sums, by a thousandth of what they moved."""
    start, first, second = small().state_dict(), weights(one), weights(two)
    assert first.keys() == second.keys()
    moved = torch.cat([(first[n] - start[n]).flatten() for n in start if n in first])
    apart = torch.cat([(first[n] - second[n]).flatten() for n in first])
    assert float(moved.norm()) > 0
    assert float(apart.norm()) < 1e-3 * float(moved.norm())


@pytest.mark.parametrize("two", ["base-copied", "reinforce-copied", *(f"{stage}-sharded" for stage in STAGES)])
def test_two_processes_learn_what_one_learns(place, two):
    one, two = place / f"{two.partition('-')[0]}-one", place / two
    assert_alike(one, two)
    for kind in ("train", "validation"):
        for a, b in zip(logged(one, kind), logged(two, kind), strict=True):
            assert a == {
                name: pytest.approx(v, rel=2e-3, abs=1e-6) if name != "kind" else v for name, v in b.items()
            }


def test_a_checkpoint_of_two_processes_is_read_by_one(place):
    found = latest_checkpoint(place / "base-sharded")
    files = sorted(path.name for path in found.folder.glob("*.safetensors"))
    assert len(files) == SIZE
    final = weights(place / "base-sharded")
    averages = {name[8:]: value for name, value in found.read().items() if name.startswith("average.")}
    assert {f"backbone.{name}" for name in averages} == {name for name in final if name.startswith("backbone.")}
    assert all(torch.equal(value, final[f"backbone.{name}"]) for name, value in averages.items())
    assert set(found.told["updates"].values()) == {4.0}


def test_two_begin_and_one_goes_on(place):
    shutil.copytree(place / "two-then-one", place / "gone-on")
    with pytest.raises(InputError, match=r"started by 2 processes, now there are 1.*accumulate=2 would keep it"):
        run(place, "gone-on", "base", "steps=2", resume=True)
    run(place, "gone-on", "base", "accumulate=2", resume=True)
    assert_alike(place / "base-one", place / "gone-on")


def test_one_begins_and_two_go_on(place):
    assert_alike(place / "base-one", place / "one-then-two")


def test_what_one_process_cannot_learn_from_all_skip(place):
    (row,) = [json.loads(line) for line in (place / "faulty" / "bad-steps.jsonl").read_text().splitlines()]
    assert row["step"] == 2
    assert row["reason"] == "a mask is empty"
    assert len(set(row["clips"])) == 4
    assert [step["step"] for step in logged(place / "faulty")] == [1, 2, 3, 4]
    assert len(logged(place / "faulty", "validation")) == 3

"""Two processes learn what one learns from the clips of both, with the model copied to each or sharded (FSDP2)."""

import json
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small_runs import as_if_stopped_at, logged, run, small, weights

from phys4d.errors import InputError, WorkError
from phys4d.training.base import BaseStage
from phys4d.training.checkpoint import latest_checkpoint

pytestmark = pytest.mark.slow
SIZE = 2
STAGES = {
    "base": ("steps=4",),
    "finetune": ("steps=2", "heads_share=0.5"),
    "reinforce": ("steps=2", "updates=2", "batch_size=3", "anchor_clips=1"),
}
"""With their settings."""


def by_both(rank, port, place):
    """What two processes do together; see the fixture."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(SIZE),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    run(place, "base-copied", "base", *STAGES["base"])
    for stage, settings in STAGES.items():
        run(place, f"{stage}-sharded", stage, *settings, "fsdp=true", "gradient_checkpointing=true")
    run(place, "one-then-two", "base", *STAGES["base"], "fsdp=true", resume=True)
    usual = BaseStage.loss

    def fails(stage, batch, step):
        found = usual(stage, batch, step)
        if step == 0 and rank == 1:
            raise WorkError("a mask is empty")
        return found

    BaseStage.loss = fails
    run(place, "faulty", "base", "steps=2", "fsdp=true")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(place):
    """Runs by one process with two micro-batches a step, and by two processes with one each."""
    for stage, settings in STAGES.items():
        run(place, f"{stage}-one", stage, *settings, "accumulate=2")
    as_if_stopped_at(place / "base-one", place / "one-then-two", 2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(by_both, (port, place), nprocs=SIZE)
    return place


def assert_alike(one, two):
    """The same weights but for the order of sums: by a thousandth of what they moved."""
    start, first, second = small().state_dict(), weights(one), weights(two)
    assert first.keys() == second.keys()
    moved = torch.cat([(first[n] - start[n]).flatten() for n in start if n in first])
    apart = torch.cat([(first[n] - second[n]).flatten() for n in first])
    assert float(moved.norm()) > 0
    assert float(apart.norm()) < 1e-3 * float(moved.norm())


@pytest.mark.parametrize("two", ["base-copied", *(f"{stage}-sharded" for stage in STAGES)])
def test_two_processes_learn_what_one_learns(runs, two):
    one, two = runs / f"{two.partition('-')[0]}-one", runs / two
    assert_alike(one, two)
    for kind in ("train", "validation"):
        for a, b in zip(logged(one, kind), logged(two, kind), strict=True):
            assert a == pytest.approx(b, rel=2e-3, abs=1e-6)


def test_a_checkpoint_of_two_processes_is_read_by_one(runs):
    found = latest_checkpoint(runs / "base-sharded")
    assert len(list(found.folder.glob("*.safetensors"))) == SIZE
    final = weights(runs / "base-sharded")
    averages = {name[8:]: value for name, value in found.read().items() if name.startswith("average.")}
    assert {f"backbone.{name}" for name in averages} == {name for name in final if name.startswith("backbone.")}
    assert all(torch.equal(value, final[f"backbone.{name}"]) for name, value in averages.items())
    assert set(found.told["updates"].values()) == {4.0}


def test_two_begin_and_one_goes_on(runs):
    as_if_stopped_at(runs / "base-sharded", runs / "two-then-one", 2)
    with pytest.raises(InputError, match=r"started by 2 processes, now there are 1.*accumulate=2 would keep it"):
        run(runs, "two-then-one", "base", *STAGES["base"], resume=True)
    run(runs, "two-then-one", "base", *STAGES["base"], "accumulate=2", resume=True)
    assert_alike(runs / "base-one", runs / "two-then-one")


def test_one_begins_and_two_go_on(runs):
    assert_alike(runs / "base-one", runs / "one-then-two")
    assert logged(runs / "one-then-two")[:2] == logged(runs / "base-one")[:2]


def test_what_one_process_cannot_learn_from_all_skip(runs):
    (row,) = [json.loads(line) for line in (runs / "faulty" / "bad-steps.jsonl").read_text().splitlines()]
    assert row["step"] == 0
    assert row["reason"] == "a mask is empty"
    assert len(set(row["clips"])) == 4
    assert [step["step"] for step in logged(runs / "faulty")] == [1, 2]

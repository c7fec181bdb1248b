"""A run that is killed without warning goes on from its checkpoint to the same weights, bit for bit."""

import multiprocessing
import os
import signal

import pytest
import torch
from small_runs import logged, run, weights

from phys4d.training.checkpoint import latest_checkpoint
from phys4d.training.run import STAGES

pytestmark = pytest.mark.slow
SETTINGS = dict.fromkeys(STAGES, ("steps=4", "checkpoint_every=2", "validate_every=4"))
SETTINGS["finetune"] += ("heads_share=0.5",)
SETTINGS["reinforce"] += ("updates=2", "batch_size=2", "anchor_clips=1")
KILLED_AT = 3


def die(place, stage):
    """Run a stage until it is killed (SIGKILL) amid a step."""
    kind, usual = STAGES[stage][0], STAGES[stage][0].loss

    def last(self, batch, step):
        if step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(self, batch, step)

    kind.loss = last
    torch.set_num_threads(1)
    run(place, f"{stage}-killed", stage, *SETTINGS[stage])


def die_one_by_one(place, ends):
    """All stages, each in a process of its own that starts from this one, which has imported everything."""
    fork = multiprocessing.get_context("fork")
    for stage in SETTINGS:
        process = fork.Process(target=die, args=(place, stage))
        process.start()
        process.join()
        ends.put((stage, process.exitcode))


@pytest.fixture(scope="module")
def killed(place):
    spawn = multiprocessing.get_context("spawn")
    ends = spawn.Queue()
    process = spawn.Process(target=die_one_by_one, args=(place, ends))
    process.start()
    found = dict(ends.get(timeout=300) for _ in SETTINGS)
    process.join()
    assert found == dict.fromkeys(SETTINGS, -signal.SIGKILL)
    return place


@pytest.mark.parametrize("stage", SETTINGS)
def test_it_goes_on_to_the_same_weights(killed, stage):
    one, two = killed / f"{stage}-whole", killed / f"{stage}-killed"
    assert latest_checkpoint(two).step == 2
    assert not (two / "final").exists()
    history = run(killed, one.name, stage, *SETTINGS[stage])
    assert run(killed, two.name, stage, *SETTINGS[stage], resume=True) == history
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert logged(one) == logged(two)
    states = [latest_checkpoint(folder).read() for folder in (one, two)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

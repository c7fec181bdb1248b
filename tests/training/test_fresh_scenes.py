"""Scenes that are simulated while a policy rolls out: new ones, the same whoever makes them."""

import dataclasses

import numpy as np
import pytest
from brightness import unprepared

from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.training import scenes
from phys4d.training.reinforce import ReinforceConfig
from phys4d.training.scenes import FRESH_SEED, RewardScenes


@pytest.fixture
def source(clips, monkeypatch):
    """Makes sources of two scenes a batch on the same clips."""
    monkeypatch.setattr(scenes, "prepare_scene", unprepared)
    made = []

    def make(fresh, **options):
        data = [open_dataset(clips)]
        fields = ReinforceConfig().fields
        made.append(RewardScenes(data, None, count=2, fields=fields, seed=0, drop=True, fresh=fresh, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def keys(batch):
    return [scene.truth.meta["scene_id"] for scene in batch[0]]


def test_they_are_new_and_like_the_datas(source, clips):
    one = source(1)
    batch, dropped = one.batch(0)
    assert dropped == 0
    known = open_dataset(clips)
    for scene in batch:
        world = scene.truth
        assert world.meta["scene_id"] not in known.index.column("scene_id").to_pylist()
        assert int(world.meta["seed"]) >= FRESH_SEED
        assert world.meta["scene"] in ("ball_drop", "ball_ramp")
        assert (world.frames, world.size, world.fps) == (17, (64, 64), 12)
        still = world.camera.world_from_camera
        np.testing.assert_array_equal(still, np.broadcast_to(still[:1], still.shape))


def test_a_batch_is_the_same_whoever_makes_it_and_wherever_one_starts(source):
    one, two, later = source(1), source(2), source(1)
    first, second = keys(one.batch(0)), keys(one.batch(1))
    assert first != second
    assert [keys(two.batch(0)), keys(two.batch(1))] == [first, second]
    assert keys(later.batch(1)) == second
    assert keys(later.batch(0)) == first
    assert one.waited > 0


@pytest.mark.parametrize("fresh", [0, 1])
def test_processes_share_a_batch_by_turns(source, fresh):
    together = source(fresh)
    together.count = 4
    whole = keys(together.batch(3))
    shares = []
    for rank in range(2):
        one = source(fresh)
        one.rank, one.ranks = rank, 2
        shares.append(keys(one.batch(3)))
    assert shares == [whole[0::2], whole[1::2]]


def test_those_that_cannot_be_rewarded_are_replaced_beyond_what_was_made_ahead(source, monkeypatch):
    one = source(1)
    dull = []

    def fussy(truth, lift):
        dull.append(truth.meta["scene_id"])
        return dataclasses.replace(unprepared(truth, lift), dropped="dull" if len(dull) <= 4 else "")

    monkeypatch.setattr(scenes, "prepare_scene", fussy)
    batch, dropped = one.batch(0)
    assert (len(batch), dropped) == (2, 4)
    monkeypatch.setattr(scenes, "MOST_TRIES", 3)
    monkeypatch.setattr(scenes, "prepare_scene", lambda *g: dataclasses.replace(unprepared(*g), dropped="dull"))
    with pytest.raises(InputError, match="only 0 of 6 scenes can be rewarded"):
        one.batch(1)

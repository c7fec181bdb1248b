import itertools
import subprocess
import sys

import numpy as np
import pytest
import tiny_worlds
import torch

from phys4d.data import open_dataset, training_loader, write_dataset
from phys4d.errors import InputError, MissingFieldError

COUNT = 11


def write(out, make=tiny_worlds.make, count=COUNT):
    write_dataset(out, tiny_worlds.plan(count), make, arguments={}, shard_size=4, progress=False)
    return open_dataset(out)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write(tmp_path_factory.mktemp("worlds") / "DATA")


def keys(loader, count=None):
    return [batch["key"] for batch in itertools.islice(loader, count)]


def flat(batches):
    return [key for batch in batches for key in batch]


def equal(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name] for name in a
    )


def test_a_batch_is_the_worlds_it_names(dataset):
    fields = ("rgb", "depth", "camera", "visible", "tracks")
    loader = training_loader(dataset, batch_size=3, fields=fields)
    batch = next(iter(loader))
    tensors = {"rgb", "depth", "intrinsics", "world_from_camera", "visible", "tracks", "fps"}
    assert batch.keys() == tensors | {"key", "prompt", "meta"}
    assert batch["rgb"].shape == (3, 4, 16, 24, 3)
    assert batch["rgb"].dtype == torch.uint8
    assert batch["visible"].dtype == torch.bool
    assert batch["intrinsics"].shape == (3, 4, 3, 3)
    assert batch["world_from_camera"].shape == (3, 4, 4, 4)
    for i, key in enumerate(batch["key"]):
        world = dataset[int(key)]
        assert batch["prompt"][i] == f"ripples, number {int(key)}"
        assert batch["meta"][i] == world.meta
        assert batch["fps"][i] == 8.0
        assert np.array_equal(batch["depth"][i], world.depth)
        assert np.array_equal(batch["world_from_camera"][i], world.camera.world_from_camera)


def test_every_world_once_an_epoch_in_another_order(dataset):
    loader = training_loader(dataset, batch_size=2, fields=["rgb"], drop_last=False, epochs=2)
    batches = keys(loader)
    assert len(loader) == 6
    assert [len(batch) for batch in batches] == [2, 2, 2, 2, 2, 1] * 2
    first, second = flat(batches[:6]), flat(batches[6:])
    assert sorted(first) == sorted(second) == [f"{i:06d}" for i in range(COUNT)]
    assert first != second
    assert first != sorted(first)
    assert keys(loader) == batches
    other_seed = training_loader(dataset, batch_size=2, fields=["rgb"], drop_last=False, epochs=2, seed=1)
    assert keys(other_seed) != batches


def test_whole_batches_only_and_no_end(dataset):
    loader = training_loader(dataset, batch_size=4, fields=["rgb"])
    assert len(loader) == 2
    assert {len(batch) for batch in keys(loader, 7)} == {4}


@pytest.mark.parametrize("start", [0, 1, 5, 6, 13])
def test_resumed_equals_uninterrupted(dataset, start):
    options = {"batch_size": 2, "fields": ["rgb", "flow"], "seed": 7}
    whole = list(itertools.islice(training_loader(dataset, **options), 15))
    resumed = list(itertools.islice(training_loader(dataset, **options, start=start), 15 - start))
    assert all(equal(a, b) for a, b in zip(whole[start:], resumed, strict=True))
    later = training_loader(dataset, **options, epoch=1, start=start % 5)
    assert keys(later, 2) == [batch["key"] for batch in whole[5 + start % 5 :][:2]]


def test_workers_change_nothing(dataset):
    options = {"batch_size": 2, "fields": ["rgb", "scene_flow"], "seed": 2, "start": 3}
    alone = training_loader(dataset, **options)
    shared = training_loader(dataset, **options, workers=2)
    state = torch.random.get_rng_state()
    assert all(equal(a, b) for a, b in zip(itertools.islice(alone, 9), itertools.islice(shared, 9), strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_ranks_share_every_global_batch(dataset):
    whole = keys(training_loader(dataset, batch_size=4, fields=["rgb"]), 6)
    ranks = [
        keys(training_loader(dataset, batch_size=2, fields=["rgb"], rank=rank, world_size=2), 6) for rank in (0, 1)
    ]
    assert [a + b for a, b in zip(*ranks)] == whole


def test_several_data_sets_at_once(dataset, tmp_path):
    more = write(tmp_path / "MORE", count=2)
    loader = training_loader([dataset, more], batch_size=13, fields=["rgb"])
    assert sorted(next(iter(loader))["key"]) == sorted(["000000", "000001", *(f"{i:06d}" for i in range(COUNT))])


def test_a_missing_field_stops_before_training_starts(tmp_path):
    data = write(tmp_path / "DATA", tiny_worlds.make_rgb_only_every_third, count=6)
    with pytest.raises(MissingFieldError, match=r"2 of 6 worlds lack .*000000 in .*tar has no depth, camera"):
        training_loader(data, batch_size=2, fields=("rgb", "depth", "camera"))
    assert len(training_loader(data, batch_size=2, fields=["rgb"])) == 3
    labelled = data.select(fields=["depth", "camera"])
    batch = next(iter(training_loader(labelled, batch_size=4, fields=("rgb", "depth", "camera"))))
    assert sorted(batch["key"]) == ["000001", "000002", "000004", "000005"]


def test_mixed_sizes_are_refused(tmp_path):
    data = write(tmp_path / "DATA", tiny_worlds.make_two_sizes, count=4)
    with pytest.raises(InputError, match=r"several sizes.*4x16x16 \(2 worlds\), 4x16x24 \(2 worlds\)"):
        training_loader(data, batch_size=2, fields=["rgb"])
    assert len(training_loader(data.select(width=16), batch_size=2, fields=["rgb"])) == 1
    assert len(keys(training_loader(data, batch_size=1, fields=["rgb"], epochs=1))) == 4
    (tmp_path / "DATA" / "index.parquet").unlink()
    (tmp_path / "DATA" / "dataset.json").unlink()
    scanned = training_loader(open_dataset(tmp_path / "DATA"), batch_size=4, fields=["rgb"])
    with pytest.raises(InputError, match="a batch needs one size"):
        next(iter(scanned))


def test_impossible_loaders_are_refused(dataset):
    with pytest.raises(InputError, match="no field colour; its fields: rgb"):
        training_loader(dataset, batch_size=1, fields=["colour"])
    with pytest.raises(InputError, match="do not fill one batch of 6 on each of 2 ranks"):
        training_loader(dataset, batch_size=6, fields=["rgb"], world_size=2)
    with pytest.raises(InputError, match="0 worlds do not fill"):
        training_loader(dataset[:0], batch_size=1, fields=["rgb"])
    with pytest.raises(InputError, match="no data set is given"):
        training_loader([], batch_size=1, fields=["rgb"])
    for wrong in ({"batch_size": 0}, {"workers": -1}, {"start": -1}, {"rank": 2, "world_size": 2}):
        with pytest.raises(InputError, match="impossible loader"):
            training_loader(dataset, **{"batch_size": 1, "fields": ["rgb"], **wrong})


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_is_told_in_plain_words(tmp_path, workers):
    data = write(tmp_path / "DATA", count=2)
    shard = tmp_path / "DATA" / "shard-000000.tar"
    content = shard.read_bytes()
    at = content.index(b"000001.rgb.mkv") + 512
    shard.write_bytes(content[:at] + bytes(99) + content[at + 99 :])
    with pytest.raises(InputError, match=r"^\S*shard-000000\.tar: 000001: rgb\.mkv is damaged[^\n]*$"):
        list(training_loader(data, batch_size=2, fields=["rgb"], workers=workers, epochs=1))


DEAD_WORKER = """
import itertools, os, sys
import torch
from phys4d.data import open_dataset, training_loader
from phys4d.errors import WorkError

if __name__ == "__main__":
    batches = iter(training_loader(open_dataset(sys.argv[1]), batch_size=2, fields=["rgb"], workers=1))
    next(batches)
    for child in torch.multiprocessing.active_children():
        os.kill(child.pid, 9)
    try:
        list(itertools.islice(batches, 9))
    except WorkError as error:
        print("told:", error)
"""


def test_a_dead_worker_is_an_error(tmp_path):
    # In a process of its own: torch raises for a dead worker wherever the signal finds its process later on.
    write(tmp_path / "DATA", count=8)
    (tmp_path / "dead.py").write_text(DEAD_WORKER)
    command = [sys.executable, tmp_path / "dead.py", tmp_path / "DATA"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "told: " in done.stdout, done.stderr
    assert "a loader process died" in done.stdout

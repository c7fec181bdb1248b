"""Simulated data sets: which worlds, under which keys, and the same bytes whoever makes them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from phys4d import codecs, simulate
from phys4d.data import open_dataset
from phys4d.data.verify import verify
from phys4d.errors import InputError
from phys4d.sim.dataset import simulate_dataset

NAMES = ("ball_drop", "block_domino")
PARAMETERS = {"clips": 3, "seed": 5, "size": (16, 24), "frames": 4, "views": 2, "perturb": 1}


def make(out: Path, **changes):
    return simulate_dataset(out, NAMES, **{"shard_size": 5, "progress": False, **PARAMETERS, **changes})


def checksums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "DATA"
    summary = make(out)
    assert (summary.worlds, summary.shards, summary.made) == (12, 3, 12)
    return out


def test_clips_are_dealt_in_turn(dataset):
    keys = open_dataset(dataset).index.column("key").to_pylist()
    scenes = [("ball_drop", 5), ("block_domino", 5), ("ball_drop", 6)]
    assert keys == [f"{name}-{seed:06d}-p{p}-v{v}" for name, seed in scenes for p in (0, 1) for v in (0, 1)]


def test_the_index_says_where_each_world_comes_from(dataset):
    for row in open_dataset(dataset).index.to_pylist():
        assert row["key"] == f"{row['scene']}-{row['seed']:06d}-p{row['perturb']}-v{row['view']}"
        assert (row["frames"], row["height"], row["width"], row["fps"]) == (4, 16, 24, 12.0)
        assert row["category"] == "rigid"
        assert row["prompt"]


def test_views_share_an_event_and_perturbed_repetitions_do_not(dataset):
    rows = open_dataset(dataset).index.to_pylist()
    identities = {}
    for row in rows:
        identities.setdefault((row["scene"], row["seed"], row["perturb"]), set()).add(row["scene_id"])
    assert all(len(ids) == 1 for ids in identities.values())
    assert len({next(iter(ids)) for ids in identities.values()}) == len(identities) == 6
    worlds = open_dataset(dataset)
    first, second = worlds[0], worlds[1]
    assert first.meta["physics"] == second.meta["physics"]
    assert not np.array_equal(first.camera.world_from_camera, second.camera.world_from_camera)
    assert first.meta["physics"] != worlds[2].meta["physics"]
    assert np.array_equal(first.camera.world_from_camera, worlds[2].camera.world_from_camera)


def test_bytes_do_not_depend_on_workers(dataset, tmp_path):
    make(tmp_path / "DATA", workers=2)
    assert checksums(tmp_path / "DATA") == checksums(dataset)


@pytest.mark.parametrize("number", [0, 7])
def test_what_is_read_is_what_simulate_gives(dataset, number):
    ds = open_dataset(dataset)
    row, world = ds.row(number), ds[number]
    source = {name: row[name] for name in ("seed", "view", "perturb")}
    made = simulate(row["scene"], size=(16, 24), frames=4, **source)
    assert world.fields == made.fields
    assert world.meta == json.loads(json.dumps(made.meta))
    assert world.fps == made.fps
    for name in ("rgb", "visible", "segmentation", "track_visibility"):
        assert np.array_equal(getattr(world, name), getattr(made, name)), name
    assert np.array_equal(world.camera.intrinsics, made.camera.intrinsics)
    assert np.array_equal(world.camera.world_from_camera, made.camera.world_from_camera)
    assert (np.abs(world.depth - made.depth) <= codecs.log16_bound(made.depth) * made.depth).all()
    assert np.abs(world.flow - made.flow).max() <= codecs.FLOW_STEP / 2
    for name in ("scene_flow", "tracks"):
        # Half a step, and the rounding of the sum to float32.
        error = np.abs(getattr(world, name) - getattr(made, name))
        assert (error <= codecs.LENGTH_STEP / 2 + np.spacing(np.abs(getattr(made, name)))).all(), name


def test_it_is_whole(dataset):
    report = verify(dataset)
    assert report.ok, str(report)
    assert (report.worlds, report.frames, report.shards) == (12, 48, 3)
    assert report.flow_error is not None
    assert report.flow_error < 1e-3


def test_a_finished_set_returns_at_once(dataset, monkeypatch):
    def never(*_):
        raise AssertionError("nothing is to be made, and no kernel to be compiled")

    monkeypatch.setattr("phys4d.sim.dataset.load_kernels", never)
    before = checksums(dataset)
    assert make(dataset).made == 0
    assert make(dataset, workers=2).made == 0
    with pytest.raises(InputError, match=r"was made with perturb=1, not perturb=0; choose another --out"):
        make(dataset, perturb=0)
    assert checksums(dataset) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": 0}, "clips must be at least 1, not 0"),
        ({"perturb": -1}, "perturb must be at least 0, not -1"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": 2**63 - 1}, r"seed must stay below 2\^63"),
        ({"clips": 10**7}, "a data set holds 10000000"),
        ({"views": 65}, "views must lie between 1 and 64, not 65"),
        ({"device": "cuda:99"}, "unknown device 'cuda:99'"),
        ({"workers": 0}, "workers must be at least 1, not 0"),
    ],
)
def test_impossible_parameters_leave_nothing(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path / "DATA", **changes)
    assert not (tmp_path / "DATA").exists()


def test_unknown_names_leave_nothing(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'ball_drop'"):
        simulate_dataset(tmp_path / "DATA", ["bal_drop"], clips=1)
    with pytest.raises(InputError, match="no scene is named"):
        simulate_dataset(tmp_path / "DATA", [], clips=1)
    assert not (tmp_path / "DATA").exists()

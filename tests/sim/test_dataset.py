"""Simulated data sets: which worlds, under which keys, and the same bytes whoever makes them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from phys4d import codecs, simulate
from phys4d.data import open_dataset
from phys4d.data.verify import verify
from phys4d.errors import ExplodedError, InputError, WorkError
from phys4d.sim import dataset as datasets
from phys4d.sim.catalog import SCENES
from phys4d.sim.dataset import Clip, make_clip, replacement_seed, simulate_dataset
from phys4d.sim.engines import engine_of

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


class Bomb:
    """An engine that explodes for chosen (seed, perturb), told by what the scene looks like."""

    def __init__(self, monkeypatch, explodes) -> None:
        real = engine_of("mujoco")
        self.asked: list[tuple[int, int]] = []
        now: list[tuple[int, int]] = []

        def build(name, seed=0, perturb=0):
            now.append((seed, perturb))
            return real_build(name, seed, perturb)

        def run(spec, frames, fps):
            self.asked.append(now.pop())
            if explodes(*self.asked[-1]):
                raise ExplodedError(f"scene {spec.name} exploded")
            return real(spec, frames, fps)

        from phys4d.sim import simulate as simulating

        real_build = datasets.build
        for module in (datasets, simulating):
            monkeypatch.setattr(module, "build", build)
            monkeypatch.setattr(module, "engine_of", lambda _: run)


def clip(seed: int = 5, view: int = 0, perturb: int = 0) -> Clip:
    return Clip("ball_drop", seed, view, perturb, (8, 8), 2, 12.0, "static", None)


def test_a_scene_that_explodes_is_replaced_for_all_its_views_and_repetitions(monkeypatch):
    Bomb(monkeypatch, lambda seed, perturb: seed == 5)
    made = [make_clip(clip(view=view, perturb=perturb)) for view in (0, 1) for perturb in (0, 1)]
    assert {world.meta["seed"] for world in made} == {replacement_seed("ball_drop", 5, 1)}
    assert [world.meta["perturb"] for world in made] == [0, 1, 0, 1]
    assert made[0].meta["physics"] == made[2].meta["physics"]
    assert made[0].meta["replaces"] == {"seed": 5, "perturb": 0, "causes": ["scene ball_drop exploded"]}
    assert "replaces" not in make_clip(clip(seed=6)).meta


def test_a_repetition_that_explodes_alone_is_replaced_alone(monkeypatch):
    Bomb(monkeypatch, lambda seed, perturb: perturb == 1)
    world = make_clip(clip(perturb=1))
    assert (world.meta["seed"], world.meta["perturb"]) == (5, 1 + datasets.MOST_WORLDS)
    assert world.meta["replaces"]["perturb"] == 1
    assert make_clip(clip(perturb=2)).meta["perturb"] == 2


def test_a_scene_that_always_explodes_is_failed_work(monkeypatch):
    Bomb(monkeypatch, lambda seed, perturb: True)
    with pytest.raises(WorkError, match=r"ball_drop exploded; so did what was tried in its place \(16 in all\)"):
        make_clip(clip())


PLANTED = """
from phys4d.sim.catalog import Layout, scene
from phys4d.sim.scene import Body
from phys4d.sim.dressing import MATERIALS
from phys4d.sim.shapes import Sphere

@scene("planted", "Two {stuff} balls, at times one inside the other.", category="planted")
def planted(draw):
    apart = 0.1 if draw.uniform(0, 1) < 0.5 else 1.0
    look = draw.look_of("rubber", 0.3)
    a, b = (Body(n, Sphere(0.3), MATERIALS["rubber"], look, (x, 0, 1)) for n, x in (("a", 0), ("b", apart)))
    return Layout((a, b), {"stuff": "rubber"})
"""


@pytest.fixture
def planted():
    exec(PLANTED, {})
    yield "planted"
    SCENES._entries.pop("planted")


def test_a_planted_scene_that_explodes_for_some_seeds(planted, tmp_path):
    """In MuJoCo itself: what explodes is not written, but recorded and replaced, and the same when continued."""
    settings = {"clips": 8, "size": (8, 8), "frames": 3, "shard_size": 3, "progress": False}
    summary = simulate_dataset(tmp_path / "A", [planted], **settings)
    assert 1 <= len(summary.replaced) <= 7
    assert "replaced: planted-" in str(summary)
    assert "its energy rose" in str(summary)
    ds = open_dataset(tmp_path / "A")
    records = [json.loads(file.read_text()) for file in sorted((tmp_path / "A").glob("shard-*.json"))]
    replaced = [entry for record in records for entry in record.get("replaced", ())]
    assert len(replaced) == len(summary.replaced)
    for entry in replaced:
        row = next(row for row in ds.index.to_pylist() if row["key"] == entry["key"])
        assert entry["seed"] != row["seed"] >= 2**62
        assert entry["causes"]
    assert all(np.isfinite(ds[i].tracks).all() for i in range(len(ds)))
    assert verify(tmp_path / "A").ok
    # Interrupted: the index and the second shard are lost, and made again.
    before = checksums(tmp_path / "A")
    for lost in ("index.parquet", "shard-000001.tar", "shard-000001.json"):
        (tmp_path / "A" / lost).unlink()
    again = simulate_dataset(tmp_path / "A", [planted], **settings)
    assert again.replaced == summary.replaced
    assert checksums(tmp_path / "A") == before
    assert simulate_dataset(tmp_path / "A", [planted], **settings).replaced == summary.replaced

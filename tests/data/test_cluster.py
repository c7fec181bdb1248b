"""Shards made as Ray tasks are the same as those made here."""

from __future__ import annotations

import functools

import pytest
import tiny_worlds

from phys4d.data.writer import Item, sha256, write_dataset
from phys4d.errors import WorkError

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    # Started once for all tests here, and with the path by which its workers find the helper module.
    import os
    from pathlib import Path

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
    )
    yield
    ray.shutdown()


def test_the_same_shards_as_without_it(tmp_path):
    plan = [Item(f"world-{k:03d}", {"seed": k}) for k in range(7)]
    write = functools.partial(
        write_dataset, plan=plan, make=tiny_worlds.make, arguments={"seed": 0}, shard_size=3, progress=False
    )
    here, there = write(tmp_path / "here"), write(tmp_path / "there", ray=True)
    assert (here.worlds, here.shards, here.made) == (there.worlds, there.shards, there.made) == (7, 3, 7)
    for shard in sorted((tmp_path / "here").glob("*.tar")):
        assert sha256(shard) == sha256(tmp_path / "there" / shard.name)
    index = [(tmp_path / name / "index.parquet").read_bytes() for name in ("here", "there")]
    assert index[0] == index[1]
    assert write(tmp_path / "there", ray=True).made == 0


def _fails(payload):
    if payload["seed"] == 4:
        raise ValueError("no such world")
    return tiny_worlds.make(payload)


def test_a_failing_item_is_named_and_finished_shards_stay(tmp_path):
    plan = [Item(f"world-{k:03d}", {"seed": k}) for k in range(6)]
    write = functools.partial(
        write_dataset, tmp_path / "data", plan, arguments={"seed": 0}, shard_size=2, progress=False, ray=True
    )
    with pytest.raises(WorkError, match=r"world-004 could not be made: .*no such world"):
        write(_fails)
    assert not (tmp_path / "data" / "index.parquet").exists()
    assert not list((tmp_path / "data").glob(".*partial"))
    assert write(tiny_worlds.make).worlds == 6

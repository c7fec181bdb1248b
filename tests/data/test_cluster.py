"""Shards made as Ray tasks are the same as those made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phys4d.data.writer import sha256

pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")

HERE = Path(__file__).parent
TRIES = 3
"""Ray may lose its node on a starved machine, and takes the process with it; that is not ours to test."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder that `ray_shards.py` filled, and what it told."""
    for _ in range(TRIES):
        folder = tmp_path_factory.mktemp("ray")
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        command = [sys.executable, str(HERE / "ray_shards.py"), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        # An error of ours comes with a traceback and is not tried again.
        if done.returncode == 0 or "Traceback" in done.stderr:
            break
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return folder, json.loads((folder / "told.json").read_text())


def test_the_same_shards_as_without_it(made):
    folder, told = made
    for name in ("here", "there"):
        assert (told[name]["worlds"], told[name]["shards"], told[name]["made"]) == (7, 3, 7)
    for shard in sorted((folder / "here").glob("*.tar")):
        assert sha256(shard) == sha256(folder / "there" / shard.name)
    index = [(folder / name / "index.parquet").read_bytes() for name in ("here", "there")]
    assert index[0] == index[1]
    assert told["again"]["made"] == 0


def test_a_failing_item_is_named_and_finished_shards_stay(made):
    _, told = made
    assert "000004 could not be made" in told["error"]
    assert "no such world" in told["error"]
    assert "index.parquet" not in told["left"]
    assert not [name for name in told["left"] if "partial" in name]
    assert told["mended"]["worlds"] == 6

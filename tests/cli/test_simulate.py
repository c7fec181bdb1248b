"""Simulating from the command line: continued, refused, interrupted, and never half done."""

import errno
import hashlib
import re
import signal
import warnings
from pathlib import Path

import pytest
from kit import SIMULATE, checksums, start, wait_for

from phys4d.cli import main
from phys4d.data import open_dataset
from phys4d.errors import Phys4DWarning, WorkError


def test_simulate_says_what_it_made(run, tmp_path):
    code, out, _ = run(*SIMULATE, "--out", tmp_path / "DATA")
    assert code == 0
    assert re.fullmatch(r".*DATA: 3 worlds in 2 shards, [\d.]+ MB; 3 made now\n", out)
    code, out, _ = run("verify", tmp_path / "DATA")
    assert code == 0
    assert "data set, whole (3 worlds, 9 frames, 2 shards" in out


def test_one_of_each_name_by_default(run, tmp_path):
    out = tmp_path / "DATA"
    words = ("--size", "16", "16", "--frames", "2", "--out", out)
    assert run("simulate", "--scene", "ball_ramp", "ball_drop", "ball_ramp", *words)[0] == 0
    assert open_dataset(out).index.column("scene").to_pylist() == ["ball_ramp", "ball_drop"]


def test_one_frame_is_a_world(run, tmp_path):
    out = tmp_path / "DATA"
    assert run("simulate", "--scene", "ball_drop", "--size", "16", "16", "--frames", "1", "--out", out)[0] == 0
    assert run("verify", out)[0] == 0
    assert run("export", out, "--to", "html", "--out", tmp_path / "a.html")[0] == 0


def test_the_same_command_returns_at_once(run, data, monkeypatch):
    def never(*_):
        raise AssertionError("nothing is to be made, and no kernel to be compiled")

    monkeypatch.setattr("phys4d.sim.dataset.load_kernels", never)
    before = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in data.iterdir()}
    for more in ((), ("--workers", "2")):
        code, out, _ = run(*SIMULATE, *more, "--out", data)
        assert code == 0
        assert out.endswith("all of them were there already\n")
    assert {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in data.iterdir()} == before


OTHERS = [
    ("--seed 4", "was made with seed=0, not seed=4"),
    ("--fps 24", "was made with fps=12.0, not fps=24.0"),
    ("--views 2", "was made with views=1, not views=2"),
    ("--camera orbit", "was made with camera=null, not camera=orbit"),
]


@pytest.mark.parametrize(("words", "message"), OTHERS)
def test_other_arguments_are_refused(refused, data, words, message):
    before = checksums(data)
    said = refused(*SIMULATE, *words.split(), "--out", data)
    assert f"{message}; choose another --out" in said
    assert checksums(data) == before


def test_impossible_places(refused, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("dear")
    file = tmp_path / "folder" / "letter.txt"
    assert "a file stands where a folder is needed" in refused(*SIMULATE, "--out", file)
    assert "a file stands where a folder is needed" in refused(*SIMULATE, "--out", file / "DATA")
    assert "holds letter.txt and is not a data set of ours" in refused(*SIMULATE, "--out", tmp_path / "folder")
    assert "cannot be a file (File name too long)" in refused(*SIMULATE, "--out", tmp_path / ("x" * 300))
    if Path("/proc/self").exists():
        assert "cannot be made there" in refused(*SIMULATE, "--out", "/proc/phys4d")
    assert checksums(tmp_path) == {"folder/letter.txt": hashlib.sha256(b"dear").hexdigest()}


def test_a_place_without_permission(refused, tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "DATA"))

    monkeypatch.setattr("phys4d.data.writer.os.open", forbidden)
    assert "no permission to write there" in refused(*SIMULATE, "--out", tmp_path / "DATA")


def test_a_full_disk(run, made, tmp_path, monkeypatch):
    from webdataset.writer import TarWriter

    write = TarWriter.write

    def until_full(self, sample):
        if sample["__key__"].startswith("ball_drop-000002"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, sample)

    monkeypatch.setattr(TarWriter, "write", until_full)
    code, _, err = run(*SIMULATE, "--out", tmp_path / "DATA")
    assert code == 1
    assert "shard-000001.tar: the disk is full; free some space and run the same command again" in err
    assert sorted(checksums(tmp_path / "DATA")) == ["dataset.json", "shard-000000.json", "shard-000000.tar"]
    monkeypatch.undo()
    assert run(*SIMULATE, "--out", tmp_path / "DATA")[0] == 0
    assert checksums(tmp_path / "DATA") == checksums(made)


def test_an_explosion_is_failed_work(run, tmp_path, monkeypatch):
    def explode(*_):
        raise WorkError("the simulation exploded at frame 2")

    monkeypatch.setattr("phys4d.sim.simulate.engine_of", lambda _: explode)
    code, _, err = run(*SIMULATE, "--out", tmp_path / "DATA")
    assert code == 1
    assert "ball_drop-000000-p0-v0 could not be made: the simulation exploded at frame 2" in err


def test_a_damaged_shard_is_said_and_made_again(run, data, made):
    (data / "index.parquet").unlink()
    (data / "shard-000001.tar").write_bytes(b"damage")
    with warnings.catch_warnings():
        warnings.simplefilter("default", Phys4DWarning)
        code, _, err = run(*SIMULATE, "--out", data)
    assert code == 0
    assert err.startswith(f"phys4d: warning: {data / 'shard-000001.tar'}: is damaged and will be made again\n")
    assert checksums(data) == checksums(made)


SLOW = (
    "simulate",
    "--scene",
    "ball_drop",
    "--size",
    "64",
    "64",
    "--frames",
    "9",
    "--clips",
    "8",
    "--shard-size",
    "2",
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "DATA"
    assert main([*SLOW, "--out", str(out)]) == 0
    return checksums(out)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_simulation_continues_to_the_same_bytes(run, uninterrupted, tmp_path, end):
    out = tmp_path / "DATA"
    process = start(*SLOW, "--out", out)
    wait_for(lambda: (out / "shard-000000.json").exists(), process)
    process.send_signal(end)
    _, err = process.communicate(timeout=120)
    assert not (out / "index.parquet").exists()
    assert process.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    if end == signal.SIGINT:
        assert "interrupted; what was finished stays, the same command continues" in err
        assert "Traceback" not in err
    code, _, err = run("export", out, "--to", "html", "--out", tmp_path / "a.html")
    assert code == 2
    assert "is not finished; run the same command again" in err
    code, text, _ = run("verify", out)
    assert code == 1
    assert "is not finished" in text
    assert run(*SLOW, "--out", out)[0] == 0
    assert checksums(out) == uninterrupted

import errno
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tiny_worlds
import webdataset
from webdataset.writer import TarWriter

from phys4d.data import Item, open_dataset, write_dataset
from phys4d.data.verify import verify
from phys4d.errors import InputError, MissingFieldError, Phys4DWarning, WorkError
from phys4d.world import World4D

ARGUMENTS = {"scene": "ripples", "seed": 3, "size": [16, 24]}


def write(out, count=7, make=tiny_worlds.make, *, arguments=ARGUMENTS, workers=1, shard_size=3, **payload):
    return write_dataset(
        out,
        tiny_worlds.plan(count, **payload),
        make,
        arguments=arguments,
        workers=workers,
        shard_size=shard_size,
        progress=False,
    )


def checksums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def same(a: World4D, b: World4D, fields=World4D.FIELDS) -> bool:
    def arrays(world):
        named = {name: getattr(world, name) for name in fields if name != "camera"}
        return {
            **named,
            "k": world.camera and world.camera.intrinsics,
            "pose": world.camera and world.camera.world_from_camera,
        }

    return (
        a.meta == b.meta
        and a.fps == b.fps
        and all(np.array_equal(x, y) for x, y in zip(arrays(a).values(), arrays(b).values()))
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("worlds") / "DATA"
    write(out)
    return out


@pytest.fixture
def copy(dataset, tmp_path) -> Path:
    """A copy that a test may damage."""
    out = tmp_path / "DATA"
    out.mkdir()
    for file in dataset.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    return out


def test_bytes_do_not_depend_on_workers(dataset, tmp_path):
    summary = write(tmp_path / "DATA", workers=2)
    assert (summary.worlds, summary.shards, summary.made) == (7, 3, 7)
    assert checksums(tmp_path / "DATA") == checksums(dataset)
    assert not multiprocessing.active_children()


def test_reads_what_was_made(dataset):
    ds = open_dataset(dataset)
    assert len(ds) == 7
    for i, world in enumerate(ds):
        made = tiny_worlds.make({"seed": i})
        assert world.meta == made.meta
        assert world.fps == made.fps
        assert np.array_equal(world.rgb, made.rgb)
        assert np.abs(world.flow - made.flow).max() <= 2**-11
        assert same(world, ds[i])
        assert same(world, ds[i - 7])


def test_random_access_in_any_order_and_process(dataset):
    ds = open_dataset(dataset)
    again = pickle.loads(pickle.dumps(ds))
    for i in (6, 0, 3, 2):
        assert ds[i].meta["seed"] == i
        assert same(ds[i], again[i])
    with pytest.raises(IndexError):
        ds[7]
    with pytest.raises(IndexError):
        ds[-8]
    assert [world.meta["seed"] for world in ds[5:1:-2]] == [5, 3]


def test_index_says_what_is_there(dataset):
    row = open_dataset(dataset).row(4)
    assert row["key"] == "000004"
    assert row["shard"] == "shard-000001.tar"
    assert (row["frames"], row["height"], row["width"], row["fps"]) == (4, 16, 24, 8.0)
    assert (row["scene"], row["scene_id"], row["seed"]) == ("waves", "ripples-4", 4)
    assert row["volumetric"] is False
    assert row["category"] is None
    assert "tracks" in row["fields"]
    assert "confidence" not in row["fields"]
    with tarfile.open(row["path"]) as tar:
        names = [member.name for member in tar if member.offset >= row["offset"]][:1]
    assert names == ["000004.camera.npz"]


def test_reads_only_the_fields_that_are_asked_for(dataset, monkeypatch):
    ds = open_dataset(dataset)
    world = ds.read(2, fields=("depth", "camera"))
    assert world.fields == ("depth", "camera")
    assert same(world, ds[2], fields=("depth", "camera"))
    monkeypatch.setattr("phys4d.data.shards._READ_AT_ONCE", 0)  # the way of large worlds
    assert same(ds.read(2, fields=("depth", "camera")), world)
    assert ds.read(2, fields=()).meta["seed"] == 2
    with pytest.raises(MissingFieldError, match=r"shard-000000\.tar: 000002 has no confidence"):
        ds.read(2, fields=("rgb", "confidence"))


def test_worlds_without_pictures(tmp_path):
    write(tmp_path / "DATA", make=tiny_worlds.make_tracks_only, count=2)
    ds = open_dataset(tmp_path / "DATA")
    assert ds[1].fields == ("tracks", "track_visibility")
    assert [ds.row(1)[name] for name in ("frames", "height", "width")] == [4, None, None]
    assert verify(tmp_path / "DATA").ok


def test_select_and_lists(dataset):
    ds = open_dataset([dataset, dataset / "shard-000002.tar"])
    assert len(ds) == 8
    assert [world.meta["seed"] for world in ds.select(scene="ripples")] == [1, 3, 5]
    assert [row["seed"] for row in ds.select(seed=[6, 2]).index.to_pylist()] == [2, 6, 6]
    assert len(ds.select(category=None)) == 8
    assert len(ds.select(volumetric=True)) == 0
    assert len(ds.select(fields=["depth", "flow"])) == 8
    assert len(ds.select(fields=["confidence"])) == 0
    with pytest.raises(InputError, match="no column 'colour'"):
        ds.select(colour="red")
    with pytest.raises(InputError, match="does not fit"):
        ds.select(seed="three")
    assert isinstance(ds.index, pa.Table)


def test_webdataset_reads_our_shards(dataset):
    shards = [str(shard) for shard in sorted(dataset.glob("*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{i:06d}" for i in range(7)]
    for i, sample in enumerate(samples):
        members = tiny_worlds.make({"seed": i}).to_members()
        assert {name: sample[name] for name in sample if not name.startswith("__")} == members


def test_tar_carries_no_clock_and_no_owner(dataset):
    with tarfile.open(dataset / "shard-000000.tar") as tar:
        assert {(member.mtime, member.uid, member.gid) for member in tar} == {(0, 0, 0)}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_opens_tars_made_by_others(dataset, tmp_path, form):
    """With clocks in fractions of a second and long names, which need extended headers, and unknown members."""
    folder = "b" * 120 if form != tarfile.USTAR_FORMAT else "b"
    with tarfile.open(tmp_path / "theirs.tar", "w", format=form) as tar:
        for i, world in enumerate(open_dataset(dataset)):
            for name, data in {"caption.txt": b"hello", **world.to_members()}.items():
                info = tarfile.TarInfo(f"{folder}/{i:03d}.{name}")
                info.size, info.mtime = len(data), 1.5 if form == tarfile.PAX_FORMAT else 1
                tar.addfile(info, io.BytesIO(data))
    for path in (tmp_path, tmp_path / "theirs.tar"):
        ds = open_dataset(path)
        assert len(ds) == 7
        assert ds.row(3)["key"] == f"{folder}/003"
        assert ds.row(3)["scene"] == "ripples"
        assert all(same(a, b) for a, b in zip(ds, open_dataset(dataset)))


def test_finished_set_returns_at_once(dataset):
    before = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in dataset.iterdir()}
    summary = write(dataset, workers=2, make=tiny_worlds.fail_at_five)
    assert (summary.worlds, summary.made) == (7, 0)
    assert summary.size == sum(file.stat().st_size for file in dataset.glob("*.tar"))
    assert {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in dataset.iterdir()} == before


@pytest.mark.parametrize("finished", [True, False])
def test_other_arguments_are_refused(copy, finished):
    if not finished:
        (copy / "index.parquet").unlink()
    with pytest.raises(InputError, match=r"DATA: was made with seed=3, not seed=4; choose another --out"):
        write(copy, arguments={**ARGUMENTS, "seed": 4})
    with pytest.raises(InputError, match=r"scene=ripples, views=null, not scene=waves, views=2"):
        write(copy, arguments={**ARGUMENTS, "scene": "waves", "views": 2})
    with pytest.raises(InputError, match=r"shard_size=3, not shard_size=4"):
        write(copy, shard_size=4)
    with pytest.raises(InputError, match=r"other worlds \(7 then, 8 now"):
        write(copy, count=8)


def test_another_version_does_not_continue(copy):
    record = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**record, "phys4d": "0.0.1"}))
    assert write(copy).made == 0
    (copy / "index.parquet").unlink()
    with pytest.raises(InputError, match=r"begun by phys4d 0\.0\.1"):
        write(copy)


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("me")
    with pytest.raises(InputError, match=r"holds dear\.txt"):
        write(tmp_path / "letters")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        write(tmp_path / "letters" / "dear.txt")
    assert [file.name for file in (tmp_path / "letters").iterdir()] == ["dear.txt"]


@pytest.mark.parametrize("keys", [["a.b"], ["a/b"], [""], ["x" * 81], ["a", "a"], []])
def test_impossible_keys_are_refused(tmp_path, keys):
    with pytest.raises(InputError):
        write_dataset(tmp_path / "DATA", [Item(key) for key in keys], tiny_worlds.make, arguments={})
    assert not (tmp_path / "DATA").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_item_is_named_and_finished_shards_stay(dataset, tmp_path, workers):
    out = tmp_path / "DATA"
    with pytest.raises(WorkError, match="000005 could not be made: RuntimeError: the solver exploded"):
        write(out, make=tiny_worlds.fail_at_five, workers=workers)
    assert [file.name for file in sorted(out.iterdir())] == [
        "dataset.json",
        "shard-000000.json",
        "shard-000000.tar",
    ]
    with pytest.raises(InputError, match="not finished"):
        open_dataset(out)
    assert write(out).made == 4
    assert checksums(out) == checksums(dataset)


def test_a_dying_worker_is_an_error_and_no_hang(dataset, tmp_path):
    out = tmp_path / "DATA"
    with pytest.raises(WorkError, match=r"a worker process died .*000005"):
        write(out, make=tiny_worlds.die_at_five, workers=2)
    assert not multiprocessing.active_children()
    write(out)
    assert checksums(out) == checksums(dataset)


SCRIPT = """
import sys
import tiny_worlds
from phys4d.data import write_dataset

if __name__ == "__main__":
    out, log, workers, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    plan = tiny_worlds.plan(7, log=log, seconds=seconds)
    write_dataset(out, plan, tiny_worlds.make_slowly, arguments={"scene": "ripples", "seed": 3, "size": [16, 24]},
                  workers=workers, shard_size=3)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_continues_after_being_killed(dataset, tmp_path, end):
    out, log = tmp_path / "DATA", tmp_path / "log"
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", out, log, "2", "0.2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(tiny_worlds.__file__).parent)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (out / "shard-000000.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    # Ctrl-C reaches the whole group; kill -9 the parent alone.
    (os.kill if end == signal.SIGKILL else os.killpg)(process.pid, end)
    process.communicate(timeout=60)
    assert not (out / "index.parquet").exists()
    with pytest.raises(InputError, match="not finished; run the same command again"):
        open_dataset(out)
    # No orphan goes on working: each item takes 0.2 s.
    signed = log.read_text().split()
    time.sleep(0.5)
    assert log.read_text().split() == signed
    log.unlink()
    write(out, make=tiny_worlds.make_slowly, log=str(log), seconds=0)
    assert checksums(out) == checksums(dataset)
    assert [int(seed) for seed in log.read_text().split()] == [3, 4, 5, 6]


def test_a_full_disk_is_said_to_be(dataset, tmp_path, monkeypatch):
    out = tmp_path / "DATA"
    tar_write = TarWriter.write

    def until_full(self, sample):
        if sample["__key__"] == "000004":
            raise OSError(errno.ENOSPC, "No space left on device")
        return tar_write(self, sample)

    monkeypatch.setattr(TarWriter, "write", until_full)
    with pytest.raises(WorkError, match=r"shard-000001\.tar: the disk is full; free some space and run the same"):
        write(out)
    assert sorted(file.name for file in out.iterdir()) == ["dataset.json", "shard-000000.json", "shard-000000.tar"]
    monkeypatch.undo()
    assert write(out).made == 4
    assert checksums(out) == checksums(dataset)


def test_two_writers_do_not_share_a_folder(tmp_path):
    out = tmp_path / "DATA"

    def write_the_same(payload):
        with pytest.raises(InputError, match="another process is writing it"):
            write(out)
        return tiny_worlds.make(payload)

    write(out, make=write_the_same, count=1)


def test_a_damaged_shard_is_made_again(dataset, copy):
    (copy / "index.parquet").unlink()
    data = bytearray((copy / "shard-000001.tar").read_bytes())
    data[3000] ^= 255
    (copy / "shard-000001.tar").write_bytes(data)
    with pytest.warns(Phys4DWarning, match=r"shard-000001\.tar: is damaged and will be made again"):
        assert write(copy).made == 3
    (copy / "index.parquet").unlink()
    (copy / "shard-000002.json").unlink()
    assert write(copy).made == 1
    assert checksums(copy) == checksums(dataset)


def test_damage_is_named_with_shard_and_key(copy):
    ds = open_dataset(copy)
    row = ds.row(4)
    shard = copy / row["shard"]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: row["offset"] + 700])
    with pytest.raises(InputError, match=r"shard-000001\.tar: 000004 should lie in bytes"):
        ds[4]
    with pytest.raises(InputError, match=r"shard-000001\.tar: (is damaged|not a readable tar)"):
        open_dataset(shard)
    shard.write_bytes(whole[: row["offset"]] + bytes([255]) * 512 + whole[row["offset"] + 512 :])
    with pytest.raises(InputError, match=r"shard-000001\.tar: 000004 is damaged"):
        ds[4]
    with pytest.raises(InputError, match=r"shard-000001\.tar: is damaged"):
        open_dataset(shard)
    shard.write_bytes(whole[: row["offset"]] + whole[: len(whole) - row["offset"]])
    with pytest.raises(InputError, match=r"000004 is damaged \(000003\.camera\.npz lies where"):
        ds[4]
    at = whole.index(b"000004.rgb.mkv") + 512
    shard.write_bytes(whole[:at] + bytes(200) + whole[at + 200 :])
    with pytest.raises(InputError, match=r"shard-000001\.tar: 000004: rgb\.mkv is damaged"):
        ds[4]
    assert ds.read(4, fields=["depth"]).depth is not None
    shard.unlink()
    with pytest.raises(InputError, match=r"shard-000001\.tar: cannot be read"):
        ds[4]
    with pytest.raises(InputError, match=r"the shard shard-000001\.tar of its index is missing"):
        open_dataset(copy)


def test_what_is_no_data_set_is_refused(dataset, tmp_path, copy):
    with pytest.raises(InputError, match="no such data set"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no data set is given"):
        open_dataset([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a data set"):
        open_dataset(tmp_path / "empty")
    with pytest.raises(InputError, match=r"use World4D\.load"):
        open_dataset(open_dataset(dataset)[0].save(tmp_path / "world"))
    (tmp_path / "text.tar").write_text("x" * 2000)
    with pytest.raises(InputError, match=r"text\.tar: not a readable tar shard"):
        open_dataset(tmp_path / "text.tar")
    with tarfile.open(tmp_path / "bare.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("000.rgb.mkv"))
    with pytest.raises(InputError, match=r"bare\.tar: 000 has no meta\.json; it has rgb\.mkv"):
        open_dataset(tmp_path / "bare.tar")
    with tarfile.open(tmp_path / "void.tar", "w"):
        pass
    with pytest.raises(InputError, match="holds no world"):
        open_dataset(tmp_path / "void.tar")
    (copy / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"index\.parquet: not a readable index"):
        open_dataset(copy)

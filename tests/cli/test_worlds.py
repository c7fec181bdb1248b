"""view, export and verify, on whatever they are pointed at."""

import errno
import http.client
import json
import re
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from kit import checksums, start
from PIL import Image

from phys4d import World4D
from phys4d.errors import InputError


@pytest.fixture
def odd(tmp_path) -> Path:
    """A folder of things that are no worlds."""
    folder = tmp_path / "odd"
    (folder / "empty").mkdir(parents=True)
    (folder / "letters").mkdir()
    (folder / "letters" / "dear.txt").write_text("me")
    for name in ("text.txt", "text.mp4", "text.tar"):
        (folder / name).write_text("once upon a time " * 100)
    (folder / "zero.mp4").write_bytes(b"")
    sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
    sound.sample_rate = 8000
    with av.open(str(folder / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with av.open(str(folder / "still.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
    return folder


ODD = [
    ("nowhere", "no such file or folder"),
    ("empty", "holds no world.\nA world is a world folder, a data set,"),
    ("letters", "holds no world."),
    ("text.txt", "not a readable video (it is a text).\nA world is"),
    ("text.mp4", "not a readable video (Invalid data found when processing input).\nA world is"),
    ("zero.mp4", "not a readable video"),
    ("still.mp4", ""),
    ("sound.wav", "has no video stream.\nA world is"),
    ("text.tar", "not a readable tar shard"),
]


@pytest.mark.parametrize(("name", "message"), ODD)
def test_what_is_no_world(refused, odd, name, message):
    out = odd / "out.html"
    assert refused("export", odd / name, "--to", "html", "--out", out).startswith(f"{odd / name}: {message}")
    assert refused("view", odd / name).startswith(f"{odd / name}: {message}")
    assert not out.exists()


@pytest.mark.parametrize("name", ["nowhere", "empty", "letters", "text.txt", "text.mp4", "sound.wav"])
def test_what_cannot_be_verified(refused, odd, name):
    assert re.search(
        "no such file or folder|nothing that can be verified; known: world", refused("verify", odd / name)
    )


def test_a_tar_that_is_no_shard_is_damage(run, odd):
    code, out, _ = run("verify", odd / "text.tar")
    assert code == 1
    assert "shard, 1 problem (0 worlds" in out
    assert "text.tar: not a readable tar shard" in out


def test_a_picture_is_a_video_of_one_frame(run, tmp_path):
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    code, out, _ = run("export", tmp_path / "photo.png", "--to", "npz", "--out", tmp_path / "photo.npz")
    assert (code, out) == (0, f"{tmp_path / 'photo.npz'}\n")
    with np.load(tmp_path / "photo.npz") as stored:
        assert stored["rgb"].shape == (1, 20, 30, 3)
    assert run("export", tmp_path / "photo.png", "--to", "html", "--out", tmp_path / "photo.html")[0] == 0


def test_a_truncated_video_gives_what_is_left_or_is_refused(run, tmp_path):
    movie = tmp_path / "movie.mp4"
    with av.open(str(movie), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for picture in np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    whole = movie.read_bytes()
    movie.write_bytes(whole[: len(whole) * 2 // 3])
    code, _, _ = run("export", movie, "--to", "world", "--out", tmp_path / "world")
    assert code == 0
    assert 0 < World4D.load(tmp_path / "world").frames < 12
    movie.write_bytes(whole[:60])
    assert run("export", movie, "--to", "world", "--out", tmp_path / "other")[0] == 2
    assert not (tmp_path / "other").exists()


def test_the_index_chooses_a_world(run, refused, data, world, tmp_path):
    out = tmp_path / "world.npz"
    for index, seed in ((2, 2), (-1, 2), (0, 0)):
        assert run("export", data, "--index", index, "--to", "npz", "--out", out)[0] == 0
        with np.load(out) as stored:
            assert json.loads(str(stored["meta"]))["seed"] == seed
    export = ("--to", "npz", "--out", out)
    assert "holds 3 worlds, numbered from 0; there is no world 3" in refused("export", data, "--index", 3, *export)
    assert "there is no world -4" in refused("export", data, "--index", -4, *export)
    assert run("export", data / "shard-000000.tar", "--index", 1, *export)[0] == 0
    assert "holds 2 worlds" in refused("export", data / "shard-000000.tar", "--index", 2, *export)
    assert "is one world, so it has no world 2" in refused("export", world, "--index", 2, *export)


def test_damaged_data_sets_are_refused_and_named(run, refused, data, tmp_path):
    export = ("--to", "html", "--out", tmp_path / "out.html")
    shard = data / "shard-000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    said = refused("export", data, "--index", 2, *export)
    assert "shard-000001.tar: ball_drop-000002-p0-v0 should lie in bytes 0 to" in said
    assert "not a readable tar shard (unexpected end of data)" in refused("export", shard, *export)
    code, out, _ = run("verify", data)
    assert code == 1
    assert "shard-000001.tar: not a readable tar shard" in out
    assert "ball_drop-000002-p0-v0 is in the index and not in the shard" in out
    at = whole.index(b"ball_drop-000002-p0-v0.flow.npz") + 700
    shard.write_bytes(whole[:at] + bytes(40) + whole[at + 40 :])
    code, out, _ = run("verify", data)
    assert code == 1
    assert "shard-000001.tar: ball_drop-000002-p0-v0: flow.npz is damaged" in out
    shard.unlink()
    assert "the shard shard-000001.tar of its index is missing" in refused("export", data, *export)
    assert run("verify", data)[0] == 1
    (data / "index.parquet").write_bytes(b"PAR1 and nothing more")
    assert "index.parquet: not a readable index of a data set" in refused("view", data)
    code, out, _ = run("verify", data)
    assert code == 1
    assert "index.parquet: not a readable index" in out
    (data / "index.parquet").unlink()
    assert "is not finished; run the same command again" in refused("export", data, *export)
    assert not (tmp_path / "out.html").exists()


def test_damaged_world_folders(run, refused, world, tmp_path):
    assert run("verify", world)[0] == 0
    (world / "visible.npz").unlink()
    assert run("verify", world)[0] == 0, "a world may lack a field"
    with pytest.raises(InputError, match="has no visible"):
        World4D.load(world).require("visible")
    whole = (world / "depth.mkv").read_bytes()
    (world / "depth.mkv").write_bytes(whole[: len(whole) // 2])
    code, out, _ = run("verify", world)
    assert code == 1
    assert "depth.mkv is damaged" in out
    assert "depth.mkv is damaged" in refused("export", world, "--to", "html", "--out", tmp_path / "out.html")
    (world / "depth.mkv").write_bytes(whole)
    meta = (world / "meta.json").read_text()
    (world / "meta.json").write_text(meta.replace('"seed": 0', '"seed": 7'))
    code, out, _ = run("verify", world)
    assert code == 1
    assert "meta.json is damaged: it does not match its checksum" in out
    (world / "meta.json").write_text("{")
    assert "meta.json is damaged" in refused("view", world)


def test_export_in_every_form(run, world, tmp_path):
    pytest.importorskip("rerun")
    for kind in ("html", "rrd", "glb", "npz", "ply", "world"):
        out = tmp_path / "exports" / f"a.{kind}"
        for _ in range(2):
            assert run("export", world, "--to", kind, "--out", out)[:2] == (0, f"{out}\n")
        assert out.exists()
    assert run("verify", tmp_path / "exports" / "a.world")[0] == 0
    assert not list(tmp_path.rglob("*.partial")) + list(tmp_path.rglob("*.old"))


def test_export_writes_over_nothing_but_exports(refused, data, world, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "meta.json").write_text("{}")
    (notes / "thesis.docx").write_text("done")
    movie = tmp_path / "movie.npz"
    movie.write_bytes(b"precious")
    before = checksums(tmp_path)
    for kind in ("ply", "world", "html"):
        said = refused("export", world, "--to", kind, "--out", notes)
        assert re.search(
            "not a folder of ply frames|not a world folder|is a folder; give the name of a file", said
        )
    for file in (notes / "thesis.docx", movie, data / "index.parquet"):
        assert "exists and is no .html file" in refused("export", world, "--to", "html", "--out", file)
    assert "is the world itself" in refused("export", world, "--to", "world", "--out", world)
    assert "a file stands where a folder" in refused("export", world, "--to", "html", "--out", movie / "a.html")
    assert checksums(tmp_path) == before


def test_export_is_refused_before_anything_is_read(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("phys4d.data.opening.open_world", None)
    said = refused("export", "anything", "--to", "htm", "--out", tmp_path / "x")
    assert said.startswith("unknown export format 'htm'. Did you mean 'html'?\nKnown: glb, html,")


def test_a_video_has_no_depth_to_export(refused, world, tmp_path):
    for kind in ("ply", "glb"):
        said = refused("export", world / "rgb.mp4", "--to", kind, "--out", tmp_path / "out")
        assert said.startswith("rgb.mp4 has no depth, camera; it has rgb.\n")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_old_export(run, world, tmp_path, monkeypatch):
    out = tmp_path / "a.html"
    out.write_text("old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    code, _, err = run("export", world, "--to", "html", "--out", out)
    assert code == 1
    assert err == f"phys4d: {out}: the disk is full; free some space and run the same command again\n"
    assert out.read_text() == "old"


def test_view_serves_this_machine_alone_and_ends_on_interrupt(world):
    process = start("view", world, "--no-open-browser")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/  \(Ctrl-C ends\)", line)
        assert found, line
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
        connection.request("GET", "/")
        page = connection.getresponse().read().decode()
        connection.close()
        assert "ball_drop" in page
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    finally:
        process.kill()
        process.communicate()


def test_a_filmed_video_becomes_a_page(run, real_recordings, tmp_path):
    movie = real_recordings / "video" / "ball_toss.mp4"
    code, out, _ = run("export", movie, "--to", "html", "--out", tmp_path / "toss.html")
    assert (code, out) == (0, f"{tmp_path / 'toss.html'}\n")
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", (tmp_path / "toss.html").read_text())


def test_a_kitchen_becomes_a_world(run, refused, real_recordings, tmp_path):
    kitchen = real_recordings / "kitchen_rgbd"
    intrinsics = ("--intrinsics", "292.5", "292.5", "160", "120")
    out = tmp_path / "kitchen"
    assert "--intrinsics FX FY CX CY" in refused("export", kitchen, "--to", "world", "--out", out)
    for wrong in ("0 0 1 1", "nan 1 1 1", "1e-30 1e-30 1 1", "-5 5 1 1"):
        words = ("export", kitchen, "--intrinsics", *wrong.split(), "--to", "world", "--out", out)
        assert refused(*words).startswith("intrinsics should be (fx, fy, cx, cy) in pixels, not (")
    assert run("export", kitchen, *intrinsics, "--to", "world", "--out", out)[0] == 0
    code, text, _ = run("verify", out)
    assert code == 0
    assert "world folder, whole (1 world, 33 frames" in text
    assert run("export", kitchen, *intrinsics, "--to", "html", "--out", tmp_path / "kitchen.html")[0] == 0
    assert (tmp_path / "kitchen.html").stat().st_size > 1_000_000

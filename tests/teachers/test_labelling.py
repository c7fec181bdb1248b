"""Pseudo-labels: from colours alone, never from the truth beside them; videos cut, captioned and counted."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

from phys4d import simulate
from phys4d.data import Item, open_dataset, write_dataset
from phys4d.data.verify import verify
from phys4d.errors import InputError, MissingFieldError
from phys4d.members import MEMBERS, Member
from phys4d.teachers import DepthLabels, depth_teachers
from phys4d.teachers.labelling import FARTHEST, depth_of, label, label_videos
from phys4d.world import World4D

FRAMES, SIZE = 3, (48, 48)


def make(seed: int) -> World4D:
    return simulate("ball_drop", seed=seed, size=SIZE, frames=FRAMES)


@pytest.fixture(scope="module")
def world():
    return make(0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "DATA"
    write_dataset(out, [Item(f"w{seed}", seed) for seed in range(2)], make, arguments={}, progress=False)
    return out


@pytest.fixture(scope="module")
def labelled(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("labelled") / "DATA"
    summary = label_videos([data], out, progress=False)
    assert (summary.dataset.worlds, summary.dropped, summary.short) == (2, 0, 0)
    return out


def checksums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.tar")}


# One world.


def test_a_labelled_world_has_what_teachers_see_and_no_more(world):
    result = label(world)
    assert result.fields == ("rgb", "depth", "flow", "visible", "confidence")
    assert np.array_equal(result.rgb, world.rgb)
    assert result.fps == world.fps
    surface = result.depth[result.depth > 0]
    assert surface.min() == pytest.approx(1)
    assert surface.max() == pytest.approx(FARTHEST)
    assert not (result.visible & (result.depth[:-1] == 0)).any()


def test_meta_says_who_labelled_it_and_keeps_what_was_said_of_it(world):
    meta = label(world).meta
    for name in ("prompt", "scene", "scene_id", "context_frames"):
        assert meta[name] == world.meta[name]
    assert meta["depth_scale"] == "relative"
    assert meta["labels"]["depth"]["teacher"] == "embedded"
    assert meta["labels"]["depth"]["version"] == depth_teachers["embedded"].load().version
    assert meta["labels"]["flow"]["teacher"] == "dis"
    assert 0 < meta["labels"]["flow"]["confidence"] <= 1
    assert "physics" in world.meta
    for name in ("physics", "parameters", "instances", "light", "gravity"):
        assert name not in meta, "the truth has another way out"


def test_the_worlds_own_labels_do_not_pass(world):
    bare = World4D(rgb=world.rgb, fps=world.fps, meta=world.meta)
    first, second = label(world), label(bare)
    assert first.to_members() == second.to_members()
    assert not np.array_equal(first.depth, world.depth)
    with pytest.raises(MissingFieldError, match="has no rgb"):
        label(World4D(depth=world.depth))


def test_unknown_teachers_are_refused_with_the_known_ones(world):
    with pytest.raises(InputError, match=r"unknown depth teacher 'embeded'. Did you mean 'embedded'"):
        label(world, depth="embeded")
    with pytest.raises(InputError, match=r"unknown flow teacher 'raft'.\nKnown: dis"):
        label(world, flow="raft")


def labels_of(values, quantity, alignment, sky=None) -> DepthLabels:
    values = np.asarray(values, np.float32).reshape(1, 1, -1)
    sky = None if sky is None else np.array(sky).reshape(1, 1, -1)
    return DepthLabels(values, quantity, alignment, np.ones_like(values), sky)


def test_relative_disparity_becomes_depth_by_one_scale_and_shift():
    disparity = np.array([-3.0, -1, 0, 5, 99])
    labels = labels_of(disparity, "disparity", "scale+shift", [False] * 4 + [True])
    depth = depth_of(labels).ravel()
    assert depth[4] == 0
    assert (depth[0], depth[3]) == (FARTHEST, 1)
    slope = np.diff(1 / depth[:4]) / np.diff(disparity[:4])
    np.testing.assert_allclose(slope, slope[0], rtol=1e-5)


def test_metric_teachers_keep_their_metres():
    assert depth_of(labels_of([2, 0.5], "depth", "metric")).ravel().tolist() == [2, 0.5]
    assert depth_of(labels_of([2, 0.5], "disparity", "metric")).ravel().tolist() == [0.5, 2]
    assert depth_of(labels_of([2, 0, -1], "depth", "metric")).ravel().tolist() == [2, 0, 0]
    assert depth_of(labels_of([3, 3], "disparity", "scale+shift", [True, True])).ravel().tolist() == [0, 0]
    assert depth_of(labels_of([3, 3], "disparity", "scale+shift")).ravel().tolist() == [1, 1]
    with pytest.raises(InputError, match="must give disparity"):
        depth_of(labels_of([3, 3], "depth", "scale+shift"))


# Data sets: stage 1 never sees the truth.


def test_a_labelled_data_set_is_whole_and_continues(data, labelled):
    assert verify(labelled).ok, str(verify(labelled))
    rows = open_dataset(labelled).index.to_pylist()
    assert [row["key"] for row in rows] == ["w0", "w1"]
    assert rows[0]["prompt"] == open_dataset(data).row(0)["prompt"]
    before = checksums(labelled)
    assert label_videos([data], labelled, progress=False).dataset.made == 0
    assert checksums(labelled) == before
    with pytest.raises(InputError, match="was made with size=null, not size="):
        label_videos([data], labelled, size=(56, 56), progress=False)


def rewrite(data: Path, out: Path, keep) -> Path:
    """The same shards with other members: keep(name, bytes) -> bytes, or None to leave the member out."""
    out.mkdir()
    for shard in data.glob("*.tar"):
        with tarfile.open(shard) as old, tarfile.open(out / shard.name, "w", format=tarfile.USTAR_FORMAT) as new:
            for info in old:
                content = keep(info.name.partition(".")[2], old.extractfile(info).read())
                if content is not None:
                    info.size = len(content)
                    new.addfile(info, io.BytesIO(content))
    return out


TRUTH = sorted(set(MEMBERS) - {"rgb.mkv"})


def test_corrupted_and_missing_truth_gives_the_same_bytes(data, labelled, tmp_path):
    noise = np.random.default_rng(0).bytes
    corrupt = rewrite(data, tmp_path / "corrupt", lambda n, b: noise(len(b)) if n in TRUTH else b)
    with pytest.raises(InputError):
        open_dataset(corrupt).read(0, ("depth",))
    missing = rewrite(data, tmp_path / "missing", lambda n, b: None if n in TRUTH else b)
    assert open_dataset(missing)[0].fields == ("rgb",)
    for source in (corrupt, missing):
        out = tmp_path / f"labelled-{source.name}"
        label_videos([source], out, progress=False)
        assert checksums(out) == checksums(labelled)


def test_no_decoder_but_that_of_colours_is_called(data, labelled, tmp_path, monkeypatch):
    def touched(_):
        raise AssertionError("the truth was opened")

    for name in TRUTH:
        monkeypatch.setitem(MEMBERS, name, Member(MEMBERS[name].fields, MEMBERS[name].encode, touched))
    with pytest.raises(AssertionError, match="the truth was opened"):
        open_dataset(data)[0]
    label_videos([data], tmp_path / "out", progress=False)
    assert checksums(tmp_path / "out") == checksums(labelled)


def test_labels_follow_the_colours(data, labelled, tmp_path):
    """The counterpart: with other colours the labels are others, so the bytes above were not the same in vain."""
    rgb = {name.partition(".")[2]: b for name, b in _members(data, "w1").items()}["rgb.mkv"]
    other = rewrite(data, tmp_path / "other", lambda n, b: rgb if n == "rgb.mkv" else b)
    label_videos([other], tmp_path / "out", progress=False)
    assert checksums(tmp_path / "out") != checksums(labelled)


def _members(data: Path, key: str) -> dict[str, bytes]:
    with tarfile.open(next(data.glob("*.tar"))) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.name.startswith(f"{key}.")}


def test_workers_do_not_matter(data, labelled, tmp_path):
    label_videos([data], tmp_path / "out", workers=2, progress=False)
    assert checksums(tmp_path / "out") == checksums(labelled)


# Videos.


def film(path: Path, frames: int, fps: int = 12) -> Path:
    """A lossless film of a bright square that moves over blobs; frame t has the value t in its corner."""
    blobs = np.random.default_rng(0).integers(60, 200, (12, 16, 3), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width, stream.pix_fmt = 60, 80, "bgr0"
        for t in range(frames):
            image = blobs.copy()
            image[20:40, 2 * (t % 20) : 2 * (t % 20) + 20] = 250
            image[0, 0] = t
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_videos_are_cut_captioned_and_counted(tmp_path):
    first = film(tmp_path / "a film, of blobs.mkv", 9)
    first.with_suffix(".txt").write_text("a square\n slides ")
    second, third = film(tmp_path / "b.mkv", 4), film(tmp_path / "c.mkv", 3)
    summary = label_videos([first, second, third], tmp_path / "out", frames=4, progress=False)
    assert (summary.dataset.worlds, summary.dropped, summary.short) == (3, 4, 1)
    assert "4 frames at the ends of shots left out; 1 video too short for a clip" in str(summary)
    worlds = list(open_dataset(tmp_path / "out"))
    assert [world.rgb[:, 0, 0, 0].tolist() for world in worlds] == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
    assert [world.meta["prompt"] for world in worlds] == ["a square slides", "a square slides", ""]
    assert [world.meta["source"] for world in worlds] == [first.name, first.name, "b.mkv"]
    assert worlds[1].meta["start"] == pytest.approx(4 / 12, abs=0.004)  # Matroska counts milliseconds
    assert len({world.meta["scene_id"] for world in worlds}) == 3
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize("fps", [5.0, 7.3, 12.0, 24.0])
def test_clips_at_any_rate_are_the_video_at_that_rate(tmp_path, fps):
    path = film(tmp_path / "film.mkv", 25)
    whole = World4D.from_video(path, size=(48, 64), fps=fps)
    summary = label_videos([path], tmp_path / "out", size=(48, 64), fps=fps, frames=4, progress=False)
    clips = list(open_dataset(tmp_path / "out"))
    assert summary.dropped == whole.frames - 4 * len(clips)
    assert 0 <= summary.dropped < 4
    np.testing.assert_array_equal(np.concatenate([clip.rgb for clip in clips]), whole.rgb[: 4 * len(clips)])
    assert {clip.fps for clip in clips} == {fps}


def test_worlds_and_videos_together_and_resized(data, tmp_path):
    path = film(tmp_path / "film.mkv", 3)
    summary = label_videos([data, data, path], tmp_path / "out", size=(56, 64), frames=3, progress=False)
    assert summary.dataset.worlds == 5
    assert {world.size for world in open_dataset(tmp_path / "out")} == {(56, 64)}


def test_impossible_requests_leave_nothing(data, tmp_path):
    short = film(tmp_path / "short.mkv", 2)
    (tmp_path / "text.mkv").write_text("no film")
    (tmp_path / "folder").mkdir()
    for sources, options, message in [
        ([short], {}, "nothing to label: no source gives a clip of 17 frames"),
        ([tmp_path / "none.mp4"], {}, "not found; label wants video files"),
        ([tmp_path / "text.mkv"], {}, "not a readable video"),
        ([tmp_path / "folder"], {}, "holds neither videos"),
        ([data], {"depth": "midas"}, "unknown depth teacher 'midas'"),
        ([data], {"frames": 1}, "motion needs two"),
        ([data], {"fps": 0.0}, "fps must lie between"),
        ([data], {"size": (0, 4)}, "size must be two positive numbers"),
    ]:
        with pytest.raises(InputError, match=message):
            label_videos(sources, tmp_path / "out", progress=False, **options)
        assert not (tmp_path / "out").exists()


def test_a_caption_that_is_no_text_names_its_file(tmp_path):
    path = film(tmp_path / "film.mkv", 4)
    path.with_suffix(".txt").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(InputError, match=r"film.txt: is no readable caption"):
        label_videos([path], tmp_path / "out", frames=4, progress=False)


def test_what_a_set_was_labelled_with_is_written_beside_it(labelled):
    arguments = json.loads((labelled / "dataset.json").read_text())["arguments"]
    assert arguments["command"] == "label"
    assert arguments["versions"]["depth"] == depth_teachers["embedded"].load().version

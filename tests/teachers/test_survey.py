"""Videos before they are labelled: cuts, gates, doubles, what cannot be read; films with planted faults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from phys4d.data import open_dataset
from phys4d.errors import InputError
from phys4d.teachers.films import expanded, surveys
from phys4d.teachers.labelling import label_videos
from phys4d.teachers.survey import Gates, survey
from phys4d.world import World4D

HEIGHT, WIDTH, FRAMES = 96, 128, 8


def ground(seed: int, extent: int = 200) -> np.ndarray:
    """Blobs to cut pictures from."""
    cells = np.random.default_rng(seed).integers(70, 200, (extent // 8, extent // 8, 3), dtype=np.uint8)
    return cells.repeat(8, 0).repeat(8, 1)


def pan(count: int, step: float, seed: int = 0) -> list[np.ndarray]:
    """A camera that moves over the ground by so many pixels a frame."""
    wide = ground(seed, 1600)
    return [wide[:HEIGHT, round(step * t) : round(step * t) + WIDTH].copy() for t in range(count)]


def slide(count: int, seed: int = 0) -> list[np.ndarray]:
    """A bright square that slides over still ground."""
    frames = []
    for t in range(count):
        image = ground(seed)[:HEIGHT, :WIDTH].copy()
        image[30:62, 10 + 2 * t : 42 + 2 * t] = 250
        frames.append(image)
    return frames


def flash(frames: list[np.ndarray]) -> list[np.ndarray]:
    """The fourth frame much brighter than the others."""
    return [np.clip(f.astype(int) + 40 * (t == 4), 0, 255).astype(np.uint8) for t, f in enumerate(frames)]


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


def write(path: Path, frames: Sequence[np.ndarray], fps: int = 12, codec: str = "ffv1", gop: int = 1) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        stream.codec_context.gop_size = gop
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def reasons(tmp_path: Path, frames: Sequence[np.ndarray]) -> list[str]:
    return [clip.reason for clip in survey(write(tmp_path / "film.mkv", frames), FRAMES, gates=Gates()).clips]


def test_an_ordinary_clip_is_kept(tmp_path):
    assert reasons(tmp_path, slide(2 * FRAMES + 3)) == ["", ""]
    assert survey(tmp_path / "film.mkv", FRAMES, gates=Gates()).rest == 3


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        (lambda: [ground(0)[:HEIGHT, :WIDTH]] * FRAMES, "static"),
        (lambda: pan(FRAMES, 13), "fast"),
        (lambda: flash(slide(FRAMES)), "flicker"),
        (lambda: [np.pad(f[12:-12], ((12, 12), (0, 0), (0, 0))) for f in slide(FRAMES)], "bars"),
        (lambda: [np.pad(f[:, 16:-16], ((0, 0), (16, 16), (0, 0))) for f in slide(FRAMES)], "bars"),
        (lambda: list(noise(FRAMES)), "unsure"),
    ],
)  # fmt: skip
def test_every_gate_catches_what_it_is_for_and_lets_it_pass_when_opened(tmp_path, fault, gate):
    (reason,) = reasons(tmp_path, fault())
    assert gate in reason.split(", ")
    (opened,) = survey(tmp_path / "film.mkv", FRAMES, gates=Gates().opened(tuple(reason.split(", ")))).clips
    assert opened.reason == ""


def test_a_pan_at_walking_pace_and_a_dark_sky_are_no_faults(tmp_path):
    assert reasons(tmp_path, pan(FRAMES, 3)) == [""]
    night = slide(FRAMES)
    for image in night:
        image[:20] = 5
    assert reasons(tmp_path, night) == [""]


def test_no_clip_crosses_a_cut(tmp_path):
    film = [*slide(11, seed=0), *slide(19, seed=5), *pan(9, 3, seed=9)]
    found = survey(write(tmp_path / "film.mkv", film), FRAMES, gates=Gates())
    assert found.shots == 3
    assert [round(clip.start * 12) for clip in found.clips] == [0, 11, 19, 30]
    assert found.rest == 3 + 3 + 1
    whole = survey(tmp_path / "film.mkv", FRAMES)
    assert [round(clip.start * 12) for clip in whole.clips] == [0, 8, 16, 24]


def test_a_fast_pan_is_no_cut(tmp_path):
    assert survey(write(tmp_path / "film.mkv", pan(24, 9)), FRAMES, gates=Gates()).shots == 1


def test_clips_late_in_a_film_are_those_of_a_reader_from_the_start(tmp_path):
    """With few places to begin at, a jump must land before the clip, and no frame be lost."""
    frames = pan(120, 3)
    for codec, name in (("libx264", "film.mp4"), ("mpeg4", "film.avi"), ("ffv1", "film.mkv")):
        path = write(tmp_path / name, frames, fps=12, codec=codec, gop=25)
        whole = World4D.from_video(path)
        for start in (30, 61, 100):
            clip = World4D.from_video(path, frames=6, start=start / 12)
            np.testing.assert_array_equal(clip.rgb, whole.rgb[start : start + 6], err_msg=f"{name} {start}")


def test_one_bad_file_never_stops_the_others_and_is_named(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    write(films / "good.mkv", slide(FRAMES))
    (films / "double.mkv").write_bytes((films / "good.mkv").read_bytes())
    (films / "empty.mp4").write_bytes(b"")
    (films / "text.avi").write_text("no film at all\n" * 50)
    (films / "notes.md").write_text("not looked at")
    write(films / "odd.mkv", slide(FRAMES, seed=3))
    (films / "odd.txt").write_bytes(b"\xff\xfe\xff")
    cut_short = write(tmp_path / "long.mkv", slide(3 * FRAMES, seed=4)).read_bytes()
    (films / "broken.mkv").write_bytes(cut_short[: len(cut_short) * 2 // 3])
    with av.open(str(films / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    summary = label_videos([films], tmp_path / "out", frames=FRAMES, gates=Gates(), progress=False)
    told = "\n".join(summary.problems)
    for name, reason in (
        ("empty.mp4", "not a readable video"),
        ("text.avi", "not a readable video"),
        ("odd.txt", "no readable caption"),
        ("sound.mp4", "no video stream"),
        ("good.mkv", f"the same as {films / 'double.mkv'}"),
    ):
        assert any(name in line and reason in line for line in summary.problems), (name, told)
    assert len(summary.problems) == 5
    kept = sorted({world.meta["source"] for world in open_dataset(tmp_path / "out")})
    assert kept == ["broken.mkv", "double.mkv"]
    rows = {Path(row["video"]).name: row for row in json.loads((tmp_path / "out" / "survey.json").read_text())}
    assert rows["double.mkv"]["clips"][0]["static"] > 0.5
    assert "problem" in rows["empty.mp4"]
    again = label_videos([films], tmp_path / "out", frames=FRAMES, gates=Gates(), progress=False)
    assert again.dataset.made == 0


def test_workers_find_the_same(tmp_path):
    films = [write(tmp_path / f"{k}.mkv", slide(FRAMES + k, seed=k)) for k in range(4)]
    alone, together = (surveys(films, FRAMES, None, Gates(), n, progress=False) for n in (1, 2))
    assert alone == together
    assert list(alone) == films


def test_folders_stand_for_their_videos(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/2.mp4", "a/b/1.MKV", "a/x.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert expanded([tmp_path / "a"]) == [tmp_path / "a" / "2.mp4", tmp_path / "a" / "b" / "1.MKV"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds neither videos"):
        expanded([tmp_path / "none"])
    with pytest.raises(InputError, match="not found"):
        expanded([tmp_path / "nowhere"])


def test_nothing_kept_says_why_and_leaves_nothing(tmp_path):
    film = write(tmp_path / "still.mkv", [ground(0)[:HEIGHT, :WIDTH]] * FRAMES)
    with pytest.raises(InputError, match=r"nothing to label.*\n1 clip: static"):
        label_videos([film], tmp_path / "out", frames=FRAMES, gates=Gates(), progress=False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"unknown gate 'statik'. Did you mean 'static'"):
        Gates().opened(("statik",))

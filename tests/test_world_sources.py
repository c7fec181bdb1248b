"""What `World4D` makes of videos and of RGB-D recordings."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from phys4d import codecs
from phys4d.data.recordings import read_rgbd
from phys4d.errors import InputError
from phys4d.geometry import backward_warp
from phys4d.world import Camera, World4D, crop_resize

# Videos.

MILLISECOND = Fraction(1, 1000)


def write_video(
    path: Path, images, times=None, *, rotation: int = 0, codec: str = "ffv1", **metadata: str
) -> Path:
    """Frames to a file; `times` in milliseconds."""
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2] if images else (16, 16)
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = MILLISECOND
        if rotation:
            stream.set_display_rotation(rotation)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index * 40 if times is None else times[index]
            frame.time_base = MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        container.start_encoding()  # writes the header even where no frame has
    return path


def gray_frames(count: int, height: int = 18, width: int = 22) -> list[np.ndarray]:
    """Frame i has the gray value 3 i: which frame was picked can be read off it."""
    return [np.full((height, width, 3), 3 * i, np.uint8) for i in range(count)]


def picked(world: World4D) -> list[int]:
    return (world.rgb[:, 0, 0, 0] // 3).tolist()


def test_video_keeps_its_frames_and_rate(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 63, 61, 3), dtype=np.uint8)
    world = World4D.from_video(write_video(tmp_path / "film.mkv", list(images)))
    np.testing.assert_array_equal(world.rgb, images)
    assert world.fps == pytest.approx(25)
    assert world.fields == ("rgb",)
    assert world.meta["source"] == "film.mkv"


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (12.5, [0, 2, 4, 6, 8, 10]),
        (50.0, [0, 0, 1, 1, 2, 2, 3, 3]),
        (25 / 3, [0, 3, 6, 9]),
        (10.0, [0, 2, 5, 7, 10]),
    ],
)
def test_video_is_resampled_in_time_to_the_nearest_frame(tmp_path, fps, expected):
    path = write_video(tmp_path / "film.mkv", gray_frames(11))
    assert picked(World4D.from_video(path, fps=fps))[: len(expected)] == expected
    assert World4D.from_video(path, fps=fps).fps == fps


def test_start_and_length_are_heeded(tmp_path):
    path = write_video(tmp_path / "film.mkv", gray_frames(20))
    assert picked(World4D.from_video(path, start=0.2, frames=3)) == [5, 6, 7]
    assert picked(World4D.from_video(path, start=0.2, fps=5.0, frames=2)) == [5, 10]
    assert picked(World4D.from_video(path, start=0.76)) == [19]
    for start in (0.77, -1.0, float("nan")):
        with pytest.raises(InputError, match="start"):
            World4D.from_video(path, start=start)


def test_variable_frame_rate_is_followed_by_the_clock(tmp_path):
    """A camera that stalls for 0.4 s after frame 2: time goes on, and frame 2 stands."""
    times = [0, 40, 80, 490, 530, 570, 610]
    world = World4D.from_video(write_video(tmp_path / "film.mkv", gray_frames(7), times))
    assert world.fps == pytest.approx(25)
    assert picked(world) == [0, 1, *[2] * 6, *[3] * 5, 4, 5, 6]
    assert picked(World4D.from_video(tmp_path / "film.mkv", fps=5.0)) == [0, 2, 3, 6]


@pytest.mark.parametrize("angle", [0, 90, 180, -90])
def test_video_is_turned_upright(tmp_path, angle):
    """The display matrix turns the stored picture counterclockwise by `angle`, as numpy's rot90 does."""
    image = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(image[::8, ::8], 8, axis=0), 8, axis=1)
    path = write_video(tmp_path / "film.mp4", [image] * 3, rotation=angle, codec="libx264")
    stored = World4D.from_video(write_video(tmp_path / "plain.mp4", [image] * 3, codec="libx264"))
    np.testing.assert_array_equal(World4D.from_video(path).rgb[0], np.rot90(stored.rgb[0], angle // 90))


def test_size_crops_about_the_centre(tmp_path):
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 200
    path = write_video(tmp_path / "film.mkv", [image])
    square = World4D.from_video(path, size=(10, 10))
    assert square.size == (10, 10)
    assert square.rgb.min() > 180, "the black at both sides is gone, but for what the filter's reach blends in"
    assert (np.abs(square.rgb[0, :, 1:-1].astype(int) - 200) < 4).all()


def test_crop_resize_of_a_ramp_keeps_pixel_centres():
    ramp = np.repeat(np.linspace(0, 240, 61)[None, :, None], 30, axis=0).repeat(3, axis=2).round().astype(np.uint8)
    half = crop_resize(ramp, (15, 30)).astype(float)
    centres = (np.arange(30) + 0.5) * 2 + 0.5 - 0.5  # a crop of half a pixel at the left: 61 columns give 60
    np.testing.assert_allclose(half[7, 3:-3, 0], (centres * 4)[3:-3], atol=1.0)


def test_long_films_yield_short_clips_in_little_memory(tmp_path, monkeypatch):
    path = write_video(tmp_path / "film.mkv", gray_frames(40))
    monkeypatch.setattr(codecs, "MAX_PIXELS", 4 * 18 * 22)
    assert picked(World4D.from_video(path, fps=5.0, frames=4)) == [0, 5, 10, 15]
    assert World4D.from_video(path, size=(9, 11), frames=16).frames == 16
    with pytest.raises(InputError, match="fewer frames"):
        World4D.from_video(path)


def test_truncated_video_gives_the_frames_before_the_break(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)
    whole = write_video(tmp_path / "film.mkv", list(images)).read_bytes()
    (tmp_path / "broken.mkv").write_bytes(whole[: len(whole) // 2])
    world = World4D.from_video(tmp_path / "broken.mkv")
    assert 4 <= world.frames <= 6
    np.testing.assert_array_equal(world.rgb[:4], images[:4])


def test_titles_in_old_encodings_do_not_stop_a_film(tmp_path):
    path = write_video(tmp_path / "film.mkv", gray_frames(3), title="Kugel fXllt")
    path.write_bytes(path.read_bytes().replace(b"fXllt", b"f\xe4llt"))
    assert picked(World4D.from_video(path)) == [0, 1, 2]


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    (tmp_path / "empty.mp4").write_bytes(b"")
    path = write_video(tmp_path / "film.mkv", gray_frames(3))
    data = path.read_bytes()
    (tmp_path / "head.mkv").write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    cases = {
        tmp_path / "missing.mp4": "no such video file",
        tmp_path: "no such video file",
        tmp_path / "text.mp4": "not a readable video",
        tmp_path / "empty.mp4": "not a readable video",
        tmp_path / "head.mkv": "not a readable video",
        write_video(tmp_path / "none.mp4", [], codec="libx264"): "no video stream|no frames",
        write_sound(tmp_path / "sound.wav"): "no video stream",
    }
    for place, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            World4D.from_video(place)
        assert str(place) in str(caught.value)
    for wrong in ({"fps": 0.0}, {"fps": -3.0}, {"frames": 0}, {"size": (0, 4)}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            World4D.from_video(path, **wrong)


def test_real_films_are_read(real_recordings, tmp_path):
    for name in ("ball_toss.mp4", "drop.avi"):
        world = World4D.from_video(real_recordings / "video" / name, size=(64, 64), frames=17)
        assert world.frames == 17
        assert world.size == (64, 64)
        moved = np.abs(np.diff(world.rgb.astype(int), axis=0)).max(axis=(0, 3))
        assert moved.max() > 40, "something moves"
        assert np.median(moved) < 25, "before a background that stands still"
        world.save(tmp_path / name)
        np.testing.assert_array_equal(World4D.load(tmp_path / name).rgb, world.rgb)


# RGB-D.


@pytest.fixture(scope="module")
def kitchen(real_recordings) -> World4D:
    folder = real_recordings / "kitchen_rgbd"
    return read_rgbd(folder, intrinsics=(292.5, 292.5, 160.0, 120.0), fps=15.0, size=(120, 160), frames=17)


def photometric_error(world: World4D, flow: np.ndarray, where: np.ndarray) -> float:
    """Mean difference of gray values between frame t and frame t+1 brought back by `flow`, on pixels `where`."""
    gray = torch.from_numpy(world.rgb.mean(axis=-1, keepdims=True).astype(np.float32))
    warped, inside = backward_warp(gray[1:], torch.from_numpy(flow))
    difference = (warped - gray[:-1]).abs()[..., 0].numpy()
    return float(difference[where & inside.numpy()].mean())


def test_rigid_flow_of_a_real_camera_explains_its_pictures(kitchen):
    """Seen pixels match far better than without flow, and than with every pose inverted or in reverse order."""
    right = photometric_error(kitchen, kitchen.flow, kitchen.visible)
    still = photometric_error(kitchen, np.zeros_like(kitchen.flow), kitchen.visible)
    assert right < 0.6 * still

    def with_poses(poses: np.ndarray) -> float:
        camera = Camera(kitchen.camera.intrinsics, np.ascontiguousarray(poses.astype(np.float32)))
        planted = World4D.from_rgbd(kitchen.rgb, kitchen.depth, camera, fps=15.0)
        return photometric_error(kitchen, planted.flow, kitchen.visible)

    poses = kitchen.camera.world_from_camera
    assert right < 0.5 * with_poses(np.linalg.inv(poses))
    assert right < 0.5 * with_poses(poses[::-1])
    assert right == with_poses(poses)


def test_recording_without_readings_says_nothing_there(kitchen):
    unknown = kitchen.depth[:-1] == 0
    assert 0.02 < unknown.mean() < 0.4
    assert not kitchen.visible[unknown].any()
    assert (kitchen.flow[unknown] == 0).all()
    assert kitchen.visible[~unknown].mean() > 0.85
    assert (kitchen.scene_flow == 0).all()


def test_recording_of_one_frame_has_no_motion():
    k = np.array([[[20, 0, 8], [0, 20, 6], [0, 0, 1]]], np.float32)
    world = World4D.from_rgbd(
        np.zeros((1, 12, 16, 3), np.uint8),
        np.ones((1, 12, 16), np.float32),
        Camera(k, np.eye(4, dtype=np.float32)[None]),
        fps=10.0,
    )
    assert world.flow.shape == (0, 12, 16, 2)


def test_points_behind_the_next_camera_have_no_flow():
    """A camera that drives through a wall at 1 m: nothing of it is seen again, and nothing overflows."""
    k = np.repeat(np.array([[[20, 0, 8], [0, 20, 6], [0, 0, 1]]], np.float32), 2, axis=0)
    pose = np.repeat(np.eye(4, dtype=np.float32)[None], 2, axis=0)
    for distance in (1.0, 1.5):
        pose[1, 2, 3] = distance
        world = World4D.from_rgbd(
            np.zeros((2, 12, 16, 3), np.uint8), np.ones((2, 12, 16), np.float32), Camera(k, pose), fps=10.0
        )
        assert not world.visible.any()
        assert (world.flow == 0).all()
        assert world.to_members()

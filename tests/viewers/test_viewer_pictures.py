"""Pictures: colours that mean what the docstrings say, and animations that play as long as the clip."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from phys4d.errors import InputError
from phys4d.pictures import DARK, depth_limits, turbo_table
from phys4d.viewers import animation, depth_picture, flow_picture, segmentation_picture
from phys4d.viewers.pictures import flow_limit, wheel_colour


def test_depth_is_warm_near_and_even_in_the_logarithm():
    depth = np.array([1, 2, 4, 8, 16, 0], dtype=np.float32).reshape(1, 1, 6)
    picture = depth_picture(depth, limits=(1.0, 16.0))[0, 0]
    assert np.array_equal(picture[:5], turbo_table()[[0, 64, 128, 191, 255]])
    assert picture[0, 0] > 150 > picture[0, 2]
    assert picture[4, 2] > picture[4, 0]
    assert tuple(picture[5]) == DARK


def test_depth_limits_ignore_sky_and_survive_its_absence():
    depth = np.full((2, 10, 10), 3.0, dtype=np.float32)
    depth[0, 0] = 0
    near, far = depth_limits(depth)
    assert near == 3.0 < far
    assert np.array_equal(np.unique(depth_picture(np.zeros((1, 2, 2), dtype=np.float32))), np.unique(DARK))


def test_flow_hue_is_direction_and_strength_is_magnitude():
    flow = np.zeros((1, 1, 5, 2), dtype=np.float32)
    flow[0, 0, 1:] = [[4, 0], [0, 4], [-4, 0], [1, 0]]
    still, right, down, left, slow = flow_picture(flow, max=4.0)[0, 0].astype(int)
    assert tuple(still) == DARK
    assert right.argmax() == 0
    assert right[1] == right[2]
    assert len({tuple(right), tuple(down), tuple(left)}) == 3
    # Slower is the same direction between stillness and full strength.
    share = (slow - DARK) / (right - DARK)
    assert np.ptp(share) < 0.2
    assert 0.2 < share.mean() < 0.6
    assert np.array_equal(flow_picture(8 * flow, max=4.0)[0, 0, 1], right)


def test_flow_limit_looks_at_what_moves():
    flow = np.zeros((1, 100, 100, 2), dtype=np.float32)
    assert flow_limit(flow) == 1.0
    flow[0, :3, :3, 0] = 7
    assert flow_limit(flow) == pytest.approx(7)
    with pytest.raises(InputError, match="positive"):
        flow_picture(flow, max=0.0)


def test_wheel_goes_round_once():
    angle = np.linspace(-np.pi, np.pi, 181)
    colours = wheel_colour(angle)
    assert np.allclose(colours[0], colours[-1])
    assert np.abs(np.diff(colours, axis=0)).max() < 0.06
    assert len(np.unique(colours[:-1].round(6), axis=0)) == 180


def test_instances_keep_their_colours():
    ids = np.array([[[0, 1, 2], [700, 2, 1]]], dtype=np.int32)
    picture = segmentation_picture(ids)
    assert tuple(picture[0, 0, 0]) == DARK
    assert np.array_equal(picture[0, 0, 1:], picture[0, 1, :0:-1])
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 4
    assert np.array_equal(segmentation_picture(ids[:, 1:])[0, 0], picture[0, 1])


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_have_every_frame_and_the_length_of_the_clip(tmp_path, suffix):
    frames = np.zeros((13, 20, 30, 3), dtype=np.uint8)
    for t in range(13):
        frames[t, :, 2 * t : 2 * t + 4] = (240, 120, 20)
    path = animation(frames, tmp_path / f"clip{suffix}", fps=12)
    with Image.open(path) as image:
        assert image.n_frames == 13
        assert image.info["loop"] == 0
        duration = 0
        for t in range(13):
            image.seek(t)
            image.load()
            duration += image.info["duration"]
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frames[t]).mean() < 6
    assert duration == pytest.approx(1000 * 13 / 12, abs=10)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_animations_refuse_what_they_cannot_be(tmp_path):
    frames = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"\.gif or \.webp"):
        animation(frames, tmp_path / "clip.mp4", fps=12)
    with pytest.raises(InputError, match="fps"):
        animation(frames, tmp_path / "clip.gif", fps=0)
    with pytest.raises(InputError, match="uint8 frames"):
        animation(frames[..., 0], tmp_path / "clip.gif", fps=12)
    assert not list(tmp_path.iterdir())

"""Pictures of any kind become frames of one size."""

import numpy as np
import pytest
from PIL import Image

from phys4d.errors import InputError
from phys4d.pictures import read_frames

SIZE = (8, 12)


def picture(height=8, width=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_frames_of_the_right_size_pass_as_they_are(tmp_path):
    one, several = picture(), np.stack([picture(seed=s) for s in range(3)])
    assert np.array_equal(read_frames(one, SIZE), one[None])
    assert np.array_equal(read_frames(several, SIZE), several)
    assert np.array_equal(read_frames(Image.fromarray(one), SIZE), one[None])
    Image.fromarray(one).save(tmp_path / "one.png")
    for path in (tmp_path / "one.png", str(tmp_path / "one.png")):
        assert np.array_equal(read_frames(path, SIZE), one[None])


def test_other_sizes_are_cropped_about_the_centre():
    wide = np.zeros((16, 64, 3), np.uint8)
    wide[:, 20:44] = (10, 200, 30)  # 24 of 64 columns are what fits the shape 8:12.
    # The filter looks a little beyond the edges of the crop.
    assert (read_frames(wide, SIZE)[:, :, 3:-3] == (10, 200, 30)).all()
    assert read_frames(picture(5, 7), SIZE).shape == (1, *SIZE, 3)
    # A view that is not contiguous, and a single pixel.
    assert np.array_equal(read_frames(picture(8, 24)[:, ::2], SIZE), picture(8, 24)[None, :, ::2])
    assert (read_frames(picture(16, 24)[::-1], SIZE) >= 0).all()
    assert (read_frames(np.full((1, 1, 3), 7, np.uint8), SIZE) == 7).all()


def test_greys_of_any_depth_are_spread_over_the_channels(tmp_path):
    grey = picture()[..., 0]
    expected = np.repeat(grey[None, ..., None], 3, axis=-1)
    assert np.array_equal(read_frames(Image.fromarray(grey), SIZE), expected)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(read_frames(tmp_path / "deep.png", SIZE), expected)


def test_what_is_transparent_is_shown_on_white():
    rgba = np.dstack([picture(), np.zeros(SIZE, np.uint8)])
    rgba[:4, :, 3] = 255
    frames = read_frames(Image.fromarray(rgba), SIZE)
    assert np.array_equal(frames[0, :4], rgba[:4, :, :3])
    assert (frames[0, 4:] == 255).all()


def test_palettes_and_the_turn_of_a_camera(tmp_path):
    colours = np.zeros((12, 8, 3), np.uint8)
    colours[:3] = (255, 0, 0)
    image = Image.fromarray(colours)
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn clockwise by 90 degrees to view.
    image.save(tmp_path / "turned.png", exif=exif)
    turned = read_frames(tmp_path / "turned.png", SIZE)
    assert (turned[0, :, -3:] == (255, 0, 0)).all()
    assert not turned[0, :, :-3].any()
    image.convert("P").save(tmp_path / "palette.png")
    assert np.array_equal(read_frames(tmp_path / "palette.png", (12, 8))[0], colours)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((8, 12), np.uint8), r"not \(8, 12\) uint8"),
        (np.zeros((8, 12, 4), np.uint8), r"not \(8, 12, 4\) uint8"),
        (np.zeros((8, 12, 3), np.float32), r"not \(8, 12, 3\) float32"),
        (np.zeros((0, 8, 12, 3), np.uint8), r"not \(0, 8, 12, 3\) uint8"),
        (np.zeros((1, 1, 8, 12, 3), np.uint8), r"not \(1, 1, 8, 12, 3\) uint8"),
        ([1, 2], "a picture is a file, a PIL image, or an array .* not list"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(frames, message):
    with pytest.raises(InputError, match=message):
        read_frames(frames, SIZE)


def test_files_that_are_no_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.png: no such file"):
        read_frames(tmp_path / "nowhere.png", SIZE)
    (tmp_path / "letter.png").write_text("dear me")
    Image.fromarray(picture(64, 64)).save(tmp_path / "whole.png")
    (tmp_path / "short.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    for name in ("letter.png", "short.png", "."):
        with pytest.raises(InputError, match="not a picture that can be read"):
            read_frames(tmp_path / name, SIZE)

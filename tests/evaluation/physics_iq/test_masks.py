"""Motion masks: what Physics-IQ takes for motion."""

import cv2
import numpy as np
import pytest

from phys4d.evaluation.physics_iq import MotionMasks, motion_masks, through_codec


def moving_square(frames=6, step=4, level=200):
    rgb = np.full((frames, 48, 64, 3), 40, np.uint8)
    for t in range(frames):
        rgb[t, 16:32, 4 + step * t : 20 + step * t] = level
    return rgb


def textured(seed=0, frames=8):
    """Noise that is redrawn in a patch which touches the picture's corner, and sparks elsewhere."""
    rng = np.random.default_rng(seed)
    rgb = np.repeat(rng.integers(0, 255, (1, 60, 70, 3), dtype=np.uint8), frames, axis=0)
    for t in range(frames):
        rgb[t, : 20 + t, : 12 + 2 * t] = rng.integers(0, 255, 3)
        rgb[t, 40 + t, 50] = 255
    return rgb


def recipe(rgb):
    """The public code's steps over whole pictures, in its order of operations."""
    average, kernel = None, np.ones((5, 5), np.uint8)
    for frame in rgb:
        grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (5, 5), 0)
        if average is None:
            average = grey.astype("float")
            yield np.zeros(grey.shape, bool)
            continue
        cv2.accumulateWeighted(grey, average, 0.3)
        raw = (np.abs(grey.astype(int) - cv2.convertScaleAbs(average)) > 10).astype(np.uint8)
        opened = cv2.morphologyEx(raw, cv2.MORPH_OPEN, kernel)
        yield cv2.morphologyEx(opened, cv2.MORPH_CLOSE, kernel).astype(bool)


def test_motion_masks_show_what_moves():
    masks = motion_masks(moving_square())
    assert not masks[0].any()
    assert masks[1:].any(axis=(1, 2)).all()
    assert not masks[:, :10].any()
    assert not masks[:, 38:].any()
    assert not motion_masks(moving_square(step=0)).any()
    assert not motion_masks(moving_square(level=50)).any(), "10 grey levels are no motion"


@pytest.mark.parametrize("rgb", [moving_square(), textured(0), textured(1)], ids=["square", "noise", "more"])
def test_motion_masks_are_those_of_the_public_recipe(rgb):
    np.testing.assert_array_equal(motion_masks(rgb), np.stack(list(recipe(rgb))))


def test_the_order_of_channels_is_told():
    rgb = textured()
    masks = MotionMasks("bgr")
    turned = np.stack([masks.next(np.ascontiguousarray(frame[..., ::-1])) > 0 for frame in rgb])
    np.testing.assert_array_equal(turned, motion_masks(rgb))


def test_masks_come_back_from_the_codec_nearly_as_they_were():
    masks = motion_masks(moving_square(frames=10)).astype(np.uint8) * 255
    back = np.stack(list(through_codec(iter(masks), 12, masks.shape[1:])))
    assert back.shape == masks.shape
    wrong = (back > 127) != (masks > 127)
    assert np.abs(back.astype(int) - masks).max() > 0, "the codec is lossy"
    assert wrong.mean() < 0.02


def test_an_odd_size_has_no_codec():
    with pytest.raises(ValueError, match="even"):
        next(through_codec(iter([np.zeros((9, 8), np.uint8)]), 12, (9, 8)))

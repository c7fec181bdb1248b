"""The guards see what the reward might be traded for: motion in the wrong place, blur, sameness."""

import cv2
import numpy as np
import pytest
from planted import frozen, simulated

from phys4d.rewards import diversity, rgb_mask_iou, sharpness


def test_mask_iou_is_one_on_itself_and_falls_when_the_motion_is_elsewhere():
    rgb = simulated("ball_drop", 3).rgb
    assert rgb_mask_iou(rgb, rgb).value == 1
    shifted = [rgb_mask_iou(np.roll(rgb, pixels, axis=2), rgb).value for pixels in (2, 6, 12)]
    assert 1 > shifted[0] > shifted[1] > shifted[2]
    still = frozen(simulated("ball_drop", 3)).rgb
    assert rgb_mask_iou(still, rgb).value == 0
    empty = rgb_mask_iou(still, still)
    assert np.isnan(empty.value)
    assert empty.reason


def test_sharpness_falls_with_blur_inside_the_mask():
    rgb = simulated("ball_drop", 3).rgb
    assert sharpness(rgb, rgb).value == pytest.approx(1)
    blurred = np.stack([cv2.GaussianBlur(frame, (5, 5), 0) for frame in rgb])
    assert sharpness(blurred, rgb).value < 0.5
    left = np.zeros(rgb.shape[:3], bool)
    left[..., :32] = True
    half = np.where(left[..., None], blurred, rgb)
    assert sharpness(half, rgb, left).value < 0.5
    inner = ~left
    inner[..., 32] = False
    assert sharpness(half, rgb, inner).value == pytest.approx(1)


def test_diversity_is_nothing_for_copies():
    rgb = simulated("ball_drop", 3).rgb
    assert diversity([rgb, rgb, rgb]) == 0
    assert diversity([rgb, 255 - rgb]) > diversity([rgb, np.roll(rgb, 1, axis=2)]) > 0

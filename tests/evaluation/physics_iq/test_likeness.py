"""Overlaps of motion, in closed form."""

import numpy as np
import pytest

from phys4d.evaluation.physics_iq import Glimpse, glimpses, likeness, measure_view
from phys4d.evaluation.physics_iq.likeness import OTHER_TAKE, STATIC, frame_mse, iou, weighted_iou


def squares(columns, size=(8, 12)):
    """A 4x2 block that stands in one column range after the other; None: nothing moves."""
    shown = []
    for column in columns:
        mask = np.zeros(size, bool)
        if column is not None:
            mask[2:6, column : column + 2] = True
        shown.append(Glimpse(np.full((*size, 3), 10 * len(shown), np.uint8), mask))
    return shown


def test_the_overlaps_of_blocks_that_half_agree():
    first, second = squares([None, 0, 2, 4]), squares([None, 0, 3, None])
    found = measure_view(first, second, {})[OTHER_TAKE]
    # Frame by frame: both empty, the same, 4 of 12 pixels, 0 of 8.
    np.testing.assert_allclose(found.spatiotemporal_iou, [1, 1, 1 / 3, 0])
    # Columns 0 to 5 and 0, 1, 3, 4: four of six.
    assert found.spatial_iou == pytest.approx(4 / 6)
    assert found.weighted_spatial_iou == pytest.approx(4 / 6)
    np.testing.assert_array_equal(found.mse, 0)


def test_how_often_a_pixel_moves_counts_in_the_weighted_overlap_alone():
    once, often = squares([0, None, None]), squares([0, 0, 0])
    found = measure_view(once, often, {})[OTHER_TAKE]
    assert found.spatial_iou == 1
    assert found.weighted_spatial_iou == pytest.approx(1 / 3)


def test_empty_masks_agree():
    empty = np.zeros((4, 4), bool)
    assert iou(empty, empty) == 1
    assert weighted_iou(empty.astype(np.uint16), empty.astype(np.uint16)) == 1


def test_the_error_of_colours_is_in_units_of_the_range():
    black, grey = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 51, np.uint8)
    assert frame_mse(black, grey) == pytest.approx(0.04)
    mine, theirs = np.random.default_rng(0).integers(0, 255, (2, 4, 6, 3), dtype=np.uint8)
    assert frame_mse(mine, theirs) == pytest.approx(np.mean((mine / 255 - theirs / 255) ** 2))


def test_the_static_world_has_the_first_frame_and_no_motion():
    first = squares([None, 0, 2])
    found = measure_view(first, first, {"run": first})
    assert list(found) == [OTHER_TAKE, "run", STATIC]
    still = found[STATIC]
    np.testing.assert_allclose(still.spatiotemporal_iou, [1, 0, 0])
    assert still.spatial_iou == still.weighted_spatial_iou == 0
    np.testing.assert_allclose(still.mse, [0, (10 / 255) ** 2, (20 / 255) ** 2])
    assert found["run"].row() == pytest.approx([1, 1, 1, 0])


def test_frames_are_rounded_as_a_table_keeps_them():
    first, second = squares([0, 0, 0]), squares([0, 1, None])
    assert measure_view(first, second, {})[OTHER_TAKE].row()[0] == pytest.approx((1 + 1 / 3) / 3)
    assert measure_view(first, second, {})[OTHER_TAKE].row(4)[0] == pytest.approx((1 + 0.3333) / 3)


def test_videos_of_other_sizes_are_compared_at_a_quarter_of_the_second():
    rng = np.random.default_rng(0)
    large = rng.integers(0, 255, (4, 32, 48, 3), dtype=np.uint8)
    seen = list(glimpses(large, (8, 12)))
    assert seen[0].picture.shape == (8, 12, 3)
    assert seen[0].mask.shape == (8, 12)
    assert not seen[0].mask.any()
    assert likeness(large, large).row() == pytest.approx([1, 1, 1, 0])
    assert likeness(large[:, ::2, ::2], large).mse.shape == (4,)


def test_videos_of_different_lengths_are_refused():
    with pytest.raises(ValueError):
        measure_view(squares([0, 0]), squares([0]), {})
    with pytest.raises(ValueError, match="no frame"):
        measure_view([], [], {})

"""Scale and shift: found exactly, ignored where they should be, and kept steady in time."""

import numpy as np
import pytest

from phys4d.errors import InputError
from phys4d.teachers.alignment import aligned_error, fit_scale_shift, steady

RNG = np.random.default_rng(0)
DISPARITY = RNG.uniform(0.1, 1, (4, 6, 8))
EVERYWHERE = np.ones(DISPARITY.shape, np.bool_)


def test_scale_and_shift_are_found_exactly():
    mask = RNG.random(DISPARITY.shape) > 0.3
    target = np.where(mask, 3 * DISPARITY - 0.5, 99)
    assert fit_scale_shift(DISPARITY, target, mask) == pytest.approx((3, -0.5))


def test_least_squares_agrees_with_numpy_on_noisy_data():
    target = 2 * DISPARITY + 1 + RNG.normal(size=DISPARITY.shape)
    expected = np.polyfit(DISPARITY.ravel(), target.ravel(), 1)
    assert fit_scale_shift(DISPARITY, target, EVERYWHERE) == pytest.approx(tuple(expected))


def test_constant_values_give_the_mean_and_an_empty_mask_an_error():
    constant = np.full(DISPARITY.shape, 0.1 + 0.2)
    assert fit_scale_shift(constant, DISPARITY, EVERYWHERE) == (0, pytest.approx(DISPARITY.mean()))
    with pytest.raises(InputError, match="mask is empty"):
        fit_scale_shift(DISPARITY, DISPARITY, ~EVERYWHERE)


def test_error_is_free_of_scale_and_shift_and_blind_outside_the_mask():
    mask = RNG.random(DISPARITY.shape) > 0.3
    depth = np.where(mask, 1 / DISPARITY, 0)
    error = aligned_error(5 * DISPARITY + 7, depth, mask)
    assert np.nanmax(error) < 1e-9
    assert (np.isnan(error) == ~mask).all()
    # One value wrong: the rest of the clip pulls it most of the way back, the error there stays.
    wrong = DISPARITY.copy()
    wrong[mask] += RNG.normal(size=mask.sum()) * 0.1
    assert 0.01 < np.nanmean(aligned_error(wrong, depth, mask)) < 1


def test_error_of_a_constant_is_that_of_the_mean_disparity():
    depth = np.array([1.0, 2.0, 4.0]).reshape(1, 1, 3)
    guess = 1 / np.mean([1, 1 / 2, 1 / 4])
    error = aligned_error(np.zeros((1, 1, 3)), depth, np.ones((1, 1, 3), np.bool_))
    np.testing.assert_allclose(error.ravel(), np.abs(guess - depth.ravel()) / depth.ravel())


def flickering(frames: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A still scene, and the same with another scale and shift in every frame."""
    scene = RNG.uniform(0, 1, (1, 16, 16)).repeat(frames, axis=0).astype(np.float32)
    scale, shift = RNG.uniform(0.7, 1.4, (frames, 1, 1)), RNG.uniform(-0.3, 0.3, (frames, 1, 1))
    return scene, (scale * scene + shift).astype(np.float32)


def test_flicker_of_scale_and_shift_is_taken_away():
    _, shown = flickering()
    surface = np.ones(shown.shape, np.bool_)
    result = steady(shown, surface)
    np.testing.assert_allclose(result, result[:1].repeat(6, axis=0), atol=1e-5)
    np.testing.assert_array_equal(result[0], shown[0])
    assert np.ptp(shown, axis=0).min() > 0.1


def test_what_moves_does_not_pull_the_rest_and_keeps_its_own_motion():
    """A thing over a twentieth of the picture comes steadily nearer before flickering ground."""
    scene, shown = flickering()
    moved = np.linspace(0, 1, 6)[:, None, None]
    thing = shown.copy()
    scale = np.ptp(shown[:, 0], axis=1) / np.ptp(scene[:, 0], axis=1)
    thing[:, 4:7, 4:8] += scale[:, None, None] * moved
    surface = np.ones(shown.shape, np.bool_)
    result = steady(thing, surface)
    ground = np.ones((16, 16), np.bool_)
    ground[4:7, 4:8] = False
    assert np.ptp(result[:, ground], axis=0).max() < 1e-4
    rise = (result - result[0])[:, 4:7, 4:8].mean(axis=(1, 2))
    np.testing.assert_allclose(rise, scale[0] * moved.ravel(), atol=1e-3)


def test_noise_does_not_shrink_a_long_clip():
    scene = RNG.uniform(0, 1, (1, 24, 24))
    noisy = (scene + RNG.normal(scale=0.1, size=(40, 24, 24))).astype(np.float32)
    result = steady(noisy, np.ones(noisy.shape, np.bool_))
    assert result[-10:].std() == pytest.approx(result[:10].std(), rel=0.15)


def test_sky_and_new_scenes_are_left_alone():
    scene, shown = flickering()
    surface = np.ones(shown.shape, np.bool_)
    surface[:, :4] = False
    garbage = shown.copy()
    garbage[:, :4] = RNG.normal(size=(6, 4, 16)) * 100
    np.testing.assert_allclose(steady(garbage, surface)[:, 4:], steady(shown, surface)[:, 4:], atol=1e-5)
    cut = scene.copy()
    cut[3:] = RNG.uniform(0, 1, (1, 16, 16))
    np.testing.assert_array_equal(steady(cut, np.ones(cut.shape, np.bool_))[3], cut[3])
    none = np.zeros(shown.shape, np.bool_)
    np.testing.assert_array_equal(steady(shown, none), shown)

"""Picture metrics against closed forms."""

import math

import numpy as np
import pytest

from phys4d.evaluation.quality import diversity, laplacian_energy, psnr, sharpness

RNG = np.random.default_rng(0)
VIDEO = RNG.integers(40, 200, size=(3, 24, 32, 3)).astype(np.uint8)


def test_psnr_is_what_its_formula_says():
    assert psnr(VIDEO + np.uint8(10), VIDEO).value == pytest.approx(20 * np.log10(255 / 10), rel=1e-6)
    assert psnr(VIDEO, VIDEO).value == 100


def test_half_the_contrast_is_a_quarter_of_the_energy():
    grey = np.repeat(VIDEO[..., :1] // 2 * 2, 3, axis=-1)
    found = sharpness(laplacian_energy(grey // 2), laplacian_energy(grey))
    assert found.value == pytest.approx(0.25, rel=1e-5)


def test_sharpness_within_a_mask_sees_that_part_alone():
    flat = VIDEO.copy()
    flat[:, :, 16:] = 100
    mask = np.zeros(VIDEO.shape[:3], bool)
    mask[:, :, 18:] = True
    energies = laplacian_energy(flat), laplacian_energy(VIDEO)
    assert sharpness(*energies, mask).value == 0
    mask = np.zeros_like(mask)
    mask[:, :, :14] = True
    assert sharpness(*energies, mask).value == pytest.approx(1)


def test_a_flat_reference_has_no_sharpness():
    flat = laplacian_energy(np.full_like(VIDEO, 9))
    assert math.isnan(sharpness(laplacian_energy(VIDEO), flat).value)


def test_diversity_is_the_mean_distance_of_pairs():
    a = np.zeros((2, 4, 4, 3), np.uint8)
    b, c = a + np.uint8(51), a + np.uint8(102)
    assert diversity([a, b, c]) == pytest.approx((0.2 + 0.4 + 0.2) / 3)
    assert diversity([a, a.copy()]) == 0
    assert math.isnan(diversity([a]))

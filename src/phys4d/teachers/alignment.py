"""Disparity up to scale and shift: fitting both, measuring what is left, and keeping both steady in time.

Ranftl et al., Towards Robust Monocular Depth Estimation (MiDaS), TPAMI 2022, arXiv 1907.01341.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from phys4d.errors import InputError

LEAST_DISPARITY = 0.01
"""Disparity [1/m] below which a fitted value is taken for this: nothing is seen beyond 100 m."""
TRUSTED = 0.8
"""Share of the pixels, those that agree best, that decide how one frame is aligned to another."""
LEAST_SHARED = 0.05
"""Share of the picture that two frames must have in common to be aligned."""
LEAST_CORRELATION = 0.7
"""Correlation of two frames of one scene."""


def fit_scale_shift(
    values: Float[np.ndarray, "*grid"], target: Float[np.ndarray, "*grid"], mask: Bool[np.ndarray, "*grid"]
) -> tuple[float, float]:
    """(a, b) of least squares, a values + b = target, over the mask; a = 0 where the values are constant.

    Raises InputError for an empty mask.
    """
    if not mask.any():
        raise InputError("no pixel to align by: the mask is empty")
    x, y = values[mask].astype(np.float64), target[mask].astype(np.float64)
    spread = x.var()
    # A spread of rounding errors is none: it would make any scale.
    if spread <= 1e-12 * max(np.abs(x).max() ** 2, 1e-30):
        return 0.0, float(y.mean())
    scale = float(((x - x.mean()) * (y - y.mean())).mean() / spread)
    return scale, float(y.mean() - scale * x.mean())


def aligned_error(
    disparity: Float[np.ndarray, "T H W"], depth: Float[np.ndarray, "T H W"], mask: Bool[np.ndarray, "T H W"]
) -> Float[np.ndarray, "T H W"]:
    """|d - depth| / depth after one least-squares scale and shift of disparity for the clip; NaN outside the mask.

    disparity: up to scale and shift. depth: the truth [m], positive on the mask. Raises InputError for an empty
    mask.
    """
    truth = np.where(mask, depth, np.nan)
    scale, shift = fit_scale_shift(disparity, 1 / truth, mask)
    fitted = 1 / np.maximum(scale * disparity.astype(np.float64) + shift, LEAST_DISPARITY)
    return np.abs(fitted - truth) / truth


def steady(
    disparity: Float32[np.ndarray, "T H W"], surface: Bool[np.ndarray, "T H W"]
) -> Float32[np.ndarray, "T H W"]:
    """Frames of one scale and shift each, brought to that of the first.

    Each frame is matched in mean and spread to the one before it, as that came out, over the pixels of surface
    in both; twice, the second time over the TRUSTED share that agree best, so that what moves does not pull. A
    frame that has too little in common with the one before stays as it is: it shows something else.
    """
    result = disparity.copy()
    for t in range(1, len(disparity)):
        shared = surface[t - 1] & surface[t]
        if shared.mean() < LEAST_SHARED or not _alike(disparity[t][shared], result[t - 1][shared]):
            continue
        scale, shift = _match(disparity[t], result[t - 1], shared)
        residual = np.abs(scale * disparity[t] + shift - result[t - 1])
        best = shared & (residual <= np.quantile(residual[shared], TRUSTED))
        scale, shift = _match(disparity[t], result[t - 1], best)
        result[t] = scale * disparity[t] + shift
    return result


def _alike(x: np.ndarray, y: np.ndarray) -> bool:
    """Correlated, as two views of one scene are; two constants are not."""
    x, y = x - x.mean(), y - y.mean()
    return bool((x * y).mean() > LEAST_CORRELATION * x.std() * y.std())


def _match(values: np.ndarray, target: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Least squares would shrink a noisy frame towards its mean, and the next one towards that."""
    x, y = values[mask].astype(np.float64), target[mask].astype(np.float64)
    scale = float(y.std() / x.std()) if x.std() > 0 else 1.0
    return scale, float(y.mean() - scale * x.mean())

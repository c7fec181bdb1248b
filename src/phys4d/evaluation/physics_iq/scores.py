"""The two scores of Physics-IQ, from what candidates and other takes have in common with first takes.

Tables have one row a view and the columns MEASURES. Sources: google-deepmind/physics-IQ-benchmark,
physiq/calculate_iq_score.py (original), physiq/calculate_iq_score_stable.py, `final_score_view` (verified).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

MEASURES = ("spatiotemporal_iou", "spatial_iou", "weighted_spatial_iou", "mse")
LEAST = 1e-8
"""What the public code adds to a physical variance that it divides by."""


def original_score(agreement: Float[np.ndarray, "*N 4"], variance: Float[np.ndarray, "*N 4"]) -> np.ndarray:
    """Physics-IQ [0 to 100] from means over a data set: 100 clip01(mean(ST/v, S/v, WS/v) - (MSE - v)).

    agreement: means over all views of what candidates have; variance: of what other takes have. NaN where other
    takes never overlap.
    """
    return np.clip(original_parts(agreement, variance), 0, 100)


def original_parts(agreement: Float[np.ndarray, "*N 4"], variance: Float[np.ndarray, "*N 4"]) -> np.ndarray:
    """What each view contributes to Physics-IQ: the score before it is clipped is their mean.

    variance: means over a data set, the same for every view.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (agreement[..., :3] / variance[..., :3]).mean(-1)
    ratios = np.where(np.isfinite(ratios), ratios, np.nan)
    return 100 * (ratios - (agreement[..., 3] - variance[..., 3]))


def verified_scores(agreement: Float[np.ndarray, "*N 4"], variance: Float[np.ndarray, "*N 4"]) -> np.ndarray:
    """Physics-IQ Verified [0 to 100] of every view: the mean of clip01(IoU/v), three times, and clip01(v/MSE).

    The score of a data set is their mean. A perfect error (0) counts as 1.
    """
    ratios = agreement / (variance + LEAST)
    with np.errstate(divide="ignore"):
        ratios = np.concatenate([ratios[..., :3], 1 / ratios[..., 3:]], axis=-1)
    return 100 * np.clip(ratios, 0, 1).mean(-1)

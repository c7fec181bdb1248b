"""Is the picture itself any good? Physics must not be bought with blur, nor with always the same film."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from phys4d.evaluation.alignment import take
from phys4d.evaluation.measure import Measured, Metric, Pair, Truth, nothing, of_curve

MOST_DECIBELS = 100.0
"""Cap of PSNR [dB]: what identical pictures score, as infinity cannot be averaged."""


def laplacian_energy(rgb: UInt8[np.ndarray, "T H W 3"]) -> Float[np.ndarray, "T H W"]:
    """Squared Laplacian of the grey picture at every pixel: what a blur takes away first."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in rgb]
    return np.stack([np.square(cv2.Laplacian(frame, cv2.CV_32F)) for frame in grey])


def sharpness(
    prediction: Float[np.ndarray, "T H W"],
    reference: Float[np.ndarray, "T H W"],
    mask: Bool[np.ndarray, "T H W"] | None = None,
) -> Measured:
    """Ratio of Laplacian energies, prediction to reference: 1 is right, below is blur, above is noise.

    mask: pixels of both pictures that count, default all. The energies are summed over the clip.
    """
    chosen = np.ones(reference.shape, bool) if mask is None else mask
    whole = float(reference[chosen].sum(dtype=np.float64))
    if whole <= 0:
        return nothing("the reference's picture has no detail there")
    return Measured(float(prediction[chosen].sum(dtype=np.float64)) / whole, float(chosen.mean()))


def psnr(prediction: UInt8[np.ndarray, "T H W 3"], reference: UInt8[np.ndarray, "T H W 3"]) -> Measured:
    """Peak signal-to-noise ratio [dB] a frame, at most MOST_DECIBELS; then the mean over frames."""
    difference = prediction.astype(np.float32) - reference
    error = np.square(difference / 255).mean(axis=(1, 2, 3), dtype=np.float64)
    floor = 10 ** (-MOST_DECIBELS / 10)
    return of_curve(-10 * np.log10(np.maximum(error, floor)), "no frame is judged")


def diversity(samples: list[UInt8[np.ndarray, "T H W 3"]]) -> float:
    """Root mean square difference of two samples of one condition, in 0..1, the mean over all pairs; NaN for one.

    Cut the frames that the samples were given before; they are the same in all.
    """
    pairs = list(itertools.combinations(samples, 2))
    if not pairs:
        return float("nan")
    return float(np.mean([np.sqrt(np.square((a.astype(np.float32) - b) / 255).mean()) for a, b in pairs]))


def _energies(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    return laplacian_energy(*take(pair.prediction, "rgb"))[pair.judged], pair.once_for_truth(_truth_energy)[
        pair.judged
    ]


def _truth_energy(truth: Truth) -> np.ndarray:
    return laplacian_energy(*take(truth.world, "rgb"))


def _sharpness_moving(pair: Pair) -> Measured:
    mask = pair.truth.moving[pair.judged]
    if not mask.any():
        return nothing("nothing moves in the reference")
    return sharpness(*pair.once(_energies), mask)


def _psnr(pair: Pair) -> Measured:
    (mine,), (truth,) = take(pair.prediction, "rgb"), take(pair.reference, "rgb")
    return psnr(mine[pair.judged], truth[pair.judged])


ROWS = (
    Metric("sharpness", ("rgb",), ("rgb",), "", "one", lambda pair: sharpness(*pair.once(_energies))),
    Metric("sharpness_moving", ("rgb",), ("rgb", "segmentation", "scene_flow"), "", "one", _sharpness_moving),
    Metric("psnr", ("rgb",), ("rgb",), "dB", "higher", _psnr),
)
"""The metrics of this file."""

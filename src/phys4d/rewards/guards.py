"""What is logged beside the reward and never rewarded: instruments that look at the colours alone.

Where these fall while the reward rises, the reward is being gamed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from phys4d.evaluation import quality
from phys4d.evaluation.measure import Measured
from phys4d.evaluation.physics import iou
from phys4d.evaluation.physics_iq import motion_masks
from phys4d.evaluation.quality import diversity

__all__ = ["diversity", "rgb_mask_iou", "sharpness"]


def rgb_mask_iou(rgb: UInt8[np.ndarray, "T H W 3"], rgb_reference: UInt8[np.ndarray, "T H W 3"]) -> Measured:
    """Intersection over union of what moves in two videos by frame differencing, as Physics-IQ does.

    The mean over frames in which either moves; NaN with a reason where none does.
    """
    return iou(motion_masks(rgb), motion_masks(rgb_reference))


def sharpness(
    rgb: UInt8[np.ndarray, "T H W 3"],
    rgb_reference: UInt8[np.ndarray, "T H W 3"],
    mask: Bool[np.ndarray, "T H W"] | None = None,
) -> Measured:
    """Ratio of Laplacian energies over the mask: 1 is as sharp as the reference, less is blur, more is noise."""
    return quality.sharpness(quality.laplacian_energy(rgb), quality.laplacian_energy(rgb_reference), mask)

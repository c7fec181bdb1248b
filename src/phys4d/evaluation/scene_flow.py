"""Scene flow as two public protocols measure it: MotionCrafter's and that of FlyingThings3D.

Both take all points of a video together, where our own `motion.scene_flow_errors` takes the mean over frames.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from phys4d.evaluation.measure import Measured, nothing

WITHIN = {"acc_003": 0.03, "acc_005": 0.05, "acc_01": 0.1, "acc_03": 0.3}
"""MotionCrafter's thresholds [m]."""
_NO_POINT = "no point has a true motion"


def motioncrafter_flow_errors(
    prediction: Float[np.ndarray, "T H W 3"],
    reference: Float[np.ndarray, "T H W 3"],
    valid: Bool[np.ndarray, "T H W"],
) -> dict[str, Measured]:
    """epe [m] and the shares of valid points with |e| <= .03, .05, .1 and .3 m, over all points of the video.

    Source: sceneflow_metrics of MotionCrafter, evaluation/metrics.py.
    """
    if not valid.any():
        return {name: nothing(_NO_POINT) for name in ("epe", *WITHIN)}
    error, seen = np.linalg.norm(prediction - reference, axis=-1)[valid], float(valid.mean())
    shares = {name: Measured(float((error <= bound).mean()), seen) for name, bound in WITHIN.items()}
    return {"epe": Measured(float(error.mean()), seen), **shares}


def flyingthings_errors(
    prediction: Float[np.ndarray, "T H W 3"],
    reference: Float[np.ndarray, "T H W 3"],
    valid: Bool[np.ndarray, "T H W"],
) -> dict[str, Measured]:
    """EPE3D [m], Acc3D strict and relaxed, and outliers, over all valid points; metres, without any alignment.

    strict: |e| < .05 m or |e| / (|truth| + 1e-4) < .05; relaxed: .1 and .1; outlier: > .3 m or > .1. Source:
    HPLFlowNet (CVPR 2019), evaluation_utils.py, which FlyingThings3D and KITTI scene flow are reported by.
    """
    if not valid.any():
        return {name: nothing(_NO_POINT) for name in ("epe3d", "acc3d_strict", "acc3d_relaxed", "outliers3d")}
    error = np.linalg.norm(prediction - reference, axis=-1)[valid]
    relative = error / (np.linalg.norm(reference[valid], axis=-1) + 1e-4)
    values = {
        "epe3d": error,
        "acc3d_strict": (error < 0.05) | (relative < 0.05),
        "acc3d_relaxed": (error < 0.1) | (relative < 0.1),
        "outliers3d": (error > 0.3) | (relative > 0.1),
    }
    return {name: Measured(float(value.mean()), float(valid.mean())) for name, value in values.items()}

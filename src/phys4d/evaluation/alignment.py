"""How a prediction is laid over its reference: one fit of disparity, and camera 0 in the same place."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phys4d.geometry import invert_rigid
from phys4d.world import Camera, World4D

Alignment = Literal["none", "scale", "scale+shift"]

NEAREST_DISPARITY = 1e-3
"""Floor of an aligned disparity [1/m]: what a fit sends to infinity or behind the camera ends a kilometre away."""


@dataclasses.dataclass(frozen=True)
class DisparityFit:
    """disparity_aligned = scale * disparity + shift [1/m]."""

    scale: float
    shift: float


def fit_disparity(
    prediction: Float[np.ndarray, "*shape"],
    reference: Float[np.ndarray, "*shape"],
    valid: Bool[np.ndarray, "*shape"],
    alignment: Alignment = "scale",
) -> DisparityFit:
    """The least-squares fit of predicted to reference disparity (1 / depth) over the valid pixels."""
    if alignment == "none":
        return DisparityFit(1.0, 0.0)
    x, y = 1 / prediction[valid].astype(np.float64), 1 / reference[valid].astype(np.float64)
    spread = x - x.mean()
    if alignment == "scale" or not np.square(spread).sum() > 1e-12 * np.square(x).sum():
        return DisparityFit(float(x @ y / (x @ x)), 0.0)
    scale = float(spread @ y / (spread @ spread))
    return DisparityFit(scale, float(y.mean() - scale * x.mean()))


def align_depth(depth: Float[np.ndarray, "*shape"], fit: DisparityFit) -> Float[np.ndarray, "*shape"]:
    """Depth [m] after the fit; where it was 0 it stays 0."""
    if fit == DisparityFit(1.0, 0.0):
        return depth
    surface = depth > 0
    disparity = fit.scale / np.where(surface, depth, 1.0) + fit.shift
    return np.where(surface, 1 / np.maximum(disparity, NEAREST_DISPARITY), 0.0).astype(depth.dtype)


def align_world(prediction: World4D, reference: World4D, alignment: Alignment) -> World4D:
    """The prediction in the reference's world axes: camera 0 stands where the reference's does.

    Unless alignment is "none", depth is fitted to the reference's on frame 0 alone, as every later frame is the
    prediction's own affair; lengths (camera path, scene flow, tracks) take the scale, or the median scale where a
    shift of disparity bends the depth. Fields that either world lacks are left as they are.
    """
    values: dict[str, Any] = {name: getattr(prediction, name) for name in prediction.fields}
    scale = 1.0
    if alignment != "none" and prediction.depth is not None and reference.depth is not None:
        first = prediction.depth[0], reference.depth[0]
        both = (first[0] > 0) & (first[1] > 0)
        if both.any():
            fit = fit_disparity(*first, both, alignment)
            values["depth"] = align_depth(prediction.depth, fit)
            scale = float(np.median(values["depth"][0][both] / first[0][both]))
    if prediction.camera is None or reference.camera is None:
        return dataclasses.replace(prediction, **values)
    pose, start = _tensor(prediction.camera.world_from_camera), _tensor(reference.camera.world_from_camera)[0]
    if scale == 1.0 and torch.equal(pose[0], start):
        return dataclasses.replace(prediction, **values)
    camera_from_world = invert_rigid(pose[0])
    path = camera_from_world @ pose
    path[:, :3, 3] *= scale
    values["camera"] = Camera(prediction.camera.intrinsics, (start @ path).float().numpy())
    rotation = (start @ camera_from_world)[:3, :3]
    if prediction.scene_flow is not None:
        values["scene_flow"] = (scale * _tensor(prediction.scene_flow) @ rotation.T).float().numpy()
    if prediction.tracks is not None:
        in_camera = _tensor(prediction.tracks) @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        values["tracks"] = (scale * in_camera @ start[:3, :3].T + start[:3, 3]).float().numpy()
    return dataclasses.replace(prediction, **values)


def take(world: World4D, *names: str) -> list[Any]:
    """The named fields of a world. Raises MissingFieldError naming those that it does not have."""
    world.require(*names)
    return [getattr(world, name) for name in names]


def tensors(camera: Camera) -> tuple[Tensor, Tensor]:
    """Intrinsics (T,3,3) and poses (T,4,4) as double tensors."""
    return _tensor(camera.intrinsics), _tensor(camera.world_from_camera)


def _tensor(values: Float[np.ndarray, "*shape"]) -> Tensor:
    return torch.from_numpy(values).double()

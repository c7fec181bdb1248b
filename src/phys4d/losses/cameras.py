"""Cameras: the focal length, which way is down, and where each frame was taken."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from phys4d.geometry import invert_rigid
from phys4d.losses.masked import Loss


def camera_loss(
    log_focal: Float[Tensor, "B"],
    gravity: Float[Tensor, "B 3"],
    camera0_from_camera: Float[Tensor, "B T 4 4"],
    intrinsics: Float[Tensor, "B T 3 3"],
    world_from_camera: Float[Tensor, "B T 4 4"],
    *,
    height: int,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Loss:
    """|log f - log f*| (f in image heights) + (1 - cos) of gravity + translation L1 [m] + rotation angle [rad].

    log_focal: log(focal length / image height), one a clip; height: that of the truth's pictures [px]. gravity:
    direction of the fall, any length > 0, in the axes of camera 0. camera0_from_camera: predicted poses relative
    to frame 0. intrinsics, world_from_camera: the truth, z-up. `weights`: of the four terms in this order.
    """
    focal = (log_focal - (intrinsics[:, :, 1, 1].mean(dim=1) / height).log()).abs().mean()
    down = world_from_camera.new_tensor([0.0, 0.0, -1.0])
    down_camera0 = torch.einsum("bji,j->bi", world_from_camera[:, 0, :3, :3], down)
    fall = (1 - torch.cosine_similarity(gravity, down_camera0, dim=-1)).mean()
    truth = invert_rigid(world_from_camera[:, :1]) @ world_from_camera
    translation = (camera0_from_camera[..., :3, 3] - truth[..., :3, 3]).abs().sum(-1).mean()
    rotation = rotation_angle(camera0_from_camera[..., :3, :3], truth[..., :3, :3]).mean()
    terms = {"focal": focal, "gravity": fall, "translation": translation, "rotation": rotation}
    value = sum((w * term for w, term in zip(weights, terms.values(), strict=True)), start=focal.new_zeros(()))
    return Loss(value, {name: term.detach() for name, term in terms.items()}, {})


def rotation_angle(a: Float[Tensor, "*batch 3 3"], b: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Angle [rad] of the rotation between two rotations, from |a - b| = 2 sqrt(2) sin(angle / 2).

    Unlike the arc cosine of the trace it is exact, and its gradient finite, at small angles.
    """
    chord = torch.linalg.vector_norm(a - b, dim=(-2, -1)) / (2 * math.sqrt(2))
    return 2 * torch.asin(chord.clamp_max(1 - 1e-6))

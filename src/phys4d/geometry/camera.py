"""The pinhole camera: pixels to points and back, poses, and the making of both."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def pixel_centres(
    height: int, width: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Float[Tensor, "H W 2"]:
    """(x, y) of every pixel's centre [px]: (j + 0.5, i + 0.5) at row i, column j."""
    y = torch.arange(height, dtype=dtype, device=device) + 0.5
    x = torch.arange(width, dtype=dtype, device=device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def project(
    points_camera: Float[Tensor, "*batch 3"], intrinsics: Float[Tensor, "*cameras 3 3"]
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Project points in camera axes to pixels.

    Returns pixels (x, y) [px] and z-depth [m]. Behind the camera (z <= 0) the depth says so and the pixel is
    finite but meaningless: callers mask by depth > 0.
    """
    depth = points_camera[..., 2]
    # Points in the camera plane have no pixel; a floor on |z| keeps value and gradient finite there.
    safe = torch.where(depth.abs() < 1e-9, torch.full_like(depth, 1e-9), depth)
    rays = points_camera / safe[..., None]
    pixels = torch.einsum("...ij,...j->...i", _broadcast(intrinsics, points_camera), rays)
    return pixels[..., :2], depth


def unproject(
    depth: Float[Tensor, "*batch H W"], intrinsics: Float[Tensor, "*cameras 3 3"]
) -> Float[Tensor, "*batch H W 3"]:
    """Lift a z-depth map [m] to points in camera axes [m]; depth 0 gives the camera's origin."""
    height, width = depth.shape[-2:]
    centres = pixel_centres(height, width, dtype=depth.dtype, device=depth.device)
    return unproject_pixels(centres.expand(*depth.shape, 2), depth, intrinsics)


def unproject_pixels(
    pixels: Float[Tensor, "*batch 2"], depth: Float[Tensor, "*batch"], intrinsics: Float[Tensor, "*cameras 3 3"]
) -> Float[Tensor, "*batch 3"]:
    """Lift pixels (x, y) [px] at z-depth [m] to points in camera axes [m]: the inverse of `project`."""
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
    inverse = _broadcast(torch.linalg.inv(intrinsics), homogeneous)
    return torch.einsum("...ij,...j->...i", inverse, homogeneous) * depth[..., None]


def transform_points(
    a_from_b: Float[Tensor, "*cameras 4 4"], points_b: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """Take points from frame b to frame a [m]."""
    rotation = _broadcast(a_from_b[..., :3, :3], points_b)
    grid = (1,) * (points_b.ndim - a_from_b.ndim + 1)
    translation = a_from_b[..., :3, 3].reshape(*a_from_b.shape[:-2], *grid, 3)
    return torch.einsum("...ij,...j->...i", rotation, points_b) + translation


def invert_rigid(a_from_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """The inverse of a rigid motion, by transposition: exact, and cheaper than a general inverse."""
    rotation = a_from_b[..., :3, :3].mT
    translation = -(rotation @ a_from_b[..., :3, 3:])
    bottom = torch.zeros_like(a_from_b[..., 3:, :])
    bottom[..., 3] = 1
    return torch.cat([torch.cat([rotation, translation], dim=-1), bottom], dim=-2)


def look_at(
    eye: Float[Tensor, "*batch 3"],
    target: Float[Tensor, "*batch 3"],
    up: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> Float[Tensor, "*batch 4 4"]:
    """`world_from_camera` of a camera at `eye` that looks at `target` with `up` upward in the picture [m].

    Raises ValueError where the line of sight is parallel to `up`, for which no upright picture exists.
    """
    forward = target - eye
    up_vector = torch.tensor(up, dtype=eye.dtype, device=eye.device).expand_as(forward)
    right = torch.linalg.cross(forward, up_vector)
    if bool((right.norm(dim=-1) < 1e-6 * forward.norm(dim=-1).clamp_min(1e-12)).any()):
        raise ValueError("look_at: the line of sight is parallel to `up`; choose another `up`")
    forward = forward / forward.norm(dim=-1, keepdim=True)
    right = right / right.norm(dim=-1, keepdim=True)
    down = torch.linalg.cross(forward, right)
    pose = torch.zeros(*eye.shape[:-1], 4, 4, dtype=eye.dtype, device=eye.device)
    pose[..., :3, 0], pose[..., :3, 1], pose[..., :3, 2], pose[..., :3, 3] = right, down, forward, eye
    pose[..., 3, 3] = 1
    return pose


def intrinsics_from_fov(
    fov_y: float, height: int, width: int, *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "3 3"]:
    """Square pixels, centred principal point, and the vertical field of view `fov_y` [rad]."""
    focal = 0.5 * height / torch.tan(torch.tensor(0.5 * fov_y, dtype=torch.float64)).item()
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=dtype)


def resize_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], size: tuple[int, int], new_size: tuple[int, int]
) -> Float[Tensor, "*batch 3 3"]:
    """The same camera for an image resized from `size` to `new_size`, both (height, width) [px].

    With pixel centres at half integers a resize is a pure scaling of the first two rows.
    """
    scale = intrinsics.new_tensor([new_size[1] / size[1], new_size[0] / size[0], 1.0])
    return intrinsics * scale[:, None]


def _broadcast(matrix: Tensor, points: Tensor) -> Tensor:
    """View (*batch, n, n) as (*batch, 1, ..., 1, n, n) so that it applies to (*batch, *grid, n)."""
    grid = points.ndim - 1 - (matrix.ndim - 2)
    if grid < 0:
        raise ValueError(
            f"a batch of {tuple(matrix.shape[:-2])} cameras does not fit points of shape {tuple(points.shape)}"
        )
    return matrix.reshape(*matrix.shape[:-2], *(1,) * grid, *matrix.shape[-2:])

"""Point maps and scene flow of a clip, aligned and judged as GeometryCrafter and MotionCrafter do it.

Source: evaluation/eval.py of both. A clip's points stand in the axes of each frame's camera ("camera"), or all in
those of the camera of frame 0 ("world"), OpenCV axes both.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from phys4d.evaluation.measure import Measured, cut
from phys4d.evaluation.points import PointErrors, depth_shares, fit_points, point_errors, point_map
from phys4d.evaluation.scene_flow import motioncrafter_flow_errors
from phys4d.world import World4D

GEOMETRY_FRAMES, FLOW_FRAMES = 25, 8
"""MotionCrafter judges so many first frames: without scene flow, and with it."""


@dataclasses.dataclass(frozen=True)
class PointClip:
    """points: [m or relative]. valid: pixels with a point. pose: camera to world, None if unknown.

    scene_flow: displacement t -> t+1 from every frame but the last, or None; in the axes of frame 0's camera where
    axes is "world" or this is the truth, else from the camera axes of t to those of t+1. flow_valid: where it is
    known, None for all.
    """

    points: Float[np.ndarray, "T H W 3"]
    valid: Bool[np.ndarray, "T H W"]
    pose: Float[np.ndarray, "T 4 4"] | None
    axes: Literal["camera", "world"]
    scene_flow: Float[np.ndarray, "T-1 H W 3"] | None = None
    flow_valid: Bool[np.ndarray, "T-1 H W"] | None = None

    @property
    def path(self) -> Float[np.ndarray, "T 4 4"]:
        """The poses from frame 0's camera on."""
        assert self.pose is not None
        pose = self.pose.astype(np.float64)
        return np.linalg.inv(pose[0]) @ pose

    def first(self, frames: int) -> PointClip:
        """The first frames."""
        if len(self.points) <= frames:
            return self
        return PointClip(
            self.points[:frames],
            self.valid[:frames],
            None if self.pose is None else self.pose[:frames],
            self.axes,
            None if self.scene_flow is None else self.scene_flow[: frames - 1],
            None if self.flow_valid is None else self.flow_valid[: frames - 1],
        )


def clip_of_world(world: World4D, axes: Literal["camera", "world"], frames: int | None = None) -> PointClip:
    """A world's points by its own depth and cameras; scene flow (if any) in the axes of frame 0's camera."""
    world = cut(world.require("depth", "camera"), min(frames or world.frames, world.frames))
    assert world.depth is not None
    assert world.camera is not None
    pose = world.camera.world_from_camera.astype(np.float64)
    points = point_map(world)
    path = np.linalg.inv(pose[0]) @ pose
    if axes == "camera":
        points = _apply(np.linalg.inv(path), points)
    flow = None if world.scene_flow is None else world.scene_flow @ pose[0, :3, :3]
    valid = world.depth > 0
    return PointClip(points, valid, pose, axes, flow, None if flow is None else valid[:-1])


def geometrycrafter_errors(
    prediction: PointClip, truth: PointClip, *, weighted: bool = False
) -> tuple[PointErrors, PointErrors]:
    """Errors of points and of depth in camera axes, after a scale of each over the truth's valid pixels.

    weighted: rows of the fit are divided by the true depth. Both clips have axes "camera".
    """
    weight = 1 / np.square(truth.points[..., 2].astype(np.float64) + 1e-6) if weighted else None
    fit = fit_points(prediction.points, truth.points, truth.valid, "scale", weight)
    points = point_errors(fit(prediction.points), truth.points, truth.valid)
    z, z_true = prediction.points[..., 2:], truth.points[..., 2:]
    scaled = fit_points(z, z_true, truth.valid, "scale", weight)(z)
    return points, depth_shares(scaled[..., 0], z_true[..., 0], truth.valid)


def motioncrafter_errors(
    prediction: PointClip, truth: PointClip, *, weighted: bool = False
) -> tuple[PointErrors, PointErrors, dict[str, Measured]]:
    """Errors of points and of depth in the axes of frame 0, after one scale and shift, and of scene flow if known.

    A prediction in world axes is fitted to the true points there; one in camera axes is fitted in these, and taken
    to the world by the true poses. Depth is that of the aligned points in the true cameras. Scene flow takes the
    scale. weighted: residuals are divided by the true depth. truth: axes "camera".
    """
    path, weight = truth.path, 1 / (truth.points[..., 2].astype(np.float64) + 1e-6) if weighted else None
    goal = _apply(path, truth.points)
    in_world = prediction.axes == "world"
    fit = fit_points(prediction.points, goal if in_world else truth.points, truth.valid, "scale+shift", weight)
    aligned = fit(prediction.points) if in_world else _apply(path, fit(prediction.points))
    depth, depth_true = (_apply(np.linalg.inv(path), points)[..., 2] for points in (aligned, goal))
    flows: dict[str, Measured] = {}
    if prediction.scene_flow is not None and truth.scene_flow is not None:
        flow = fit.scale * prediction.scene_flow
        if not in_world:
            flow = _apply(path[1:], fit(prediction.points[:-1] + prediction.scene_flow)) - aligned[:-1]
        known = truth.valid[:-1] if truth.flow_valid is None else truth.flow_valid & truth.valid[:-1]
        flows = motioncrafter_flow_errors(flow, truth.scene_flow, known)
    shape = depth_shares(depth, depth_true, truth.valid)
    return point_errors(aligned, goal, truth.valid), shape, flows


def _apply(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(T,4,4) rigid motions on (T,H,W,3) points."""
    return np.einsum("tij,thwj->thwi", pose[:, :3, :3], points) + pose[:, None, None, :3, 3]

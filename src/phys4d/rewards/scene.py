"""A true world, prepared once, and the distances [m] of lifted rollouts from it.

What a pixel shows is dynamic where it lies off the simulator's background along the line of sight. That is asked
of a depth map of the background in the reference's own cameras, which is quick: one look-up a pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, UInt8
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter
from scipy.spatial import KDTree

from phys4d.errors import InputError
from phys4d.evaluation.alignment import align_world
from phys4d.geometry import (
    chain_tracks,
    invert_rigid,
    point_tree,
    project,
    project_tracks,
    transform_points,
    tree_chamfer,
    world_points,
)
from phys4d.world import Camera, World4D

Lift = Callable[[UInt8[np.ndarray, "N T H W 3"]], list[World4D]]
"""The frozen lifter: N videos to N worlds with depth, flow, visible and camera."""

TRUNCATION = 0.25
"""tau_d as a share of the scene's extent."""
REACH = 2.0
"""Surfaces farther away than so many extents are not judged: there, a hair of disparity is metres."""
EPSILON_FACTOR, EPSILON_RANGE = 3.0, (0.02, 0.2)
"""epsilon is so many times the lifter's own relative error on the background, within this range."""
LEAST_PATH = 0.02
"""An instance moves if its surface travels at least this share of the extent over the clip."""
LEAST_MARGIN = 0.02
"""e_static - e_floor must exceed this share of tau_d."""
MOST_DYNAMIC, MOST_BACKGROUND = 400, 600
"""Points a frame and set; more are thinned by one seeded order of pixels, the same for every world."""
SPLATTED_FRAMES = 6
"""Frames from which the background behind a moving instance is put together."""


@dataclasses.dataclass(frozen=True)
class Errors:
    """Distances from the truth [m]: 4D Chamfer of what moves, of what stands still, and mean EPE of tracks."""

    dynamic: float
    background: float
    track: float


@dataclasses.dataclass(frozen=True)
class RewardScene:
    """A true world as rewards need it; see `prepare_scene`.

    extent: median depth of frame 0 [m], about the size of what the picture shows. truncation: tau_d [m]. epsilon:
    |log z - log z_background| beyond which a pixel is dynamic. nearest, farthest: (T,H,W) depth of the background
    within a pixel, as each camera of the truth would see it without the moving instances; inf for the sky.
    dynamic, background: trees over a frame's points (N,3) in world axes [m]. track_pixels: (M,2) where the tracks
    on moving instances start in frame 0 [px], tracks (M,T,3) [m], track_judged (M,T) until they are first hidden,
    without frame 0. order: in which pixels are chosen. static, floor: errors of the lifted first frame held still
    and of the lifted true video. dropped: why this scene cannot be rewarded, "" where it can.
    """

    truth: World4D
    extent: float
    truncation: float
    epsilon: float
    nearest: Float32[np.ndarray, "T H W"]
    farthest: Float32[np.ndarray, "T H W"]
    dynamic: tuple[KDTree, ...]
    background: tuple[KDTree, ...]
    track_pixels: Float32[np.ndarray, "M 2"]
    tracks: Float32[np.ndarray, "M T 3"]
    track_judged: Bool[np.ndarray, "M T"]
    order: Int[np.ndarray, "P"]
    static: Errors
    floor: Errors
    dropped: str


def prepare_scene(truth: World4D, lift: Lift, *, seed: int = 0) -> RewardScene:
    """A true world with the frozen lifter's own errors on it, for any number of rollouts.

    epsilon is 3 times the median relative depth error of the lifted true video on the still surfaces. The scene is
    dropped, with the reason, where the truth barely moves, no track is seen on what moves, or the lifter hardly
    tells the true video from its first frame held still. Raises MissingFieldError where the truth lacks a label.
    """
    truth.require("rgb", "depth", "segmentation", "scene_flow", "camera", "tracks", "track_visibility")
    assert truth.rgb is not None
    assert truth.depth is not None
    surface = truth.depth > 0
    extent = float(np.median(truth.depth[0][surface[0]])) if surface[0].any() else 0.0
    moving = _moving(truth, LEAST_PATH * extent)
    pixels, tracks, judged = _moving_tracks(truth, moving[0])
    reason = ""
    if not moving.any():
        reason = f"its truth barely moves (no instance travels {LEAST_PATH * extent:.2g} m)"
    elif not judged.any():
        reason = "no track is seen on what moves after frame 0"
    behind = _background_depth(truth, moving)
    order = np.random.default_rng(seed).permutation(surface[0].size)
    scene = RewardScene(
        truth, extent, TRUNCATION * extent, EPSILON_RANGE[0], minimum_filter(behind, (1, 3, 3)),
        maximum_filter(behind, (1, 3, 3)), (), (), pixels, tracks, judged, order,
        Errors(0.0, 0.0, 0.0), Errors(0.0, 0.0, 0.0), reason,
    )  # fmt: skip
    if reason:
        return scene
    lifted, frozen = lift(np.stack([truth.rgb, np.repeat(truth.rgb[:1], len(truth.rgb), axis=0)]))
    scene = dataclasses.replace(scene, epsilon=_epsilon(lifted, scene, behind, moving))
    points, seen, dynamic = _split(truth, scene)
    scene = dataclasses.replace(
        scene,
        dynamic=_trees(points, seen & dynamic & moving, order, MOST_DYNAMIC),
        background=_trees(points, seen & ~moving, order, MOST_BACKGROUND),
    )
    floor, static = measure(lifted, scene), measure(frozen, scene)
    for name in ("dynamic", "track"):
        margin = getattr(static, name) - getattr(floor, name)
        if margin <= LEAST_MARGIN * scene.truncation:
            reason = f"the lifter hardly tells its truth from a frozen world ({name}: {margin:.3g} m apart)"
    return dataclasses.replace(scene, static=static, floor=floor, dropped=reason)


def measure(world: World4D, scene: RewardScene) -> Errors:
    """Errors [m] of a lifted world, laid over the truth by camera 0 and by frame 0's disparity (scale and shift).

    Chamfer per frame: 1/2 (mean_p min_q min(|p-q|, tau) + mean_q min_p min(|q-p|, tau)), time-matched, the mean
    over frames; a set that is empty where the other is not costs tau. Track EPE: tracks chained through the
    world's own motion from the truth's pixels in frame 0, truncated at tau; lost ones stay where last seen.
    Raises MissingFieldError, and InputError for other frames or another size than the truth's.
    """
    world.require("depth", "flow", "visible", "camera")
    if (world.frames, *world.size) != (scene.truth.frames, *scene.truth.size):
        raise InputError(
            f"a world of {world.frames} frames of {world.size[0]}x{world.size[1]} cannot be held against one of "
            f"{scene.truth.frames} frames of {scene.truth.size[0]}x{scene.truth.size[1]}"
        )
    needed = World4D(depth=world.depth, flow=world.flow, visible=world.visible, camera=world.camera)
    aligned = align_world(needed, scene.truth, "scale+shift")
    points, seen, dynamic = _split(aligned, scene)
    moving = _trees(points, seen & dynamic, scene.order, MOST_DYNAMIC)
    still = _trees(points, seen & ~dynamic, scene.order, MOST_BACKGROUND)
    tau = scene.truncation
    return Errors(
        float(np.mean([tree_chamfer(a, b, tau) for a, b in zip(moving, scene.dynamic, strict=True)])),
        float(np.mean([tree_chamfer(a, b, tau) for a, b in zip(still, scene.background, strict=True)])),
        _track_error(aligned, scene),
    )


def _split(world: World4D, scene: RewardScene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (T,H,W,3) of an aligned world; which the truth's cameras have in reach; which are dynamic."""
    depth, k, pose = _tensors(world)
    _, k_true, pose_true = _tensors(scene.truth)
    points = world_points(depth, k, pose)
    pixels, z = (v.numpy() for v in project(transform_points(invert_rigid(pose_true), points), k_true))
    frames, height, width = z.shape
    # Pixels that are reprojected into the camera they came from land on their centre, not beside it.
    column, row = np.floor(pixels[..., 0]).astype(int), np.floor(pixels[..., 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = (depth.numpy() > 0) & inside & (z > 0) & (z < REACH * scene.extent)
    at = np.arange(frames)[:, None, None], row.clip(0, height - 1), column.clip(0, width - 1)
    band = np.exp(scene.epsilon)
    dynamic = (z * band < scene.nearest[at]) | (z > scene.farthest[at] * band)
    return points.numpy(), seen, dynamic


def _epsilon(lifted: World4D, scene: RewardScene, behind: np.ndarray, moving: np.ndarray) -> float:
    lifted.require("depth", "camera")
    aligned = align_world(World4D(depth=lifted.depth, camera=lifted.camera), scene.truth, "scale+shift")
    assert aligned.depth is not None
    still = (aligned.depth > 0) & ~moving & (behind < REACH * scene.extent)
    error = np.abs(np.log(aligned.depth[still] / behind[still]))
    return float(np.clip(EPSILON_FACTOR * np.median(error), *EPSILON_RANGE)) if error.size else EPSILON_RANGE[1]


def _moving(truth: World4D, least: float) -> np.ndarray:
    """Pixels (T,H,W) of the instances whose surface, on average, travels at least so far [m]."""
    assert truth.segmentation is not None
    assert truth.scene_flow is not None
    ids = truth.segmentation
    path = np.zeros(int(ids.max()) + 1)
    for labels, motion in zip(ids[:-1], np.linalg.norm(truth.scene_flow, axis=-1), strict=True):
        total = np.bincount(labels.ravel(), motion.ravel(), len(path))
        path += total / np.maximum(np.bincount(labels.ravel(), minlength=len(path)), 1)
    path[0] = 0
    return ((path >= least) & (path > 0))[ids]


def _moving_tracks(truth: World4D, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in frame 0 (M,2), positions (M,T,3) and judged frames (M,T) of the tracks on what moves."""
    assert truth.tracks is not None
    assert truth.track_visibility is not None
    _, k, pose = _tensors(truth)
    pixels = project_tracks(torch.from_numpy(truth.tracks[:, :1]), k[:1], pose[:1])[0][:, 0].numpy()
    height, width = moving.shape
    column, row = (pixels.astype(int)[:, axis].clip(0, size - 1) for axis, size in ((0, width), (1, height)))
    chosen = truth.track_visibility[:, 0] & moving[row, column]
    # Motion from frame to frame cannot find a point again that was hidden in between.
    judged = np.logical_and.accumulate(truth.track_visibility[chosen], axis=1)
    judged[:, 0] = False
    return pixels[chosen], truth.tracks[chosen], judged


def _background_depth(truth: World4D, moving: np.ndarray) -> np.ndarray:
    """Depth (T,H,W) [m] of the truth without its moving instances, inf for the sky.

    Behind an instance, what other frames see there; where none does, the nearest pixel's.
    """
    assert truth.depth is not None
    depth, k, pose = _tensors(truth)
    behind = np.where(truth.depth > 0, truth.depth, np.inf).astype(np.float32)
    frames = np.unique(np.linspace(0, len(behind) - 1, SPLATTED_FRAMES).round().astype(int))
    still = (truth.depth > 0) & ~moving
    points = world_points(depth[frames], k[frames], pose[frames])[torch.from_numpy(still[frames])]
    height, width = moving.shape[1:]
    for t in np.flatnonzero(moving.any((1, 2))):
        pixels, z = (v.numpy() for v in project(transform_points(invert_rigid(pose[t]), points), k[t]))
        column, row = np.floor(pixels).astype(int).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (z > 0)
        splats = np.full(height * width, np.inf, np.float32)
        np.minimum.at(splats, (row * width + column)[inside], z[inside])
        splats = splats.reshape(height, width)
        behind[t] = np.where(moving[t], splats, behind[t])
        unknown = moving[t] & np.isinf(splats)
        if unknown.all():
            continue
        near = distance_transform_edt(unknown, return_distances=False, return_indices=True)
        assert isinstance(near, np.ndarray)
        behind[t] = behind[t][near[0], near[1]]
    return behind


def _track_error(world: World4D, scene: RewardScene) -> float:
    assert world.flow is not None
    assert world.visible is not None
    depth, k, pose = _tensors(world)
    flow, visible = torch.from_numpy(world.flow), torch.from_numpy(world.visible)
    tracks, _ = chain_tracks(torch.from_numpy(scene.track_pixels), depth, flow, visible, k, pose)
    error = np.linalg.norm(tracks.numpy() - scene.tracks, axis=-1)
    return float(np.minimum(error, scene.truncation)[scene.track_judged].mean())


def _trees(points: np.ndarray, mask: np.ndarray, order: np.ndarray, most: int) -> tuple[KDTree, ...]:
    """A tree over each frame's chosen points, thinned to `most`."""
    flat, chosen = points.reshape(len(points), -1, 3), mask.reshape(len(mask), -1)[:, order]
    return tuple(point_tree(p[order[c][:most]]) for p, c in zip(flat, chosen, strict=True))


def _tensors(world: World4D) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    assert world.depth is not None
    assert isinstance(world.camera, Camera)
    camera = world.camera
    return (
        torch.from_numpy(world.depth),
        torch.from_numpy(camera.intrinsics),
        torch.from_numpy(camera.world_from_camera),
    )

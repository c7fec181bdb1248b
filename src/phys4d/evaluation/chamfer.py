"""The 4D Chamfer distance: is the right amount of matter in the right place at the right time?

All points are in the reference's world axes [m]. What moves and what stands still are measured apart: the still
background has most of the points and would drown everything else.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from phys4d.evaluation.alignment import take, tensors
from phys4d.evaluation.measure import Measured, Metric, Pair, Truth, nothing, of_curve
from phys4d.geometry import point_tree, tree_chamfer, world_points
from phys4d.world import World4D

TRUNCATION = 0.25
"""tau_d as a share of the scene's extent."""
EPSILON_FACTOR, EPSILON_RANGE = 3.0, (0.01, 0.05)
"""epsilon is so many times the prediction's own error on the background, within this range (share of extent)."""
MOST_POINTS = 1500
"""Points a frame and set; more are thinned by one seeded draw of pixels, the same for both worlds."""


@dataclasses.dataclass(frozen=True)
class Background:
    """The still surfaces of a reference, from all its frames.

    points (M,3) [m], unit normals (M,3), reach (M,) [m]: how far the surface patch of a pixel extends. tree: over
    the points. extent [m]: the median depth of the clip, about the size of what the picture shows.
    """

    points: Float[np.ndarray, "M 3"]
    normals: Float[np.ndarray, "M 3"]
    reach: Float[np.ndarray, "M"]
    tree: KDTree
    extent: float

    def distance(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
        """How far points lie off the background [m]: off the plane of the nearest patch, or beyond its reach."""
        distance, index = self.tree.query(points)
        off = np.abs(((points - self.points[index]) * self.normals[index]).sum(-1))
        aside = np.sqrt(np.maximum(np.square(distance) - np.square(off), 0)) - self.reach[index]
        return np.maximum(off, aside)


@dataclasses.dataclass(frozen=True)
class Chamfers:
    """4D Chamfer distances [m], the dynamic pixels of the prediction and of the reference, and epsilon [m].

    objects: as dynamic, but each moving instance on its own and all of the same weight, however small.
    """

    dynamic: Measured
    background: Measured
    objects: Measured
    moving: Bool[np.ndarray, "T H W"]
    moving_true: Bool[np.ndarray, "T H W"]
    epsilon: float


def background(truth: Truth) -> Background | None:
    """The background of a reference, or None where it has none (all sky, all moving)."""
    world = truth.world
    points = surface_points(world)
    depth, camera = take(world, "depth", "camera")
    still = (depth > 0) & ~truth.moving
    if not still.any():
        return None
    if np.ptp(camera.world_from_camera, axis=0).max() < 1e-6:
        # A camera that stands still sees the same points again and again: each pixel's first is enough.
        still &= np.cumsum(still, axis=0) == 1
    normals, reach = _patches(points)
    chosen = points[still]
    extent = float(np.median(depth[depth > 0]))
    return Background(chosen, normals[still], reach[still], point_tree(chosen), extent)


def chamfer_4d(
    prediction: World4D,
    truth: Truth,
    *,
    still: Background,
    epsilon: float | None = None,
    start: int = 0,
    seed: int = 0,
) -> Chamfers:
    """4D Chamfer of an aligned prediction (depth, camera in the reference's axes) against a reference.

    Per frame: 1/2 (mean_p min_q min(|p-q|, tau) + mean_q min_p min(|q-p|, tau)), time-matched, not squared; then
    the mean over frames. The prediction's dynamic points are those farther than epsilon off the reference's
    background; the reference's are those of its moving instances, by the same epsilon, so that the two sets mean
    the same; all others are background. Frames in which the reference shows nothing dynamic are not judged; a
    frame in which the prediction shows nothing costs tau. epsilon [m]: default, EPSILON_FACTOR times the
    prediction's median error on frame 0's still pixels, within EPSILON_RANGE.
    """
    world = truth.world
    points, points_true = surface_points(prediction), surface_points(world)
    (depth,), (depth_true,) = take(prediction, "depth"), take(world, "depth")
    surface, surface_true = depth > 0, depth_true > 0
    off = np.zeros(surface.shape)
    off[surface] = still.distance(points[surface])
    if epsilon is None:
        epsilon = _own_epsilon(off[0][surface[0] & surface_true[0] & ~truth.moving[0]], still.extent)
    moving = surface & (off > epsilon)
    moving_true = surface_true & truth.moving
    moving_true[moving_true] = still.distance(points_true[moving_true]) > epsilon
    tau = TRUNCATION * still.extent
    order = np.random.default_rng(seed).permutation(surface[0].size)

    def distances(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        return np.array(
            [
                _chamfer(_thin(points[t], mine[t], order), _thin(points_true[t], theirs[t], order), tau)
                for t in range(start, len(surface))
            ]
        )

    (ids,) = take(world, "segmentation")
    by_object = []
    for t in range(start, len(surface)):
        # The same pixels of both worlds, where both have them: thinning must not cost a perfect world anything.
        mine, theirs = (order[mask[t].ravel()[order]][:MOST_POINTS] for mask in (moving, moving_true))
        clouds = points[t].reshape(-1, 3)[mine], points_true[t].reshape(-1, 3)[theirs]
        by_object.append(_object_chamfers(*clouds, ids[t].ravel()[theirs], tau))
    return Chamfers(
        of_curve(distances(moving, moving_true), "nothing moves in the reference"),
        of_curve(distances(surface & ~moving, surface_true & ~moving_true), "the reference has no background"),
        of_curve(np.array(by_object), "nothing moves in the reference"),
        moving,
        moving_true,
        epsilon,
    )


def surface_points(world: World4D) -> Float[np.ndarray, "T H W 3"]:
    """Every pixel's point in world axes [m]."""
    depth, camera = take(world, "depth", "camera")
    return world_points(torch.from_numpy(depth).double(), *tensors(camera)).numpy()


def _chamfer(mine: np.ndarray, theirs: np.ndarray, tau: float) -> float:
    return tree_chamfer(point_tree(mine), point_tree(theirs), tau) if len(theirs) else np.nan


def _object_chamfers(mine: np.ndarray, theirs: np.ndarray, ids: np.ndarray, tau: float) -> float:
    """The mean over the true instances; each predicted point belongs to the instance that it is nearest to."""
    if not len(theirs):
        return np.nan
    names, where = np.unique(ids, return_inverse=True)
    owner = where[point_tree(theirs).query(mine)[1]] if len(mine) else np.zeros(0, int)
    return float(np.mean([_chamfer(mine[owner == i], theirs[where == i], tau) for i in range(len(names))]))


def _thin(points: np.ndarray, mask: np.ndarray, order: np.ndarray) -> np.ndarray:
    kept = order[mask.ravel()[order]][:MOST_POINTS]
    return points.reshape(-1, 3)[kept]


def _own_epsilon(off: np.ndarray, extent: float) -> float:
    low, high = (share * extent for share in EPSILON_RANGE)
    return float(np.clip(EPSILON_FACTOR * np.median(off), low, high)) if off.size else high


def _patches(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals of the surface at each pixel, and the distance to the nearer neighbour across and down."""
    right, down = np.gradient(points, axis=2), np.gradient(points, axis=1)
    steps = [np.diff(points, axis=axis, append=np.take(points, [-2], axis)) for axis in (1, 2)]
    back = [np.roll(step, 1, axis) for step, axis in zip(steps, (1, 2))]
    # At a silhouette one neighbour is on the same surface and the other is not: the shorter step is on it.
    lengths = [np.minimum(*(np.linalg.norm(way, axis=-1) for way in both)) for both in zip(steps, back)]
    normal = np.cross(right, down)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    return normal, np.maximum(*lengths)


def chamfers(pair: Pair) -> Chamfers:
    """4D Chamfer of a pair; worked out once through `Pair.once`."""
    still = pair.once_for_truth(background)
    if still is None:
        none = nothing("the reference has no background")
        empty = np.zeros(pair.truth.moving.shape, bool)
        return Chamfers(none, none, none, empty, empty, 0.0)
    return chamfer_4d(pair.prediction, pair.truth, still=still, start=pair.start, seed=pair.seed)


_SHAPE = ("depth", "camera")
_PARTS = ("depth", "camera", "segmentation", "scene_flow")
ROWS = (
    Metric("chamfer_dynamic", _SHAPE, _PARTS, "m", "lower", lambda pair: pair.once(chamfers).dynamic),
    Metric("chamfer_background", _SHAPE, _PARTS, "m", "lower", lambda pair: pair.once(chamfers).background),
    Metric("chamfer_objects", _SHAPE, _PARTS, "m", "lower", lambda pair: pair.once(chamfers).objects),
)
"""The metrics of this file."""

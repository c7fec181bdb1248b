"""Axis M: does everything move as it should, in the picture, in space and over long tracks?"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from phys4d.evaluation.alignment import take, tensors
from phys4d.evaluation.measure import Measured, Metric, Pair, nothing, over_frames
from phys4d.geometry import chain_tracks, invert_rigid, project_tracks, transform_points
from phys4d.world import World4D

OWN_TRACK = 0.5
"""Distance [px] within which a prediction's own track begins at the pixel that is asked for."""
TAPVID_PIXELS = (1, 2, 4, 8, 16)
"""Thresholds [px]; a pixel at depth Z is Z / sqrt(fx fy) metres wide."""


@dataclasses.dataclass(frozen=True)
class FlowErrors:
    """epe: mean end-point error [px]. fl_all: share of pixels off by more than 3 px and 5 % (KITTI)."""

    epe: Measured
    fl_all: Measured


def flow_errors(
    prediction: Float[np.ndarray, "T H W 2"],
    reference: Float[np.ndarray, "T H W 2"],
    valid: Bool[np.ndarray, "T H W"],
    *,
    reason: str = "no pixel is visible in two frames",
) -> FlowErrors:
    """Optical-flow errors over the valid pixels; per-frame mean, then video mean."""
    error = np.linalg.norm(prediction - reference, axis=-1)
    outlier = (error > 3) & (error > 0.05 * np.linalg.norm(reference, axis=-1))
    return FlowErrors(over_frames(error, valid, reason), over_frames(outlier, valid, reason))


@dataclasses.dataclass(frozen=True)
class SceneFlowErrors:
    """epe: mean 3D end-point error [m]. accuracy_05, accuracy_10: share of points within 0.05 m and 0.1 m."""

    epe: Measured
    accuracy_05: Measured
    accuracy_10: Measured


def scene_flow_errors(
    prediction: Float[np.ndarray, "T H W 3"],
    reference: Float[np.ndarray, "T H W 3"],
    valid: Bool[np.ndarray, "T H W"],
) -> SceneFlowErrors:
    """Scene-flow errors over the valid pixels, both in the reference's world axes [m]; per frame, then video."""
    error = np.linalg.norm(prediction - reference, axis=-1)
    reason = "no pixel has a surface in both worlds"
    return SceneFlowErrors(*(over_frames(value, valid, reason) for value in (error, error < 0.05, error < 0.1)))


@dataclasses.dataclass(frozen=True)
class TrackErrors:
    """aj: average Jaccard. apd: average share of points within the thresholds. oa: occlusion accuracy. In 0..1."""

    aj: Measured
    apd: Measured
    oa: Measured


def tapvid3d(
    tracks: Float[np.ndarray, "N T 3"],
    visible: Bool[np.ndarray, "N T"],
    reference: Float[np.ndarray, "N T 3"],
    reference_visible: Bool[np.ndarray, "N T"],
    focal: Float[np.ndarray, "T"],
    *,
    scaling: bool = True,
) -> TrackErrors:
    """TAPVid-3D: average Jaccard, average points within threshold, occlusion accuracy.

    tracks, reference: [n, t, xyz] predicted and true points in camera axes of each frame t [m]. visible,
    reference_visible: [n, t]. focal: sqrt(fx fy) [px] of each frame. scaling: multiply the prediction by the
    ratio of the median norms over points visible in both.

    A point is within threshold delta where |e| < delta Z / focal, Z the true depth, delta in 1, 2, 4, 8, 16 px.
    Jaccard = TP / (true visible + FP): TP are visible in both and within; FP are predicted visible while truly
    hidden or not within. APD is over truly visible points, whatever visibility was predicted. Source: Koppula et
    al., arXiv 2407.05921; tapnet, tapvid3d/evaluation/metrics.py.
    """
    if not reference_visible.any():
        return TrackErrors(*[nothing("no reference track is visible in the judged frames")] * 3)
    both = visible & reference_visible
    if scaling and both.any():
        norm = np.median(np.linalg.norm(tracks[both], axis=-1))
        tracks = tracks * (np.median(np.linalg.norm(reference[both], axis=-1)) / max(norm, 1e-12))
    error = np.linalg.norm(tracks - reference, axis=-1)
    pixel = reference[..., 2] / focal
    within = np.stack([error < delta * pixel for delta in TAPVID_PIXELS])
    good = (within & both).sum((1, 2))
    false = (visible & ~(within & reference_visible)).sum((1, 2))
    jaccard = good / (reference_visible.sum() + false)
    count = reference_visible.sum(0)
    curve = np.where(count > 0, (within & reference_visible).mean(0).sum(0) / np.maximum(count, 1), np.nan)
    shares = (within & reference_visible).sum((1, 2)) / reference_visible.sum()
    seen = float(reference_visible.mean())
    return TrackErrors(
        Measured(float(jaccard.mean()), 1.0),
        Measured(float(shares.mean()), seen, curve=curve),
        Measured(float((visible == reference_visible).mean()), 1.0),
    )


def follow_reference_tracks(
    prediction: World4D, reference: World4D
) -> tuple[Float[np.ndarray, "n T 3"], Bool[np.ndarray, "n T"], Bool[np.ndarray, "N"]]:
    """The prediction's own tracks from the first-frame pixels of the reference's tracks that are visible there.

    Where the prediction has tracks of its own that begin within half a pixel of every one of these, those; else
    chained along its depth, flow and cameras, which loses a track for good where it is hidden or passes a
    silhouette (so that even the truth, chained, stays below 1). In the prediction's world axes [m]. Returns them,
    their visibility, and which of the reference's N tracks they answer.
    """
    points, visible, camera = take(reference, "tracks", "track_visibility", "camera")
    asked = visible[:, 0]
    k, pose = tensors(camera)
    first = torch.from_numpy(points[asked, :1]).double()
    pixels, _ = project_tracks(first, k[:1], pose[:1])
    pixels = pixels[:, 0].numpy()
    own = _own_tracks(prediction, pixels)
    return *(own or follow_pixels(prediction, pixels)), asked


def follow_pixels(
    world: World4D, pixels: Float[np.ndarray, "N 2"], *, start: int = 0
) -> tuple[Float[np.ndarray, "N T 3"], Bool[np.ndarray, "N T"]]:
    """Chain pixels (x, y) [px] of frame `start` through a world's motion to its end; in its world axes [m]."""
    depth, flow, camera = take(world, "depth", "flow", "camera")
    k, pose = tensors(camera)
    z = torch.from_numpy(depth[start:]).double()
    seen = depth[:-1] > 0 if world.visible is None else world.visible
    tracks, visible = chain_tracks(
        torch.from_numpy(pixels).double(),
        z,
        torch.from_numpy(flow[start:]).double(),
        torch.from_numpy(seen[start:]),
        k[start:],
        pose[start:],
    )
    return tracks.numpy(), visible.numpy()


def _own_tracks(world: World4D, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The world's tracks that begin nearest to the pixels; None unless each has one within half a pixel."""
    if world.tracks is None or world.track_visibility is None or not len(pixels):
        return None
    begun = world.track_visibility[:, 0]
    if not begun.any():
        return None
    k, pose = tensors(take(world, "camera")[0])
    first, _ = project_tracks(torch.from_numpy(world.tracks[begun, :1]).double(), k[:1], pose[:1])
    distance, index = KDTree(first[:, 0].numpy()).query(pixels)
    if distance.max() > OWN_TRACK:
        return None
    return world.tracks[begun][index], world.track_visibility[begun][index]


def _reference_visible(pair: Pair) -> np.ndarray:
    world = pair.reference
    if world.visible is not None:
        return world.visible[pair.steps]
    if world.depth is not None:
        return world.depth[:-1][pair.steps] > 0
    (flow,) = take(world, "flow")
    return np.ones(flow.shape[:3], bool)[pair.steps]


def _flow(pair: Pair) -> FlowErrors:
    (prediction,), (reference,) = take(pair.prediction, "flow"), take(pair.reference, "flow")
    return flow_errors(prediction[pair.steps], reference[pair.steps], _reference_visible(pair))


def _flow_moving(pair: Pair) -> FlowErrors:
    (prediction,), (reference,) = take(pair.prediction, "flow"), take(pair.reference, "flow")
    valid = _reference_visible(pair) & pair.truth.moving[:-1][pair.steps]
    reason = "nothing moves visibly in the reference"
    return flow_errors(prediction[pair.steps], reference[pair.steps], valid, reason=reason)


def _scene_flow(pair: Pair) -> SceneFlowErrors:
    (depth, mine), (depth_true, truth) = (
        take(world, "depth", "scene_flow") for world in (pair.prediction, pair.reference)
    )
    surface = ((depth > 0) & (depth_true > 0))[:-1]
    return scene_flow_errors(mine[pair.steps], truth[pair.steps], surface[pair.steps])


def _in_cameras(points: np.ndarray, pose: Tensor) -> np.ndarray:
    """Points (N,T,3) in world axes to the axes of each frame's camera."""
    by_frame = torch.from_numpy(points).double().transpose(0, 1)
    return transform_points(invert_rigid(pose), by_frame).transpose(0, 1).numpy()


def _tracks(pair: Pair) -> TrackErrors:
    truth, truth_visible, camera = take(pair.reference, "tracks", "track_visibility", "camera")
    if not truth_visible[:, 0].any():
        return TrackErrors(*[nothing("no reference track is visible in frame 0")] * 3)
    tracks, visible, asked = follow_reference_tracks(pair.prediction, pair.reference)
    k, pose = tensors(camera)
    in_camera = [_in_cameras(points, pose) for points in (tracks, truth[asked])]
    focal = torch.sqrt(k[:, 0, 0] * k[:, 1, 1]).numpy()
    judged = pair.judged
    # Frame 0 has set the scale of all 3D metrics; a median over near and far points would set another.
    found = tapvid3d(
        in_camera[0][:, judged],
        visible[:, judged],
        in_camera[1][:, judged],
        truth_visible[asked][:, judged],
        focal[judged],
        scaling=False,
    )
    # Tracks that begin later than frame 0 are not asked for.
    share = float(asked.mean())
    return TrackErrors(
        *(dataclasses.replace(m, coverage=share * m.coverage) for m in (found.aj, found.apd, found.oa))
    )


_SURFACE = ("depth", "scene_flow", "camera")
_CHAIN = ("depth", "flow", "camera")
_TRACKS = ("tracks", "track_visibility", "camera")
ROWS = (
    Metric("flow_epe", ("flow",), ("flow",), "px", "lower", lambda pair: pair.once(_flow).epe),
    Metric("fl_all", ("flow",), ("flow",), "", "lower", lambda pair: pair.once(_flow).fl_all),
    Metric(
        "flow_epe_moving",
        ("flow",),
        ("flow", "segmentation", "scene_flow"),
        "px",
        "lower",
        lambda pair: pair.once(_flow_moving).epe,
    ),
    Metric("scene_flow_epe", _SURFACE, _SURFACE, "m", "lower", lambda pair: pair.once(_scene_flow).epe),
    Metric("scene_flow_acc_05", _SURFACE, _SURFACE, "", "higher", lambda pair: pair.once(_scene_flow).accuracy_05),
    Metric("scene_flow_acc_10", _SURFACE, _SURFACE, "", "higher", lambda pair: pair.once(_scene_flow).accuracy_10),
    Metric("tapvid3d_aj", _CHAIN, _TRACKS, "", "higher", lambda pair: pair.once(_tracks).aj),
    Metric("tapvid3d_apd", _CHAIN, _TRACKS, "", "higher", lambda pair: pair.once(_tracks).apd),
    Metric("tapvid3d_oa", _CHAIN, _TRACKS, "", "higher", lambda pair: pair.once(_tracks).oa),
)
"""The metrics of this axis."""

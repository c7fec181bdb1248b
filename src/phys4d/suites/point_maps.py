"""Point maps and scene flow, by the protocols of GeometryCrafter, MotionCrafter and FlyingThings3D: two suites.

Truth: worlds, or .npz files with the arrays of the public .hdf5 files (point_map, valid_mask, camera_pose,
scene_flow, deform_mask). Predictions: worlds, .npz files as both systems write them, or a model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from phys4d.data.point_maps import PointMaps, is_point_map, read_point_maps
from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.evaluation.measure import Measured, nothing
from phys4d.evaluation.point_clips import (
    FLOW_FRAMES,
    GEOMETRY_FRAMES,
    PointClip,
    clip_of_world,
    geometrycrafter_errors,
    motioncrafter_errors,
)
from phys4d.evaluation.scene_flow import flyingthings_errors
from phys4d.evaluation.units import in_metres
from phys4d.suites.pairs import Judged, Row, chosen_files, files_below, judge_worlds, one_source, suite_report
from phys4d.suites.suite import SUITES, SuiteRequest
from phys4d.world import World4D

WEIGHTED = ("sintel", "kitti", "monkaa")
"""Data sets whose fits are weighted by 1 / true depth. Source: GeometryCrafter, evaluation/eval.sh."""
_SHAPES = ("point_rel", "point_inlier", "depth_rel", "depth_inlier")
POINT_ROWS = {
    f"{name}{kind}": Row("", "lower" if "rel" in name else "higher") for kind in ("", "_shift") for name in _SHAPES
}
"""Plain names: GeometryCrafter's protocol; with _shift: MotionCrafter's."""
FLOW_ROWS = {
    "scene_flow_epe": Row("m", "lower"),
    **{f"scene_flow_{name}": Row("", "higher") for name in ("acc_003", "acc_005", "acc_01", "acc_03")},
    "epe3d": Row("m", "lower"),
    "acc3d_strict": Row("", "higher"),
    "acc3d_relaxed": Row("", "higher"),
    "outliers3d": Row("", "lower"),
}
"""scene_flow_...: MotionCrafter's protocol, after alignment; the others FlyingThings3D's, without any."""


@dataclasses.dataclass(frozen=True)
class Views:
    """One clip: in camera axes, and in those of frame 0 (None where a source does not know); metres or not."""

    camera: PointClip | None
    world: PointClip | None
    metres: bool


@SUITES.register("point-maps")
def point_map_suite(request: SuiteRequest) -> Report:
    """Relative errors and inliers of points and depth."""
    judged = _judge("point-maps", request, ("depth", "camera"), measure_points)
    protocol = {
        "suite": "point-maps",
        "source": "TencentARC/GeometryCrafter and TencentARC/MotionCrafter, evaluation/eval.py and metrics.py",
        "alignment": "one scale a video, of points and of depth, in camera axes; names with _shift: one scale and "
        f"3D shift in the axes of frame 0, first {GEOMETRY_FRAMES} frames",
        "weighted by 1 / depth": ", ".join(WEIGHTED),
        "judged": "every pixel that the truth calls valid, whatever the prediction says",
    }
    return suite_report(judged, POINT_ROWS, protocol, seed=request.seed)


@SUITES.register("scene-flow")
def scene_flow_suite(request: SuiteRequest) -> Report:
    """End-point errors and accuracies of scene flow."""
    judged = _judge("scene-flow", request, ("depth", "scene_flow", "camera"), measure_flow)
    protocol = {
        "suite": "scene-flow",
        "source": "TencentARC/MotionCrafter, evaluation/metrics.py; laoreja/HPLFlowNet, evaluation_utils.py",
        "alignment": "scene_flow_...: the scale of one fit of scale and shift of the points a video; "
        "epe3d, acc3d_..., outliers3d: none",
        "frames": f"the first {FLOW_FRAMES}",
        "mean": "over all points of a video",
        "axes": "of frame 0's camera",
    }
    return suite_report(judged, FLOW_ROWS, protocol, seed=request.seed)


def measure_points(prediction: Views, truth: PointClip, *, weighted: bool = False) -> dict[str, Measured]:
    """Every row of the suite point-maps for one clip; truth: axes "camera"."""
    found: dict[str, Measured] = {}
    if not truth.valid.any():
        return {name: nothing("the truth has no valid point") for name in POINT_ROWS}
    if prediction.camera is None:
        why = "the prediction's points are in world axes, without cameras"
        found |= {name: nothing(why) for name in _SHAPES}
    else:
        points, depth = geometrycrafter_errors(prediction.camera, truth, weighted=weighted)
        found |= dict(zip(_SHAPES, (points.rel, points.inlier, depth.rel, depth.inlier)))
    clip = prediction.world or prediction.camera
    names = [f"{name}_shift" for name in _SHAPES]
    if clip is None or truth.pose is None:
        return found | {name: nothing("the truth has no camera poses") for name in names}
    mine, theirs = clip.first(GEOMETRY_FRAMES), truth.first(GEOMETRY_FRAMES)
    if not theirs.valid.any():
        return found | {name: nothing(f"no valid point in the first {GEOMETRY_FRAMES} frames") for name in names}
    points, depth, _ = motioncrafter_errors(dataclasses.replace(mine, scene_flow=None), theirs, weighted=weighted)
    return found | dict(zip(names, (points.rel, points.inlier, depth.rel, depth.inlier)))


def measure_flow(prediction: Views, truth: PointClip, *, weighted: bool = False) -> dict[str, Measured]:
    """Every row of the suite scene-flow for one clip; truth: axes "camera"."""
    clip = prediction.world or prediction.camera
    mine, theirs = (None if c is None else c.first(FLOW_FRAMES) for c in (clip, truth))
    if mine is None or mine.scene_flow is None:
        return {name: nothing("the prediction has no scene flow") for name in FLOW_ROWS}
    if theirs is None or theirs.scene_flow is None or theirs.pose is None or not theirs.valid[:-1].any():
        return {name: nothing("the truth has no scene flow, cameras, or valid point") for name in FLOW_ROWS}
    _, _, flows = motioncrafter_errors(mine, theirs, weighted=weighted)
    found = {f"scene_flow_{name}": value for name, value in flows.items()}
    raw = ("epe3d", "acc3d_strict", "acc3d_relaxed", "outliers3d")
    if not prediction.metres or mine.axes != "world":
        why = "the prediction is not in metres" if not prediction.metres else "its flow is not in world axes"
        return found | {name: nothing(why) for name in raw}
    known = theirs.valid[:-1] if theirs.flow_valid is None else theirs.flow_valid & theirs.valid[:-1]
    return found | flyingthings_errors(mine.scene_flow, theirs.scene_flow, known)


_Measure = Callable[..., dict[str, Measured]]


def _judge(suite: str, request: SuiteRequest, needs: tuple[str, ...], measure: _Measure) -> list[Judged]:
    one_source(suite, request)
    assert request.benchmark is not None
    files = files_below(request.benchmark, ".npz") if request.benchmark.is_dir() else {}
    files = {name: path for name, path in files.items() if is_point_map(path)}
    if files:
        return list(_judge_files(suite, files, request, measure))
    if request.benchmark.is_dir() and (
        any(request.benchmark.glob("*.hdf5")) or any(request.benchmark.glob("*/*.hdf5"))
    ):
        raise InputError(
            f"{request.benchmark}: holds .hdf5 files; store the arrays of each as a .npz file of the same name"
        )

    def measure_worlds(prediction: World4D, reference: World4D) -> dict[str, Measured]:
        views = Views(
            clip_of_world(prediction, "camera"), clip_of_world(prediction, "world"), in_metres(prediction)
        )
        return measure(
            views, clip_of_world(reference, "camera"), weighted=_weighted(reference.meta.get("dataset"))
        )

    return judge_worlds(suite, request, needs, needs, measure_worlds)


def _judge_files(
    suite: str, files: Mapping[str, Path], request: SuiteRequest, measure: _Measure
) -> Iterator[Judged]:
    if request.model is not None:
        raise InputError(f"--suite {suite}: a model lifts worlds; for .npz truth give --videos with point maps")
    assert request.videos is not None
    for name, path in chosen_files(files, request).items():
        truth = read_point_maps(path)
        clip = _truth_clip(path, truth)
        mine = request.videos / f"{name}.npz"
        if not mine.is_file():
            raise InputError(f"{mine}: no such file; every clip of the benchmark needs its prediction")
        maps = read_point_maps(mine)
        if maps.valid.shape != truth.valid.shape:
            sizes = ["x".join(map(str, m.valid.shape)) for m in (maps, truth)]
            raise InputError(f"{mine}: is {sizes[0]} (frames, height, width), the truth {sizes[1]}")
        folder = name.rpartition("/")[0] or "all"
        weighted = _weighted(folder.lower().removesuffix("_video"))
        still = dataclasses.replace(clip, points=np.repeat(clip.points[:1], len(clip.points), 0))
        if clip.scene_flow is not None:
            still = dataclasses.replace(still, scene_flow=np.zeros_like(clip.scene_flow))
        rivals = {"static": measure(Views(still, None, True), clip, weighted=weighted)}
        yield Judged(name, folder, name, folder, measure(_views(maps), clip, weighted=weighted), rivals)


def _truth_clip(path: Path, maps: PointMaps) -> PointClip:
    if maps.pose is None:
        raise InputError(f"{path}: has no camera_pose, which the truth needs (its points are in camera axes)")
    flow = None if maps.scene_flow is None else maps.scene_flow[:-1]
    known = None if maps.flow_valid is None else maps.flow_valid[:-1]
    return PointClip(maps.points, maps.valid, maps.pose, "camera", flow, known)


def _views(maps: PointMaps) -> Views:
    flow = None if maps.scene_flow is None else maps.scene_flow[:-1]
    clip = PointClip(maps.points, maps.valid, maps.pose, "world" if maps.axes == "world" else "camera", flow)
    metres = maps.units == "m"
    return Views(None, clip, metres) if maps.axes == "world" else Views(clip, None, metres)


def _weighted(dataset: object) -> bool:
    return str(dataset or "").lower() in WEIGHTED

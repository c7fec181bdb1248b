"""TAPVid-3D: 3D point tracks in camera axes, judged as google-deepmind/tapnet does (arXiv 2407.05921).

Truth: .npz files in the public layout, or worlds with tracks. Predictions: .npz files of the same names; or
worlds, whose tracks are asked for at the truth's queries; or a model, which lifts the truth's RGB.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image

from phys4d.data.point_maps import read_npz
from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.evaluation.measure import Measured
from phys4d.evaluation.motion import TAPVID_PIXELS, follow_pixels, follow_reference_tracks
from phys4d.evaluation.tracking import Scaling, Tracks3D, scale_tracks, track_errors, within_pixels
from phys4d.geometry import invert_rigid, project_tracks, transform_points
from phys4d.suites.pairs import Judged, Row, chosen_files, files_below, judge_worlds, one_source, suite_report
from phys4d.suites.suite import SUITES, SuiteRequest
from phys4d.world import World4D

SHORT_SIDE = 256
"""Thresholds are pixels of a picture whose shorter side is this long."""
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
"""The median is the benchmark's own and has the plain names; the others are named at the end of theirs."""


def _named(metric: str, scaling: str) -> str:
    return f"tapvid3d_{metric}" + ("" if scaling == "median" else f"_{scaling}")


ROWS = {_named(metric, s): Row("", "higher") for s in ("median", *SCALINGS) for metric in ("aj", "apd")} | {
    "tapvid3d_oa": Row("", "higher"),
    **{f"tapvid3d_within_{delta}": Row("", "higher") for delta in TAPVID_PIXELS},
}


@dataclasses.dataclass(frozen=True)
class Video:
    """What a video asks: true tracks, the query frame (N,) of each, and sqrt(fx fy) [px] at SHORT_SIDE (T,)."""

    truth: Tracks3D
    query: np.ndarray
    focal: np.ndarray


@SUITES.register("tapvid3d")
def tapvid3d_suite(request: SuiteRequest) -> Report:
    """Average Jaccard, average points within distance, and occlusion accuracy, under every scaling."""
    one_source("tapvid3d", request)
    assert request.benchmark is not None
    files = files_below(request.benchmark, ".npz") if request.benchmark.is_dir() else {}
    if files:
        judged = list(_judge_files(files, request))
    else:
        needs = ("depth", "flow", "camera")
        judged = judge_worlds(
            "tapvid3d", request, needs, ("tracks", "track_visibility", "camera"), _measure_worlds
        )
    protocol = {
        "suite": "tapvid3d",
        "source": "google-deepmind/tapnet, tapvid3d/evaluation/metrics.py and evaluate_model.py",
        "thresholds": f"{', '.join(map(str, TAPVID_PIXELS))} px at a shorter side of {SHORT_SIDE}",
        "scaling": "median unless the name says otherwise",
        "axes": "of each frame's camera",
        "layout": "npz" if files else "worlds",
        "mean": "over videos of a scene, then over scenes",
    }
    return suite_report(judged, ROWS, protocol, seed=request.seed)


def measure_tracks(prediction: Tracks3D, video: Video) -> dict[str, Measured]:
    """Every row of the suite for one video."""
    found: dict[str, Measured] = {}
    for scaling in SCALINGS:
        errors = track_errors(prediction, video.truth, video.focal, scaling, video.query)
        found[_named("aj", scaling)], found[_named("apd", scaling)] = errors.aj, errors.apd
        if scaling == "none":
            # Whether a point is seen does not depend on where it is.
            found["tapvid3d_oa"] = errors.oa
    scaled = scale_tracks(prediction, video.truth, "median", video.query)
    if scaled is not None:
        within = within_pixels(scaled, video.truth, video.focal)
        found |= {f"tapvid3d_within_{delta}": value for delta, value in within.items()}
    return found


def _judge_files(files: Mapping[str, Path], request: SuiteRequest) -> Iterator[Judged]:
    if request.model is not None:
        raise InputError("--suite tapvid3d: a model lifts worlds; for .npz truth give --videos with its tracks")
    assert request.videos is not None
    for name, path in chosen_files(files, request).items():
        video = read_video(path)
        prediction = _read_tracks(request.videos / f"{name}.npz", video.truth.points.shape)
        at_query = video.truth.points[np.arange(len(video.query)), video.query]
        still = Tracks3D(
            np.repeat(at_query[:, None], video.truth.points.shape[1], 1), np.ones_like(video.truth.visible)
        )
        folder = name.rpartition("/")[0] or "all"
        found = measure_tracks(prediction, video)
        yield Judged(name, folder, name, folder, found, {"static": measure_tracks(still, video)})


def read_video(path: Path) -> Video:
    """A video of the public layout: tracks_XYZ (T,N,3), visibility (T,N), queries_xyt (N,3), fx_fy_cx_cy (4,).

    The size of its pictures is that of images_jpeg_bytes[0]. Raises InputError where something is missing, of
    another shape, or not finite where it is visible.
    """
    names = ("tracks_XYZ", "visibility", "queries_xyt", "fx_fy_cx_cy", "images_jpeg_bytes")
    arrays = read_npz(path, names)
    lacking = [name for name in names if name not in arrays]
    if lacking:
        raise InputError(f"{path}: has no {', '.join(lacking)}, which TAPVid-3D's files have")
    points, visible = _tracks(path, arrays)
    query = np.rint(arrays["queries_xyt"].astype(np.float64))
    frames = points.shape[1]
    if query.shape != (len(points), 3) or not ((query[:, 2] >= 0) & (query[:, 2] < frames)).all():
        raise InputError(f"{path}: queries_xyt should be (x, y, t) for {len(points)} tracks, t below {frames}")
    if not np.isfinite(points[visible]).all():
        raise InputError(f"{path}: tracks_XYZ holds NaN or infinity where it is visible")
    try:
        with Image.open(io.BytesIO(bytes(arrays["images_jpeg_bytes"][0]))) as image:
            short = min(image.size)
    except (OSError, IndexError, ValueError) as error:
        raise InputError(f"{path}: images_jpeg_bytes holds no pictures ({error})") from error
    fx, fy = (float(v) * SHORT_SIDE / short for v in np.ravel(arrays["fx_fy_cx_cy"])[:2])
    if not (np.isfinite([fx, fy]).all() and min(fx, fy) > 0):
        raise InputError(f"{path}: fx_fy_cx_cy has no positive focal lengths")
    # What is not visible is never looked at, but must not turn sums into NaN.
    truth = Tracks3D(np.where(visible[..., None], points, 0), visible)
    return Video(truth, query[:, 2].astype(int), np.full(frames, np.sqrt(fx * fy)))


def _read_tracks(path: Path, shape: tuple[int, ...]) -> Tracks3D:
    if not path.is_file():
        raise InputError(f"{path}: no such file; every video of the benchmark needs its prediction")
    arrays = read_npz(path, ("tracks_XYZ", "visibility"))
    points, visible = _tracks(path, arrays)
    if points.shape != shape:
        mine, theirs = (f"{s[0]} tracks of {s[1]} frames" for s in (points.shape, shape))
        raise InputError(f"{path}: holds {mine}, the truth {theirs}")
    if not np.isfinite(points).all():
        raise InputError(f"{path}: tracks_XYZ holds NaN or infinity")
    return Tracks3D(points, visible)


def _tracks(path: Path, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N,T,3) and (N,T) of the layout's (T,N,3) and (T,N)."""
    points, visible = arrays.get("tracks_XYZ"), arrays.get("visibility")
    fits = points is not None and points.ndim == 3 and points.shape[-1] == 3 and points.size
    if points is None or visible is None or not fits or visible.shape != points.shape[:2]:
        raise InputError(f"{path}: needs tracks_XYZ (T, N, 3) and visibility (T, N)")
    return points.astype(np.float64).transpose(1, 0, 2), visible.astype(bool).T


def _measure_worlds(prediction: World4D, reference: World4D) -> dict[str, Measured]:
    video = video_of_world(reference)
    return measure_tracks(answer(prediction, reference, video.query), video)


def video_of_world(world: World4D) -> Video:
    """A world's tracks as a video of the benchmark; the query of a track is the first frame that shows it."""
    world.require("tracks", "track_visibility", "camera")
    assert world.tracks is not None
    assert world.track_visibility is not None
    assert world.camera is not None
    kept = world.track_visibility.any(1)
    k = world.camera.intrinsics.astype(np.float64)
    focal = np.sqrt(k[:, 0, 0] * k[:, 1, 1]) * SHORT_SIDE / min(world.size)
    truth = Tracks3D(_in_cameras(world.tracks[kept], world), world.track_visibility[kept])
    return Video(truth, truth.visible.argmax(1), focal)


def answer(prediction: World4D, reference: World4D, query: np.ndarray) -> Tracks3D:
    """A world's tracks from the reference's query pixels, in the axes of its own cameras.

    Its own tracks where it has them at the pixels of frame 0, else chained through its motion from the query frame
    on; before its query a track is where it will be, and not visible.
    """
    tracks, visible, camera = reference.tracks, reference.track_visibility, reference.camera
    assert tracks is not None
    assert visible is not None
    assert camera is not None
    asked = visible.any(1)
    tracks, visible = tracks[asked], visible[asked]
    k, pose = (torch.from_numpy(m).double() for m in (camera.intrinsics, camera.world_from_camera))
    pixels, _ = project_tracks(torch.from_numpy(tracks).double(), k, pose)
    points = np.zeros((len(tracks), prediction.frames, 3))
    seen = np.zeros(points.shape[:2], bool)
    for start in np.unique(query):
        rows = np.flatnonzero(query == start)
        if start == 0:
            found, shown, _ = follow_reference_tracks(prediction, reference)
        else:
            found, shown = follow_pixels(prediction, pixels[rows, start].numpy(), start=int(start))
        points[rows, start:], seen[rows, start:] = found, shown
        points[rows, :start] = found[:, :1]
    return Tracks3D(_in_cameras(points, prediction), seen)


def _in_cameras(tracks: np.ndarray, world: World4D) -> np.ndarray:
    assert world.camera is not None
    back = invert_rigid(torch.from_numpy(world.camera.world_from_camera).double())
    by_frame = torch.from_numpy(tracks).double().transpose(0, 1)
    return transform_points(back, by_frame).transpose(0, 1).numpy()

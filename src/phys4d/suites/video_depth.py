"""Video depth: AbsRel, delta1, RMSE and TAE as the benchmark of Video-Depth-Anything has them (arXiv 2501.12375).

Truth: its public layout (DATASET/DATASET_video.json, pictures of depth), or worlds. Predictions: .npy files of
disparity, one a frame; or worlds; or a model, which lifts worlds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.evaluation.geometry import depth_cap, temporal_alignment_error
from phys4d.evaluation.measure import Measured, moving_pixels, nothing
from phys4d.evaluation.video_depth import fit_video_depth, judged_pixels, original_tae, video_depth_errors
from phys4d.suites.pairs import Judged, Row, judge_worlds, one_source, suite_report
from phys4d.suites.suite import SUITES, SuiteRequest
from phys4d.world import Camera, World4D

ROWS = {
    "abs_rel": Row("", "lower"),
    "delta1": Row("", "higher"),
    "rmse": Row("m", "lower"),
    "tae_original": Row("%", "lower"),
    "tae": Row("%", "lower"),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """A data set of the benchmark: its list, depth cap [m], frames judged, crop (top, bottom, left, right)."""

    folder: str
    file: str
    cap: float
    frames: int
    crop: tuple[int, int, int, int]


PARTS = {
    "kitti": Part("kitti", "kitti_video.json", 80.0, 110, (0, 374, 0, 1242)),
    "kitti_500": Part("kitti", "kitti_video_500.json", 80.0, 500, (0, 374, 0, 1242)),
    "sintel": Part("sintel", "sintel_video.json", 70.0, 100, (0, 436, 0, 1024)),
    "nyuv2_500": Part("nyuv2", "nyuv2_video_500.json", 10.0, 500, (45, 471, 41, 601)),
    "bonn": Part("bonn", "bonn_video.json", 10.0, 110, (0, 480, 0, 640)),
    "bonn_500": Part("bonn", "bonn_video_500.json", 10.0, 500, (0, 480, 0, 640)),
    "scannet": Part("scannet", "scannet_video.json", 10.0, 90, (8, -8, 11, -11)),
    "scannet_500": Part("scannet", "scannet_video_500.json", 10.0, 500, (8, -8, 11, -11)),
}
"""Source: benchmark/eval/eval.py."""
TAE_FRAMES, TAE_VIDEOS = 180, 20
"""TAE is measured on so many first frames of so many first videos of scannet. Source: eval_tae.py."""


@SUITES.register("video-depth")
def video_depth_suite(request: SuiteRequest) -> Report:
    """AbsRel, delta1 and RMSE after one scale and shift of disparity a video; TAE, theirs and ours."""
    one_source("video-depth", request, exact=True)
    assert request.benchmark is not None
    parts = {n: p for n, p in PARTS.items() if (request.benchmark / p.folder / p.file).is_file()}
    if parts:
        judged = list(_judge_parts(parts, request))
    else:
        empty_is_zero = request.exact

        def measure(prediction: World4D, reference: World4D) -> dict[str, Measured]:
            return measure_worlds(prediction, reference, empty_is_zero=empty_is_zero)

        judged = judge_worlds("video-depth", request, ("depth",), ("depth",), measure)
    protocol = {
        "suite": "video-depth",
        "source": "DepthAnything/Video-Depth-Anything, benchmark/eval/eval.py and eval_tae.py",
        "alignment": "one least-squares scale and shift of disparity a video",
        "caps": {n: p.cap for n, p in parts.items()} or "by meta['dataset'], else none",
        "tae": "true cameras; tae_original without a z-buffer, tae with one and at sub-pixel positions",
        "empty pairs of frames": "count 0, as in the public code" if request.exact else "are left out",
        "layout": "public" if parts else "worlds",
    }
    return suite_report(judged, ROWS, protocol, seed=request.seed)


def measure_worlds(prediction: World4D, reference: World4D, *, empty_is_zero: bool = False) -> dict[str, Measured]:
    """Every row of the suite for one pair of worlds; TAE by the true cameras, on what stands still."""
    mine, truth = prediction.require("depth").depth, reference.require("depth").depth
    assert mine is not None
    assert truth is not None
    disparity = np.where(mine > 0, 1 / np.maximum(mine, 1e-9), 0)
    static = None
    if reference.segmentation is not None and reference.scene_flow is not None:
        static = ~moving_pixels(reference)
    return measure_depth(
        disparity, truth, depth_cap(reference), reference.camera, static, empty_is_zero=empty_is_zero
    )


def measure_depth(
    disparity: np.ndarray,
    truth: np.ndarray,
    cap: float,
    camera: Camera | None,
    static: np.ndarray | None = None,
    *,
    tae_frames: int | None = None,
    empty_is_zero: bool = False,
) -> dict[str, Measured]:
    """Every row of the suite for relative disparity (T,H,W) against depth (T,H,W) [m], 0 = unknown."""
    if not judged_pixels(truth, cap).any():
        return {name: nothing("no true depth within the cap") for name in ROWS}
    depth = fit_video_depth(disparity, truth, cap)
    errors = video_depth_errors(depth, truth, cap)
    found = {"abs_rel": errors.abs_rel, "delta1": errors.delta1, "rmse": errors.rmse}
    if camera is None:
        return found | {name: nothing("the reference has no camera") for name in ("tae_original", "tae")}
    first = slice(0, tae_frames)
    if tae_frames is not None and len(truth) > tae_frames:
        depth = fit_video_depth(disparity[first], truth[first], cap)
    k = camera.intrinsics[first].astype(np.float64)
    pose = camera.world_from_camera[first].astype(np.float64)
    static = None if static is None else static[first]
    centred = k.copy()
    centred[:, :2, 2] -= 0.5  # Their pixels have their centres at integers.
    found["tae_original"] = original_tae(depth, centred, pose, static, empty_is_zero=empty_is_zero)
    found["tae"] = temporal_alignment_error(depth, Camera(k, pose), static)
    return found


def _judge_parts(parts: dict[str, Part], request: SuiteRequest) -> Iterator[Judged]:
    if request.model is not None:
        raise InputError("--suite video-depth: a model lifts worlds; for the public layout give --videos DIR")
    unknown = sorted(set(request.subset) - set(parts))
    if unknown:
        known = ", ".join(parts)
        raise InputError(f"{request.benchmark}: has no {', '.join(unknown)}; it has {known}")
    for name in request.subset or parts:
        yield from _judge_part(name, parts[name], request)


def _judge_part(name: str, part: Part, request: SuiteRequest) -> Iterator[Judged]:
    assert request.benchmark is not None
    assert request.videos is not None
    root = request.benchmark / part.folder
    for number, (key, frames) in enumerate(_listed(root / part.file, part.folder)[: request.limit]):
        with_tae = name == "scannet" and number < TAE_VIDEOS and all("K" in f and "pose" in f for f in frames)
        frames = frames[: max(part.frames, TAE_FRAMES) if with_tae else part.frames]
        top, bottom, left, right = part.crop
        truth = np.stack([_true_depth(root, f)[top:bottom, left:right] for f in frames])
        size = truth.shape[1:]
        guess = np.stack([_disparity(request.videos / part.folder, f, size) for f in frames])
        found = measure_depth(guess[: part.frames], truth[: part.frames], part.cap, None)
        if with_tae:
            k = np.array([f["K"] for f in frames], np.float64)[:, :3, :3]
            pose = np.array([f["pose"] for f in frames], np.float64)
            # The public code does not move the principal point by the crop, nor do its pixels start at a half.
            k[:, :2, 2] += 0.5
            again = measure_depth(
                guess, truth, part.cap, Camera(k, pose), tae_frames=TAE_FRAMES, empty_is_zero=request.exact
            )
            found |= {tae: again[tae] for tae in ("tae_original", "tae")}
        flat = measure_depth(np.ones_like(guess[: part.frames]), truth[: part.frames], part.cap, None)
        yield Judged(f"{name}/{key}", name, f"{name}/{key}", name, found, {"flat": flat})


def _listed(file: Path, dataset: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """(name, frames) of each video in a list of the public layout."""
    try:
        videos = json.loads(file.read_text(encoding="utf-8"))[dataset]
        listed = [(key, frames) for video in videos for key, frames in video.items()]
        if not listed or any(not {"image", "gt_depth", "factor"} <= set(f) for _, fs in listed for f in fs):
            raise KeyError("image, gt_depth and factor of every frame")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a list of the benchmark's videos ({error})") from error
    return listed


def _true_depth(root: Path, frame: dict[str, Any]) -> np.ndarray:
    """Depth [m] of a .npy file or a picture, divided by its factor; 0 = unknown."""
    path = root / frame["gt_depth"]
    depth = _array(path) if path.suffix == ".npy" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.ndim != 2:
        raise InputError(f"{path}: no depth map is there")
    depth = depth / float(frame["factor"])
    return np.where(np.isfinite(depth), depth, 0)


def _disparity(root: Path, frame: dict[str, Any], size: tuple[int, ...]) -> np.ndarray:
    """Disparity of a prediction, resampled linearly to the truth's size as the public code does."""
    path = (root / frame["image"]).with_suffix(".npy")
    disparity = _array(path).astype(np.float32)
    if disparity.ndim != 2 or not np.isfinite(disparity).all():
        raise InputError(f"{path}: should be (H, W) of finite disparity, is {disparity.shape}, or holds NaN")
    return disparity if disparity.shape == size else cv2.resize(disparity, (size[1], size[0]))


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: no array is there ({error}); every frame needs its own") from error

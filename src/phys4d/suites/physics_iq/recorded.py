"""The suite `physics-iq`: generated videos against two takes of 66 real scenarios, each seen from three sides."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from phys4d.data.processes import in_order
from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.evaluation.physics_iq import (
    Glimpse,
    MotionMasks,
    ViewResult,
    glimpses,
    measure_view,
    summarise,
    through_codec,
)
from phys4d.evaluation.physics_iq.likeness import SHRINK
from phys4d.evaluation.physics_iq.masks import Order, Planes
from phys4d.model import WorldModel
from phys4d.suites.physics_iq.folder import Benchmark, ViewFiles, generated_runs
from phys4d.suites.physics_iq.protocol import described
from phys4d.suites.physics_iq.videos import (
    FPS_TOLERANCE,
    UnreadableVideoError,
    VideoFacts,
    probe,
    read_planes,
    read_video,
)
from phys4d.suites.physics_iq.videos import resample as resampled
from phys4d.suites.suite import SUITES, SuiteRequest

SECONDS = 5
"""Of every video that are judged, from the switch frame on."""
Pictures = Iterator[UInt8[np.ndarray, "H W 3"]]


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process needs to measure one view: files alone.

    size: (height, width) [px] of the generated videos. source_fps: the rate of the recordings' files.
    """

    view: ViewFiles
    takes: tuple[Path, Path]
    masks: tuple[Path, Path] | None
    videos: dict[str, Path]
    size: tuple[int, int]
    fps: int
    source_fps: int
    exact: bool


@dataclasses.dataclass(frozen=True)
class Video:
    """A video that can be read several times. open: from its first frame on."""

    open: Callable[[], Pictures | Iterator[Planes]]
    size: tuple[int, int]
    order: Order = "rgb"


@SUITES.register("physics-iq")
def physics_iq(request: SuiteRequest) -> Report:
    """Judge generated videos, or what a model makes of the switch frames, by both scores of Physics-IQ.

    Raises InputError, before any work, for files that are missing, and for frame rates, lengths and sizes that do
    not match. Unreadable files are left out and named under the report's `skipped`.
    """
    request.need("physics-iq", "benchmark")
    assert request.benchmark is not None
    if (request.model is None) == (request.videos is None):
        raise InputError("--suite physics-iq needs either --videos (what was generated) or --model (to generate)")
    benchmark = Benchmark(request.benchmark)
    views = benchmark.choose(request.subset, request.limit)
    if request.model is not None:
        return _judge_model(request, benchmark, views)
    return _judge_videos(request, benchmark, views)


def _judge_videos(request: SuiteRequest, benchmark: Benchmark, views: list[ViewFiles]) -> Report:
    assert request.videos is not None
    runs = generated_runs(request.videos, benchmark, views)
    if request.runs not in (1, len(runs)):
        raise InputError(f"{request.videos}: holds {len(runs)} run{'s' * (len(runs) > 1)}, not {request.runs}")
    if request.steps is not None:
        raise InputError("--steps is for --model; these videos are made already")
    facts = {path: probed(path) for paths in runs.values() for path in paths}
    fps, size = common_format({path: fact for path, fact in facts.items() if fact})
    for path, fact in facts.items():
        if fact and fact.frames and fact.frames != SECONDS * fps:
            raise InputError(
                f"{path}: is {fact.frames / fact.fps:.4g} s long ({fact.frames} frames); trim every video to the "
                f"{SECONDS} s after the switch frame ({SECONDS * fps} frames)"
            )
    jobs = [
        job_of(benchmark, view, fps, {name: paths[i] for name, paths in runs.items()}, size, request.exact)
        for i, view in enumerate(views)
    ]
    found = list(_measured(jobs, request.workers))
    protocol = _protocol(request, benchmark, jobs, {"generated_size": list(size)})
    return summarise(found, list(runs), protocol, exact=request.exact, seed=request.seed)


def _judge_model(request: SuiteRequest, benchmark: Benchmark, views: list[ViewFiles]) -> Report:
    assert request.model is not None
    if request.workers != 1:
        raise InputError("--workers is for --videos; a model generates in one process")
    model = WorldModel.from_pretrained(request.model)
    fps = round(model.backbone.fps)
    if not math.isclose(fps, model.backbone.fps, abs_tol=FPS_TOLERANCE):
        raise InputError(f"{request.model} runs at {model.backbone.fps:g} fps; Physics-IQ needs a whole number")
    frames = frames_of(model, SECONDS * fps)
    jobs = [job_of(benchmark, view, fps, {}, model.backbone.size, request.exact) for view in views]
    lacking = [benchmark.switch_frame(view) for view in views if not benchmark.switch_frame(view).is_file()]
    if lacking:
        raise InputError(f"{lacking[0]}: no such switch frame; {len(lacking)} of {len(views)} are missing")
    runs = [f"run {run}" for run in range(1, request.runs + 1)] if request.runs > 1 else ["run"]
    found = []
    for job in tqdm(jobs, desc=f"physics-iq with {request.model}", unit="view"):
        try:
            image = switch_frame(benchmark.switch_frame(job.view), model.backbone.size)
        except UnreadableVideoError as error:
            found.append(_left_out(job.view, str(error)))
            continue
        videos = {}
        for number, run in enumerate(runs):
            world = model.generate(
                image, job.view.prompt, seed=request.seed + number, frames=frames, steps=request.steps
            )
            assert world.rgb is not None
            videos[run] = video_of(world.rgb[: SECONDS * fps])
        found.append(measure(job, videos))
    told = {
        "model": request.model,
        "steps": request.steps,
        "generated_size": list(model.backbone.size),
    }
    protocol = _protocol(request, benchmark, jobs, told)
    return summarise(found, runs, protocol, exact=request.exact, seed=request.seed)


def frames_of(model: WorldModel, least: int) -> int:
    """The smallest number of frames from `least` on that a model can make. Raises InputError where none is."""
    for frames in range(least, least + 2 * model.backbone.most_frames + 1):
        with contextlib.suppress(InputError):
            return model.check_frames(frames)
    raise InputError(
        f"this model makes {model.backbone.most_frames} frames at most; Physics-IQ needs {least} ({SECONDS} s)"
    )


def switch_frame(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """A picture squeezed to a model's size, not cropped: what is generated is stretched back to be compared."""
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB").resize((size[1], size[0]), Image.Resampling.LANCZOS))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableVideoError(f"{path}: not a picture that can be read ({error})") from error


def video_of(rgb: UInt8[np.ndarray, "T H W 3"]) -> Video:
    """A video in memory."""
    return Video(lambda: iter(rgb), rgb.shape[1:3])


def probed(path: Path) -> VideoFacts | None:
    """What a header says; None for what is unreadable, which is named when its turn comes."""
    try:
        return probe(path)
    except UnreadableVideoError:
        return None


def common_format(facts: dict[Path, VideoFacts]) -> tuple[int, tuple[int, int]]:
    """The one frame rate and the one size of generated videos. Raises InputError where they differ."""
    if not facts:
        raise InputError("none of the generated videos can be read")
    path, first = next(iter(facts.items()))
    fps = round(first.fps)
    if not math.isclose(first.fps, fps, abs_tol=FPS_TOLERANCE):
        raise InputError(f"{path}: runs at {first.fps:.5g} fps; resample every video to 8, 16, 24 or 30")
    for other, fact in facts.items():
        if not math.isclose(fact.fps, first.fps, abs_tol=FPS_TOLERANCE):
            raise InputError(
                f"{other}: runs at {fact.fps:.5g} fps, {path.name} at {first.fps:.5g}; all need one rate"
            )
        if fact.size != first.size:
            raise InputError(
                f"{other}: is {fact.size[0]}x{fact.size[1]}, {path.name} {first.size[0]}x{first.size[1]} "
                "(height x width); all need one size"
            )
    return fps, first.size


def job_of(
    benchmark: Benchmark, view: ViewFiles, fps: int, videos: dict[str, Path], size: tuple[int, int], exact: bool
) -> Job:
    """Raises InputError where recordings of this view are missing."""
    source = benchmark.source_fps(fps)
    if exact and source != fps:
        raise InputError(
            f"{benchmark.testing}: has no {fps}FPS, and --exact cannot make it: the public code goes through a "
            f"compressed file there. Make that folder with it, or leave out --exact"
        )
    takes, masks = benchmark.takes(view, source), benchmark.masks(view, fps)
    for path in (*takes, *(masks or ())):
        if not path.is_file():
            raise InputError(f"{path}: no such file; the benchmark is not whole (--subset judges a part)")
    return Job(view, takes, masks, videos, size, fps, source, exact)


def _measured(jobs: Sequence[Job], workers: int) -> Iterator[ViewResult]:
    """The result of every job, in order."""
    found = in_order(measure, jobs, min(workers, len(jobs)), name=lambda job: job.view.name)
    return iter(tqdm(found, total=len(jobs), desc="physics-iq", unit="view"))


def measure(job: Job, made: dict[str, Video] | None = None) -> ViewResult:
    """Measure one view; a top-level function, so that worker processes find it. made: videos beside the job's."""
    frames = SECONDS * job.fps
    try:
        takes = [recording(path, job) for path in job.takes]
        if takes[0].size != takes[1].size:
            (a, b), (c, d) = takes[0].size, takes[1].size
            raise InputError(f"{job.takes[1]}: is {c}x{d}, the first take {a}x{b} (height x width)")
        size = takes[0].size[0] // SHRINK, takes[0].size[1] // SHRINK
        generated = {name: _filmed(path, probe(path), frames, job.exact) for name, path in job.videos.items()}
        masks = [functools.partial(read_video, path, frames) for path in job.masks or ()] or [None, None]
        seen = [seen_in(take, size, job, given) for take, given in zip(takes, masks)]
        others = {name: seen_in(video, size, job) for name, video in {**generated, **(made or {})}.items()}
        found = measure_view(seen[0], seen[1], others)
    except UnreadableVideoError as error:
        return _left_out(job.view, str(error))
    return ViewResult(job.view.scenario, job.view.view, job.view.category, found)


def _filmed(path: Path, facts: VideoFacts, frames: int, exact: bool) -> Video:
    """A file that is read as the public code does, or faster, with the same colours to rounding."""
    if facts.planes is None or exact:
        return Video(functools.partial(read_video, path, frames), facts.size, "bgr")
    return Video(functools.partial(read_planes, path, frames), facts.size, facts.planes)


def recording(path: Path, job: Job) -> Video:
    """A take at the rate of comparison."""
    facts = probe(path)
    given = SECONDS * job.source_fps
    if not math.isclose(facts.fps, job.source_fps, abs_tol=FPS_TOLERANCE):
        raise InputError(f"{path}: runs at {facts.fps:.5g} fps, not at {job.source_fps} as its name says")
    if job.source_fps == job.fps:
        return _filmed(path, facts, given, job.exact)
    wanted = SECONDS * job.fps
    return Video(lambda: resampled(read_video(path, given), given, wanted), facts.size, "bgr")


def seen_in(
    video: Video, size: tuple[int, int], job: Job, given: Callable[[], Pictures] | None = None
) -> Iterator[Glimpse]:
    """The frames of a video at the size of comparison. given: its masks, from files, where there are any."""
    masks: Iterable[np.ndarray] | None = None
    if given is not None:
        masks = (picture[..., 0] for picture in given())
    elif job.exact:
        if video.size[0] % 2 or video.size[1] % 2:
            raise InputError(
                f"{job.view.name}: a video is {video.size[0]}x{video.size[1]}; --exact needs even sides"
            )
        found = MotionMasks(video.order)
        masks = through_codec((found.next(frame) for frame in video.open()), job.fps, video.size)
    return glimpses(video.open(), size, order=video.order, masks=masks)


def _left_out(view: ViewFiles, reason: str) -> ViewResult:
    return ViewResult(view.scenario, view.view, view.category, {}, reason)


def _protocol(
    request: SuiteRequest, benchmark: Benchmark, jobs: Sequence[Job], more: dict[str, Any]
) -> dict[str, Any]:
    job = jobs[0]
    size = next((fact.size for path in (j.takes[0] for j in jobs) if (fact := probed(path))), None)
    return {
        "suite": "physics-iq",
        "descriptions": benchmark.descriptions.name,
        "subset": list(request.subset),
        "limit": request.limit,
        "fps": job.fps,
        "frames": SECONDS * job.fps,
        "seconds": SECONDS,
        "size": None if size is None else [n // SHRINK for n in size],
        "truth_size": None if size is None else list(size),
        "truth_fps": job.source_fps,
        "truth_masks": "given" if job.masks else "made",
        **described(request.exact),
        **more,
    }

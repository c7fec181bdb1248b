"""Physics-IQ beside the public script's way: seconds a view, peak memory, and how far the numbers are apart.

    python benchmarks/physics_iq.py [--views 2] [--size 540 960] [--official CHECKOUT]

Both sides judge the same five-second videos: two takes and a generated one a view. Ours reads the three once, in
step, a frame at a time. The other side does for every view what the public script does on its first run: it writes
a mask video of each, reads the first take once more for its size, reads the three videos and the three mask videos
whole, shrinks every frame, turns it to floating point, and measures. With --official it is that script itself,
from a checkout of google-deepmind/physics-IQ-benchmark (which needs pandas); otherwise the same steps, spelt out
here. Peak memory is that of a process for each side and length.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from phys4d.evaluation.physics_iq.scores import MEASURES
from phys4d.suites.physics_iq.folder import ViewFiles
from phys4d.suites.physics_iq.recorded import SECONDS, Job, measure

FPS = 24
KERNEL = np.ones((5, 5), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(540, 960), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=2, help="of both sides, in turn; the best counts")
    parser.add_argument("--official", type=Path, help="checkout of the public code")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [make_job(Path(folder), i, tuple(chosen.size)) for i in range(chosen.views)]
        other = "the public script" if chosen.official else "the public script's steps"
        print(
            f"{chosen.views} views, three videos each, {SECONDS} s at {FPS} fps, {chosen.size[0]}x{chosen.size[1]}"
        )
        ours, theirs = [], []
        for _ in range(chosen.repeats):
            ours.append(alone(timed, our_rows, jobs))
            theirs.append(alone(timed, their_rows, jobs, chosen.official))
        mine, other_side = (best(runs) for runs in (ours, theirs))
        print(f"{'':28}{'s a view':>10}{'CPU s':>10}{'peak MB':>10}")
        for name, side in (("ours, in memory", mine), (other, other_side)):
            print(f"{name:28}{side.wall / len(jobs):10.2f}{side.cpu / len(jobs):10.2f}{side.peak:10.0f}")
        ratios = (getattr(other_side, name) / getattr(mine, name) for name in ("wall", "cpu", "peak"))
        print(f"{'ratio':28}" + "".join(f"{ratio:10.1f}" for ratio in ratios))
        apart = np.abs(np.array(mine.rows) - np.array(other_side.rows)).max(axis=0)
        print("largest difference of a view:", ", ".join(f"{n} {d:.4f}" for n, d in zip(MEASURES, apart)))
        for count in (1, 4):
            peak = alone(timed, our_rows, [jobs[i % len(jobs)] for i in range(count)]).peak
            print(f"ours, {count} view{'s' * (count > 1)} one after the other: peak {peak:.0f} MB")


def alone(function: Any, *arguments: Any) -> Any:
    """A call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of processors, peak resident memory beyond the imports' [MB], rows of MEASURES."""

    wall: float
    cpu: float
    peak: float
    rows: list[list[float]]


def timed(side: Any, jobs: list[Job], *more: Any) -> Cost:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    rows = side(jobs, *more)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(wall, cpu, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, rows)


def best(runs: list[Cost]) -> Cost:
    """The least of each cost."""
    return Cost(*(min(getattr(run, name) for run in runs) for name in ("wall", "cpu", "peak")), runs[0].rows)


def our_rows(jobs: list[Job]) -> list[list[float]]:
    return [measure(job).found["run"].row().tolist() for job in jobs]


def their_rows(jobs: list[Job], checkout: Path | None = None) -> list[list[float]]:
    return [official_row(job, checkout) if checkout else their_row(job) for job in jobs]


def official_row(job: Job, checkout: Path) -> list[float]:
    """The public script's own functions on one view."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from physiq.binary_mask_generator import generate_mask  # type: ignore[import-not-found]
    from physiq.calculate_and_write_metrics_to_csv import ViewPaths, process_view  # type: ignore[import-not-found]

    generated = job.videos["run"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for path in (*job.takes, generated):
            generate_mask(str(path), f"{folder}/{path.name}", path is not generated)
        masks = {name.name.split("_")[0] + name.name.split("_")[4]: str(name) for name in Path(folder).iterdir()}
        first, second = job.view.numbers
        names = [masks[first + "take-1"], masks[second + "take-2"], masks["9" + first[1:] + "take-1"]]
        paths = ViewPaths(*map(str, job.takes), str(generated), *names)
        frames = SECONDS * job.fps
        found = process_view(paths, "view", 0, frames, frames)
    return [
        float(np.mean(found[f"{name}_view"]))
        for name in ("spatiotemporal_iou_v1", "spatial_iou_v1", "weighted_spatial_iou_v1", "v1_mse")
    ]


def their_row(job: Job) -> list[float]:
    """The same steps: masks to files, everything back in whole, and each measure three times over."""
    videos = (*job.takes, job.videos["run"])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.mp4" for i in range(3)]
        for video, path in zip(videos, paths):
            write_masks(video, path)
        height, width = next(iter(loaded(job.takes[0], None))).shape[:2]
        size = width // 4, height // 4
        pictures = [np.stack(loaded(video, size)) / 255.0 for video in videos]
        masks = [np.stack(loaded(path, size))[..., 0] > 127 for path in paths]
    rows = [compared(pictures[a], pictures[b], masks[a], masks[b]) for a, b in ((0, 2), (1, 2), (0, 1))]
    return rows[0]


def write_masks(video: Path, to: Path) -> None:
    reader = cv2.VideoCapture(str(video))
    width, height = (int(reader.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(to), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height), isColor=False)
    average: np.ndarray | None = None
    while True:
        found, frame = reader.read()
        if not found:
            break
        grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (5, 5), 0)
        if average is None:
            average = grey.astype(np.float64)
            writer.write(np.zeros_like(grey))
            continue
        cv2.accumulateWeighted(grey, average, 0.3)
        _, mask = cv2.threshold(cv2.absdiff(grey, cv2.convertScaleAbs(average)), 10, 255, cv2.THRESH_BINARY)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, KERNEL)
        writer.write(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, KERNEL))
    reader.release()
    writer.release()


def loaded(path: Path, size: tuple[int, int] | None) -> list[np.ndarray]:
    """Every frame that is wanted; the file is decoded to its end in any case."""
    reader, frames = cv2.VideoCapture(str(path)), []
    while True:
        found, frame = reader.read()
        if not found:
            return frames
        if size is not None:
            frames.append(cv2.resize(frame, size))
        elif not frames:
            frames.append(frame)


def compared(mine: np.ndarray, theirs: np.ndarray, mask: np.ndarray, other: np.ndarray) -> list[float]:
    both, either = (mask & other).sum((1, 2)), (mask | other).sum((1, 2))
    overlap = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    ever, never = mask.any(0), other.any(0)
    often, seldom = mask.mean(0), other.mean(0)
    errors = ((mine.astype(np.float32) - theirs.astype(np.float32)) ** 2).mean((1, 2, 3))
    weighted = np.minimum(often, seldom).sum() / np.maximum(often, seldom).sum()
    return [
        float(n) for n in (overlap.mean(), (ever & never).sum() / (ever | never).sum(), weighted, errors.mean())
    ]


def make_job(folder: Path, index: int, size: tuple[int, int]) -> Job:
    """Three videos of discs that cross a picture of soft shapes and sensor noise."""
    rng = np.random.default_rng(index)
    height, width = size
    coarse = rng.integers(60, 200, (height // 40, width // 40, 3), dtype=np.uint8)
    ground = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 1.5, (4, height, width, 3)).astype(np.float32)
    number = f"{index + 1:04d}"
    names = (
        f"{number}_testing-videos_24FPS_left_take-1_s.mp4",
        f"{number}_testing-videos_24FPS_left_take-2_s.mp4",
    )
    paths = [folder / name for name in (*names, f"9{number[1:]}_left_s.mp4")]
    for path, slip in zip(paths, (0.0, 0.02, 0.08)):
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"})
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for t in range(SECONDS * FPS):
                frame = ground.copy()
                for k in range(3):
                    x, y = 0.1 + (0.8 - slip) * t / (SECONDS * FPS), 0.25 * (k + 1) + slip * np.sin(t / 5)
                    cv2.circle(frame, (round(x * width), round(y * height)), height // 14, (240, 200, 60 * k), -1)
                frame = np.clip(frame + noise[t % 4], 0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    view = ViewFiles(f"s{index}", "left", "", "", (number, number), "s")
    return Job(view, (paths[0], paths[1]), None, {"run": paths[2]}, FPS, FPS, False)


if __name__ == "__main__":
    main()

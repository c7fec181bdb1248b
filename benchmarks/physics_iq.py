"""Physics-IQ beside the public script's way: seconds, peak memory, and how far the numbers are apart.

    python benchmarks/physics_iq.py [--views 1] [--size 432 768] [--official CHECKOUT]

Both sides judge the same five-second videos: two takes a view, and what one run, or the four that the benchmark
asks for, made of it. Ours reads each file once, all in step, a frame at a time. The other side does what the
public script does: it writes a mask video of each file, those of the takes once; for every run it reads the
first take once more for its size, reads three videos and three mask videos whole, shrinks every frame, turns it
to floating point, and measures. With --official it is that script itself, from a checkout of google-
deepmind/physics-IQ-benchmark (which needs pandas); otherwise the same steps, spelt out here. Both decode the
same files with the same decoder, and decoding is most of what is left of ours. Peak memory is that of a process
for each side, with its imports.
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

from phys4d.evaluation.physics_iq import MEASURES, Likeness
from phys4d.suites.physics_iq.folder import ViewFiles
from phys4d.suites.physics_iq.recorded import SECONDS, Job, measure

FPS = 24
KERNEL = np.ones((5, 5), np.uint8)


RUNS = (1, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=2, default=(432, 768), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=2, help="of both sides; the best counts")
    parser.add_argument("--official", type=Path, help="checkout of the public code")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [make_job(Path(folder), i, tuple(chosen.size)) for i in range(chosen.views)]
        other = "the public script" if chosen.official else "the public script's steps"
        print(
            f"{chosen.views} x 2 takes of {SECONDS} s at {FPS} fps, {chosen.size[0]}x{chosen.size[1]}; per view:"
        )
        print(f"{'':36}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}")
        for runs in RUNS:
            some = [dataclasses.replace(job, videos=dict(list(job.videos.items())[:runs])) for job in jobs]
            mine = alone(timed, our_rows, some, chosen.repeats)
            public = alone(timed, their_rows, some, chosen.repeats, chosen.official)
            label = f", {runs} run{'s' * (runs > 1)}"
            for name, side in (("ours, in memory", mine), (other, public)):
                print(
                    f"{name + label:36}{side.wall / len(jobs):10.2f}{side.cpu / len(jobs):10.2f}{side.peak:10.0f}"
                )
            ratios = (getattr(public, name) / getattr(mine, name) for name in ("wall", "cpu", "peak"))
            print(f"{'ratio' + label:36}" + "".join(f"{ratio:10.1f}" for ratio in ratios))
        apart = np.abs(np.array(mine.rows) - np.array(public.rows)).max(axis=0)
        print("largest difference of a view:", ", ".join(f"{n} {d:.4f}" for n, d in zip(MEASURES, apart)))
        for count in (1, 3):
            peak = alone(timed, our_rows, [some[i % len(some)] for i in range(count)], 1).peak
            print(f"ours, {count} view{'s' * (count > 1)} one after the other: peak {peak:.0f} MB")


def alone(function: Any, *arguments: Any) -> Any:
    """A call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of processors, peak resident memory [MB], and the rows of MEASURES."""

    wall: float
    cpu: float
    peak: float
    rows: list[list[float]]


def timed(side: Any, jobs: list[Job], repeats: int, *more: Any) -> Cost:
    """The best of several goes, of which the first may be slow for what it loads."""
    walls, processors, rows = [], [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        rows = side(jobs, *more)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - cpu)
    return Cost(min(walls), min(processors), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rows)


def our_rows(jobs: list[Job]) -> list[list[float]]:
    return [found.row().tolist() for job in jobs for found in run_likenesses(job)]


def run_likenesses(job: Job) -> list[Likeness]:
    found = measure(job).found
    return [found[name] for name in job.videos]


def their_rows(jobs: list[Job], checkout: Path | None = None) -> list[list[float]]:
    return [row for job in jobs for row in (official_rows(job, checkout) if checkout else their_rows_of(job))]


def official_rows(job: Job, checkout: Path) -> list[list[float]]:
    """The public script's own functions on one view."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from physiq.binary_mask_generator import generate_mask  # type: ignore[import-not-found]
    from physiq.calculate_and_write_metrics_to_csv import ViewPaths, process_view  # type: ignore[import-not-found]

    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):

        def mask_of(path: Path, real: bool) -> str:
            before = set(Path(folder).iterdir())
            generate_mask(str(path), f"{folder}/{path.name}", real)
            return str((set(Path(folder).iterdir()) - before).pop())

        truth = [mask_of(path, True) for path in job.takes]
        for generated in job.videos.values():
            paths = ViewPaths(*map(str, job.takes), str(generated), *truth, mask_of(generated, False))
            found = process_view(paths, "view", 0, SECONDS * job.fps, SECONDS * job.fps)
            names = ("spatiotemporal_iou_v1", "spatial_iou_v1", "weighted_spatial_iou_v1", "v1_mse")
            rows.append([float(np.mean(found[f"{name}_view"])) for name in names])
    return rows


def their_rows_of(job: Job) -> list[list[float]]:
    """The same steps: masks to files, everything back in whole, and each measure three times over."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        truth = [write_masks(take, Path(folder) / f"take-{i}.mp4") for i, take in enumerate(job.takes)]
        for name, generated in job.videos.items():
            mask_files = [*truth, write_masks(generated, Path(folder) / f"{name}.mp4")]
            height, width = loaded(job.takes[0], None)[0].shape[:2]
            size = width // 4, height // 4
            pictures = [np.stack(loaded(video, size)) / 255.0 for video in (*job.takes, generated)]
            masks = [np.stack(loaded(path, size))[..., 0] > 127 for path in mask_files]
            each = [compared(pictures[a], pictures[b], masks[a], masks[b]) for a, b in ((0, 2), (1, 2), (0, 1))]
            rows.append(each[0])
    return rows


def write_masks(video: Path, to: Path) -> Path:
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
    return to


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
    """Six videos of discs that cross a picture of soft shapes and sensor noise."""
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
    made = [f"{9 - run}{number[1:]}_left_s.mp4" for run in range(max(RUNS))]
    paths = [folder / name for name in (*names, *made)]
    for path, slip in zip(paths, (0.0, 0.02, 0.08, 0.1, 0.12, 0.14)):
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
    runs = {f"run {run}": path for run, path in enumerate(paths[2:], start=1)}
    view = ViewFiles(f"s{index}", "left", "", "", (number, number), "s")
    return Job(view, (paths[0], paths[1]), None, runs, size, FPS, FPS, False)


if __name__ == "__main__":
    main()

"""A small benchmark in the public layout of Physics-IQ, with its real names, and generated videos beside it.

Discs fall, roll and stand; the takes differ a little, the generated videos more. Files are lossless, so that what
is decoded does not depend on the encoder's choices.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from phys4d.suites.physics_iq.folder import Benchmark

VIEWS = ("perspective-left", "perspective-center", "perspective-right")
SCENARIOS = (("ball-and-block-fall", "Solid Mechanics"), ("water-in-juice", "Fluid Dynamics"))
SIZE, FPS, SECONDS = (96, 160), 8, 5
Place = Callable[[float], tuple[float, float]]


def film(place: Place, *, radius: float, size: tuple[int, int] = SIZE, fps: int = FPS) -> np.ndarray:
    """A disc of `radius` (of the height) over a pattern; place: time [s] to (x, y) in [0, 1]; (T,H,W,3) uint8."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    ground = 90 + 40 * np.sin(columns * 12 / width) * np.cos(rows * 9 / height)
    frames = np.repeat(ground.astype(np.uint8)[None, ..., None], SECONDS * fps, axis=0).repeat(3, axis=3)
    for t, frame in enumerate(frames):
        x, y = place(t / fps)
        centre = round(x * width * 16), round(y * height * 16)
        cv2.circle(frame, centre, round(radius * height * 16), (235, 225, 40), -1, cv2.LINE_AA, shift=4)
    return frames


def falling(start: float, speed: float) -> Place:
    """Falls, and lies."""
    return lambda time: (0.3 + 0.05 * time, min(0.2 + speed * max(time - start, 0) ** 2, 0.8))


def rolling(speed: float, row: float) -> Place:
    """Rolls across."""
    return lambda time: (0.1 + speed * time, row)


def write_video(path: Path, frames: np.ndarray, fps: float = FPS) -> Path:
    """Lossless H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=round(fps), options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def takes_of(scenario: int, view: int, size: tuple[int, int] = SIZE, fps: int = FPS) -> list[np.ndarray]:
    """Both takes, and what a model makes of the scenario."""
    radius = 0.1 + 0.03 * view
    if scenario == 0:
        places = [falling(1.0, 0.5), falling(1.1, 0.45), falling(1.3, 0.2 + 0.1 * view)]
    else:
        row = 0.4 + 0.1 * view
        places = [rolling(0.16, row), rolling(0.15, row + 0.01), rolling(0.10, row + 0.03)]
    return [film(place, radius=radius, size=size, fps=fps) for place in places]


def make_benchmark(
    folder: Path, *, size: tuple[int, int] = SIZE, fps: int = FPS, scenarios: Sequence[int] = (0, 1)
) -> tuple[Benchmark, Path]:
    """The benchmark, and the folder of generated videos."""
    rows, number, count = [], 0, 3 * len(scenarios)
    truth, videos = folder / "physics-IQ-benchmark", folder / "model"
    for scenario in scenarios:
        name, category = SCENARIOS[scenario]
        for view, side in enumerate(VIEWS):
            number += 1
            *takes, made = takes_of(scenario, view, size, fps)
            for take, frames in enumerate(takes):
                label = f"{number + take * count:04d}"
                file = f"{label}_testing-videos_{fps}FPS_{side}_take-{take + 1}_trimmed-{name}.mp4"
                write_video(truth / "split-videos" / "testing" / f"{fps}FPS" / file, frames, fps)
                rows.append((f"{label}_{side}_take-{take + 1}_trimmed-{name}.mp4", f"{name} falls.", category, ""))
            write_video(videos / f"{number:04d}_{side}_trimmed-{name}.mp4", made, fps)
            picture = truth / "switch-frames" / f"{number:04d}_switch-frames_anyFPS_{side}_trimmed-{name}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), takes[0][0][..., ::-1])
    with (truth / "descriptions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("scenario", "description", "category", "generated_video_name"))
        table.writerows(sorted(rows))
    return Benchmark(truth), videos

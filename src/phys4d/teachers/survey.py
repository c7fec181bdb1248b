"""What is in a video, before teachers see it: its shots, cut into clips, and which clips are worth their labels.

The video is decoded once, small, and every pair of frames leaves a few numbers behind, so that memory does not
grow with its length. A cut is where much changes at once, far more than around it, and motion does not explain it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from phys4d import codecs
from phys4d.errors import InputError, unknown_name
from phys4d.geometry import consistent_flow
from phys4d.world import nearest_in_time

SIDE = 72
"""Shorter side of the small pictures [px]; motion is measured in these pixels."""
CUT_CHANGE, CUT_RATIO, CUT_CONSISTENT = 12.0, 3.0, 0.6
"""A cut: mean change of grey values; that over the median of the changes around it; share of consistent flow."""
AROUND = 8
"""Pairs on either side of a cut that it is compared with."""
DARK, EVEN = 30, 6
"""A row is part of a bar where it is no brighter than this, and varies by no more, in grey values."""


@dataclasses.dataclass(frozen=True)
class Gates:
    """Clips outside these bounds are left out. Motion is in pixels of a picture whose shorter side has SIDE.

    static: least motion of what moves most (99th percentile of all pixels and frames). fast: largest mean motion
    of a frame. flicker: largest jump of mean brightness between frames, of 255. bars: largest share of the height
    or the width under dark bars on both sides. unsure: least share of pixels whose forward and backward flow
    agree, over the clip.
    """

    static: float = 0.5
    fast: float = 9.0
    flicker: float = 12.0
    bars: float = 0.06
    unsure: float = 0.6

    def opened(self, names: tuple[str, ...]) -> Gates:
        """The same without some of them. Raises InputError for an unknown one."""
        for name in names:
            if name not in GATES:
                raise InputError(unknown_name("gate", name, GATES))
        open_to = {"static": -math.inf, "unsure": -math.inf}
        return dataclasses.replace(self, **{name: open_to.get(name, math.inf) for name in names})


GATES = tuple(field.name for field in dataclasses.fields(Gates))


@dataclasses.dataclass(frozen=True)
class Found:
    """A clip that a video holds. start [s]; reason: why it is left out, or "" where it is kept.

    The numbers are those of `Gates`.
    """

    start: float
    reason: str
    static: float
    fast: float
    flicker: float
    bars: float
    unsure: float


@dataclasses.dataclass(frozen=True)
class Survey:
    """clips: in their order. fps: of the clips. shots: how many there are; rest: frames of shots that fill no
    clip. problem: why the video cannot be read, where it cannot."""

    path: Path
    clips: tuple[Found, ...] = ()
    fps: float = 0.0
    shots: int = 0
    rest: int = 0
    problem: str = ""

    @property
    def kept(self) -> list[Found]:
        return [clip for clip in self.clips if not clip.reason]


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Numbers of every frame (bars) and of every pair of frames (the others), see `Gates`."""

    most: Float[np.ndarray, "T-1"]
    mean: Float[np.ndarray, "T-1"]
    jump: Float[np.ndarray, "T-1"]
    change: Float[np.ndarray, "T-1"]
    consistent: Float[np.ndarray, "T-1"]
    bars: Float[np.ndarray, "T 4"]
    """Share of the picture under an even, dark border: above, below, left, right."""


def survey(path: Path, frames: int, fps: float | None = None, gates: Gates | None = None) -> Survey:
    """Shots and clips of `frames` frames of a video. fps: of the clips; default, the video's own. gates: None
    keeps everything, and looks for no cuts.

    A video that cannot be read is a survey with a problem.
    """
    try:
        rate = fps or native_rate(path)
        if gates is None:
            count = sum(1 for _ in nearest_in_time(codecs.stream_video(path), path, 0.0, rate))
            starts = range(0, count - frames + 1, frames)
            clips = tuple(Found(start / rate, "", *(math.nan,) * 5) for start in starts)
            return Survey(path, clips, rate, 1, count % frames)
        pairs = _measured(_small(path, rate))
    except InputError as error:
        return Survey(path, problem=str(error))
    edges = [0, *(np.flatnonzero(_cuts(pairs)) + 1), len(pairs.bars)]
    clips, rest = [], 0
    for first, last in itertools.pairwise(edges):
        rest += (last - first) % frames
        clips += [_judged(pairs, at, frames, rate, gates) for at in range(first, last - frames + 1, frames)]
    return Survey(path, tuple(clips), rate, len(edges) - 1, rest)


def told(surveys: Iterable[Survey]) -> str:
    """As JSON: of every video its shots and clips, with what was measured and why a clip was left out."""
    rows = []
    for each in surveys:
        row: dict[str, Any] = {"video": str(each.path)}
        if each.problem:
            rows.append(row | {"problem": each.problem})
            continue
        clips = [
            {name: value for name, value in dataclasses.asdict(clip).items() if value == value and value != ""}
            for clip in each.clips
        ]
        rows.append(row | {"fps": each.fps, "shots": each.shots, "frames_left": each.rest, "clips": clips})
    return json.dumps(rows, indent=1) + "\n"


def native_rate(path: Path) -> float:
    """Frames per second of a video, 25 where it does not tell."""
    interval = codecs.frame_interval(path)
    return 1 / interval if interval > 0 else 25.0


def _small(path: Path, rate: float) -> Iterator[np.ndarray]:
    """Small grey frames at a rate."""
    for image in nearest_in_time(codecs.stream_video(path), path, 0.0, rate):
        height, width = image.shape[:2]
        scale = SIDE / min(height, width)
        size = (max(round(width * scale), SIDE), max(round(height * scale), SIDE))
        smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        yield cv2.cvtColor(cv2.resize(image, size, interpolation=smaller), cv2.COLOR_RGB2GRAY)


def _measured(frames: Iterator[np.ndarray]) -> _Pairs:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    rows: list[tuple[float, ...]] = []
    bars: list[list[float]] = []
    before = None
    for grey in frames:
        bars.append(_borders(grey))
        if before is not None:
            rest = np.zeros((2, *grey.shape, 2), np.float32)
            forward, backward = search.calc(before, grey, rest[0]), search.calc(grey, before, rest[1])
            agree = consistent_flow(torch.from_numpy(forward[None]), torch.from_numpy(backward[None]))
            length = np.linalg.norm(forward, axis=-1)
            rows.append(
                (
                    float(np.quantile(length, 0.99)),
                    float(length.mean()),
                    abs(float(grey.mean()) - float(before.mean())),
                    float(cv2.absdiff(before, grey).mean()),
                    float(agree.float().mean()),
                )
            )
        before = grey
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    most, mean, jump, change, consistent = columns
    return _Pairs(most, mean, jump, change, consistent, np.array(bars).reshape(-1, 4))


def _borders(grey: np.ndarray) -> list[float]:
    found = []
    for lines in (grey, grey[::-1], grey.T, grey.T[::-1]):
        dark = (lines.max(axis=1) <= DARK) & (np.ptp(lines, axis=1) <= EVEN)
        found.append(float(np.argmin(dark) if not dark.all() else len(dark)) / len(lines))
    return found


def _cuts(pairs: _Pairs) -> Bool[np.ndarray, "T-1"]:
    """Whether a shot ends with the first frame of a pair."""
    cuts = (pairs.change > CUT_CHANGE) & (pairs.consistent < CUT_CONSISTENT)
    for at in np.flatnonzero(cuts):
        around = np.concatenate([pairs.change[max(at - AROUND, 0) : at], pairs.change[at + 1 : at + 1 + AROUND]])
        cuts[at] = not len(around) or pairs.change[at] > CUT_RATIO * np.median(around)
    return cuts


def _judged(pairs: _Pairs, first: int, frames: int, rate: float, gates: Gates) -> Found:
    inner, whole = slice(first, first + frames - 1), slice(first, first + frames)
    above, below, left, right = pairs.bars[whole].min(axis=0)
    numbers = {
        "static": float(pairs.most[inner].max()),
        "fast": float(pairs.mean[inner].max()),
        "flicker": float(pairs.jump[inner].max()),
        "bars": 2 * float(max(min(above, below), min(left, right))),
        "unsure": float(pairs.consistent[inner].mean()),
    }
    least = ("static", "unsure")
    outside = [
        name
        for name, value in numbers.items()
        if (value < getattr(gates, name) if name in least else value > getattr(gates, name))
    ]
    return Found(first / rate, ", ".join(outside), **{name: round(value, 4) for name, value in numbers.items()})

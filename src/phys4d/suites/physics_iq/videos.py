"""Video files a frame at a time, read as the public code reads them, and what is wrong with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.video.plane import VideoPlane
from jaxtyping import UInt8

from phys4d.codecs import TEXT_ART
from phys4d.errors import InputError
from phys4d.evaluation.physics_iq.masks import Order, Planes

PLANES: dict[str, Order] = {"yuv420p": "yuv", "yuvj420p": "yuvj"}
"""Layouts of pixels that can be judged without a way through RGB."""
FPS_TOLERANCE = 0.01
"""Frame rates closer than this are one: containers round them."""


class UnreadableVideoError(InputError):
    """A file that is no video, or breaks off midway: it is named and left out, the others are judged."""


@dataclasses.dataclass(frozen=True)
class VideoFacts:
    """What a video's header says.

    size: (height, width) [px]. frames: 0 where it does not say. planes: the order of channels that `read_planes`
    gives, None where it cannot.
    """

    fps: float
    frames: int
    size: tuple[int, int]
    planes: Order | None = None


def probe(path: Path) -> VideoFacts:
    """What a video's header says. Raises UnreadableVideoError for what is no video, InputError where none is."""
    if not path.is_file():
        raise InputError(f"{path}: no such video file")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if container.format.name in TEXT_ART or not container.streams.video:
                raise UnreadableVideoError(f"{path}: has no video in it")
            stream = container.streams.video[0]
            rate = stream.average_rate or Fraction(0)
            size = stream.codec_context.height, stream.codec_context.width
            planes = PLANES.get(stream.codec_context.pix_fmt or "")
            frames = stream.frames
            if not frames and stream.duration and stream.time_base:
                frames = round(float(stream.duration * stream.time_base * rate))
    except av.error.FFmpegError as error:
        raise UnreadableVideoError(f"{path}: not a readable video ({error.strerror or error})") from error
    if not rate or 0 in size:
        raise UnreadableVideoError(f"{path}: its header says neither size nor frame rate")
    return VideoFacts(float(rate), frames, size, planes)


def read_video(path: Path, frames: int) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The first `frames` frames, blue first; each is overwritten by the next.

    OpenCV decodes them, as in the public code, so that not even the rounding of colours differs. Raises
    UnreadableVideoError where there are fewer.
    """
    reader = cv2.VideoCapture(str(path))
    picture = None
    try:
        if not reader.isOpened():
            raise UnreadableVideoError(f"{path}: not a readable video")
        for count in range(frames):
            found, picture = reader.read(picture)
            if not found:
                raise UnreadableVideoError(f"{path}: breaks off after {count} of {frames} frames")
            yield picture
    finally:
        reader.release()


def read_planes(path: Path, frames: int) -> Iterator[Planes]:
    """The first `frames` frames as the file keeps them, which costs half of `read_video`.

    Colours are the same to rounding: OpenCV takes all files for BT.601. Each is overwritten by the next. Raises
    UnreadableVideoError where there are fewer.
    """
    count = 0
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                yield Planes(*map(_plane, frame.planes))
                count += 1
                if count == frames:
                    return
    except av.error.FFmpegError as error:
        if not count:
            raise UnreadableVideoError(f"{path}: not a readable video ({error.strerror or error})") from error
    raise UnreadableVideoError(f"{path}: breaks off after {count} of {frames} frames")


def _plane(plane: VideoPlane) -> UInt8[np.ndarray, "H W"]:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def resample(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], given: int, wanted: int
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """`wanted` frames, evenly from the first to the last of `given` ones, blended from their two neighbours.

    So physiq/fps_changer.py of the public code makes frame rates that the benchmark lacks, but for the compressed
    file that it then writes. A frame may be overwritten once the next is asked for.
    """
    source = iter(frames)
    left = right = next(source).copy()
    read = 1
    for j in range(wanted):
        position = j * (given - 1) / max(wanted - 1, 1)
        while read < min(int(position) + 2, given):
            left, right = right, next(source).copy()
            read += 1
        # Of the last frame there is no right neighbour.
        yield _blend(right if int(position) + 1 == given else left, right, position - int(position))


def _blend(left: np.ndarray, right: np.ndarray, share: float) -> np.ndarray:
    if not share:
        return left
    return ((1 - share) * left.astype(np.float32) + share * right.astype(np.float32)).astype(np.uint8)

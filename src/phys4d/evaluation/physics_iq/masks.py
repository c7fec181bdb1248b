"""What moves in a video, from its colours alone, as Physics-IQ finds it.

Source: google-deepmind/physics-IQ-benchmark, physiq/binary_mask_generator.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from phys4d.errors import WorkError

AVERAGE, DIFFERENCE = 0.3, 10
"""Weight of a frame in the running average; grey levels of difference that are not yet motion."""
WINDOW = 5
"""Side [px] of the Gaussian, and of the opening and the closing."""
ON = 127
"""A mask that was resized or compressed is on above this level of 255."""
Order = Literal["rgb", "bgr", "yuv", "yuvj"]
"""How a picture's channels follow each other. OpenCV reads videos as bgr; files keep them as planes (`Planes`) of
luma and halved colour differences, in which 16 to 235 (yuv) or 0 to 255 (yuvj) go from black to white."""


class Planes(NamedTuple):
    """A picture as video files keep it: luma, and the differences of blue and red from it, at their own sizes."""

    luma: UInt8[np.ndarray, "H W"]
    blue: UInt8[np.ndarray, "P Q"]
    red: UInt8[np.ndarray, "P Q"]


def full_luma(luma: UInt8[np.ndarray, "H W"], out: UInt8[np.ndarray, "H W"] | None = None) -> np.ndarray:
    """Grey levels of luma from 16 to 235: by BT.601, and so the grey of the colours that OpenCV reads."""
    floored = np.maximum(luma, np.uint8(16), out=out)
    return cv2.convertScaleAbs(floored, dst=floored, alpha=255 / 219, beta=-16 * 255 / 219)


_TO_GREY = {"rgb": cv2.COLOR_RGB2GRAY, "bgr": cv2.COLOR_BGR2GRAY}
_KERNEL = np.ones((WINDOW, WINDOW), np.uint8)


class MotionMasks:
    """The masks of one video, frame after frame; the first is empty.

    Grey, 5x5 Gaussian, difference to a running average (updated first) above DIFFERENCE, 5x5 opening, 5x5 closing.
    precision: of the average; the public code's is float64, and float32 is faster, other where it rounds a tie.
    """

    def __init__(self, order: Order = "rgb", precision: type[np.floating] = np.float64) -> None:
        self._order: Order = order
        self._precision = precision
        self._average: np.ndarray | None = None

    def next(self, picture: UInt8[np.ndarray, "H W 3"] | Planes) -> UInt8[np.ndarray, "H W"]:
        """The mask of the next frame: 0, or 255 where it moves. It is overwritten by the call after."""
        if self._average is None:
            # Large arrays are made once: fresh memory for every frame costs more than the arithmetic.
            size = picture.luma.shape if isinstance(picture, Planes) else picture.shape[:2]
            self._grey, self._past, self._mask = (np.empty(size, np.uint8) for _ in range(3))
        grey = self._past
        if not isinstance(picture, Planes):
            cv2.cvtColor(picture, _TO_GREY[self._order], dst=grey)
        elif self._order == "yuv":
            full_luma(picture.luma, grey)
        else:
            grey = picture.luma
        cv2.GaussianBlur(grey, (WINDOW, WINDOW), 0, dst=self._grey)
        if self._average is None:
            self._average = self._grey.astype(self._precision)
            self._mask[:] = 0
            return self._mask
        cv2.accumulateWeighted(self._grey, self._average, AVERAGE)
        cv2.convertScaleAbs(self._average, dst=self._past)
        cv2.absdiff(self._grey, self._past, dst=self._mask)
        cv2.threshold(self._mask, DIFFERENCE, 255, cv2.THRESH_BINARY, dst=self._mask)
        left, top, width, height = cv2.boundingRect(self._mask)
        if width:
            # Beyond this margin neither operation finds anything but zeros.
            rows = slice(max(top - WINDOW, 0), top + height + WINDOW)
            columns = slice(max(left - WINDOW, 0), left + width + WINDOW)
            part = np.ascontiguousarray(self._mask[rows, columns])
            part = cv2.morphologyEx(part, cv2.MORPH_OPEN, _KERNEL)
            self._mask[rows, columns] = cv2.morphologyEx(part, cv2.MORPH_CLOSE, _KERNEL)
        return self._mask


def motion_masks(rgb: UInt8[np.ndarray, "T H W 3"]) -> Bool[np.ndarray, "T H W"]:
    """The masks of a whole video, at its own size; see `MotionMasks`."""
    masks = MotionMasks()
    return np.stack([masks.next(frame) > ON for frame in rgb])


def through_codec(
    masks: Iterable[UInt8[np.ndarray, "H W"]], fps: float, size: tuple[int, int]
) -> Iterator[UInt8[np.ndarray, "H W"]]:
    """Masks (0 or 255) as they come back from the lossy file in which the public code keeps them: MPEG-4 Part 2.

    size: (height, width) [px], both even, which the format demands. All masks are written before the first is
    read. Raises ValueError for an odd size, WorkError where the file cannot be written.
    """
    height, width = size
    if height % 2 or width % 2:
        raise ValueError(f"an MPEG-4 file of masks needs even sides, not {height}x{width}")
    with tempfile.TemporaryDirectory(prefix="phys4d-masks-") as folder:
        path = Path(folder) / "masks.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height), isColor=False)
        if not writer.isOpened():
            raise WorkError(f"{path}: masks cannot be written there as MPEG-4; this OpenCV may lack the encoder")
        count = 0
        for mask in masks:
            writer.write(mask)
            count += 1
        writer.release()
        reader = cv2.VideoCapture(str(path))
        try:
            for _ in range(count):
                found, picture = reader.read()
                if not found:
                    raise WorkError(f"{path}: masks do not come back whole; the disk may be full")
                yield picture[..., 0]
        finally:
            reader.release()

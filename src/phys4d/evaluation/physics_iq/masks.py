"""What moves in a video, from its colours alone, as Physics-IQ finds it.

Source: google-deepmind/physics-IQ-benchmark, physiq/binary_mask_generator.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

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
Order = Literal["rgb", "bgr"]
"""How a picture's channels follow each other; OpenCV reads videos as bgr."""

_TO_GREY = {"rgb": cv2.COLOR_RGB2GRAY, "bgr": cv2.COLOR_BGR2GRAY}
_KERNEL = np.ones((WINDOW, WINDOW), np.uint8)


class MotionMasks:
    """The masks of one video, frame after frame; the first is empty.

    Grey, 5x5 Gaussian, difference to a running average (updated first) above DIFFERENCE, 5x5 opening, 5x5 closing.
    """

    def __init__(self, order: Order = "rgb") -> None:
        self._to_grey = _TO_GREY[order]
        self._average: np.ndarray | None = None

    def next(self, picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W"]:
        """The mask of the next frame: 0, or 255 where it moves. It is overwritten by the call after."""
        if self._average is None:
            # Large arrays are made once: fresh memory for every frame costs more than the arithmetic.
            self._grey, self._past, self._mask = (np.empty(picture.shape[:2], np.uint8) for _ in range(3))
        cv2.cvtColor(picture, self._to_grey, dst=self._past)
        cv2.GaussianBlur(self._past, (WINDOW, WINDOW), 0, dst=self._grey)
        if self._average is None:
            self._average = self._grey.astype(np.float64)
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

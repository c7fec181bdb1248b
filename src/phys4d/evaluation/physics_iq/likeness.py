"""How alike two videos move, and look: three overlaps of their motion masks, and the mean squared error.

Everything is added up frame by frame, so that no video has to be in memory. Source:
google-deepmind/physics-IQ-benchmark, physiq/calculate_and_write_metrics_to_csv.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8, UInt16

from phys4d.evaluation.physics_iq.masks import ON, MotionMasks, Order, Planes, full_luma

_FULL_CHROMA = np.clip(np.round((np.arange(256) - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)
SHRINK = 4
"""Videos are compared at this fraction of the size of the first take."""


@dataclasses.dataclass(frozen=True)
class Glimpse:
    """One frame at the size at which videos are compared."""

    picture: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True)
class Likeness:
    """What one video has of another.

    spatial_iou: overlap of where anything moves at any time. spatiotemporal_iou: overlap of what moves, a frame.
    weighted_spatial_iou: overlap of how often each pixel moves. mse: mean squared error of the colours in [0, 1],
    a frame.
    """

    spatial_iou: float
    spatiotemporal_iou: Float[np.ndarray, "T"]
    weighted_spatial_iou: float
    mse: Float[np.ndarray, "T"]

    def row(self, decimals: int | None = None) -> Float[np.ndarray, "4"]:
        """The four numbers in the order of `MEASURES`, means over frames.

        decimals: to which frames are rounded first, as the public code does (4) when it reads its own table.
        """
        curves = [self.spatiotemporal_iou, self.mse]
        if decimals is not None:
            curves = [np.round(curve, decimals) for curve in curves]
        return np.array([curves[0].mean(), self.spatial_iou, self.weighted_spatial_iou, curves[1].mean()])


def iou(mine: Bool[np.ndarray, "h w"], theirs: Bool[np.ndarray, "h w"]) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = np.count_nonzero(mine | theirs)
    return np.count_nonzero(mine & theirs) / union if union else 1.0


def weighted_iou(mine: UInt16[np.ndarray, "h w"], theirs: UInt16[np.ndarray, "h w"]) -> float:
    """Sum of the smaller over sum of the larger of two counts of moving frames; 1 where both are zero."""
    larger = int(np.maximum(mine, theirs).sum(dtype=np.int64))
    return int(np.minimum(mine, theirs).sum(dtype=np.int64)) / larger if larger else 1.0


def frame_mse(mine: UInt8[np.ndarray, "h w 3"], theirs: UInt8[np.ndarray, "h w 3"]) -> float:
    """Mean squared difference of two pictures whose channels run from 0 to 1."""
    return cv2.norm(mine, theirs, cv2.NORM_L2SQR) / (mine.size * 255**2)


def glimpses(
    frames: Iterable[UInt8[np.ndarray, "H W 3"] | Planes],
    size: tuple[int, int],
    *,
    order: Order = "rgb",
    masks: Iterable[UInt8[np.ndarray, "H W"]] | None = None,
) -> Iterator[Glimpse]:
    """The frames of a video, and what moves in them, at the size (height, width) [px] of comparison.

    Motion is found at the video's own size. masks: what moves, where that is known already, at any size (0 to
    255). A frame may be overwritten once the next is asked for.
    """
    shape = (size[1], size[0])
    found = MotionMasks(order, np.float32)
    given = None if masks is None else iter(masks)
    for frame in frames:
        mask = found.next(frame) if given is None else next(given)
        yield Glimpse(_small(frame, shape, order), cv2.resize(mask, shape) > ON)


def _small(
    frame: UInt8[np.ndarray, "H W 3"] | Planes, shape: tuple[int, int], order: Order
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture in RGB at the size (width, height) of comparison."""
    if isinstance(frame, Planes):
        # Resizing and the change of colours are linear, so that the cheaper may go first.
        luma, blue, red = (cv2.resize(plane, shape) for plane in frame)
        if order == "yuv":
            luma, blue, red = full_luma(luma), cv2.LUT(blue, _FULL_CHROMA), cv2.LUT(red, _FULL_CHROMA)
        return cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2RGB)
    picture = cv2.resize(frame, shape)
    if order == "bgr":
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture)
    return picture


class _Pair:
    """What is added up over the frames of two videos."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.overlaps: list[float] = []
        self.errors: list[float] = []
        self.counts = np.zeros((2, *size), np.uint16)

    def add(self, mine: Glimpse, theirs: Glimpse) -> None:
        self.overlaps.append(iou(mine.mask, theirs.mask))
        self.errors.append(frame_mse(mine.picture, theirs.picture))
        self.counts[0] += mine.mask
        self.counts[1] += theirs.mask

    def likeness(self) -> Likeness:
        mine, theirs = self.counts
        return Likeness(
            iou(mine > 0, theirs > 0),
            np.array(self.overlaps),
            weighted_iou(mine, theirs),
            np.array(self.errors),
        )


OTHER_TAKE, STATIC = "other_take", "static"
"""What every view is measured by: the second take, and the first frame of the first take held still."""


def measure_view(
    take_1: Iterable[Glimpse], take_2: Iterable[Glimpse], candidates: Mapping[str, Iterable[Glimpse]]
) -> dict[str, Likeness]:
    """How alike the first take each candidate is, and beside them the other take and the static world.

    The likeness of the other take is the physical variance. All videos are read in step, a frame at a time.
    Raises ValueError where one has fewer frames than another, or none.
    """
    others = {OTHER_TAKE: take_2, **candidates}
    pairs: dict[str, _Pair] = {}
    still: Glimpse | None = None
    for true, *seen in zip(take_1, *others.values(), strict=True):
        if still is None:
            still = Glimpse(true.picture, np.zeros_like(true.mask))
            pairs = {name: _Pair(true.mask.shape) for name in (*others, STATIC)}
        for name, glimpse in zip(pairs, (*seen, still)):
            pairs[name].add(glimpse, true)
    if not pairs:
        raise ValueError("there is no frame to compare")
    return {name: pair.likeness() for name, pair in pairs.items()}


def likeness(mine: UInt8[np.ndarray, "T H W 3"], theirs: UInt8[np.ndarray, "T P Q 3"]) -> Likeness:
    """How alike two whole videos are, at a quarter of the size of the second."""
    size = (theirs.shape[1] // SHRINK, theirs.shape[2] // SHRINK)
    return measure_view(glimpses(theirs, size), glimpses(mine, size), {})[OTHER_TAKE]

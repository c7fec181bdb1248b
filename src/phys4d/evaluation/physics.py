"""Axis P: do bodies fall as they must, and does the right part of the picture move?"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float

from phys4d.evaluation.alignment import take
from phys4d.evaluation.chamfer import chamfers
from phys4d.evaluation.measure import Measured, Metric, Pair, Truth, nothing, of_curve
from phys4d.evaluation.motion import follow_pixels
from phys4d.evaluation.physics_iq.masks import motion_masks
from phys4d.world import World4D

FREE_FALL = 0.05
"""A body falls freely where its acceleration is gravity, within this share of it."""
FEWEST_FRAMES = 4
"""Frames that a fit of constant acceleration needs: one more than it has parameters."""


@dataclasses.dataclass(frozen=True)
class Flight:
    """A body in free flight over the frames start..stop-1 of a reference."""

    instance: int
    start: int
    stop: int


def acceleration(positions: Float[np.ndarray, "T 3"], fps: float) -> Float[np.ndarray, "3"]:
    """The constant acceleration [m/s^2] that fits positions [m] best, in the sense of least squares.

    Raises ValueError for fewer than three positions, which any acceleration fits.
    """
    if len(positions) < 3:
        raise ValueError("a constant acceleration needs at least three positions")
    time = np.arange(len(positions)) / fps
    terms = np.stack([np.ones_like(time), time, 0.5 * time**2], axis=1)
    return np.linalg.lstsq(terms, positions, rcond=None)[0][2]


def free_flights(reference: World4D) -> list[Flight]:
    """Runs of at least FEWEST_FRAMES frames in which a body of the reference accelerates by gravity alone.

    Read from meta["physics"]["bodies"][name]["position"] and meta["gravity"]: a frame is in flight where the
    second difference with its neighbours is g / fps^2, within FREE_FALL.
    """
    gravity = np.array(reference.meta["gravity"], dtype=np.float64)
    flights = []
    for body in _bodies(reference).values():
        position = np.array(body["position"], dtype=np.float64)[: reference.frames]
        if not body.get("instance") or len(position) < FEWEST_FRAMES:
            continue
        change = np.diff(position, n=2, axis=0) * reference.fps**2
        falls = np.linalg.norm(change - gravity, axis=-1) < FREE_FALL * np.linalg.norm(gravity)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], falls, [False]]).astype(np.int8)))
        for first, last in edges.reshape(-1, 2):
            # A run of n accelerations spans n + 2 positions.
            if last - first + 2 >= FEWEST_FRAMES:
                flights.append(Flight(int(body["instance"]), int(first), int(last) + 2))
    return flights


def effective_gravity(prediction: World4D, reference: World4D, flight: Flight) -> float | None:
    """The downward acceleration [m/s^2] of a body in the prediction while the reference's flies; None if lost.

    The body's pixels at the start of the flight, as the reference shows them, are followed through the
    prediction's own motion and depth (in the reference's axes); each track that is seen for at least
    FEWEST_FRAMES is fitted, and the median over tracks is taken.
    """
    (ids,) = take(reference, "segmentation")
    body = (ids[flight.start] == flight.instance).astype(np.uint8)
    inner = cv2.erode(body, np.ones((3, 3), np.uint8), borderValue=0)
    row, column = np.nonzero(inner if inner.sum() >= FEWEST_FRAMES else body)
    if not len(row):
        return None
    pixels = np.stack([column + 0.5, row + 0.5], axis=-1)
    tracks, seen = follow_pixels(prediction, pixels, start=flight.start)
    length = seen[:, : flight.stop - flight.start].sum(1)
    longest = int(length.max())
    if longest < FEWEST_FRAMES:
        return None
    down = np.array(reference.meta["gravity"], dtype=np.float64)
    down /= np.linalg.norm(down)
    falls = [acceleration(track[:longest], reference.fps) @ down for track in tracks[length == longest]]
    return float(np.median(falls))


def gravity_error(pair: Pair) -> Measured:
    """|g_eff / g - 1|, the mean over free flights; coverage is the share of flights in which the body was kept."""
    reference = pair.reference
    if not np.linalg.norm(reference.meta.get("gravity") or 0) > 0 or not _bodies(reference):
        return nothing("the reference's meta has no gravity or no physics.bodies")
    flights = [
        dataclasses.replace(flight, start=max(flight.start, pair.steps.start))
        for flight in free_flights(reference)
    ]
    flights = [flight for flight in flights if flight.stop - flight.start >= FEWEST_FRAMES]
    if not flights:
        return nothing("no body falls freely for long enough in the reference")
    (ids,) = take(reference, "segmentation")
    shown = [f for f in flights if (ids[f.start] == f.instance).any()]
    found = [effective_gravity(pair.prediction, reference, flight) for flight in shown]
    kept = np.array([g for g in found if g is not None])
    if not kept.size:
        return nothing("no falling body could be followed in the prediction")
    truth = float(np.linalg.norm(reference.meta["gravity"]))
    return Measured(float(np.abs(kept / truth - 1).mean()), len(kept) / len(flights))


def iou(mine: Bool[np.ndarray, "T H W"], theirs: Bool[np.ndarray, "T H W"]) -> Measured:
    """Intersection over union a frame, and its mean over the frames in which either mask has a pixel."""
    union = (mine | theirs).sum((1, 2))
    both = (mine & theirs).sum((1, 2))
    return of_curve(np.where(union > 0, both / np.maximum(union, 1), np.nan), "both masks are empty")


def centroid_error(mine: Bool[np.ndarray, "T H W"], theirs: Bool[np.ndarray, "T H W"]) -> Measured:
    """Distance [px] of the masks' centroids a frame, over the frames in which both have a pixel."""
    distance = np.linalg.norm(_centroids(mine) - _centroids(theirs), axis=-1)
    return of_curve(distance, "the masks are never both there")


def _centroids(masks: np.ndarray) -> np.ndarray:
    count = masks.sum((1, 2)).astype(np.float64)
    count[count == 0] = np.nan
    rows, columns = masks.sum(2) @ np.arange(masks.shape[1]), masks.sum(1) @ np.arange(masks.shape[2])
    return np.stack([columns, rows], axis=-1) / count[:, None]


def _bodies(world: World4D) -> dict[str, Any]:
    return (world.meta.get("physics") or {}).get("bodies") or {}


def _mask_iou(pair: Pair) -> Measured:
    (rgb,) = take(pair.prediction, "rgb")
    return iou(motion_masks(rgb)[pair.judged], pair.once_for_truth(_truth_masks)[pair.judged])


def _truth_masks(truth: Truth) -> np.ndarray:
    return motion_masks(*take(truth.world, "rgb"))


def _object_masks(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Predicted pixels off the reference's background, and the reference's moving instances, by one epsilon."""
    found = pair.once(chamfers)
    return found.moving[pair.judged], found.moving_true[pair.judged]


_CHAIN = ("depth", "flow", "camera")
_SHAPE = ("depth", "camera")
_PARTS = ("depth", "camera", "segmentation", "scene_flow")
ROWS = (
    Metric("gravity_error", _CHAIN, ("segmentation", "camera"), "", "lower", gravity_error),
    Metric("mask_iou", ("rgb",), ("rgb",), "", "higher", _mask_iou),
    Metric("object_iou", _SHAPE, _PARTS, "", "higher", lambda pair: iou(*_object_masks(pair))),
    Metric("centroid_error", _SHAPE, _PARTS, "px", "lower", lambda pair: centroid_error(*_object_masks(pair))),
)
"""The metrics of this axis, besides the Chamfer distances."""

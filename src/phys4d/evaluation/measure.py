"""What a metric is: a row of a table, a pair of worlds to judge, and a number that says what it could see."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from phys4d.evaluation.alignment import Alignment, align_world, take
from phys4d.world import Camera, World4D

Better = Literal["lower", "higher", "one"]
Found = TypeVar("Found")

MOVING = 0.002
"""Mean displacement [m] from one frame to the next above which an instance counts as moving."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A metric's value on one world.

    coverage: share of the pixels, points, frames or bodies that could be judged. reason: why the value is NaN.
    curve: one number a judged frame (NaN where it had nothing to judge), None where time has no part in it.
    """

    value: float
    coverage: float
    reason: str = ""
    curve: Float[np.ndarray, "T"] | None = None


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of the table of metrics.

    needs, needs_reference: fields that the prediction and the reference must have; with an empty
    `needs_reference` the metric judges a prediction alone. better: "lower", "higher", or "one" for a ratio.
    """

    name: str
    needs: tuple[str, ...]
    needs_reference: tuple[str, ...]
    unit: str
    better: Better
    function: Callable[[Pair], Measured]

    def measure(self, pair: Pair) -> Measured:
        """The value, or NaN with the fields that are lacking as its reason."""
        lacking = [name for name in self.needs if getattr(pair.prediction, name) is None]
        if lacking:
            return nothing(f"the prediction has no {', '.join(lacking)}")
        if self.needs_reference and not pair.has_reference:
            return nothing("there is no reference to compare with")
        lacking = [name for name in self.needs_reference if getattr(pair.reference, name) is None]
        if lacking:
            return nothing(f"the reference has no {', '.join(lacking)}")
        return self.function(pair)


class Truth:
    """A reference, and whatever is worked out from it once for all predictions that are held against it."""

    def __init__(self, world: World4D) -> None:
        self.world = world

    @functools.cached_property
    def moving(self) -> Bool[np.ndarray, "T H W"]:
        """Pixels of the instances that move at some time; needs segmentation and scene_flow."""
        return moving_pixels(self.world)

    @functools.cached_property
    def notes(self) -> dict[Any, Any]:
        """Results of `Pair.once_for_truth`."""
        return {}


class Pair:
    """A prediction and its reference, cut to their common frames and put into the reference's axes.

    prediction: in the reference's world axes and, unless alignment is "none", at the depth scale (and shift) that
    fits frame 0. raw: the same as it was given. start: the first frame that is judged; motion t->t+1 is judged
    from start - 1 on. Without a reference, `reference` raises AttributeError.
    """

    def __init__(
        self,
        prediction: World4D,
        truth: Truth | None,
        *,
        start: int = 0,
        alignment: Alignment = "scale",
        seed: int = 0,
    ) -> None:
        self.start = start
        self.alignment: Alignment = alignment
        self.seed = seed
        self.truth_or_none = truth
        if truth is None:
            self.raw = self.prediction = prediction
        else:
            frames = min(prediction.frames, truth.world.frames)
            if truth.world.frames > frames:
                truth = self.truth_or_none = Truth(cut(truth.world, frames))
            self.raw = cut(prediction, frames)
            self.prediction = align_world(self.raw, truth.world, alignment)
        self._found: dict[Any, Any] = {}

    @property
    def has_reference(self) -> bool:
        return self.truth_or_none is not None

    @property
    def truth(self) -> Truth:
        if self.truth_or_none is None:
            raise AttributeError("this pair has no reference")
        return self.truth_or_none

    @property
    def reference(self) -> World4D:
        return self.truth.world

    @property
    def steps(self) -> slice:
        """The judged motions t -> t+1: those that end in a judged frame."""
        return slice(max(self.start - 1, 0), None)

    @property
    def judged(self) -> slice:
        """The judged frames."""
        return slice(self.start, None)

    def once(self, function: Callable[[Pair], Found]) -> Found:
        """`function(self)`, worked out the first time that it is asked for."""
        if function not in self._found:
            self._found[function] = function(self)
        return self._found[function]

    def once_for_truth(self, function: Callable[[Truth], Found]) -> Found:
        """`function(self.truth)`, worked out once for all pairs that share the truth."""
        if function not in self.truth.notes:
            self.truth.notes[function] = function(self.truth)
        return self.truth.notes[function]


def nothing(reason: str) -> Measured:
    """No value: NaN, no coverage, and why."""
    return Measured(math.nan, 0.0, reason)


def over_frames(error: Float[np.ndarray, "T *grid"], valid: Bool[np.ndarray, "T *grid"], reason: str) -> Measured:
    """Mean over each frame's valid entries, then over the frames that have any; `reason` is why none has."""
    axes = tuple(range(1, error.ndim))
    count = valid.sum(axis=axes)
    total = np.where(valid, error, 0).sum(axis=axes, dtype=np.float64)
    curve = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if not count.any():
        return nothing(reason)
    return Measured(float(np.nanmean(curve)), float(valid.mean()), curve=curve)


def of_curve(curve: Float[np.ndarray, "T"], reason: str) -> Measured:
    """Mean over the frames that have a number; coverage is their share."""
    known = np.isfinite(curve)
    if not known.any():
        return nothing(reason)
    return Measured(float(curve[known].mean()), float(known.mean()), curve=curve)


def cut(world: World4D, frames: int) -> World4D:
    """The first frames of a world."""
    if world.frames == frames:
        return world
    values: dict[str, Any] = {}
    for name in world.fields:
        value = getattr(world, name)
        if name == "camera":
            value = Camera(value.intrinsics[:frames], value.world_from_camera[:frames])
        elif name in ("tracks", "track_visibility"):
            value = value[:, :frames]
        else:
            value = value[: frames - (name in ("flow", "scene_flow", "visible"))]
        values[name] = value
    return World4D(**values, fps=world.fps, meta=world.meta)


def moving_pixels(world: World4D) -> Bool[np.ndarray, "T H W"]:
    """Pixels of the instances whose pixels' mean scene flow exceeds MOVING in some frame."""
    ids, flow = take(world, "segmentation", "scene_flow")
    count = int(ids.max()) + 1
    moves = np.zeros(count, dtype=bool)
    for labels, motion in zip(ids[:-1], flow):
        labels = labels.ravel()
        pixels = np.bincount(labels, minlength=count)
        mean = [np.bincount(labels, motion[..., axis].ravel(), count) / np.maximum(pixels, 1) for axis in range(3)]
        moves |= np.linalg.norm(mean, axis=0) > MOVING
    moves[0] = False
    return moves[ids]

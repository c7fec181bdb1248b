"""What a teacher is: RGB in, labels out, with what one must know before trusting them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from phys4d.errors import Registry

Alignment = Literal["metric", "scale+shift", "pixels"]
"""What separates labels from truth: nothing (metres, pixels), or one scale and one shift of disparity a clip."""


@dataclasses.dataclass(frozen=True)
class DepthLabels:
    """Depth of a clip as a teacher sees it.

    values: (T,H,W) z-depth [m] or disparity, as `quantity` says; anything where `sky`. Disparity of alignment
    "scale+shift" is a 1/depth + b with one a > 0 and one b for the whole clip, both unknown.
    confidence: (T,H,W) in [0, 1].
    sky: (T,H,W), where there is no surface; None from a teacher that cannot tell.
    """

    values: Float32[np.ndarray, "T H W"]
    quantity: Literal["depth", "disparity"]
    alignment: Literal["metric", "scale+shift"]
    confidence: Float32[np.ndarray, "T H W"]
    sky: Bool[np.ndarray, "T H W"] | None = None


@dataclasses.dataclass(frozen=True)
class FlowLabels:
    """Forward optical flow of a clip as a teacher sees it.

    flow: (T-1,H,W,2) t->t+1 [px], x right, y down.
    consistent: (T-1,H,W), where forward and backward flow undo each other (`geometry.consistent_flow`).
    confidence: the share of consistent pixels, in [0, 1].
    """

    flow: Float32[np.ndarray, "T-1 H W 2"]
    consistent: Bool[np.ndarray, "T-1 H W"]
    confidence: float


Labels = TypeVar("Labels", covariant=True)


class Estimator(Protocol[Labels]):
    """A teacher that is ready to work. The labels depend on the frames and `version` alone."""

    version: str

    def __call__(self, rgb: UInt8[np.ndarray, "T H W 3"]) -> Labels: ...


@dataclasses.dataclass(frozen=True)
class Teacher(Generic[Labels]):
    """An entry of the registry: what people should know, and how to get an estimator.

    load: raises InputError where weights or packages are missing.
    """

    description: str
    licence: str
    units: str
    alignment: Alignment
    load: Callable[[], Estimator[Labels]]


depth_teachers: Registry[Teacher[DepthLabels]] = Registry("depth teacher")
flow_teachers: Registry[Teacher[FlowLabels]] = Registry("flow teacher")

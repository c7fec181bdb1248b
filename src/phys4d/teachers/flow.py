"""Optical flow without weights: OpenCV's dense inverse search, made fit for small pictures.

Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016. Two things are added. Small pictures are
enlarged before the search and its result is scaled back: the coarse levels of the search need pixels to see.
And where the camera stands still, pixels that do not change have no flow: the search would carry the motion of
things into smooth ground around them, and their shadows'.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from phys4d.data.processes import single_thread
from phys4d.errors import InputError
from phys4d.geometry import consistent_flow
from phys4d.teachers.teacher import FlowLabels, Teacher, flow_teachers

WORKING_SIDE = 256
"""Shorter side [px] up to which small pictures are enlarged, by a power of two."""
MOST_ENLARGEMENT = 4
LEAST_SIDE = 16
REFINEMENTS = 10
"""Iterations of the variational refinement; the medium preset has 5."""
STILL = 2
"""Largest change of an sRGB value, over a 3x3 neighbourhood, of a pixel that stands still."""
TEXTURE = 8
"""Least local contrast of the pixels that tell whether the camera moves."""


class DisFlow:
    """Dense inverse search, forwards and backwards."""

    version = f"1 (opencv {cv2.__version__})"

    def __call__(self, rgb: UInt8[np.ndarray, "T H W 3"]) -> FlowLabels:
        """Raises InputError for pictures below 16x16 px."""
        height, width = rgb.shape[1:3]
        if min(height, width) < LEAST_SIDE:
            raise InputError(f"flow needs pictures of at least {LEAST_SIDE}x{LEAST_SIDE} px, not {height}x{width}")
        still = still_pixels(rgb)
        with single_thread():
            forward = np.where(still[..., None], 0, dis_flow(rgb))
            backward = np.where(still[..., None], 0, dis_flow(rgb[::-1])[::-1])
        consistent = consistent_flow(torch.from_numpy(forward), torch.from_numpy(backward)).numpy()
        return FlowLabels(forward, consistent, float(consistent.mean()) if consistent.size else 1.0)


def dis_flow(rgb: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T-1 H W 2"]:
    """Flow from each frame to the next by the search alone [px]."""
    frames, height, width = rgb.shape[:3]
    enlargement = 1
    while enlargement < MOST_ENLARGEMENT and 2 * enlargement * min(height, width) <= WORKING_SIDE:
        enlargement *= 2
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # Levels finer than the picture itself only fit the interpolation.
    search.setFinestScale(max(1, enlargement.bit_length() - 1))
    search.setVariationalRefinementIterations(REFINEMENTS)
    large = (width * enlargement, height * enlargement)
    gray = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), large, interpolation=cv2.INTER_CUBIC) for f in rgb]
    flow = np.zeros((frames - 1, height, width, 2), np.float32)
    for t in range(frames - 1):
        found = search.calc(gray[t], gray[t + 1], np.zeros((*gray[t].shape, 2), np.float32))
        flow[t] = cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA) / enlargement
    return flow


def still_pixels(rgb: UInt8[np.ndarray, "T H W 3"]) -> Bool[np.ndarray, "T-1 H W"]:
    """Pixels that stay as they are from one frame to the next while the camera stands still.

    The camera stands still between two frames when most of their textured pixels do not change; smooth ones look
    the same whatever it does.
    """
    square = np.ones((3, 3), np.uint8)
    still = np.zeros((len(rgb) - 1, *rgb.shape[1:3]), np.bool_)
    for t in range(len(rgb) - 1):
        change = cv2.dilate(cv2.absdiff(rgb[t], rgb[t + 1]).max(axis=-1), square)
        contrast = cv2.morphologyEx(rgb[t], cv2.MORPH_GRADIENT, square).max(axis=-1)
        textured = contrast >= TEXTURE
        if textured.any() and (change[textured] <= STILL).mean() > 0.5:
            still[t] = change <= STILL
    return still


flow_teachers.register("dis")(
    Teacher(
        description="OpenCV dense inverse search, medium preset, with a forward-backward check; no weights",
        licence="Apache-2.0",
        units="px per frame",
        alignment="pixels",
        load=DisFlow,
    )
)

"""Depth, flow and instances as pictures for people, and moving pictures as files.

The web page draws the same colours in the browser; its tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32, Integer, UInt8
from PIL import Image

from phys4d.atomic import new_file
from phys4d.errors import InputError
from phys4d.pictures import DARK

FLOW_GAMMA = 0.65
"""Small motions are lifted: brightness is (magnitude / max) ** FLOW_GAMMA."""


def flow_picture(flow: Float32[np.ndarray, "T H W 2"], max: float | None = None) -> UInt8[np.ndarray, "T H W 3"]:
    """Flow [px] on a colour wheel: hue is direction, strength is magnitude, stillness is dark.

    max: magnitude [px] of full strength; default `flow_limit` of the whole clip.
    """
    limit = flow_limit(flow) if max is None else max
    if limit <= 0:
        raise InputError(f"the flow scale must be positive, not {limit:g} px")
    strength = (np.linalg.norm(flow, axis=-1) / limit).clip(0, 1)[..., None] ** FLOW_GAMMA
    wheel = wheel_colour(np.arctan2(flow[..., 1], flow[..., 0]))
    return np.rint(np.array(DARK) + strength * (255 * wheel - DARK)).astype(np.uint8)


def flow_limit(flow: Float32[np.ndarray, "*shape 2"]) -> float:
    """Magnitude [px] of full colour: the 98th percentile of whatever moves, at least a quarter pixel."""
    magnitude = np.linalg.norm(flow, axis=-1)
    moving = magnitude[magnitude > 0.05]
    return float(np.percentile(moving, 98).clip(0.25, None)) if moving.size else 1.0


def wheel_colour(angle: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """Colour in 0..1 of a direction [rad], from x (right) towards y (down): three cosines a third turn apart."""
    thirds = np.array([0, 2, 4]) * math.pi / 3
    return (0.5 + 0.5 * np.cos(angle[..., None] - thirds)) ** 0.7


def segmentation_picture(ids: Int32[np.ndarray, "T H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """One colour per instance id, the same in every clip; the background is dark."""
    distinct, inverse = np.unique(ids, return_inverse=True)
    return instance_colours(distinct)[inverse.reshape(ids.shape)]


def instance_colours(ids: Integer[np.ndarray, "N"]) -> UInt8[np.ndarray, "N 3"]:
    """Colours of instance ids: neighbouring ids are a golden angle apart on the wheel; 0 is dark."""
    golden = math.pi * (3 - math.sqrt(5))
    colours = 255 * (0.25 + 0.75 * wheel_colour(ids.astype(np.float64) * golden))
    return np.where(ids[:, None] == 0, DARK, np.rint(colours)).astype(np.uint8)


def animation(frames: UInt8[np.ndarray, "T H W 3"], path: str | Path, fps: float) -> Path:
    """Write a looping GIF or WebP, chosen by the suffix of `path`; whole or not at all.

    GIF keeps time in hundredths of a second, and viewers slow down below two of them.
    """
    path = Path(path)
    savers: dict[str, Callable[..., dict[str, Any]]] = {".gif": _gif, ".webp": _webp}
    if path.suffix.lower() not in savers:
        raise InputError(f"{path}: an animation ends in {' or '.join(savers)}, not {path.suffix or 'nothing'}")
    if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size or frames.dtype != np.uint8:
        raise InputError(f"an animation needs (T,H,W,3) uint8 frames, not {frames.dtype} {frames.shape}")
    if not 0 < fps <= 1000:
        raise InputError(f"fps must lie between 0 and 1000, not {fps}")
    images = [Image.fromarray(frame) for frame in frames]
    options = savers[path.suffix.lower()](images, fps)
    with new_file(path) as temporary:
        first, *rest = options.pop("images", images)
        first.save(temporary, save_all=True, append_images=rest, loop=0, **options)
    return path


def _gif(images: list[Image.Image], fps: float) -> dict[str, Any]:
    # One palette for the clip: palettes of their own would make still surfaces flicker.
    width, height = images[0].size
    sheet = Image.new("RGB", (width, height * min(len(images), 8)))
    for row, index in enumerate(np.linspace(0, len(images) - 1, min(len(images), 8)).astype(int)):
        sheet.paste(images[index], (0, row * height))
    palette = sheet.quantize(256, method=Image.Quantize.MEDIANCUT)
    reduced = [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    # Rounding the times and not the steps keeps the length of the clip right.
    times = np.rint(np.arange(len(images) + 1) * 100 / fps)
    steps = [int(step) * 10 for step in np.diff(times).clip(2, None)]
    return {"images": reduced, "format": "GIF", "duration": steps, "optimize": False, "disposal": 1}


def _webp(images: list[Image.Image], fps: float) -> dict[str, Any]:
    times = np.rint(np.arange(len(images) + 1) * 1000 / fps)
    steps = [int(step) for step in np.diff(times).clip(1, None)]
    return {"format": "WEBP", "duration": steps, "quality": 85, "method": 4}

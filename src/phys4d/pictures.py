"""Pictures and first frames, however they are given, as frames of one size; and depth as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from phys4d.errors import InputError
from phys4d.world import crop_resize

Picture = str | Path | Image.Image | UInt8[np.ndarray, "..."]
"""A file, a PIL image of any mode, a picture (H,W,3) uint8, or frames (k,H,W,3) uint8."""

DARK = (16, 18, 22)
"""Colour of sky, of stillness and of background: the ground of every picture here."""


def read_frames(image: Picture, size: tuple[int, int]) -> UInt8[np.ndarray, "k H W 3"]:
    """A picture or frames, cropped about the centre and resampled to `size` (height, width).

    Of a file or a PIL image, greys are spread over the channels, what is transparent is shown on white, and a
    camera's turn is undone. Raises InputError for a file that is no picture, and for an array of another shape or
    dtype.
    """
    if isinstance(image, str | Path):
        image = _open(Path(image))
    if isinstance(image, Image.Image):
        image = _as_rgb(image)
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"a picture is a file, a PIL image, or an array (H,W,3) or (k,H,W,3) uint8, not {type(image).__name__}"
        )
    frames = image[None] if image.ndim == 3 else image
    if image.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InputError(f"frames should be (H,W,3) or (k,H,W,3) uint8, not {image.shape} {image.dtype}")
    if frames.shape[1:3] == tuple(size):
        return frames
    return np.stack([crop_resize(np.ascontiguousarray(frame), size) for frame in frames])


def depth_picture(
    depth: Float32[np.ndarray, "T H W"], limits: tuple[float, float] | None = None
) -> UInt8[np.ndarray, "T H W 3"]:
    """Depth [m] in turbo colours on a logarithmic scale: near is warm, far is cold, no surface is dark.

    limits: (near, far) [m] of the scale; default `depth_limits` of the whole clip, so colours hold over time.
    """
    near, far = limits or depth_limits(depth)
    position = np.log(np.where(depth > 0, depth, near) / near) / math.log(far / near)
    picture = turbo_table()[np.rint(255 * position.clip(0, 1)).astype(np.uint8)]
    picture[depth <= 0] = DARK
    return picture


def depth_limits(depth: Float32[np.ndarray, "*shape"]) -> tuple[float, float]:
    """(near, far) [m] of a colour scale: all but half a percent of the surface at either end."""
    surface = depth[depth > 0]
    if not surface.size:
        return 1.0, 10.0
    near, far = (float(value) for value in np.percentile(surface, [0.5, 99.5]))
    return near, max(far, near * 1.02)


def turbo_table() -> UInt8[np.ndarray, "256 3"]:
    """The depth colours from near to far: turbo from warm to cold, without its darkest ends."""
    import matplotlib  # It takes a while, and only pictures of depth need it.

    colours = matplotlib.colormaps["turbo"](np.linspace(0.95, 0.07, 256))
    return np.rint(255 * colours[:, :3]).astype(np.uint8)


def _open(path: Path) -> Image.Image:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a picture that can be read ({error})") from None


def _as_rgb(picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        # 16-bit greys: PIL would cut them off at 255.
        picture = Image.fromarray(
            (np.asarray(picture, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8)
        )
    if picture.has_transparency_data:
        colours = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return np.asarray(picture.convert("RGB"))

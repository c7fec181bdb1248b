"""Pictures and first frames, however they are given, as frames of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from phys4d.errors import InputError
from phys4d.world import crop_resize

Picture = str | Path | Image.Image | UInt8[np.ndarray, "..."]
"""A file, a PIL image of any mode, a picture (H,W,3) uint8, or frames (k,H,W,3) uint8."""


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

"""Arrays to bytes and back, each with a stated error bound, never unpickling anything.

| member | codec | bound |
| --- | --- | --- |
| rgb.mkv | FFV1, 8-bit RGB | lossless |
| depth.mkv, confidence.mkv | FFV1, 16-bit logarithm between the clip's own extremes | `log16_bound`, relative |
| segmentation.mkv | FFV1, 16-bit | lossless, ids 0 to 65535 |
| flow.npz | fixed point, step 2^-10 px | 2^-11 px |
| scene_flow.npz, tracks.npz | fixed point, step 2^-16 m | 2^-17 m (8 micrometres) |
| visible.npz | packed bits | lossless |
| camera.npz | float32 | lossless |

The same array always gives the same bytes: containers carry no clock and no random identifiers.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec.context
import av.container
import av.error
import numpy as np
from jaxtyping import Float32, Int32, UInt8

from phys4d.errors import InputError

FLOW_STEP = 2.0**-10
"""Fixed-point step of optical flow [px]."""
LENGTH_STEP = 2.0**-16
"""Fixed-point step of scene flow and tracks [m]."""
LOG_CODES = 65534
"""Intervals between the 16-bit codes 1 and 65535; code 0 is the value 0."""
MAX_PIXELS = 2**28
"""Pixels that one encoded video may hold in all (0.75 GiB of RGB): a hostile file must not exhaust memory."""


def log16_bound(values: np.ndarray) -> float:
    """Largest relative error of `encode_log16` on these values: half a code, and the rounding to float32."""
    positive = values[values > 0]
    span = math.log(float(positive.max()) / float(positive.min())) if positive.size else 0.0
    return math.expm1(span / LOG_CODES / 2) + 2.0**-23


def encode_rgb(rgb: UInt8[np.ndarray, "T H W 3"], fps: float) -> bytes:
    """Lossless video of sRGB frames (FFV1 in Matroska)."""
    return _encode_ffv1([np.ascontiguousarray(frame) for frame in rgb], "rgb24", "bgr0", fps, {})


def decode_rgb(data: bytes) -> UInt8[np.ndarray, "T H W 3"]:
    """Undo `encode_rgb`, exactly."""
    return _decode_frames(data, "rgb24")[0]


def encode_log16(values: Float32[np.ndarray, "T H W"], fps: float) -> bytes:
    """Non-negative values on a 16-bit logarithmic scale; 0 stays 0 exactly.

    The scale runs from the smallest to the largest positive value of the clip, so the relative error is at most
    half of log(max / min) / 65534: 1.8e-5 for depths between 1 and 10 m.
    """
    positive = values[values > 0]
    low, high = (float(positive.min()), float(positive.max())) if positive.size else (1.0, 1.0)
    span = math.log(high / low) or 1.0
    position = np.log(np.where(values > 0, values, low).astype(np.float64) / low) / span
    codes = np.where(values > 0, 1 + np.rint(position * LOG_CODES), 0).astype(np.uint16)
    # float.hex keeps all digits of the scale in the container's tags.
    return _encode_ffv1(list(codes), "gray16le", "gray16le", fps, {"LOW": low.hex(), "HIGH": high.hex()})


def decode_log16(data: bytes) -> Float32[np.ndarray, "T H W"]:
    """Undo `encode_log16` within its bound."""
    codes, tags = _decode_frames(data, "gray16le")
    try:
        low, high = float.fromhex(tags["LOW"]), float.fromhex(tags["HIGH"])
    except (KeyError, ValueError) as error:
        raise InputError("this 16-bit video carries no logarithmic scale (tags LOW and HIGH)") from error
    if not 0 < low <= high < math.inf:
        raise InputError(f"this 16-bit video has an impossible scale: {low} to {high}")
    span = math.log(high / low) or 1.0
    table = low * np.exp(span * (np.arange(65536) - 1) / LOG_CODES)
    table[0] = 0.0
    return table.astype(np.float32)[codes]


def encode_ids(ids: Int32[np.ndarray, "T H W"], fps: float) -> bytes:
    """Lossless video of instance ids from 0 to 65535."""
    if ids.size and (ids.min() < 0 or ids.max() > 65535):
        raise InputError(f"segmentation ids run from {ids.min()} to {ids.max()}; they must fit 0 to 65535")
    return _encode_ffv1(list(ids.astype(np.uint16)), "gray16le", "gray16le", fps, {})


def decode_ids(data: bytes) -> Int32[np.ndarray, "T H W"]:
    """Undo `encode_ids`, exactly."""
    return _decode_frames(data, "gray16le")[0].astype(np.int32)


def to_fixed_point(values: np.ndarray, step: float) -> np.ndarray:
    """Round to whole multiples of `step`, in the smallest integer type that holds them; the error is step / 2."""
    steps = np.rint(values.astype(np.float64) / step)
    largest = np.abs(steps).max(initial=0)
    if not largest < 2**31:
        raise InputError(f"a value of {largest * step:.3g} is beyond the fixed-point range ±{2**31 * step:.3g}")
    return steps.astype(np.int16 if largest < 2**15 else np.int32)


def from_fixed_point(steps: np.ndarray, step: float) -> np.ndarray:
    """Undo `to_fixed_point` within step / 2."""
    return (steps.astype(np.float64) * step).astype(np.float32)


def encode_arrays(**arrays: np.ndarray) -> bytes:
    """Named arrays as a compressed .npz; booleans are packed to bits beside their shape."""
    packed: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype == np.bool_:
            packed[f"{name}.bits"] = np.packbits(array.reshape(-1))
            packed[f"{name}.shape"] = np.array(array.shape, dtype=np.int64)
        else:
            packed[name] = array
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **packed)
    return buffer.getvalue()


def decode_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Undo `encode_arrays`. Refuses pickled objects, and archives that would unpack to more than a video may."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 16 * MAX_PIXELS:
                raise InputError("this .npz unpacks to more than 4 GiB; it is not one of ours")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            packed = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not a readable .npz archive ({error})") from error
    arrays = {name: array for name, array in packed.items() if not name.endswith((".bits", ".shape"))}
    for name in [name.removesuffix(".bits") for name in packed if name.endswith(".bits")]:
        shape = tuple(int(extent) for extent in packed.get(f"{name}.shape", np.array([-1])))
        count = math.prod(shape)
        if min(shape, default=0) < 0 or packed[f"{name}.bits"].size * 8 < count:
            raise InputError(f"the bits of {name!r} do not fill its shape {shape}")
        arrays[name] = np.unpackbits(packed[f"{name}.bits"], count=count).astype(bool).reshape(shape)
    return arrays


def encode_preview(rgb: UInt8[np.ndarray, "T H W 3"], fps: float) -> bytes:
    """An H.264 .mp4 that plays everywhere: for people, not for measuring. Odd sizes repeat their last row."""
    height, width = rgb.shape[1:3]
    even = np.pad(rgb, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("libx264", rate=_rate(fps), options={"crf": "18", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = even.shape[2], even.shape[1], "yuv420p"
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for image in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def read_video(path: str | Path, *, max_frames: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Decode any video file: frames (T,H,W,3) uint8 sRGB, upright, and their times (T,) [s] from the first.

    Raises InputError for a missing file, a file that is no video, and a video without frames.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such video file")
    frames: list[np.ndarray] = []
    times: list[float] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            fallback = 1 / float(stream.average_rate or 25)
            for frame in container.decode(stream):
                image = frame.to_ndarray(format="rgb24")
                turned = np.rot90(image, k=round(getattr(frame, "rotation", 0) / 90) % 4)
                if frames and turned.shape != frames[0].shape:
                    break  # a picture size that changes midway starts another video
                frames.append(np.ascontiguousarray(turned))
                times.append(frame.time if frame.time is not None else len(times) * fallback)
                if len(frames) * image.shape[0] * image.shape[1] > MAX_PIXELS:
                    raise InputError(
                        f"{path}: longer than memory allows at {image.shape[1]}x{image.shape[0]}; "
                        "cut it, or ask for fewer frames"
                    )
                if max_frames is not None and len(frames) == max_frames:
                    break
    except av.error.FFmpegError as error:
        if not frames:
            raise InputError(f"{path}: not a readable video ({error.strerror or error})") from error
    if not frames:
        raise InputError(f"{path}: the video has no frames")
    clock = np.array(times, dtype=np.float64)
    return np.stack(frames), clock - clock[0]


def _encode_ffv1(frames: list[np.ndarray], source: str, stored: str, fps: float, tags: Mapping[str, str]) -> bytes:
    """FFV1 in Matroska. Intra-only, with a checksum per slice: damage is noticed and stays in its frame."""
    buffer = io.BytesIO()
    options = {"fflags": "+bitexact"}
    with av.open(buffer, "w", format="matroska", options=options) as container:
        container.metadata.update(tags)
        codec = {"level": "3", "g": "1", "slicecrc": "1", "slices": "4", "coder": "1", "threads": "1"}
        stream: Any = container.add_stream("ffv1", rate=_rate(fps), options=codec)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = stored
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format=source)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _decode_frames(data: bytes, pixel_format: str) -> tuple[np.ndarray, dict[str, str]]:
    frames: list[np.ndarray] = []
    try:
        with av.open(io.BytesIO(data), "r", format="matroska") as container:
            tags = dict(container.metadata)
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            # Without this a damaged slice is concealed, and the damage would pass for data.
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            for frame in container.decode(stream):
                frames.append(frame.to_ndarray(format=pixel_format))
                if len(frames) * frame.width * frame.height > MAX_PIXELS:
                    raise InputError("the video is larger than any that this codec writes")
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"not a readable FFV1 video ({error})") from error
    if not frames:
        raise InputError("the video has no frames")
    return np.stack(frames), tags


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)

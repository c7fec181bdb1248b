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

The same array always gives the same bytes: containers carry no clock and no random identifiers. Damaged bytes
raise InputError and never pass for data: .npz members have the checksums of their archive, videos one of their
decoded frames and tags (FFV1's own slice checksums make decoders conceal damage, not report it).
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
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
TEXT_ART = ("tty", "bin", "xbin", "adf", "idf")
"""FFmpeg's readers that turn any text file into a film of its letters."""
FAR = 2.0
"""A start this far into a video [s] is worth a jump."""
MAX_PIXELS = 2**28
"""Pixels that one encoded video may hold in all (0.75 GiB of RGB): a hostile file must not exhaust memory."""


def log16_bound(values: np.ndarray) -> float:
    """Largest relative error of `encode_log16` on these values: half a code, and the rounding to float32."""
    positive = values[values > 0]
    span = math.log(float(positive.max()) / float(positive.min())) if positive.size else 0.0
    return math.expm1(span / LOG_CODES / 2) + 2.0**-23


def encode_rgb(rgb: UInt8[np.ndarray, "T H W 3"], fps: float) -> bytes:
    """Lossless video of sRGB frames (FFV1 in Matroska)."""
    return _encode_ffv1(np.ascontiguousarray(rgb), "rgb24", "bgr0", fps, {})


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
    codes = np.where(values > 0, 1 + np.rint(position * LOG_CODES), 0).astype(np.uint16, order="C")
    # float.hex keeps all digits of the scale in the container's tags.
    return _encode_ffv1(codes, "gray16le", "gray16le", fps, {"LOW": low.hex(), "HIGH": high.hex()})


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
    return _encode_ffv1(ids.astype(np.uint16, order="C"), "gray16le", "gray16le", fps, {})


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
            packed[name] = np.ascontiguousarray(array)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **packed)
    return buffer.getvalue()


def decode_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Undo `encode_arrays`. Refuses pickled objects, and archives that would unpack to more than a video may."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 16 * MAX_PIXELS:
                raise InputError("this .npz unpacks to more than 4 GiB; it is not one of ours")
            # Reading an entry whole makes zipfile compare its checksum; np.load stops short of that.
            packed = {name.removesuffix(".npy"): _parse_npy(archive.read(name)) for name in archive.namelist()}
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy fail on damaged bytes in a dozen ways
        raise InputError(f"not a readable .npz archive ({error})") from error
    arrays = {name: array for name, array in packed.items() if not name.endswith((".bits", ".shape"))}
    for name in [name.removesuffix(".bits") for name in packed if name.endswith(".bits")]:
        bits = packed[f"{name}.bits"]
        shape = tuple(int(extent) for extent in packed.get(f"{name}.shape", np.array([-1])).reshape(-1))
        count = math.prod(shape)
        if bits.dtype != np.uint8 or min(shape, default=0) < 0 or bits.size * 8 < count:
            raise InputError(f"the bits of {name!r} do not fill its shape {shape}")
        arrays[name] = np.unpackbits(bits, count=count).astype(bool).reshape(shape)
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


def stream_video(path: str | Path, start: float = 0.0) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], float]]:
    """Decode any video file frame by frame: sRGB pictures, upright, and their times [s] from the first.

    start: from about when on they are wanted [s]: what lies before it is passed over where the file has places to
    begin at, so that a clip late in a long film costs no more than an early one. The first frame always comes.
    A file that breaks off midway gives the frames before the break. Raises InputError for a missing file, a file
    that is no video, and a video without frames.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such video file")
    first, shape = 0.0, None
    try:
        # Titles in odd encodings are no reason to refuse a film.
        with av.open(str(path), metadata_errors="replace") as container:
            if container.format.name in TEXT_ART:
                raise InputError(f"{path}: not a readable video (it is a text)")
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            step = 1 / float(stream.average_rate or 25)
            for count, frame in enumerate(_frames(container, stream, start)):
                time = frame.time if frame.time is not None else count * step
                turns = round(getattr(frame, "rotation", 0) / 90) % 4
                image = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), k=turns))
                if shape is None:
                    first, shape = time, image.shape
                if image.shape != shape:
                    return  # a picture size that changes midway starts another video
                yield image, time - first
    except av.error.FFmpegError as error:
        if shape is None:
            raise InputError(f"{path}: not a readable video ({error.strerror or error})") from error
    if shape is None:
        raise InputError(f"{path}: the video has no frames")


def _frames(container: Any, stream: Any, start: float) -> Iterator[Any]:
    """Decoded frames: the first, then those from the last place to begin at that lies before `start` [s]."""
    decoded = container.decode(stream)
    first = next(decoded, None)
    if first is None:
        return
    yield first
    if start > FAR and first.time is not None and stream.time_base:
        wanted = first.time + start
        container.seek(int(wanted / stream.time_base), stream=stream, backward=True)
        decoded = container.decode(stream)
        landed = next(decoded, None)
        if landed is not None and landed.time is not None and first.time < landed.time <= wanted:
            yield landed
        else:
            # No place to begin at, or an index that lies.
            container.seek(0)
            decoded = container.decode(stream)
            next(decoded, None)
    yield from decoded


def frame_interval(path: str | Path) -> float:
    """Median time between the frames of a video [s], from its packets alone; 0 where they do not tell."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stamps = [
                packet.pts if packet.pts is not None else packet.dts
                for packet in container.demux(stream)
                if packet.size
            ]
            base = float(stream.time_base or 0)
    except (av.error.FFmpegError, IndexError):
        return 0.0
    steps = np.diff(np.unique([stamp for stamp in stamps if stamp is not None]))
    return float(np.median(steps)) * base if steps.size else 0.0


def check_memory(path: str | Path, frames: int, image: np.ndarray) -> None:
    """Raise InputError where so many pictures of this size are more than memory should hold."""
    height, width = image.shape[:2]
    if frames * height * width > MAX_PIXELS:
        raise InputError(
            f"{path}: longer than memory allows at {width}x{height}; ask for fewer frames or a smaller size"
        )


def _encode_ffv1(frames: np.ndarray, source: str, stored: str, fps: float, tags: Mapping[str, str]) -> bytes:
    """FFV1 in Matroska, intra-only, with a checksum of all frames and tags in the tag DIGEST."""
    buffer = io.BytesIO()
    options = {"fflags": "+bitexact"}
    height, width = frames.shape[1:3]
    if len(frames) * height * width > MAX_PIXELS:
        raise InputError(
            f"{len(frames)} frames of {width}x{height} are more than one world holds; cut it in pieces"
        )
    slices = "4" if min(height, width) > 1 else "1"
    with av.open(buffer, "w", format="matroska", options=options) as container:
        container.metadata.update({**tags, "DIGEST": _digest(frames, tags)})
        # Golomb-Rice codes halve the time of a small colour picture; on 16-bit depth the range coder is smaller.
        coder = "0" if stored == "bgr0" else "1"
        codec = {"level": "3", "g": "1", "slicecrc": "1", "slices": slices, "coder": coder, "threads": "1"}
        stream: Any = container.add_stream("ffv1", rate=_rate(fps), options=codec)
        stream.height, stream.width = height, width
        stream.pix_fmt = stored
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format=source)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _decode_frames(data: bytes, pixel_format: str) -> tuple[np.ndarray, dict[str, str]]:
    frames: list[np.ndarray] = []
    try:
        with av.open(io.BytesIO(data), "r", format="matroska", metadata_errors="replace") as container:
            tags = dict(container.metadata)
            stream = container.streams.video[0]
            pixels = stream.codec_context.width * stream.codec_context.height
            stream.codec_context.thread_count = 1
            for packet in container.demux(stream):
                if max(len(frames), 1) * pixels > MAX_PIXELS:
                    raise InputError("the video is larger than any that this codec writes")
                frames.extend(_pixels(frame, pixel_format) for frame in packet.decode())
        decoded = np.stack(frames)
    except InputError:
        raise
    except Exception as error:  # FFmpeg's wrapper fails on damaged bytes in a dozen ways
        raise InputError(f"not a readable FFV1 video ({error})") from error
    if tags.get("DIGEST") != _digest(decoded, {name: tags[name] for name in ("LOW", "HIGH") if name in tags}):
        raise InputError("its frames do not match their checksum")
    return decoded, tags


def _pixels(frame: Any, pixel_format: str) -> np.ndarray:
    """The stored samples of a decoded frame. FFmpeg's own conversion costs twice the decoding at 64x64."""
    stored = {"rgb24": "bgr0", "gray16le": "gray16le"}[pixel_format]
    if frame.format.name != stored:
        raise InputError(f"the video holds {frame.format.name} frames, not {stored}")
    plane = frame.planes[0]
    if pixel_format == "rgb24":
        rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
        return rows[:, : 4 * frame.width].reshape(frame.height, frame.width, 4)[..., 2::-1].copy()
    return np.frombuffer(plane, "<u2").reshape(frame.height, plane.line_size // 2)[:, : frame.width].copy()


def _digest(frames: np.ndarray, tags: Mapping[str, str]) -> str:
    """CRC-32 of shape, tags and pixels: what was decoded is what was encoded, to the last frame."""
    head = f"{frames.shape} {sorted(tags.items())}".encode()
    return f"{zlib.crc32(np.ascontiguousarray(frames).data, zlib.crc32(head)):08x}"


def _parse_npy(data: bytes) -> np.ndarray:
    """One array of an .npz, whole; never an object array."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise InputError("an array of this .npz has a header of another version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise InputError("an array of this .npz holds pickled objects, which may run code; refused")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)

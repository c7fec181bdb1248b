"""What a page shows of a world, as one small byte string: thinned, quantised, packed.

The browser undoes this in `page/data.js`; both sides are one format and change together. Every array is stored
in one of these ways: "u8" and "f32" raw; "u16" as differences along each row, low bytes first and then high
bytes, which deflate well; "files" as whole image files, with their lengths.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import math
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from phys4d.pictures import DARK, depth_limits, turbo_table
from phys4d.viewers.pictures import FLOW_GAMMA, flow_limit, instance_colours
from phys4d.viewers.staging import Stage
from phys4d.world import World4D

MAX_FRAMES = 240
"""Longer worlds are shown by every k-th frame."""
MAX_PICTURE_PIXELS = 12_000_000
"""Pixels that the RGB pictures may hold in all; beyond, they are shown smaller."""
LOSSLESS_PIXELS = 3_000_000
"""Up to here the RGB pictures are stored without loss, if that takes no more than `LOSSLESS_BYTES`."""
LOSSLESS_BYTES = 2_000_000
"""What pictures without loss may take of a page, reckoned from the middle one."""
MAX_INSTANCES = 2048
"""Instances with a colour of their own."""
MAX_TRACK_POINTS = 40_000
"""Track positions over all frames."""


@dataclasses.dataclass(frozen=True)
class Thinning:
    """How much of a world is shown: every `frame_step`-th frame, every `stride`-th pixel, every n-th track."""

    frame_step: int
    stride: int
    track_step: int

    @classmethod
    def of(cls, world: World4D, max_points: int) -> Thinning:
        """The least thinning within `max_points` points over all frames."""
        height, width = world.size
        frame_step = math.ceil(world.frames / MAX_FRAMES)
        frames = math.ceil(world.frames / frame_step)
        stride = max(1, math.ceil(math.sqrt(frames * height * width / max_points)))
        tracks = 0 if world.tracks is None else len(world.tracks)
        return cls(frame_step, min(stride, height, width), max(1, math.ceil(tracks * frames / MAX_TRACK_POINTS)))


class Packer:
    """Collects arrays; `index` says where each lies in `compressed()` and how it is stored."""

    def __init__(self) -> None:
        self.index: dict[str, dict[str, Any]] = {}
        self._chunks: list[bytes] = []
        self._length = 0

    def add(self, name: str, array: np.ndarray) -> None:
        """Store uint8 and float32 as they are, and uint16 as row differences in byte planes."""
        kind = {"uint8": "u8", "uint16": "u16", "float32": "f32"}[array.dtype.name]
        data = array.tobytes()
        if kind == "u16":
            steps = np.diff(array, axis=-1, prepend=np.uint16(0)).astype("<u2")
            data = (steps & 255).astype(np.uint8).tobytes() + (steps >> 8).astype(np.uint8).tobytes()
        self._append(name, data, kind=kind, shape=list(array.shape))

    def add_files(self, name: str, files: list[bytes]) -> None:
        """Store whole files, one a frame."""
        self._append(name, b"".join(files), kind="files", lengths=[len(file) for file in files])

    def compressed(self) -> bytes:
        """Everything so far, gzipped; the same content always gives the same bytes."""
        return gzip.compress(b"".join(self._chunks), 6, mtime=0)

    def _append(self, name: str, data: bytes, **how: Any) -> None:
        self.index[name] = {"offset": self._length, "bytes": len(data), **how}
        self._chunks.append(data)
        self._length += len(data)


def encode_world(world: World4D, stage: Stage, thinning: Thinning) -> tuple[dict[str, Any], bytes]:
    """The header (a JSON object) and the payload of a page."""
    height, width = world.size
    frames = np.arange(0, world.frames, thinning.frame_step)
    first = thinning.stride // 2
    rows, columns = np.arange(first, height, thinning.stride), np.arange(first, width, thinning.stride)
    packer = Packer()
    packer.add("turbo", turbo_table())
    packer.add("intrinsics", stage.camera.intrinsics[frames].reshape(-1, 9))
    packer.add("poses", stage.camera.world_from_camera[frames].reshape(-1, 16))
    header: dict[str, Any] = {
        "frames": len(frames), "frameStep": thinning.frame_step, "fps": world.fps,
        "height": height, "width": width, "stride": thinning.stride, "rows": len(rows),
        "columns": len(columns), "dark": list(DARK), "flowGamma": FLOW_GAMMA, "scene": stage.scene,
    }  # fmt: skip
    grid = np.ix_(frames, rows, columns)
    if world.rgb is not None:
        packer.add_files("rgb", _picture_files(world.rgb[frames]))
    if world.depth is not None:
        codes, low, high = _log_codes(world.depth[grid])
        packer.add("depth", codes)
        near, far = depth_limits(world.depth)
        header["depth"] = {"low": low, "high": high, "near": near, "far": far}
    if world.flow is not None:
        limit = flow_limit(world.flow)
        moving = frames[frames < world.frames - 1]
        packer.add("flow", _flow_codes(world.flow[np.ix_(moving, rows, columns)], limit))
        header["flow"] = {"max": limit, "frames": len(moving)}
    if world.segmentation is not None:
        ids, inverse = np.unique(world.segmentation[grid], return_inverse=True)
        # A texture row has room for so many; ids beyond share the last one's colour.
        indices = np.minimum(inverse, MAX_INSTANCES - 1).reshape(len(frames), len(rows), len(columns))
        packer.add("ids", indices.astype(np.uint16))
        packer.add("instances", instance_colours(ids[:MAX_INSTANCES]))
        header["background"] = bool(ids[0] == 0)
    if stage.tracks is not None and world.track_visibility is not None:
        chosen = slice(None, None, thinning.track_step)
        packer.add("tracks", np.ascontiguousarray(stage.tracks[chosen][:, frames]))
        packer.add("trackVisible", world.track_visibility[chosen][:, frames].astype(np.uint8))
        packer.add("trackHue", _spatial_rank(stage.tracks[chosen, 0], stage.camera.world_from_camera[0]))
    header["arrays"] = packer.index
    return header, packer.compressed()


def _picture_files(rgb: UInt8[np.ndarray, "T H W 3"]) -> list[bytes]:
    """Each frame as WebP: without loss where that is cheap, and no larger than the page can afford."""
    pixels = rgb.size / 3
    if pixels <= LOSSLESS_PIXELS:
        # The middle frame tells for all: encoding every one in vain would take seconds.
        middle = len(_webp(Image.fromarray(rgb[len(rgb) // 2]), lossless=True))
        if middle * len(rgb) <= LOSSLESS_BYTES:
            return [_webp(Image.fromarray(frame), lossless=True) for frame in rgb]
    shrink = math.sqrt(min(1.0, MAX_PICTURE_PIXELS / pixels))
    size = (max(1, round(rgb.shape[2] * shrink)), max(1, round(rgb.shape[1] * shrink)))
    images = [Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS) for frame in rgb]
    # WebP halves the chroma; the sharp way keeps colours from bleeding over edges, where points would show it.
    return [_webp(image, quality=86, use_sharp_yuv=True) for image in images]


def _webp(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", method=3, **options)
    return buffer.getvalue()


def _log_codes(depth: Float32[np.ndarray, "T h w"]) -> tuple[np.ndarray, float, float]:
    """Depth [m] as uint16 on a logarithmic scale between its extremes low and high; 0 stays 0."""
    surface = depth[depth > 0]
    low, high = (float(surface.min()), float(surface.max())) if surface.size else (1.0, 2.0)
    high = max(high, low * 1.001)
    position = np.log(np.where(depth > 0, depth, low) / low) / math.log(high / low)
    codes = np.where(depth > 0, 1 + np.rint(position * 65534), 0)
    return codes.astype(np.uint16), low, high


def _flow_codes(flow: Float32[np.ndarray, "T h w 2"], limit: float) -> UInt8[np.ndarray, "T 2 h w"]:
    """Flow [px] in steps that grow with the value, 127 to either side of 128; beyond `limit` it is clipped.

    Clipping keeps the direction: both components shrink alike.
    """
    excess = np.maximum(1, np.abs(flow).max(axis=-1, keepdims=True) / limit)
    share = flow / (limit * excess)
    codes = 128 + np.rint(127 * np.sign(share) * np.sqrt(np.abs(share)))
    return np.ascontiguousarray(codes.astype(np.uint8).transpose(0, 3, 1, 2))


def _spatial_rank(points: Float32[np.ndarray, "N 3"], pose: Float[np.ndarray, "4 4"]) -> UInt8[np.ndarray, "N"]:
    """0..255 from left to right in the first picture, so that colours of tracks change smoothly over the scene."""
    if not len(points):
        return np.zeros(0, dtype=np.uint8)
    camera = (points - pose[:3, 3]) @ pose[:3, :3]
    order = np.argsort(np.arctan2(camera[:, 0], camera[:, 2]), kind="stable")
    rank = np.empty(len(points))
    rank[order] = np.linspace(0, 255, len(points))
    return rank.astype(np.uint8)

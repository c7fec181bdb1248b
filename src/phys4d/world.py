"""`World4D`: colour, metric depth, motion and cameras over time. The one type that travels through phys4d.

Simulation makes it (ground truth), teachers make it (pseudo-labels), a model makes it (prediction); evaluation
compares two of it, viewers show it, shards store it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, UInt8
from PIL import Image

from phys4d import codecs
from phys4d.atomic import new_folder
from phys4d.errors import InputError, MissingFieldError
from phys4d.geometry import rigid_motion, unoccluded
from phys4d.members import decode_members, encode_members, is_world_folder, meta_problems, read_members

SHAPES: dict[str, tuple[tuple[str, ...], type]] = {
    "rgb": (("T", "H", "W", "3"), np.uint8),
    "depth": (("T", "H", "W"), np.float32),
    "flow": (("T-1", "H", "W", "2"), np.float32),
    "scene_flow": (("T-1", "H", "W", "3"), np.float32),
    "visible": (("T-1", "H", "W"), np.bool_),
    "segmentation": (("T", "H", "W"), np.int32),
    "confidence": (("T", "H", "W"), np.float32),
    "camera.intrinsics": (("T", "3", "3"), np.float32),
    "camera.world_from_camera": (("T", "4", "4"), np.float32),
    "tracks": (("N", "T", "3"), np.float32),
    "track_visibility": (("N", "T"), np.bool_),
}
"""Axes and dtype of every array of a world."""


# What is put together is judged by `World4D.validate`, in words for people and for any subset of fields; the type
# checks that run with the tests would come before it, so they leave these two classes alone.
@no_type_check
@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera over T frames.

    intrinsics: (T,3,3) float32 K [px]; integer pixel (i, j) has its centre at (j + 0.5, i + 0.5).
    world_from_camera: (T,4,4) float32 rigid poses [m]; OpenCV camera axes (x right, y down, z forward) to z-up
    world axes.
    """

    intrinsics: Float32[np.ndarray, "T 3 3"]
    world_from_camera: Float32[np.ndarray, "T 4 4"]


@no_type_check
@dataclasses.dataclass(kw_only=True)
class World4D:
    """A world over time. A field that its source does not have is None; consumers call `require`.

    rgb: (T,H,W,3) uint8 sRGB.
    depth: (T,H,W) float32 z-depth along the optical axis [m]; 0 = no surface (sky), or not measured.
    flow: (T-1,H,W,2) float32 forward optical flow t->t+1 [px], x right, y down.
    scene_flow: (T-1,H,W,3) float32 displacement t->t+1 of the surface point seen at that pixel, world axes [m].
    visible: (T-1,H,W) bool, that surface point is still in view and not hidden at t+1; False without a surface.
    segmentation: (T,H,W) int32 instance id, 0 = background.
    camera: intrinsics and poses, one a frame.
    tracks, track_visibility: (N,T,3) float32 surface points in world axes [m], and (N,T) bool.
    confidence: (T,H,W) float32 >= 0, of a prediction.
    fps: frames per second. meta: a JSON object (prompt, scene, seed, physics state and parameters, ...).
    """

    rgb: UInt8[np.ndarray, "T H W 3"] | None = None
    depth: Float32[np.ndarray, "T H W"] | None = None
    flow: Float32[np.ndarray, "T-1 H W 2"] | None = None
    scene_flow: Float32[np.ndarray, "T-1 H W 3"] | None = None
    visible: Bool[np.ndarray, "T-1 H W"] | None = None
    segmentation: Int32[np.ndarray, "T H W"] | None = None
    camera: Camera | None = None
    tracks: Float32[np.ndarray, "N T 3"] | None = None
    track_visibility: Bool[np.ndarray, "N T"] | None = None
    confidence: Float32[np.ndarray, "T H W"] | None = None
    fps: float = 12.0
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)

    FIELDS: ClassVar[tuple[str, ...]] = (
        "rgb", "depth", "flow", "scene_flow", "visible", "segmentation", "camera", "tracks",
        "track_visibility", "confidence",
    )  # fmt: skip
    html_hook: ClassVar[Callable[[World4D], str] | None] = None
    """Set by `phys4d.viewers`: how a world shows itself in a notebook."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that this world has."""
        return tuple(name for name in self.FIELDS if getattr(self, name) is not None)

    @property
    def frames(self) -> int:
        """Number of frames T."""
        if self.camera is not None:
            return len(self.camera.intrinsics)
        if self.tracks is not None:
            return self.tracks.shape[1]
        return self._extent()[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) [px]."""
        return self._extent()[1:]

    def require(self, *names: str) -> World4D:
        """Return this world, or raise one MissingFieldError that names every missing field."""
        unknown = [name for name in names if name not in self.FIELDS]
        if unknown:
            raise InputError(f"World4D has no field {', '.join(unknown)}; its fields: {', '.join(self.FIELDS)}")
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            source = self.meta.get("source") or self.meta.get("scene") or "this world"
            raise MissingFieldError(
                f"{source} has no {', '.join(missing)}; it has {', '.join(self.fields) or 'no field at all'}.\n"
                "Simulated worlds have every field; a video alone has rgb only: lift or label it first."
            )
        return self

    def validate(self) -> World4D:
        """Return this world, or raise InputError naming every field of a wrong shape, dtype or range."""
        problems = _problems(self)
        if problems:
            raise InputError("not a valid world: " + "; ".join(problems))
        return self

    def save(self, path: str | Path) -> Path:
        """Write a world folder, whole or not at all; an existing world there is replaced, anything else is not.

        Lossless up to the bounds of `phys4d.codecs`. Raises InputError for an invalid world, a foreign folder and
        a place that cannot be written, WorkError for a full disk.
        """
        self.validate()
        path = Path(path)
        if path.exists() and not is_world_folder(path):
            raise InputError(f"{path}: exists and is not a world folder; choose another place")
        with new_folder(path) as folder:
            for name, data in self.to_members().items():
                (folder / name).write_bytes(data)
            if self.rgb is not None:
                (folder / "rgb.mp4").write_bytes(codecs.encode_preview(self.rgb, self.fps))
        return path

    @classmethod
    def load(cls, path: str | Path, *, fields: Collection[str] | None = None) -> World4D:
        """Read a world folder; with `fields`, only those. Raises InputError where it is missing or damaged."""
        return cls.from_members(read_members(Path(path), fields), fields, source=str(path)).validate()

    def to_members(self) -> dict[str, bytes]:
        """A valid world as the named byte strings of a world folder or a shard; absent fields have no member."""
        return encode_members({name: getattr(self, name) for name in self.fields}, self.fps, self.meta)

    @classmethod
    def from_members(
        cls, members: Mapping[str, bytes], fields: Collection[str] | None = None, *, source: str = "world"
    ) -> World4D:
        """Undo `to_members` within the codecs' bounds; with `fields`, only those.

        Raises InputError naming `source` and the member that is missing or damaged.
        """
        wanted = cls.FIELDS if fields is None else fields
        unknown = sorted(set(wanted) - set(cls.FIELDS))
        if unknown:
            raise InputError(f"World4D has no field {', '.join(unknown)}; its fields: {', '.join(cls.FIELDS)}")
        values, fps, meta = decode_members(members, wanted, source)
        if "camera" in values:
            values["camera"] = Camera(*values["camera"])
        return cls(**values, fps=fps, meta=meta)

    @classmethod
    def from_video(
        cls,
        path: str | Path,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        frames: int | None = None,
        start: float = 0.0,
    ) -> World4D:
        """Any video file as a world with `rgb` alone.

        size: (height, width) [px]; the picture is cropped about its centre to that shape, then resampled.
        fps: resample in time by nearest frame; default, the video's own. frames: at most so many. start: [s].
        Frames that are not wanted are not kept, so that a long film yields a short clip in little memory.
        Raises InputError for a missing file, no video, no frames, or a `start` beyond the end.
        """
        if fps is not None and not 0 < fps <= 1000:
            raise InputError(f"fps must lie between 0 and 1000, not {fps}")
        if size is not None and min(size) < 1:
            raise InputError(f"size must be two positive numbers, not {size}")
        if frames is not None and frames < 1:
            raise InputError(f"frames must be at least 1, not {frames}")
        if not start >= 0:
            raise InputError(f"start must be at least 0 s, not {start:g}")
        stream = codecs.stream_video(path, start)
        interval = codecs.frame_interval(path)
        native = 1 / interval if interval > 0 else 25.0
        rate = float(fps or native)
        chosen: list[np.ndarray] = []
        for image in nearest_in_time(stream, path, start, rate):
            chosen.append(image if size is None else crop_resize(image, size))
            codecs.check_memory(path, len(chosen), chosen[0])
            if len(chosen) == frames:
                break
        meta = {"source": Path(path).name, "source_fps": round(native, 3), "prompt": ""}
        return cls(rgb=np.stack(chosen), fps=rate, meta=meta).validate()

    @classmethod
    def from_rgbd(
        cls,
        rgb: UInt8[np.ndarray, "T H W 3"],
        depth: Float32[np.ndarray, "T H W"],
        camera: Camera,
        *,
        fps: float,
        meta: dict[str, Any] | None = None,
        tolerance: float = 0.03,
    ) -> World4D:
        """A recording of a world that stands still: measured depth and poses, from which all motion follows.

        Flow is the rigid flow of depth and camera; scene flow is 0; `visible` is a depth test against the next
        frame with relative `tolerance` (a sensor's noise). Where depth is 0 nothing was measured, and a point that
        comes behind the next camera has no pixel: flow is 0 and visible False there.
        """
        z, k, pose = (torch.from_numpy(a) for a in (depth, camera.intrinsics, camera.world_from_camera))
        flow, moved = rigid_motion(z[:-1], k[:-1], k[1:], pose[:-1], pose[1:])
        measured = (z[:-1] > 0) & (moved > 0)
        visible = unoccluded(flow, moved, z[1:], tolerance=tolerance) & measured
        return cls(
            rgb=rgb,
            depth=depth,
            flow=(flow * measured[..., None]).numpy(),
            scene_flow=np.zeros((*flow.shape[:-1], 3), dtype=np.float32),
            visible=visible.numpy(),
            camera=camera,
            fps=fps,
            meta=dict(meta or {}),
        ).validate()

    def _extent(self) -> tuple[int, int, int]:
        for name in ("rgb", "depth", "segmentation", "confidence"):
            value = getattr(self, name)
            if value is not None:
                return value.shape[0], value.shape[1], value.shape[2]
        for name in ("flow", "scene_flow", "visible"):
            value = getattr(self, name)
            if value is not None:
                return value.shape[0] + 1, value.shape[1], value.shape[2]
        raise InputError("this world has no picture (rgb, depth, flow, ...), hence no size")

    def _repr_html_(self) -> str | None:
        return World4D.html_hook(self) if World4D.html_hook is not None else None

    def __repr__(self) -> str:
        try:
            extent = "x".join(str(length) for length in self._extent())
        except (InputError, AttributeError, IndexError):
            extent = "no picture"
        name = self.meta.get("scene") or self.meta.get("source") or "world"
        return f"World4D({name}: {extent} at {self.fps:g} fps; {', '.join(self.fields)})"


def crop_resize(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Crop about the centre to the shape of `size` (height, width), then resample with an antialiased filter."""
    height, width = image.shape[:2]
    scale = min(height / size[0], width / size[1])
    crop_h, crop_w = scale * size[0], scale * size[1]
    left, top = (width - crop_w) / 2, (height - crop_h) / 2
    resized = Image.fromarray(image).resize(
        (size[1], size[0]), Image.Resampling.LANCZOS, box=(left, top, left + crop_w, top + crop_h)
    )
    return np.asarray(resized)


def nearest_in_time(
    stream: Iterator[tuple[np.ndarray, float]], path: str | Path, start: float, rate: float
) -> Iterator[np.ndarray]:
    """From a stream of (picture, time [s]): the picture nearest to start, start + 1 / rate, ... until it ends."""
    image, time = next(stream)
    count = 0
    for later, later_time in stream:
        while start + count / rate <= (time + later_time) / 2:
            yield image
            count += 1
        image, time = later, later_time
    if start > time:
        raise InputError(f"{path}: start {start:g} s is outside the video (0 to {time:.3g} s)")
    # The millionth of a step absorbs the rounding of container clocks.
    while start + (count - 1e-6) / rate <= time:
        yield image
        count += 1


def _problems(world: World4D) -> list[str]:
    """Everything that is wrong with a world, each in a few words."""
    arrays = {name: getattr(world, name) for name in world.fields if name != "camera"}
    problems = []
    if isinstance(world.camera, Camera):
        arrays["camera.intrinsics"] = world.camera.intrinsics
        arrays["camera.world_from_camera"] = world.camera.world_from_camera
    elif world.camera is not None:
        problems.append(f"camera should be a Camera, is {type(world.camera).__name__}")
    extent: dict[str, int] = {}
    for name, value in arrays.items():
        problems += _array_problems(name, value, extent)
    if not world.fields:
        problems.append("a world needs at least one field: rgb, depth, flow, ...")
    if (world.tracks is None) != (world.track_visibility is None):
        problems.append("tracks and track_visibility come together; one of them is missing")
    if not problems and world.camera is not None:
        problems += _camera_problems(world.camera)
    number = isinstance(world.fps, int | float) and not isinstance(world.fps, bool)
    if not (number and 0 < world.fps <= 1000):
        problems.append(f"fps should be a number between 0 and 1000, is {world.fps!r}")
    return problems + meta_problems(world.meta)


def _array_problems(name: str, value: Any, extent: dict[str, int]) -> list[str]:
    """What is wrong with one array; `extent` (T, H, W, N) is filled by the first array that has an axis."""
    axes, dtype = SHAPES[name]
    if not isinstance(value, np.ndarray):
        return [f"{name} should be {np.dtype(dtype).name} ({', '.join(axes)}), is {type(value).__name__}"]
    known = [int(axis) if axis.isdigit() else extent.get(axis.removesuffix("-1")) for axis in axes]
    shape = [None if e is None else e - axis.endswith("-1") for axis, e in zip(axes, known)]
    fits = value.ndim == len(axes) and all(e in (None, found) for e, found in zip(shape, value.shape))
    if not fits or value.dtype != dtype:
        expected = ", ".join(axis if e is None else str(e) for axis, e in zip(axes, shape))
        return [f"{name} should be {np.dtype(dtype).name} ({expected}), is {value.dtype} {value.shape}"]
    for axis, found in zip(axes, value.shape):
        extent.setdefault(axis.removesuffix("-1"), found + axis.endswith("-1"))
    problems = []
    if min(extent.get(axis, 1) for axis in "THW") < 1:
        problems.append(f"{name} is empty: {value.shape}")
    if value.dtype == np.float32 and not np.isfinite(value).all():
        problems.append(f"{name} holds NaN or infinity")
    elif name in ("depth", "confidence", "segmentation") and value.size and value.min() < 0:
        problems.append(f"{name} is negative (down to {value.min():g})")
    if name == "segmentation" and value.size and value.max() > 65535:
        problems.append(f"segmentation holds the id {value.max()}; ids end at 65535")
    return problems


def _camera_problems(camera: Camera) -> list[str]:
    problems = []
    k, pose = camera.intrinsics, camera.world_from_camera
    if (k[:, 0, 0] <= 0).any() or (k[:, 1, 1] <= 0).any() or np.abs(k[:, 2] - [0, 0, 1]).max() > 1e-6:
        problems.append("camera.intrinsics needs positive focal lengths and a last row of 0 0 1")
    rotation = pose[:, :3, :3].astype(np.float64)
    skew = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max()
    if skew > 1e-3 or (np.linalg.det(rotation) < 0).any() or np.abs(pose[:, 3] - [0, 0, 0, 1]).max() > 1e-6:
        problems.append("camera.world_from_camera is not a rigid motion (rotation, translation, last row 0 0 0 1)")
    return problems

"""Pseudo-labels: a video, or the colours of a world, as a world whose depth and motion teachers have seen.

Stage 1 learns from these alone. Of a data set of simulated worlds nothing but `rgb` is decoded, and of its meta
only what a filmed clip could also have: what was said of it and where it came from, never the physics.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from phys4d import codecs
from phys4d.data import DatasetSummary, Item, open_dataset, write_dataset
from phys4d.data.shards import load_world
from phys4d.data.writer import plural
from phys4d.errors import InputError
from phys4d.teachers.teacher import DepthLabels, Estimator, FlowLabels, depth_teachers, flow_teachers
from phys4d.world import World4D, crop_resize

KEPT_META = (
    "prompt", "scene", "scene_id", "context_frames", "category", "volumetric", "seed", "view", "perturb", "source",
    "source_fps", "start",
)  # fmt: skip
"""What a labelled world keeps of its source's meta."""
FARTHEST = 10.0
"""Depth of the farthest surface of a clip, where the nearest has 1, when only relative depth is known."""
CLIP_FRAMES = 17


def label(video_world: World4D, *, depth: str = "embedded", flow: str = "dis") -> World4D:
    """The world that teachers see in the colours of `video_world`, of which only `rgb`, fps and meta are read.

    depth: (T,H,W); in metres from a metric teacher. From a relative one it is 1 / (a disparity + b) with a and b
    such that the clip's surfaces lie between 1 and FARTHEST, and meta["depth_scale"] is "relative": compare it
    after fitting one scale and shift of disparity. 0 where the teacher sees sky. flow: (T-1,H,W,2) [px].
    visible: (T-1,H,W) forward and backward flow agree, on a surface. confidence: (T,H,W) of the depth, in [0, 1].
    meta["labels"] records teachers and versions. The source's own labels do not pass.
    Raises InputError for an unknown teacher or missing weights, MissingFieldError without rgb.
    """
    rgb = video_world.require("rgb").rgb
    assert rgb is not None
    depth_teacher, flow_teacher = _depth_estimator(depth), _flow_estimator(flow)
    seen, motion = depth_teacher(rgb), flow_teacher(rgb)
    metres = depth_of(seen)
    meta = {name: video_world.meta[name] for name in KEPT_META if name in video_world.meta}
    meta["depth_scale"] = "metric" if seen.alignment == "metric" else "relative"
    meta["labels"] = {
        "depth": {"teacher": depth, "version": depth_teacher.version},
        "flow": {"teacher": flow, "version": flow_teacher.version, "confidence": round(motion.confidence, 4)},
    }
    return World4D(
        rgb=rgb,
        depth=metres,
        flow=motion.flow,
        visible=motion.consistent & (metres[:-1] > 0),
        confidence=seen.confidence,
        fps=video_world.fps,
        meta=meta,
    ).validate()


def depth_of(labels: DepthLabels) -> np.ndarray:
    """(T,H,W) float32 positive depth, 0 for sky; see `label` for its scale."""
    surface = np.ones(labels.values.shape, np.bool_) if labels.sky is None else ~labels.sky
    values = labels.values.astype(np.float64)
    if labels.quantity == "disparity" and labels.alignment != "metric":
        low, high = (values[surface].min(), values[surface].max()) if surface.any() else (0.0, 0.0)
        share = (values - low) / (high - low) if high > low else np.ones_like(values)
        values = 1 / FARTHEST + (1 - 1 / FARTHEST) * share
    elif labels.quantity == "depth" and labels.alignment != "metric":
        raise InputError("a depth teacher with an unknown scale and shift must give disparity")
    surface &= values > 0
    positive = np.where(surface, values, 1)
    return np.where(surface, positive if labels.quantity == "depth" else 1 / positive, 0).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class LabelSummary:
    """What was labelled. dropped: frames at the ends of videos that fill no clip. short: videos without a clip."""

    dataset: DatasetSummary
    dropped: int
    short: int

    def __str__(self) -> str:
        notes = [f"{plural(self.dropped, 'frame')} at the ends of videos left out"] if self.dropped else []
        notes += [f"{plural(self.short, 'video')} too short for a clip"] if self.short else []
        return "; ".join([str(self.dataset), *notes])


@dataclasses.dataclass(frozen=True)
class Clip:
    """One world to label. key, offset, length: its place in a shard; event: the name of a clip of a video, and
    frames, start [s] its place there."""

    path: Path
    depth: str
    flow: str
    size: tuple[int, int] | None
    key: str | None = None
    offset: int = 0
    length: int = 0
    fps: float | None = None
    frames: int = 0
    start: float = 0.0
    event: str = ""


def label_videos(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    depth: str = "embedded",
    flow: str = "dis",
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    frames: int = CLIP_FRAMES,
    workers: int = 1,
    shard_size: int = 64,
    ray: bool = False,
    progress: bool = True,
) -> LabelSummary:
    """Label videos, and the colours of worlds, into a data set.

    sources: video files, each cut into clips of `frames` frames, with a caption in a .txt file beside it or none;
    data sets and shards of worlds, which stay whole. size: (height, width) [px]; cropped about the centre, then
    resampled; default, their own. fps: of clips of videos; default, each video's own; worlds keep theirs.
    Continues or returns at once as `write_dataset` does, and raises as it; also InputError for sources that are
    missing, too short or not readable, unknown teachers and missing weights, before anything is written.
    """
    if frames < 2:
        raise InputError(f"frames must be at least 2, not {frames}: motion needs two")
    if fps is not None and not 0 < fps <= 1000:
        raise InputError(f"fps must lie between 0 and 1000, not {fps}")
    if size is not None and min(size) < 1:
        raise InputError(f"size must be two positive numbers, not {size}")
    versions = {"depth": _depth_estimator(depth).version, "flow": _flow_estimator(flow).version}
    plan: list[Item] = []
    dropped = short = 0
    for number, source in enumerate(map(Path, sources)):
        first = Clip(source, depth, flow, size, fps=fps, frames=frames)
        if source.is_dir() or source.suffix == ".tar":
            plan += _world_items(first, "" if len(sources) == 1 else f"{number:03d}-")
            continue
        clips, rest = divmod(_count_frames(source, fps), frames)
        dropped += rest
        short += clips == 0
        plan += _video_items(first, number, clips)
    if not plan:
        raise InputError(f"there is nothing to label: no source has {frames} frames")
    arguments = {
        "command": "label", "sources": [str(source) for source in sources], "depth": depth, "flow": flow,
        "versions": versions, "size": None if size is None else list(size), "fps": fps, "frames": frames,
    }  # fmt: skip
    summary = write_dataset(
        out,
        plan,
        make_clip,
        arguments=arguments,
        workers=workers,
        shard_size=shard_size,
        ray=ray,
        progress=progress,
    )
    return LabelSummary(summary, dropped, short)


def make_clip(clip: Clip) -> World4D:
    """Read and label one clip; a top-level function, so that worker processes find it."""
    if clip.key is None:
        world = World4D.from_video(clip.path, size=clip.size, fps=clip.fps, frames=clip.frames, start=clip.start)
        world.meta.update(scene_id=clip.event, start=round(clip.start, 6), prompt=_caption(clip.path))
    else:
        world = load_world(clip.path, clip.key, clip.offset, clip.length, ("rgb",))
        if clip.size is not None and clip.size != world.size:
            assert world.rgb is not None
            rgb = np.stack([crop_resize(frame, clip.size) for frame in world.rgb])
            world = World4D(rgb=rgb, fps=world.fps, meta=world.meta)
    return label(world, depth=clip.depth, flow=clip.flow)


def _world_items(first: Clip, prefix: str) -> Iterator[Item]:
    dataset = open_dataset(first.path)
    for i in range(len(dataset)):
        row = dataset.row(i)
        key = row["key"]
        clip = dataclasses.replace(
            first, path=Path(row["path"]), key=key, offset=row["offset"], length=row["length"]
        )
        yield Item(_plain(f"{prefix}{key}"), clip)


def _video_items(first: Clip, number: int, clips: int) -> Iterator[Item]:
    rate = _rate(first.path, first.fps)
    for clip in range(clips):
        start = clip * first.frames / rate
        key = _plain(f"{number:05d}-{clip:04d}-{first.path.stem}")
        yield Item(key, dataclasses.replace(first, start=start, event=key))


def _count_frames(path: Path, fps: float | None) -> int:
    """Frames that `World4D.from_video` finds in a video at `fps`, by decoding it once and keeping nothing."""
    last = 0.0
    for _, time in codecs.stream_video(path):
        last = time
    return math.floor(last * _rate(path, fps) + 1e-6) + 1


def _rate(path: Path, fps: float | None) -> float:
    interval = codecs.frame_interval(path)
    return fps or (1 / interval if interval > 0 else 25.0)


def _caption(path: Path) -> str:
    """What the text file beside a video says, on one line; nothing where there is none."""
    sidecar = path.with_suffix(".txt")
    if not sidecar.is_file():
        return ""
    try:
        return " ".join(sidecar.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{sidecar}: is no readable caption ({error}); write it as UTF-8 text") from error


def _plain(text: str) -> str:
    """A key of the letters that keys may have, at most 80 of them."""
    return re.sub(r"[^\w+=,@-]", "_", text, flags=re.ASCII).lstrip("_+=,@-")[:80]


@functools.cache
def _depth_estimator(name: str) -> Estimator[DepthLabels]:
    return depth_teachers[name].load()


@functools.cache
def _flow_estimator(name: str) -> Estimator[FlowLabels]:
    return flow_teachers[name].load()

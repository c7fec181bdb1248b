"""Pseudo-labels: a video, or the colours of a world, as a world whose depth and motion teachers have seen.

Stage 1 learns from these alone. Of a data set of simulated worlds nothing but `rgb` is decoded, and of its meta
only what a filmed clip could also have: what was said of it and where it came from, never the physics.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from phys4d.atomic import write_text
from phys4d.data import DatasetSummary, Item, open_dataset, write_dataset
from phys4d.data.shards import load_world
from phys4d.data.writer import plural
from phys4d.errors import InputError
from phys4d.teachers.depth_models import PREFIX, transformers_teacher
from phys4d.teachers.films import caption_of, expanded, surveys
from phys4d.teachers.survey import GATES, Gates, Survey, told
from phys4d.teachers.teacher import DepthLabels, Estimator, FlowLabels, depth_teachers, flow_teachers
from phys4d.world import World4D, crop_resize

KEPT_META = (
    "prompt", "scene", "scene_id", "context_frames", "category", "volumetric", "seed", "view", "perturb", "source",
    "source_fps", "start", "survey",
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
    """What was labelled, and what was not.

    dropped: frames at the ends of shots that fill no clip. short: videos without a clip. left_out: clips by the
    gates that they did not pass. problems: a line for every video that could not be read, or is another's double.
    """

    dataset: DatasetSummary
    dropped: int = 0
    short: int = 0
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        notes = [f"{plural(self.dropped, 'frame')} at the ends of shots left out"] if self.dropped else []
        notes += [f"{plural(self.short, 'video')} too short for a clip"] if self.short else []
        lines = ["; ".join([str(self.dataset), *notes])]
        lines += [f"left out: {plural(n, 'clip')}, {reason}" for reason, n in sorted(self.left_out.items())]
        lines += [f"skipped: {problem}" for problem in self.problems]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Clip:
    """One world to label. key, offset, length: its place in a shard; event: the name of a clip of a video, and
    frames, start [s] its place there; survey: what was measured of it, see `Gates`."""

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
    survey: tuple[tuple[str, float], ...] = ()


def label_videos(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    depth: str = "embedded",
    flow: str = "dis",
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    frames: int = CLIP_FRAMES,
    gates: Gates | None = None,
    workers: int = 1,
    shard_size: int = 64,
    ray: bool = False,
    progress: bool = True,
) -> LabelSummary:
    """Label videos, and the colours of worlds, into a data set.

    sources: video files, and folders of them, each cut into clips of `frames` frames, with a caption in a .txt
    file beside it or none; data sets and shards of worlds, which stay whole. size: (height, width) [px]; cropped
    about the centre, then resampled; default, their own. fps: of clips of videos; default, each video's own;
    worlds keep theirs. gates: no clip crosses a cut, and those outside the gates are left out (`survey.py`); None
    keeps all. Videos that cannot be read, and such as are another's double, are skipped and named. `survey.json`
    beside the shards says of every clip what was measured and why it is there or not.
    Continues or returns at once as `write_dataset` does, and raises as it; also InputError where no source gives a
    clip, for sources that are missing, unknown teachers and missing weights, before anything is written.
    """
    if frames < 2:
        raise InputError(f"frames must be at least 2, not {frames}: motion needs two")
    if fps is not None and not 0 < fps <= 1000:
        raise InputError(f"fps must lie between 0 and 1000, not {fps}")
    if size is not None and min(size) < 1:
        raise InputError(f"size must be two positive numbers, not {size}")
    versions = {"depth": _depth_estimator(depth).version, "flow": _flow_estimator(flow).version}
    paths = expanded(sources)
    films = [path for path in paths if not _holds_worlds(path)]
    seen = surveys(films, frames, fps, gates, workers, progress=progress)
    plan: list[Item] = []
    for number, path in enumerate(paths):
        first = Clip(path, depth, flow, size, fps=fps, frames=frames)
        if path in seen:
            plan += _video_items(first, number, seen[path])
        else:
            plan += _world_items(first, "" if len(paths) == 1 else f"{number:03d}-")
    found = list(seen.values())
    left_out = collections.Counter(clip.reason for each in found for clip in each.clips if clip.reason)
    problems = tuple(each.problem for each in found if each.problem)
    if not plan:
        why = [*problems, *(f"{plural(n, 'clip')}: {reason}" for reason, n in sorted(left_out.items()))]
        nothing = f"there is nothing to label: no source gives a clip of {frames} frames"
        raise InputError("\n".join([nothing, *why]))
    arguments = {
        "command": "label", "sources": [str(source) for source in sources], "depth": depth, "flow": flow,
        "versions": versions, "size": None if size is None else list(size), "fps": fps, "frames": frames,
        "gates": None if gates is None else _plain_numbers(gates),
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
    if found:
        write_text(Path(out) / "survey.json", told(found))
    short = sum(not each.clips and not each.problem for each in found)
    return LabelSummary(summary, sum(each.rest for each in found), short, dict(left_out), problems)


def make_clip(clip: Clip) -> World4D:
    """Read and label one clip; a top-level function, so that worker processes find it."""
    if clip.key is None:
        world = World4D.from_video(clip.path, size=clip.size, fps=clip.fps, frames=clip.frames, start=clip.start)
        world.meta.update(scene_id=clip.event, start=round(clip.start, 6), prompt=caption_of(clip.path))
        if clip.survey:
            world.meta["survey"] = dict(clip.survey)
    else:
        world = load_world(clip.path, clip.key, clip.offset, clip.length, ("rgb",))
        if clip.size is not None and clip.size != world.size:
            assert world.rgb is not None
            rgb = np.stack([crop_resize(frame, clip.size) for frame in world.rgb])
            world = World4D(rgb=rgb, fps=world.fps, meta=world.meta)
    return label(world, depth=clip.depth, flow=clip.flow)


def _holds_worlds(path: Path) -> bool:
    return path.is_dir() or path.suffix == ".tar"


def _world_items(first: Clip, prefix: str) -> Iterator[Item]:
    dataset = open_dataset(first.path)
    for i in range(len(dataset)):
        row = dataset.row(i)
        key = row["key"]
        clip = dataclasses.replace(
            first, path=Path(row["path"]), key=key, offset=row["offset"], length=row["length"]
        )
        yield Item(_plain(f"{prefix}{key}"), clip)


def _video_items(first: Clip, number: int, found: Survey) -> Iterator[Item]:
    for place, clip in enumerate(found.clips):
        if clip.reason:
            continue
        key = _plain(f"{number:05d}-{place:04d}-{first.path.stem}")
        numbers = {name: getattr(clip, name) for name in GATES if math.isfinite(getattr(clip, name))}
        yield Item(key, dataclasses.replace(first, start=clip.start, event=key, survey=tuple(numbers.items())))


def _plain_numbers(gates: Gates) -> dict[str, float | str]:
    """As JSON may hold them."""
    numbers = dataclasses.asdict(gates)
    return {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()}


def _plain(text: str) -> str:
    """A key of the letters that keys may have, at most 80 of them."""
    return re.sub(r"[^\w+=,@-]", "_", text, flags=re.ASCII).lstrip("_+=,@-")[:80]


@functools.cache
def _depth_estimator(name: str) -> Estimator[DepthLabels]:
    if name.startswith(PREFIX):
        return transformers_teacher(name).load()
    return depth_teachers[name].load()


@functools.cache
def _flow_estimator(name: str) -> Estimator[FlowLabels]:
    return flow_teachers[name].load()

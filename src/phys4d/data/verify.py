"""Is it whole? Everything in a world, a shard or a data set is read, decoded and compared with what it claims.

What is damaged is listed, not raised. `verifiers` takes further kinds: `phys4d.cli.checks` adds models, training
runs and reports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phys4d.codecs import FLOW_STEP, LENGTH_STEP
from phys4d.data.shards import INDEX, INDEX_SCHEMA, RECORD, extent_of, load_world, open_dataset, scan_shard
from phys4d.data.writer import plural, read_record, record_of, sha256
from phys4d.errors import InputError, Registry
from phys4d.geometry import motion_from_scene_flow, pixel_centres
from phys4d.world import World4D

FLOW_SHARE = 0.999
"""Share of the pixels at which flow and geometry must agree: or a small thing could be wrong unseen."""
FLOW_LIMIT = 0.1
"""Disagreement of flow and geometry [px] that they may have there beyond their codecs' bounds."""


@dataclasses.dataclass
class Verification:
    """What was looked at, how much of it there was, and what is wrong with it."""

    path: Path
    kind: str
    worlds: int = 0
    frames: int = 0
    shards: int = 0
    size: int = 0
    """Bytes read."""
    flow_error: float | None = None
    """Disagreement of flow and geometry beyond their codecs' bounds [px], at FLOW_SHARE of the pixels: the largest
    among the worlds where both are exact."""
    others: list[str] = dataclasses.field(default_factory=list)
    """What else there was, in words, e.g. "3 checkpoints"."""
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        counts = list(self.others)
        if self.worlds or not self.others:
            counts += [plural(self.worlds, "world"), plural(self.frames, "frame")]
        if self.shards:
            counts.append(plural(self.shards, "shard"))
        if self.flow_error is not None:
            close = f"to {self.flow_error:.2g} px" if self.flow_error else "within their codecs' bounds"
            counts.append(f"flow and geometry agree {close}")
        verdict = "whole" if self.ok else plural(len(self.problems), "problem")
        return "\n  ".join([f"{self.path}: {self.kind}, {verdict} ({', '.join(counts)})", *self.problems])


@dataclasses.dataclass(frozen=True)
class Verifier:
    """recognises: is this path of my kind? check: path, and a Verification to fill."""

    recognises: Callable[[Path], bool]
    check: Callable[[Path, Verification], object]


verifiers: Registry[Verifier] = Registry("kind of file")
"""By the name of the kind. The first that recognises a path checks it."""


def verify(path: str | Path) -> Verification:
    """Check a world folder, a shard, a data set, or whatever else is registered.

    Raises InputError for a missing path and for one of no known kind; everything else is a problem in the list.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    for kind in verifiers:
        if verifiers[kind].recognises(path):
            report = Verification(path, kind)
            verifiers[kind].check(path, report)
            return report
    raise InputError(f"{path}: nothing that can be verified; known: {', '.join(verifiers)}")


def world_problems(world: World4D) -> tuple[list[str], float | None]:
    """How the fields of a valid world contradict each other, and its `flow_error` where that is defined."""
    problems = []
    if world.visible is not None and world.depth is not None:
        unseen = int((world.visible & (world.depth[:-1] == 0)).sum())
        if unseen:
            problems.append(f"visible is True at {unseen} pixels without a surface")
    # Predicted motion may disagree with predicted geometry; a volume's labels are means, not those of a surface.
    exact = world.confidence is None and not world.meta.get("volumetric")
    errors = _flow_errors(world) if exact else None
    if errors is None:
        return problems, None
    error, wrong = float(np.quantile(errors, FLOW_SHARE)), float((errors > FLOW_LIMIT).mean())
    if error > FLOW_LIMIT:
        problems.append(
            f"flow contradicts depth, camera and scene_flow by more than {FLOW_LIMIT} px "
            f"at {wrong:.1%} of the pixels, by {errors.max():.3g} px at the worst"
        )
    return problems, error


def _flow_errors(world: World4D) -> np.ndarray | None:
    """|flow - projected scene flow| [px] beyond the codecs' bounds, where a surface stays inside the image."""
    depth, flow, scene_flow, camera = world.depth, world.flow, world.scene_flow, world.camera
    if depth is None or flow is None or scene_flow is None or camera is None or world.frames < 2:
        return None
    k, pose = (torch.from_numpy(a).double() for a in (camera.intrinsics, camera.world_from_camera))
    z = torch.from_numpy(depth[:-1]).double()
    moved = torch.from_numpy(scene_flow).double()
    expected, z_next = motion_from_scene_flow(z, moved, k[:-1], k[1:], pose[:-1], pose[1:])
    height, width = world.size
    target = expected + pixel_centres(height, width, dtype=expected.dtype)
    inside = ((target >= 0) & (target <= target.new_tensor([width, height]))).all(-1)
    used = (z > 0) & (z_next > 0) & inside
    if not used.any():
        return None
    error = torch.linalg.vector_norm(torch.from_numpy(flow).double() - expected, dim=-1)
    focal = k[1:, 0, 0, None, None]
    rounding = FLOW_STEP + LENGTH_STEP * focal / z_next.clamp_min(1e-6)
    return (error - rounding).clamp_min(0)[used].numpy()


def _check_world(world: World4D, name: str, report: Verification) -> None:
    problems, flow_error = world_problems(world)
    report.problems += [f"{name}: {problem}" for problem in problems]
    report.worlds += 1
    report.frames += world.frames
    if flow_error is not None:
        report.flow_error = max(flow_error, report.flow_error or 0.0)


def _check_folder(path: Path, report: Verification) -> None:
    report.size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    try:
        _check_world(World4D.load(path), str(path), report)
    except InputError as error:
        report.problems.append(str(error))


def _check_shard(path: Path, report: Verification) -> list[dict[str, Any]]:
    """Decode every world of a shard; its rows as they are, with the columns that only decoding can tell."""
    report.shards += 1
    report.size += path.stat().st_size
    if record_of(path).is_file():
        record = read_record(path)
        if record is None:
            report.problems.append(f"{record_of(path)}: is damaged")
        elif sha256(path) != record["sha256"]:
            report.problems.append(
                f"{path}: is not as it was written (its checksum differs from {record_of(path)})"
            )
    try:
        rows = scan_shard(path)
    except InputError as error:
        report.problems.append(str(error))
        return []
    for row in rows:
        try:
            world = load_world(path, row["key"], row["offset"], row["length"])
        except InputError as error:
            report.problems.append(str(error))
            continue
        row.update(zip(("frames", "height", "width"), extent_of(world)))
        _check_world(world, f"{path}: {row['key']}", report)
    return rows


def _check_dataset(path: Path, report: Verification) -> None:
    shards = sorted(path.glob("*.tar"))
    indexed: dict[tuple[str, str], dict[str, Any]] = {}
    if (path / INDEX).is_file():
        try:
            rows = open_dataset(path).index.select(INDEX_SCHEMA.names).to_pylist()
            indexed = {(row["shard"], row["key"]): row for row in rows}
            if len(indexed) < len(rows):
                report.problems.append(f"{path / INDEX}: names {len(rows) - len(indexed)} worlds twice")
        except InputError as error:
            report.problems.append(str(error))
    elif (path / RECORD).is_file():
        report.problems.append(f"{path}: is not finished; run the same command again to finish it")
    found: set[tuple[str, str]] = set()
    for shard in shards:
        for row in _check_shard(shard, report):
            place = (row["shard"], row["key"])
            found.add(place)
            if indexed and place not in indexed:
                report.problems.append(f"{shard}: {row['key']} is not in the index")
            elif indexed:
                report.problems += _differences(shard, row, indexed[place])
    report.problems += [
        f"{path / shard}: {key} is in the index and not in the shard"
        for shard, key in sorted(indexed.keys() - found)
    ]


def _differences(shard: Path, row: dict[str, Any], indexed: dict[str, Any]) -> list[str]:
    return [
        f"{shard}: {row['key']} has {name} {row[name]}, the index says {indexed[name]}"
        for name in INDEX_SCHEMA.names
        # A world that could not be decoded has no extent, and is in the list already.
        if row[name] is not None and row[name] != indexed[name]
    ]


def _is_dataset(path: Path) -> bool:
    return (path / INDEX).is_file() or (path / RECORD).is_file() or any(path.glob("*.tar"))


verifiers.register("world folder")(Verifier(lambda path: (path / "meta.json").is_file(), _check_folder))
verifiers.register("shard")(Verifier(lambda path: path.is_file() and path.suffix == ".tar", _check_shard))
verifiers.register("data set")(Verifier(_is_dataset, _check_dataset))

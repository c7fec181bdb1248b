"""A world in other people's formats; every file or folder appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from phys4d.atomic import new_file, new_folder, write_text
from phys4d.errors import InputError, Registry
from phys4d.geometry import world_points
from phys4d.members import is_world_folder
from phys4d.viewers.glb import glb_bytes
from phys4d.viewers.html import world_page
from phys4d.viewers.rerun import write_recording
from phys4d.world import World4D

_writers: Registry[Callable[[World4D, Path], None]] = Registry("export format")


def export(world: World4D, kind: str, path: str | Path) -> Path:
    """Write a world as `kind` (one of `export_kinds`) to `path`; an earlier export there is replaced.

    html: the page of `world_page`. ply: a folder with one binary point cloud a frame. npz: every field, exactly.
    glb: the points as an animation for 3D tools. rrd: a Rerun recording. world: a world folder.
    Raises InputError for an unknown kind, MissingFieldError where the world lacks what the format is about.
    """
    path = Path(path)
    check_target(kind, path)
    world.validate()
    _writers[kind](world, path)
    return path


def check_target(kind: str, path: Path, *, source: Path | None = None) -> None:
    """Raise InputError where `export` would refuse to write, or would write over something that it did not make.

    source: where the world comes from, which is no place for its export.
    """
    _writers[kind]
    if not path.exists():
        return
    if source is not None and source.exists() and path.samefile(source):
        raise InputError(f"{path}: is the world itself; choose another place for its export")
    if kind == "ply":
        if not (path.is_dir() and all(map(_is_ply_frame, path.iterdir()))):
            raise InputError(f"{path}: exists and is not a folder of ply frames; choose another place")
    elif kind == "world":
        if not is_world_folder(path):
            raise InputError(f"{path}: exists and is not a world folder; choose another place")
    elif path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    elif path.suffix not in ("", f".{kind}"):
        raise InputError(f"{path}: exists and is no .{kind} file; choose another place")


def export_kinds() -> tuple[str, ...]:
    """Names of the formats that `export` writes."""
    return tuple(_writers)


def coloured_points(world: World4D, frame: int) -> tuple[Float32[np.ndarray, "N 3"], UInt8[np.ndarray, "N 3"]]:
    """World coordinates [m] and colours of the pixels of one frame that show a surface."""
    world.require("rgb", "depth", "camera")
    assert world.rgb is not None
    assert world.depth is not None
    assert world.camera is not None
    depth = world.depth[frame]
    intrinsics, pose = world.camera.intrinsics[frame], world.camera.world_from_camera[frame]
    points = world_points(*(torch.from_numpy(array) for array in (depth, intrinsics, pose))).numpy()
    return points[depth > 0].astype(np.float32), world.rgb[frame][depth > 0]


@_writers.register("html")
def _html(world: World4D, path: Path) -> None:
    write_text(path, world_page(world))


@_writers.register("ply")
def _ply(world: World4D, path: Path) -> None:
    world.require("rgb", "depth", "camera")
    with new_folder(path) as folder:
        for frame in range(world.frames):
            (folder / f"frame_{frame:04d}.ply").write_bytes(_ply_bytes(*coloured_points(world, frame)))


@_writers.register("npz")
def _npz(world: World4D, path: Path) -> None:
    arrays = {name: getattr(world, name) for name in world.fields if name != "camera"}
    if world.camera is not None:
        arrays["intrinsics"] = world.camera.intrinsics
        arrays["world_from_camera"] = world.camera.world_from_camera
    meta = json.dumps(world.meta, sort_keys=True, allow_nan=False)
    with new_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, fps=np.float64(world.fps), meta=np.str_(meta), **arrays)


@_writers.register("glb")
def _glb(world: World4D, path: Path) -> None:
    world.require("rgb", "depth", "camera")
    clouds = [coloured_points(world, frame) for frame in range(world.frames)]
    with new_file(path) as temporary:
        temporary.write_bytes(glb_bytes(clouds, world.fps))


@_writers.register("world")
def _world(world: World4D, path: Path) -> None:
    world.save(path)


@_writers.register("rrd")
def _rrd(world: World4D, path: Path) -> None:
    with new_file(path) as temporary:
        write_recording(world, temporary)


def _ply_bytes(points: Float32[np.ndarray, "N 3"], colours: UInt8[np.ndarray, "N 3"]) -> bytes:
    """A binary PLY of x, y, z [m] and red, green, blue."""
    layout = [(name, "<f4") for name in ("x", "y", "z")] + [(name, "u1") for name in ("red", "green", "blue")]
    rows = np.empty(len(points), dtype=layout)
    for axis, name in enumerate("xyz"):
        rows[name] = points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = colours[:, channel]
    types = {"<f4": "float", "u1": "uchar"}
    properties = "".join(f"property {types[kind]} {name}\n" for name, kind in layout)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}end_header\n"
    return head.encode() + rows.tobytes()


def _is_ply_frame(path: Path) -> bool:
    return path.name.startswith("frame_") and path.suffix == ".ply"

"""The members of a stored world: which file holds which field, in a world folder and in a shard alike."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from phys4d import codecs
from phys4d.errors import InputError

FORMAT = 1
"""Version of the stored form, in every meta.json."""

RESERVED = ("crc32", "format", "fps")
"""Keys that meta.json holds beside the world's own meta."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A file of a stored world. encode: fields and fps to bytes; decode: bytes to the fields that it holds."""

    fields: tuple[str, ...]
    encode: Callable[[Mapping[str, Any], float], bytes]
    decode: Callable[[bytes], dict[str, Any]]


def _fixed_point(name: str, step: float) -> Member:
    return Member(
        (name,),
        lambda fields, _fps: codecs.encode_arrays(**{name: codecs.to_fixed_point(fields[name], step)}),
        lambda data: {name: codecs.from_fixed_point(codecs.decode_arrays(data)[name], step)},
    )


def _decode_camera(data: bytes) -> dict[str, Any]:
    arrays = codecs.decode_arrays(data)
    return {"camera": (arrays["intrinsics"], arrays["world_from_camera"])}


def _decode_tracks(data: bytes) -> dict[str, Any]:
    arrays = codecs.decode_arrays(data)
    tracks = codecs.from_fixed_point(arrays["tracks"], codecs.LENGTH_STEP)
    return {"tracks": tracks, "track_visibility": arrays["track_visibility"]}


MEMBERS: dict[str, Member] = {
    "rgb.mkv": Member(
        ("rgb",),
        lambda fields, fps: codecs.encode_rgb(fields["rgb"], fps),
        lambda data: {"rgb": codecs.decode_rgb(data)},
    ),
    "depth.mkv": Member(
        ("depth",),
        lambda fields, fps: codecs.encode_log16(fields["depth"], fps),
        lambda data: {"depth": codecs.decode_log16(data)},
    ),
    "segmentation.mkv": Member(
        ("segmentation",),
        lambda fields, fps: codecs.encode_ids(fields["segmentation"], fps),
        lambda data: {"segmentation": codecs.decode_ids(data)},
    ),
    "flow.npz": _fixed_point("flow", codecs.FLOW_STEP),
    "scene_flow.npz": _fixed_point("scene_flow", codecs.LENGTH_STEP),
    "visible.npz": Member(
        ("visible",),
        lambda fields, _fps: codecs.encode_arrays(visible=fields["visible"]),
        lambda data: {"visible": codecs.decode_arrays(data)["visible"]},
    ),
    "camera.npz": Member(
        ("camera",),
        lambda fields, _fps: codecs.encode_arrays(
            intrinsics=fields["camera"].intrinsics, world_from_camera=fields["camera"].world_from_camera
        ),
        _decode_camera,
    ),
    "tracks.npz": Member(
        ("tracks", "track_visibility"),
        lambda fields, _fps: codecs.encode_arrays(
            tracks=codecs.to_fixed_point(fields["tracks"], codecs.LENGTH_STEP),
            track_visibility=fields["track_visibility"],
        ),
        _decode_tracks,
    ),
    "confidence.mkv": Member(
        ("confidence",),
        lambda fields, fps: codecs.encode_log16(fields["confidence"], fps),
        lambda data: {"confidence": codecs.decode_log16(data)},
    ),
}


def encode_members(fields: Mapping[str, Any], fps: float, meta: Mapping[str, Any]) -> dict[str, bytes]:
    """The fields that a valid world has, as named byte strings; an absent field has no member."""
    members = {name: m.encode(fields, fps) for name, m in MEMBERS.items() if m.fields[0] in fields}
    head = {**meta, "fps": fps, "format": FORMAT}
    head["crc32"] = _checksum(head)
    members["meta.json"] = (json.dumps(head, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    return members


def decode_members(
    members: Mapping[str, bytes], wanted: Collection[str], source: str
) -> tuple[dict[str, Any], float, dict[str, Any]]:
    """Undo `encode_members` within the codecs' bounds, for the wanted fields: fields, fps, meta.

    A camera comes as its two arrays. Raises InputError naming `source` and the member that is missing or damaged.
    """
    name = "meta.json"
    if name not in members:
        raise InputError(f"{source}: not a world (it has no meta.json)")
    fields: dict[str, Any] = {}
    try:
        meta = _decode_meta(members[name])
        fps = meta.pop("fps")
        for name, member in MEMBERS.items():
            if name in members and set(member.fields) & set(wanted):
                fields |= member.decode(members[name])
    except KeyError as error:
        raise InputError(f"{source}: {name} lacks {error}; this is not a whole world") from error
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{source}: {name} is damaged: {error}") from error
    return fields, fps, meta


def meta_problems(meta: Any) -> list[str]:
    """Why `meta` would not come back from a meta.json as it went in, in a few words; nothing where it would."""
    if not isinstance(meta, dict):
        return [f"meta should be a dict, is {type(meta).__name__}"]
    problems = []
    taken = [key for key in RESERVED if key in meta]
    if taken:
        problems.append(f"meta holds {', '.join(taken)}, which the stored form keeps for itself; rename it")
    try:
        json.dumps(meta, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return [*problems, f"meta is not JSON ({error})"]
    if not _has_text_keys(meta):
        problems.append("meta is not JSON (every key must be a str)")
    return problems


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _has_text_keys(item) for key, item in value.items())
    return all(_has_text_keys(item) for item in value) if isinstance(value, list | tuple) else True


def _checksum(meta: Mapping[str, Any]) -> str:
    """CRC-32 of meta.json's content, in one canonical spelling."""
    text = json.dumps({key: value for key, value in meta.items() if key != "crc32"}, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def _decode_meta(data: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(data)
    except RecursionError as error:
        raise InputError("it is nested too deeply") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"not a world of format {FORMAT}; it was written by another version of phys4d")
    if meta.get("crc32") != _checksum(meta):
        raise InputError(
            "it does not match its checksum; to change it, load the world, set `world.meta` and save the world"
        )
    return {key: value for key, value in meta.items() if key not in ("crc32", "format")}


def is_world_folder(folder: Path) -> bool:
    """Whether a folder is a stored world and nothing else, so that it may be replaced by another."""
    files = {*MEMBERS, "meta.json", "rgb.mp4"}
    return (folder / "meta.json").is_file() and all(entry.name in files for entry in folder.iterdir())


def read_members(folder: Path, fields: Collection[str] | None = None) -> dict[str, bytes]:
    """The members of a world folder that `fields` (default: all) live in."""
    if not folder.exists():
        raise InputError(f"{folder}: no such world folder")
    if not (folder / "meta.json").is_file():
        raise InputError(f"{folder}: not a world folder (it has no meta.json)")
    wanted = [name for name, member in MEMBERS.items() if fields is None or set(member.fields) & set(fields)]
    try:
        return {name: (folder / name).read_bytes() for name in ["meta.json", *wanted] if (folder / name).is_file()}
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error

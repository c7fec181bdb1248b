"""The members of a stored world: which file holds which field, in a world folder and in a shard alike."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phys4d import codecs
from phys4d.errors import InputError

if TYPE_CHECKING:
    from phys4d.world import World4D

FORMAT = 1
"""Version of the stored form, in every meta.json."""

RESERVED = ("crc32", "format", "fps")
"""Keys that meta.json holds beside the world's own meta."""

FIELDS_OF_MEMBER: dict[str, tuple[str, ...]] = {
    "rgb.mkv": ("rgb",),
    "depth.mkv": ("depth",),
    "segmentation.mkv": ("segmentation",),
    "flow.npz": ("flow",),
    "scene_flow.npz": ("scene_flow",),
    "visible.npz": ("visible",),
    "camera.npz": ("camera",),
    "tracks.npz": ("tracks", "track_visibility"),
    "confidence.mkv": ("confidence",),
}


def encode_members(world: World4D) -> dict[str, bytes]:
    """A world as named byte strings; absent fields have no member. The world must be valid."""
    encoders: dict[str, Callable[[], bytes]] = {
        "rgb.mkv": lambda: codecs.encode_rgb(_have(world.rgb), world.fps),
        "depth.mkv": lambda: codecs.encode_log16(_have(world.depth), world.fps),
        "segmentation.mkv": lambda: codecs.encode_ids(_have(world.segmentation), world.fps),
        "flow.npz": lambda: codecs.encode_arrays(flow=codecs.to_fixed_point(_have(world.flow), codecs.FLOW_STEP)),
        "scene_flow.npz": lambda: codecs.encode_arrays(
            scene_flow=codecs.to_fixed_point(_have(world.scene_flow), codecs.LENGTH_STEP)
        ),
        "visible.npz": lambda: codecs.encode_arrays(visible=_have(world.visible)),
        "camera.npz": lambda: codecs.encode_arrays(
            intrinsics=_have(world.camera).intrinsics, world_from_camera=_have(world.camera).world_from_camera
        ),
        "tracks.npz": lambda: codecs.encode_arrays(
            tracks=codecs.to_fixed_point(_have(world.tracks), codecs.LENGTH_STEP),
            track_visibility=_have(world.track_visibility),
        ),
        "confidence.mkv": lambda: codecs.encode_log16(_have(world.confidence), world.fps),
    }
    members = {name: encode() for name, encode in encoders.items() if FIELDS_OF_MEMBER[name][0] in world.fields}
    meta = {**world.meta, "fps": world.fps, "format": FORMAT}
    meta["crc32"] = _checksum(meta)
    members["meta.json"] = (json.dumps(meta, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    return members


def decode_members(
    members: Mapping[str, bytes], fields: Collection[str] | None = None, *, source: str = "world"
) -> World4D:
    """Undo `encode_members` within the codecs' bounds; with `fields`, only those.

    Raises InputError naming `source` and the member that is missing or damaged.
    """
    # World4D knows how to save itself, so its module imports this one; the way back is taken here.
    from phys4d.world import Camera, World4D

    wanted = World4D.FIELDS if fields is None else fields
    unknown = sorted(set(wanted) - set(World4D.FIELDS))
    if unknown:
        raise InputError(f"World4D has no field {', '.join(unknown)}; its fields: {', '.join(World4D.FIELDS)}")
    member = "meta.json"
    if member not in members:
        raise InputError(f"{source}: not a world (it has no meta.json)")
    values: dict[str, Any] = {}
    try:
        meta = _decode_meta(members[member])
        values["fps"] = meta.pop("fps")
        for member, data in members.items():
            if not set(FIELDS_OF_MEMBER.get(member, ())) & set(wanted):
                continue
            match member:
                case "rgb.mkv":
                    values["rgb"] = codecs.decode_rgb(data)
                case "depth.mkv" | "confidence.mkv":
                    values[member.removesuffix(".mkv")] = codecs.decode_log16(data)
                case "segmentation.mkv":
                    values["segmentation"] = codecs.decode_ids(data)
                case "flow.npz":
                    steps = codecs.decode_arrays(data)["flow"]
                    values["flow"] = codecs.from_fixed_point(steps, codecs.FLOW_STEP)
                case "scene_flow.npz":
                    steps = codecs.decode_arrays(data)["scene_flow"]
                    values["scene_flow"] = codecs.from_fixed_point(steps, codecs.LENGTH_STEP)
                case "visible.npz":
                    values["visible"] = codecs.decode_arrays(data)["visible"]
                case "camera.npz":
                    arrays = codecs.decode_arrays(data)
                    values["camera"] = Camera(arrays["intrinsics"], arrays["world_from_camera"])
                case "tracks.npz":
                    arrays = codecs.decode_arrays(data)
                    values["tracks"] = codecs.from_fixed_point(arrays["tracks"], codecs.LENGTH_STEP)
                    values["track_visibility"] = arrays["track_visibility"]
    except KeyError as error:
        raise InputError(f"{source}: {member} lacks {error}; this is not a whole world") from error
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{source}: {member} is damaged: {error}") from error
    return World4D(**values, meta=meta)


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


def read_members(folder: Path, fields: Collection[str] | None = None) -> dict[str, bytes]:
    """The members of a world folder that `fields` (default: all) live in."""
    if not folder.exists():
        raise InputError(f"{folder}: no such world folder")
    if not (folder / "meta.json").is_file():
        raise InputError(f"{folder}: not a world folder (it has no meta.json)")
    wanted = [name for name, held in FIELDS_OF_MEMBER.items() if fields is None or set(held) & set(fields)]
    try:
        return {name: (folder / name).read_bytes() for name in ["meta.json", *wanted] if (folder / name).is_file()}
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error


def _have(value: Any) -> Any:
    """Encoders run only for fields that are there; this says so to the type checker."""
    assert value is not None
    return value

"""A world as binary glTF 2.0: one cloud of points a frame, shown in turn by an animation.

glTF has no moving point clouds, so every frame is a node of its own whose scale steps between 0 and 1.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

Cloud = tuple[Float32[np.ndarray, "_ 3"], UInt8[np.ndarray, "_ 3"]]
"""Points [m] and their colours; every frame has its own number of them."""

FLOAT, USHORT, POINTS, VERTEX_DATA = 5126, 5123, 0, 34962
"""Constants of the glTF specification."""


def glb_bytes(clouds: list[Cloud], fps: float) -> bytes:
    """Points in z-up world axes [m] with sRGB colours, one cloud a frame, as a .glb file."""
    file = _Builder()
    half = 0.5**0.5
    # glTF is y-up: a quarter turn about x takes the z-up world there.
    root: dict[str, Any] = {"name": "world", "rotation": [-half, 0, 0, half], "children": []}
    file.json["nodes"].append(root)
    samplers, channels = [], []
    for frame, (points, colours) in enumerate(clouds):
        if not len(points):
            continue
        node = len(file.json["nodes"])
        root["children"].append(node)
        shown = [1.0] * 3 if frame == 0 else [0.0] * 3
        mesh = {"primitives": [{"mode": POINTS, "material": 0, "attributes": file.cloud(points, colours)}]}
        file.json["nodes"].append({"name": f"frame_{frame:04d}", "mesh": len(file.json["meshes"]), "scale": shown})
        file.json["meshes"].append(mesh)
        times, scales = _steps(frame, len(clouds), fps)
        samplers.append(
            {
                "input": file.accessor(times, "SCALAR", bounds=True),
                "output": file.accessor(scales, "VEC3"),
                "interpolation": "STEP",
            }
        )
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": "scale"}})
    if channels:
        file.json["animations"] = [{"name": "frames", "samplers": samplers, "channels": channels}]
    return file.encoded()


def _steps(frame: int, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Times [s] and scales of one frame's node: on at its own time, off before and after."""
    keys = {0.0: float(frame == 0), frame / fps: 1.0}
    # The last frame stays for its own duration and closes the loop.
    keys[(frame + 1) / fps] = float(frame == frames - 1)
    times = np.array(sorted(keys), dtype=np.float32)
    return times, np.array([[keys[key]] * 3 for key in sorted(keys)], dtype=np.float32)


def _linear16(colours: UInt8[np.ndarray, "N 3"]) -> np.ndarray:
    """sRGB to the linear colours of glTF, with an opaque alpha; 16 bits keep the dark ones apart."""
    share = np.arange(256) / 255
    table = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    linear = np.rint(65535 * table).astype("<u2")[colours]
    return np.concatenate([linear, np.full((len(colours), 1), 65535, dtype="<u2")], axis=1)


class _Builder:
    """The JSON and the binary half of a .glb, grown together."""

    def __init__(self) -> None:
        unlit: dict[str, Any] = {"extensions": {"KHR_materials_unlit": {}}}
        unlit["pbrMetallicRoughness"] = {
            "baseColorFactor": [1, 1, 1, 1],
            "metallicFactor": 0,
            "roughnessFactor": 1,
        }
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "phys4d"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [],
            "meshes": [],
            "materials": [unlit],
            "accessors": [],
            "bufferViews": [],
        }
        self._chunks: list[bytes] = []
        self._length = 0

    def cloud(self, points: np.ndarray, colours: np.ndarray) -> dict[str, int]:
        """Store a cloud; returns the attributes of its primitive."""
        position = self.accessor(points, "VEC3", bounds=True, target=VERTEX_DATA)
        colour = self.accessor(_linear16(colours), "VEC4", target=VERTEX_DATA)
        return {"POSITION": position, "COLOR_0": colour}

    def accessor(self, array: np.ndarray, kind: str, *, bounds: bool = False, target: int | None = None) -> int:
        """Store float32 or normalised uint16 values; returns the accessor's index."""
        is_float = array.dtype.kind == "f"
        data = np.ascontiguousarray(array, dtype="<f4" if is_float else "<u2").tobytes()
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        self.json["bufferViews"].append(view if target is None else {**view, "target": target})
        entry: dict[str, Any] = {
            "bufferView": len(self.json["bufferViews"]) - 1,
            "count": len(array),
            "type": kind,
        }
        entry |= {"componentType": FLOAT} if is_float else {"componentType": USHORT, "normalized": True}
        if bounds:
            rows = array.reshape(len(array), -1)
            entry |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self.json["accessors"].append(entry)
        padded = data + b"\0" * (-len(data) % 4)
        self._chunks.append(padded)
        self._length += len(padded)
        return len(self.json["accessors"]) - 1

    def encoded(self) -> bytes:
        """Header, JSON chunk, binary chunk."""
        content = {name: value for name, value in self.json.items() if value != []}
        if self._length:
            content["buffers"] = [{"byteLength": self._length}]
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        if self._length:
            chunks += struct.pack("<I4s", self._length, b"BIN\0") + b"".join(self._chunks)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

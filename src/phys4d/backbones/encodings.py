"""A store of what VAE and text encoder say, so that training reads neither from disk.

Entries are found by their content: the SHA-256 of a clip's 8-bit pixels or of a prompt. So nothing that trains
needs to know of the store; what it asks for is there, or is encoded.

    encodings.json            whose encodings these are, and in which file each entry is
    part-00000.safetensors    entries by key, in the precision of the encoders
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from phys4d.atomic import new_file, write_text
from phys4d.errors import InputError

INDEX = "encodings.json"
PART_BYTES = 256 << 20
"""A part is written when its entries are as large."""


class Encodings:
    """Looked up in a folder's store, or kept while one is written, or made each time (no store)."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.parts: dict[str, str] = {}
        self._writing: dict[str, Tensor] | None = None
        self._owner, self._dtype = "", torch.float32

    def __deepcopy__(self, memo: dict[int, Any]) -> Encodings:
        return self

    def open(self, folder: Path, owner: str) -> None:
        """Look everything up here first. owner: says which encoders these are.

        Raises InputError where there is no store, or it is another model's.
        """
        from phys4d.backbones.storage import read_record

        record = read_record(folder / INDEX)
        if record.get("owner") != owner:
            raise InputError(
                f"{folder}: holds the encodings of another model; encode the data again with this one"
            )
        self.folder, self.parts, self._owner = folder, dict(record["parts"]), owner

    def create(self, folder: Path, owner: str, dtype: torch.dtype) -> None:
        """Write to this folder what is encoded from now on, as `dtype`; continues the store that is there."""
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / INDEX).is_file():
            self.open(folder, owner)
        elif any(folder.iterdir()):
            raise InputError(f"{folder}: exists and holds no encodings; choose another folder")
        self.folder, self._owner, self._dtype, self._writing = folder, owner, dtype, {}

    def video(
        self, clip: Float[Tensor, "T H W 3"], make: Callable[[Tensor], Tensor], *, kind: str = "video"
    ) -> Float[Tensor, "..."]:
        """What `make` says of a clip in [0, 1], by its 8-bit pixels. kind: of encoder."""
        if self.folder is None:
            return make(clip)
        pixels = (clip * 255).round().to("cpu", torch.uint8).contiguous()
        digest = hashlib.sha256(str(tuple(pixels.shape)).encode())
        digest.update(pixels.numpy().data)
        return self._found(f"{kind}-{digest.hexdigest()[:32]}", lambda: make(clip))

    def text(self, prompt: str, make: Callable[[str], Tensor]) -> Float[Tensor, "L D"]:
        """What `make` says of a prompt."""
        if self.folder is None:
            return make(prompt)
        return self._found(f"text-{hashlib.sha256(prompt.encode()).hexdigest()[:32]}", lambda: make(prompt))

    def _found(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        if self._writing is not None and key in self._writing:
            return self._writing[key].float()
        if key in self.parts:
            assert self.folder is not None
            with safe_open(self.folder / self.parts[key], framework="pt") as part:
                return part.get_tensor(key).float()
        made = make()
        if self._writing is not None:
            self._writing[key] = made.detach().to("cpu", self._dtype).contiguous()
            if sum(value.nbytes for value in self._writing.values()) >= PART_BYTES:
                self.flush()
        return made

    def close(self) -> None:
        """Write what is left, and look nothing up any more."""
        self.flush()
        self.folder, self._writing = None, None

    def flush(self) -> None:
        """Write what was encoded since the last time."""
        if not self._writing:
            return
        assert self.folder is not None
        name = f"part-{len(set(self.parts.values())):05d}.safetensors"
        with new_file(self.folder / name) as file:
            save_file(self._writing, file)
        self.parts |= dict.fromkeys(self._writing, name)
        self._writing = {}
        write_text(self.folder / INDEX, json.dumps({"owner": self._owner, "parts": self.parts}) + "\n")

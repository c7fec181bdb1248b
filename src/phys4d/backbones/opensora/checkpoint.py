"""Networks of our own that live in folders as those of diffusers do: config.json beside safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from phys4d.backbones.storage import load_weights, read_record, save_weights
from phys4d.errors import InputError

CONFIG, WEIGHTS = "config.json", "model.safetensors"

Made = TypeVar("Made", bound="Checkpointed")


class Checkpointed(nn.Module):
    """config: the keyword arguments of `__init__` that matter; others of a public configuration are left out."""

    config: dict[str, Any]

    @classmethod
    def from_config(cls: type[Made], config: dict[str, Any]) -> Made:
        """A network of random weights."""
        return cls(**config)

    @classmethod
    def from_pretrained(
        cls: type[Made], folder: Path, *, torch_dtype: torch.dtype = torch.float32, local_files_only: bool = True
    ) -> Made:
        """The network in a folder. Raises InputError for weights of another one."""
        made = cls.from_config(read_record(folder / CONFIG))
        found = sorted(folder.glob("*.safetensors"))
        if len(found) != 1:
            raise InputError(f"{folder}: holds {len(found)} files of weights, not one; copy the model again")
        load_weights(made, found[0])
        return made.to(torch_dtype)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `from_pretrained` reads."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        dtype = next(p.dtype for p in self.parameters() if p.ndim > 1)
        save_weights(self.state_dict(), folder / WEIGHTS, dtype=dtype)
        text = json.dumps({"_class_name": type(self).__name__} | self.config, indent=1)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")

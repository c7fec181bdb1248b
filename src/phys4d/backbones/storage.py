"""Backbones of our own on disk: `backbone.json` (name and configuration) beside `backbone.safetensors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from phys4d.errors import InputError, WorkError

if TYPE_CHECKING:
    from phys4d.backbones.backbone import Backbone

Made = TypeVar("Made", bound="Backbone")

CONFIG = "backbone.json"
WEIGHTS = "backbone.safetensors"


def save_backbone(backbone: Backbone, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a backbone's configuration and its own weights, without adapters, into an existing folder."""
    weights = {k.replace(".base_layer.", "."): v for k, v in backbone.state_dict().items() if ".lora_" not in k}
    save_weights(weights, folder / WEIGHTS, dtype=dtype)
    text = json.dumps({"backbone": backbone.name, "config": backbone.config}, indent=1)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def load_backbone(kind: type[Made], folder: Path) -> Made:
    """The backbone of class `kind` that was saved in a folder.

    Raises InputError where there is none, where it is another one, or where its weights do not fit.
    """
    record = read_record(folder / CONFIG)
    if record.get("backbone") != kind.name:
        raise InputError(f"{folder}: holds the backbone {record.get('backbone')!r}, not {kind.name!r}")
    try:
        made = kind(**record["config"])
    except (TypeError, KeyError, ValueError, IndexError, RuntimeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / CONFIG}: its configuration does not fit {kind.name}: {reason}") from error
    load_weights(made, folder / WEIGHTS)
    return made


def read_record(path: Path) -> dict:
    """A small JSON object. Raises InputError where it is missing or damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; is {path.parent} the folder of a model?") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the model again") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: should hold a JSON object; copy the model again")
    return record


def save_weights(weights: dict[str, torch.Tensor], path: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write tensors; floating ones as `dtype`. Raises WorkError where they cannot be written."""
    kept = {
        n: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype).contiguous()
        for n, v in weights.items()
    }
    try:
        save_file(kept, path)
    except SafetensorError as error:
        raise WorkError(f"{path}: cannot be written ({error}); is the disk full?") from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file; half precision comes back as float32.

    Raises InputError where there is none, and where it is damaged.
    """
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; the folder holds no whole model") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged or no safetensors file ({error}); copy the model again") from error
    return {n: v.float() if v.is_floating_point() else v for n, v in weights.items()}


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Fill a module from a file of exactly its tensors. Raises InputError that says how they differ."""
    weights, own = read_weights(path), module.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [n for n in own.keys() & weights.keys() if own[n].shape != weights[n].shape]
    if missing or extra or shapes:
        told = [
            f"{len(names)} {word} (first: {min(names)})"
            for names, word in ((missing, "missing"), (extra, "unknown"), (shapes, "of another shape"))
            if names
        ]
        raise InputError(
            f"{path}: weights of another model than {type(module).__name__}: tensors {', '.join(told)}"
        )
    module.load_state_dict(weights)

"""Models on disk: a folder of JSON and safetensors, never a pickle.

    config.json                backbone, base, adapters, heads, meta, and the checksums of the others
    backbone.json, .safetensors    the backbone, unless `base` says whose it shares
    adapters/NAME.safetensors  low-rank adapters, in the order of config.json
    heads.safetensors          the heads

The models that ship with phys4d are such folders below `weights/`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from phys4d.atomic import new_folder
from phys4d.backbones import Backbone, adapters, backbones
from phys4d.backbones.storage import load_weights, read_record, read_weights, save_backbone, save_weights
from phys4d.errors import InputError, unknown_name
from phys4d.heads import Heads

if TYPE_CHECKING:
    from phys4d.model import WorldModel

CONFIG = "config.json"
SHIPPED = Path(__file__).parent / "weights"
_VERSION = 1


def shipped_models() -> list[str]:
    """Names of the models in the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def save_model(model: WorldModel, folder: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Write a model. Its backbone is left out where it is that of a shipped model, and named instead.

    Raises InputError where the folder is something else than a model, WorkError where it cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG).is_file() or not any(folder.iterdir()))):
        raise InputError(f"{folder}: exists and is no model; choose another place")
    shared = model.base in shipped_models()
    config: dict[str, Any] = {
        "phys4d": _VERSION,
        "backbone": model.backbone.name,
        "base": model.base if shared else None,
        "adapters": [_adapter_record(model, name) for name in model.adapters],
        "heads": None if model.heads is None else model.heads.config,
        "meta": model.meta,
    }
    with new_folder(folder) as place:
        if not shared:
            save_backbone(model.backbone, place, dtype=dtype)
        if model.heads is not None:
            save_weights(model.heads.state_dict(), place / "heads.safetensors", dtype=dtype)
        for name in model.adapters:
            (place / "adapters").mkdir(exist_ok=True)
            state = adapters.adapter_state(model.backbone, name)
            save_weights(state, place / "adapters" / f"{name}.safetensors", dtype=dtype)
        config["sha256"] = _checksums(place)
        (place / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return folder


def changed_files(folder: Path) -> list[str]:
    """Files of a model that are not as they were written, or are gone, by their checksums in config.json.

    Loading does not compare them, as that reads everything twice.
    """
    written = _config(folder).get("sha256") or {}
    there = _checksums(folder)
    return sorted(name for name, digest in written.items() if there.get(name) != digest)


def _checksums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CONFIG:
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def load_model(source: str | Path) -> WorldModel:
    """See `WorldModel.from_pretrained`."""
    from phys4d.model import WorldModel

    folder = find_model(source)
    config = _config(folder)
    base = config.get("base")
    try:
        kind = backbones[str(config.get("backbone"))]
        home = find_model(base) if base else folder
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from None
    backbone = kind.from_pretrained(home)
    # What is trained further from a shipped model shares its backbone by name.
    shipped = folder.name if folder.parent == SHIPPED else None
    model = WorldModel(backbone, base=base or shipped, meta=config.get("meta"))
    model.meta.setdefault("name", folder.name)
    for record in config.get("adapters") or ():
        try:
            adapters.add_adapter(backbone, record["name"], rank=record["rank"], alpha=record["alpha"])
        except (InputError, KeyError, TypeError) as error:
            raise InputError(f"{folder / CONFIG}: an adapter cannot be built: {error}") from error
        _fill(model, record["name"], folder / "adapters" / f"{record['name']}.safetensors")
    if config.get("heads"):
        model.heads = _heads(config["heads"], backbone, folder / CONFIG)
        load_weights(model.heads, folder / "heads.safetensors")
    return model.requires_grad_(False).eval()


def _config(folder: Path) -> dict[str, Any]:
    config = read_record(folder / CONFIG)
    if config.get("phys4d") != _VERSION:
        raise InputError(
            f'{folder / CONFIG}: not a model of this version of phys4d (wanted "phys4d": {_VERSION}, found '
            f"{config.get('phys4d')!r})"
        )
    kinds = {"base": str, "adapters": list, "heads": dict, "meta": dict, "sha256": dict}
    for name, kind in kinds.items():
        if not isinstance(config.get(name), kind | None):
            raise InputError(f"{folder / CONFIG}: {name} cannot be {config[name]!r}; copy the model again")
    return config


def find_model(source: str | Path) -> Path:
    """The folder of a shipped model or of one on disk. Raises InputError naming the nearest."""
    path = Path(source)
    if (path / CONFIG).is_file():
        return path
    names = shipped_models()
    if str(source) in names:
        return SHIPPED / str(source)
    if path.exists():
        raise InputError(f"{path}: holds no {CONFIG}; give the folder of a model, such as RUN/final")
    raise InputError(f"{unknown_name('model', str(source), names)} Or give the folder of one, such as RUN/final.")


def _heads(options: dict[str, Any], backbone: Backbone, where: Path) -> Heads:
    try:
        heads = Heads(**options)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(f"{where}: its heads cannot be built: {' '.join(str(error).split())}") from error
    wanted = {"feature_dims": list(backbone.feature_dims), "latent_channels": backbone.latent_channels}
    for name, value in wanted.items():
        if heads.config[name] != value:
            raise InputError(
                f"{where}: heads of another backbone: they read {name} {heads.config[name]}, this one has {value}"
            )
    return heads


def _adapter_record(model: WorldModel, name: str) -> dict[str, Any]:
    layer = next(adapters.adapted(model.backbone))
    return {"name": name, "rank": int(layer.r[name]), "alpha": float(layer.lora_alpha[name])}


def _fill(model: WorldModel, name: str, path: Path) -> None:
    own, weights = adapters.adapter_state(model.backbone, name), read_weights(path)
    differ = own.keys() ^ weights.keys() or {k for k in own if own[k].shape != weights[k].shape}
    if differ:
        raise InputError(f"{path}: adapter of another model, {len(differ)} tensors differ (first: {min(differ)})")
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(weights[key])

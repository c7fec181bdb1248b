"""Models on disk: a folder of JSON and safetensors, never a pickle.

    config.json                backbone, base, adapters, heads, meta, and the checksums of the others
    backbone.json, .safetensors    the backbone, unless `base` says whose it shares; of a diffusers pipeline
                               backbone/, as diffusers writes it
    adapters/NAME.safetensors  low-rank adapters, in the order of config.json
    heads.safetensors          the heads
    README.md                  the model card

`base` is the name of a model that ships with phys4d (such folders below `weights/`), the folder of a diffusers
pipeline, or its name on the hub: what is trained further from billions of weights saves a few million.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from phys4d.atomic import new_folder
from phys4d.backbones import Backbone, adapters, backbones
from phys4d.backbones.parts import INDEX, is_pipeline
from phys4d.backbones.pipeline import PipelineBackbone, backbone_of
from phys4d.backbones.storage import load_weights, read_record, read_weights, save_weights
from phys4d.errors import InputError, unknown_name
from phys4d.heads import Heads
from phys4d.hub import HUB_NAME, download

if TYPE_CHECKING:
    from phys4d.model import WorldModel

CONFIG = "config.json"
CARD = "README.md"
SHIPPED = Path(__file__).parent / "weights"
_VERSION = 1


def shipped_models() -> list[str]:
    """Names of the models in the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def save_model(model: WorldModel, folder: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Write a model. Its backbone is left out where it is that of a shipped model or of a pipeline, and named.

    Raises InputError where the folder is something else than a model, WorkError where it cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG).is_file() or not any(folder.iterdir()))):
        raise InputError(f"{folder}: exists and is no model; choose another place")
    shared = model.base in shipped_models() or (model.base is not None and model.backbone.window is not None)
    config: dict[str, Any] = {
        "phys4d": _VERSION,
        "backbone": model.backbone.name,
        "base": model.base if shared else None,
        "adapters": [_adapter_record(model, name) for name in model.adapters],
        "heads": None if model.heads is None else model.heads.config,
        "meta": model.meta,
    }
    if model.backbone.window is not None:
        config["window"] = model.backbone.window
    with new_folder(folder) as place:
        if not shared:
            model.backbone.save_pretrained(place, dtype=dtype)
        if model.heads is not None:
            save_weights(model.heads.state_dict(), place / "heads.safetensors", dtype=dtype)
        for name in model.adapters:
            (place / "adapters").mkdir(exist_ok=True)
            state = adapters.adapter_state(model.backbone, name)
            save_weights(state, place / "adapters" / f"{name}.safetensors", dtype=dtype)
        (place / CARD).write_text(card(config), encoding="utf-8")
        config["sha256"] = _checksums(place)
        (place / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return folder


def card(config: dict[str, Any]) -> str:
    """The model card: what the hub reads of it (YAML), and what people do."""
    meta, base = config["meta"], config["base"]
    about = {"library_name": "phys4d", "tags": ["phys4d", "world-model", "video", "4d", config["backbone"]]}
    if base and HUB_NAME.fullmatch(base):
        about["base_model"] = base
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in about.items()), "---", ""]
    lines.append(f"# {meta.get('name', config['backbone'])}")
    adapted = ", ".join(adapter["name"] for adapter in config["adapters"]) or "none"
    lines += [
        "",
        f"A 4D world model on the backbone `{config['backbone']}`"
        + (f", which it takes from `{base}`" if base else "")
        + f"; stage: {meta.get('stage', 'none')}; adapters: {adapted}; "
        + ("depth, motion and camera heads." if config["heads"] else "no heads."),
    ]
    lines += [
        "",
        "```python",
        "import phys4d",
        'model = phys4d.WorldModel.from_pretrained("this folder")',
        "```",
        "",
    ]
    settings = (meta.get("run") or {}).get("settings")
    if settings:
        lines += ["Trained with:", "", "```json", json.dumps(settings, indent=1), "```", ""]
    return "\n".join(lines)


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


def load_model(source: str | Path, *, dtype: torch.dtype | None = None) -> WorldModel:
    """See `WorldModel.from_pretrained`."""
    from phys4d.model import WorldModel

    folder = find_model(source)
    if is_pipeline(folder):
        model = WorldModel(
            backbone_of(folder).from_pretrained(folder, dtype=_precision(dtype)), base=_named(source)
        )
        model.meta = {"name": Path(source).name}
        return model.with_fresh_heads().requires_grad_(False).eval()
    config = _config(folder)
    base = config.get("base")
    try:
        kind = backbones[str(config.get("backbone"))]
        if base and Path(base).is_absolute() and not Path(base).exists():
            raise InputError(f'its backbone {base} is not there; write where it is now as "base"')
        home = find_model(base) if base else folder
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from None
    backbone = _backbone(kind, home, dtype)
    # What is trained further from a shipped model shares its backbone by name.
    shipped = folder.name if folder.parent == SHIPPED else None
    model = WorldModel(backbone, base=base or shipped, meta=config.get("meta"))
    model.meta.setdefault("name", folder.name)
    if config.get("window"):
        try:
            window = config["window"]
            backbone.work_at(tuple(window["size"]), window["frames"], window["fps"])
        except (InputError, KeyError, TypeError) as error:
            raise InputError(f"{folder / CONFIG}: its window does not fit its backbone: {error}") from error
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


def _backbone(kind: type[Backbone], home: Path, dtype: torch.dtype | None) -> Backbone:
    if issubclass(kind, PipelineBackbone):
        return kind.from_pretrained(home, dtype=_precision(dtype))
    return kind.from_pretrained(home)


def _precision(dtype: torch.dtype | None) -> torch.dtype:
    """Of a pipeline's weights: bfloat16 where they will be used on a GPU."""
    return dtype or (torch.bfloat16 if torch.cuda.is_available() else torch.float32)


def _named(source: str | Path) -> str:
    """How a saved model names the pipeline that it shares: by its whole path, or its name on the hub."""
    return str(Path(source).resolve()) if Path(source).exists() else str(source)


def _config(folder: Path) -> dict[str, Any]:
    config = read_record(folder / CONFIG)
    if "_class_name" in config:
        raise InputError(
            f"{folder}: holds one part of a diffusers pipeline ({config['_class_name']}), not a whole one; give "
            f"the folder that holds {INDEX}"
        )
    if config.get("phys4d") != _VERSION:
        raise InputError(
            f'{folder / CONFIG}: not a model of this version of phys4d (wanted "phys4d": {_VERSION}, found '
            f"{config.get('phys4d')!r})"
        )
    kinds = {"base": str, "adapters": list, "heads": dict, "meta": dict, "sha256": dict, "window": dict}
    for name, kind in kinds.items():
        if not isinstance(config.get(name), kind | None):
            raise InputError(f"{folder / CONFIG}: {name} cannot be {config[name]!r}; copy the model again")
    return config


def find_model(source: str | Path) -> Path:
    """The folder of a shipped model, of a model or a diffusers pipeline on disk, or of one on the hub.

    Raises InputError naming the nearest, and saying what a folder holds that is none of these.
    """
    path = Path(source)
    if is_pipeline(path) or (path / CONFIG).is_file():
        return path
    names = shipped_models()
    if str(source) in names:
        return SHIPPED / str(source)
    if path.exists():
        raise InputError(
            f"{path}: holds no {CONFIG}; give the folder of a model, such as RUN/final{_instead(path)}"
        )
    if HUB_NAME.fullmatch(str(source)) and not path.parent.exists():
        return download(str(source))
    raise InputError(f"{unknown_name('model', str(source), names)} Or give the folder of one, such as RUN/final.")


def _instead(path: Path) -> str:
    """A hint at what may have been meant."""
    if path.is_dir():
        for other in sorted(path.iterdir()):
            if is_pipeline(other) or (other / CONFIG).is_file():
                return f". {other} is one"
    return ", or of a diffusers pipeline"


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

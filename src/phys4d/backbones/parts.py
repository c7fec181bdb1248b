"""The parts of a diffusers pipeline: transformer, VAE, text encoder, ..., each built when it is first needed.

A pipeline is a folder with `model_index.json`, which names the class of each part, and a folder for each of them.
A transformer can be trained without its text encoder ever being read from disk, where texts are encoded before.
Without a folder, parts are built from their configurations with random weights.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from phys4d.backbones.byte_tokenizer import byte_tokenizer
from phys4d.errors import InputError, WorkError

INDEX = "model_index.json"
CONFIGS = ("config.json", "scheduler_config.json", "preprocessor_config.json")
"""What the configuration of a part may be called. Tokenizers have none that matters here."""
MODELS = ("transformer", "transformer_2", "vae", "text_encoder", "text_encoder_2", "image_encoder")
"""Parts with weights."""

Spec = Mapping[str, Any]
"""A part: "library", "class" and "config"."""


class Parts:
    """Parts by name. They belong to no module: who copies, moves or trains a backbone leaves them as they are.

    pipeline: class of the pipeline. options: its own settings, such as boundary_ratio. specs: library, class and
    configuration of each part. folder: where their weights are; None: they are random. dtype: of the weights that
    are read. device: where random ones are; "meta" makes shapes alone.
    """

    def __init__(
        self,
        pipeline: str,
        specs: Mapping[str, Spec],
        options: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.pipeline, self.specs, self.options = pipeline, dict(specs), dict(options or {})
        self.folder, self.dtype, self.device = folder, dtype, device
        self._made: dict[str, Any] = {}
        # Random parts are the same whenever they are first needed.
        self._seed = 0 if folder else int(torch.randint(2**31, ()))

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype = torch.float32) -> Parts:
        """The pipeline in a folder; no weights are read yet.

        Raises InputError where the folder holds no pipeline, or a part of it is missing or damaged.
        """
        index = _record(folder / INDEX)
        pipeline = str(index.get("_class_name"))
        specs, options = {}, {}
        for name, value in index.items():
            if name.startswith("_"):
                continue
            if isinstance(value, list) and len(value) == 2:
                if value[0] is not None:
                    specs[name] = {
                        "library": value[0],
                        "class": value[1],
                        "config": _config(folder, name, value[1]),
                    }
            else:
                options[name] = value
        return cls(pipeline, specs, options, folder, dtype)

    def to_dict(self) -> dict[str, Any]:
        """What `__init__` needs to build the same parts with random weights: JSON."""
        return {"pipeline": self.pipeline, "specs": self.specs, "options": self.options}

    def __contains__(self, name: str) -> bool:
        return name in self.specs

    def __deepcopy__(self, memo: dict[int, Any]) -> Parts:
        return self

    def config(self, name: str) -> dict[str, Any]:
        """Configuration of a part. Raises InputError for a pipeline without it."""
        if name not in self.specs:
            raise InputError(f"{self.folder or self.pipeline}: this {self.pipeline} has no {name}")
        return self.specs[name]["config"]

    def get(self, name: str) -> Any:
        """A part, built the first time. Raises InputError where it is missing, damaged or does not fit."""
        if name not in self._made:
            self._made[name] = self.take(name)
        return self._made[name]

    def take(self, name: str) -> Any:
        """As `get`, for who keeps it: it is not held here, and built anew the next time."""
        config, spec = self.config(name), self.specs[name]
        kind = _class(spec["library"], spec["class"])
        # Weights are drawn before they are read; whoever comes here first must not find other noise after it.
        with torch.random.fork_rng(devices=[]):
            if self.folder:
                made = _read(kind, self.folder / name, name, self.dtype)
            else:
                torch.manual_seed(self._seed + sum(name.encode()))
                with torch.device(self.device):
                    made = _build(kind, name, config)
        return made.requires_grad_(False).eval() if isinstance(made, torch.nn.Module) else made

    def save(self, folder: Path, modules: Mapping[str, Any]) -> None:
        """Write a folder that `read` reads, and diffusers too. modules: parts that are held elsewhere."""
        index: dict[str, Any] = {"_class_name": self.pipeline, **self.options}
        for name, spec in self.specs.items():
            index[name] = [spec["library"], spec["class"]]
            part = modules.get(name) or self.get(name)
            with _quiet():
                part.save_pretrained(folder / name)
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def diffusers() -> Any:
    """The package. Raises InputError naming the extra that installs it."""
    return _library("diffusers")


def is_pipeline(folder: Path) -> bool:
    """Whether a folder holds a diffusers pipeline."""
    return (folder / INDEX).is_file()


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != name:
            raise
        raise InputError(
            f"video diffusion models need {name}, which is not installed: pip install 'phys4d[video]'"
        ) from None


def _class(library: str, name: str) -> Any:
    try:
        return getattr(_library(library), name)
    except AttributeError:
        raise InputError(f"the installed {library} does not know {name}; a newer one may") from None
    except RuntimeError as error:
        # Both libraries import a class's module when it is first asked for.
        reason = " ".join(str(error).split())
        raise InputError(f"{name} of {library} cannot be imported: {reason}") from error


def _build(kind: Any, name: str, config: Spec) -> Any:
    if name.startswith("tokenizer"):
        return byte_tokenizer()
    if hasattr(kind, "from_config"):
        with _quiet():
            return kind.from_config(dict(config))
    return kind(kind.config_class(**config)) if hasattr(kind, "config_class") else kind(**config)


def _read(kind: Any, folder: Path, name: str, dtype: torch.dtype) -> Any:
    # The name of transformers' own argument differs from that of diffusers.
    options = {"dtype" if name.startswith(("text", "image_encoder")) else "torch_dtype": dtype}
    try:
        with _quiet():
            return kind.from_pretrained(folder, local_files_only=True, **(options if name in MODELS else {}))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder}: cannot be read as {kind.__name__} ({reason[:300]}); copy the model again"
        ) from error


def _config(folder: Path, name: str, kind: str) -> dict[str, Any]:
    place = folder / name
    if not place.is_dir():
        raise InputError(f"{folder}: its {name} ({kind}) is missing; copy or download the model again, whole")
    found = next((place / config for config in CONFIGS if (place / config).is_file()), None)
    if found is None:
        if name.startswith(("tokenizer", "image_processor", "feature_extractor")):
            return {}
        raise InputError(f"{place}: holds no {CONFIGS[0]}; copy or download the model again, whole")
    weights = [path for pattern in ("*.safetensors", "*.bin") for path in place.glob(pattern)]
    if name in MODELS and not weights:
        raise InputError(f"{place}: holds no weights (*.safetensors); copy or download the model again, whole")
    if name in MODELS and not any(path.suffix == ".safetensors" for path in weights):
        raise InputError(
            f"{place}: holds its weights as a pickle; phys4d reads safetensors alone, convert them first"
        )
    return _record(found)


def _record(path: Path) -> dict[str, Any]:
    from phys4d.backbones.storage import read_record

    return read_record(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and remarks of the libraries about what is as it should be."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except MemoryError:
        raise WorkError("memory ran out while a model was read; close others, or load it as bfloat16") from None
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)

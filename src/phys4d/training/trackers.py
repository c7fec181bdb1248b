"""Trackers of experiments, beside TensorBoard: optional, and on this machine alone unless the person asks.

trackio   into its own folder, which `trackio show` serves; to a Space where TRACKIO_SPACE_ID names one
wandb     into RUN/wandb, which `wandb sync` sends later; at once where WANDB_MODE=online says so

A person asks by these variables, which are the trackers' own; a setting of a run never does.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from phys4d.errors import InputError, Registry

PROJECT = "phys4d"


class Tracker(Protocol):
    """Where numbers go. Names are `train/loss`, `validation/psnr`, ..."""

    def log(self, numbers: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


trackers: Registry[Callable[[Path, dict[str, Any]], Tracker]] = Registry("tracker")
"""By name: what opens the tracker of a run, given its folder and settings."""


def tracker_of(name: str, run: Path, settings: dict[str, Any]) -> Tracker | None:
    """The tracker of a run; None for "none". Raises InputError where its package is missing."""
    return None if name == "none" else trackers[name](run, settings)


def check_tracker(name: str) -> None:
    """Raise InputError, naming the extra to install, where a tracker's package is missing."""
    if name != "none":
        _package(name)


@trackers.register("trackio")
class Trackio:
    """https://github.com/gradio-app/trackio"""

    def __init__(self, run: Path, settings: dict[str, Any]) -> None:
        package = _package("trackio")
        # What it measures of the machine by itself belongs to no step.
        options = {"resume": "allow", "embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
        self.run = package.init(project=PROJECT, name=_title(run), config=settings, **options)

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.run.log(numbers, step=step)

    def close(self) -> None:
        self.run.finish()


@trackers.register("wandb")
class Wandb:
    """https://github.com/wandb/wandb"""

    def __init__(self, run: Path, settings: dict[str, Any]) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        if mode == "offline":
            # It would report its own failures to its makers.
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        run.mkdir(parents=True, exist_ok=True)
        self.run = _package("wandb").init(
            project=PROJECT,
            name=_title(run),
            id=hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16],
            # Offline it cannot know what it has; the parts meet under one id when they are sent.
            resume="allow" if mode == "online" else None,
            dir=str(run),
            mode=mode,
            config=settings,
        )

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.run.log(numbers, step=step)

    def close(self) -> None:
        self.run.finish()


def _title(run: Path) -> str:
    """The last two parts of a run's place: run folders are often called alike."""
    return "/".join(run.resolve().parts[-2:])


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"tracker={name} needs the package {name}: pip install 'phys4d[{name}]'") from None

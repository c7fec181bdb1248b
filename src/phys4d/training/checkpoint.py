"""Checkpoints: everything that a run needs to go on, written whole or not at all, checked when read.

A checkpoint is a folder `RUN/checkpoints/step-00000100` with `state.pt` (tensors and plain numbers, read with
`weights_only`, so that nothing in it can run) and its SHA-256.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from phys4d.atomic import new_folder
from phys4d.errors import Phys4DWarning, WorkError

FOLDER = "checkpoints"
_STATE, _SUM = "state.pt", "state.sha256"


def save_checkpoint(run: Path, step: int, state: dict[str, Any], *, keep: int) -> Path:
    """Write the state at `step` and remove all but the `keep` latest, and any beyond `step`.

    Those beyond are damaged ones that a continued run went back from; they must not count among the kept.
    """
    place = run / FOLDER / f"step-{step:08d}"
    with new_folder(place) as folder:
        torch.save(state, folder / _STATE)
        (folder / _SUM).write_text(_digest(folder / _STATE) + "\n", encoding="ascii")
    folders = _folders(run)
    last = folders.index(place) + 1
    for old in folders[: max(0, last - keep)] + folders[last:]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def load_checkpoint(run: Path) -> tuple[int, dict[str, Any]] | None:
    """(step, state) of the latest whole checkpoint, or None where there is none.

    A damaged one is named in a warning and the one before is taken. Raises WorkError where all are damaged.
    """
    folders = _folders(run)
    for folder in reversed(folders):
        try:
            return int(folder.name.removeprefix("step-")), verified_state(folder)
        except WorkError as error:
            warnings.warn(f"{error}; going back to the one before", Phys4DWarning, stacklevel=2)
    if folders:
        raise WorkError(f"{run / FOLDER}: every checkpoint is damaged; start the run again in another folder")
    return None


def verified_state(folder: Path) -> dict[str, Any]:
    """The state in a checkpoint folder. Raises WorkError where it is not what was written."""
    try:
        stated = (folder / _SUM).read_text(encoding="ascii").strip()
        if stated != _digest(folder / _STATE):
            raise WorkError(f"{folder}: damaged, its checksum differs")
        return torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    except WorkError:
        raise
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise WorkError(f"{folder}: cannot be read ({type(error).__name__})") from error


def _folders(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("step-[0-9]*"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

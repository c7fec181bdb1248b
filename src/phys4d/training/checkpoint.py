"""Checkpoints: everything that a run needs to go on, written whole or not at all, checked when read.

A checkpoint is a folder `RUN/checkpoints/step-00000100`. Its tensors are safetensors, written by all processes
together, each its share (torch.distributed.checkpoint), and read by any number of them; `state.json` has the plain
numbers, and `state.sha256` the checksums of all that (`sha256sum -c` reads it, too). Nothing in it can run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from phys4d.atomic import new_folder
from phys4d.errors import InputError, Phys4DWarning, WorkError
from phys4d.training.ranks import from_all, rank_and_size, wait_for_all

FOLDER = "checkpoints"
STATE, SUMS = "state.json", "state.sha256"
_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint, not yet read. told: its plain numbers; tensors: shapes and types by name."""

    folder: Path
    step: int
    told: dict[str, Any]
    tensors: dict[str, TensorStorageMetadata]

    def read_into(self, tensors: dict[str, Tensor]) -> None:
        """Fill tensors of the same names, sharded or not, in place. Every process must come here.

        Raises InputError where names or shapes differ: it is the checkpoint of another model.
        """
        there = {name: tuple(found.size) for name, found in self.tensors.items()}
        wanted = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        differ = sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))
        if differ:
            raise InputError(
                f"{self.folder}: checkpoint of another model: {len(differ)} tensors differ (first: {differ[0]}, "
                f"{there.get(differ[0], 'missing')} for {wanted.get(differ[0], 'nothing')})"
            )
        with _explained(self.folder):
            load(
                {name: tensor.detach() for name, tensor in tensors.items()},
                storage_reader=HuggingFaceStorageReader(str(self.folder)),
                no_dist=rank_and_size()[1] == 1,
            )

    def read(self) -> dict[str, Tensor]:
        """All tensors, whole, on the CPU."""
        tensors = {name: torch.empty(t.size, dtype=t.properties.dtype) for name, t in self.tensors.items()}
        self.read_into(tensors)
        return tensors


def save_checkpoint(run: Path, step: int, tensors: dict[str, Tensor], told: dict[str, Any], *, keep: int) -> Path:
    """Write the state at `step` and remove all but the `keep` latest, and any beyond `step`.

    Those beyond are damaged ones that a continued run went back from; they must not count among the kept. Every
    process must come here, with its shares of the same tensors; what is not sharded is written once. Raises
    WorkError where it cannot be written; the ones before are then still there.
    """
    place = run / FOLDER / f"step-{step:08d}"
    first = rank_and_size()[0] == 0
    with new_folder(place) if first else contextlib.nullcontext(place) as own:
        folder = from_all(own)[0]
        with _explained(place):
            save(
                {name: tensor.detach() for name, tensor in tensors.items()},
                storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
                no_dist=rank_and_size()[1] == 1,
            )
        if first:
            record = {"phys4d": _VERSION, "step": step, **told}
            (folder / STATE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        wait_for_all()
        sums = _digests(folder)
        if first:
            lines = (f"{digest}  {name}\n" for name, digest in sums.items())
            (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    if first:
        folders = _folders(run)
        last = folders.index(place) + 1
        for old in folders[: max(0, last - keep)] + folders[last:]:
            shutil.rmtree(old, ignore_errors=True)
    # No process may end, and have the others ended, before this is in place.
    wait_for_all()
    return place


def latest_checkpoint(run: Path) -> Checkpoint | None:
    """The latest whole checkpoint, or None where there is none. Every process must come here.

    A damaged one is named in a warning and the one before is taken. Raises WorkError where all are damaged.
    """
    folders = from_all(_folders(run))[0]
    for folder in reversed(folders):
        try:
            return open_checkpoint(folder)
        except WorkError as error:
            if rank_and_size()[0] == 0:
                warnings.warn(f"{error}; going back to the one before", Phys4DWarning, stacklevel=2)
    if folders:
        raise WorkError(f"{run / FOLDER}: every checkpoint is damaged; start the run again in another folder")
    return None


def open_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in a folder. Raises WorkError where it is not what was written."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        stated = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        found = _digests(folder)
    except (OSError, UnicodeDecodeError) as error:
        raise WorkError(f"{folder}: cannot be read ({type(error).__name__})") from error
    if STATE not in stated or stated != found:
        differ = sorted(name for name in stated.keys() | found.keys() if stated.get(name) != found.get(name))
        raise WorkError(f"{folder}: damaged, the checksum of {', '.join(differ) or STATE} differs")
    try:
        told = json.loads((folder / STATE).read_text(encoding="utf-8"))
        metadata = HuggingFaceStorageReader(str(folder)).read_metadata()
    except (ValueError, KeyError, SafetensorError) as error:
        raise WorkError(f"{folder}: cannot be read ({type(error).__name__})") from error
    if told.pop("phys4d", None) != _VERSION:
        raise WorkError(f"{folder}: written by another version of phys4d")
    tensors = {
        name: found
        for name, found in metadata.state_dict_metadata.items()
        if isinstance(found, TensorStorageMetadata)
    }
    return Checkpoint(folder, told.pop("step"), told, tensors)


def _folders(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("step-[0-9]*"))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but that of the checksums; each process takes its share of them."""
    rank, ranks = rank_and_size()
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    own = {}
    for name in names[rank::ranks]:
        with (folder / name).open("rb") as file:
            own[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return dict(sorted(pair for some in from_all(own) for pair in some.items()))


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What went wrong in any process, as a WorkError in every one."""
    with warnings.catch_warnings():
        # That one process by itself is no group of processes is as it should be.
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        try:
            yield
        except CheckpointException as error:
            reasons = [failure[0] for failure in error.failures.values()]
            full = any(isinstance(r, OSError) and r.errno in (errno.ENOSPC, errno.EDQUOT) for r in reasons)
            mend = "the disk is full; free some space and go on with --resume" if full else str(reasons[0])
            raise WorkError(f"{folder}: {mend}") from error

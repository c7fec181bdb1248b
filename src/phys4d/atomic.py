"""Files and folders that appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from phys4d.errors import InputError, WorkError


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it is removed.

    Raises InputError where the place cannot be written, WorkError where the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    with explained(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it replaces `path`, on failure it is removed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    with explained(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                # A folder cannot replace a folder in one step; the old one stays until the new one is in place.
                old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
                path.rename(old)
                try:
                    temporary.rename(path)
                except BaseException:
                    old.rename(path)
                    raise
                shutil.rmtree(old, ignore_errors=True)
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the system says where `path` cannot be written, as an InputError or WorkError for people."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkError(f"{path}: the disk is full; free some space and run the same command again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(
                f"{path}: no permission to write there; choose another place for the output"
            ) from error
        if error.errno in (errno.EISDIR, errno.ENAMETOOLONG):
            raise InputError(f"{path}: cannot be a file ({error.strerror}); choose another place") from error
        if error.errno in (errno.ENOENT, errno.ELOOP) and _concerns(error, path):
            raise InputError(f"{path}: cannot be made there ({error.strerror}); choose another place") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise InputError(f"{path}: a file stands where a folder is needed; choose another place") from error
        raise


def _concerns(error: OSError, path: Path) -> bool:
    """Whether it is the output that is missing its place, and not something that was read for it."""
    place = Path(str(error.filename))
    return place.suffix == ".partial" or path.is_relative_to(place)

"""phys4d: physics-consistent 4D worlds from video diffusion models.

Exit codes: 0 done, 1 the work failed, 2 bad input. With --debug, errors come with their traceback.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import sys
import warnings
from collections.abc import Callable
from typing import Any

import tyro

from phys4d.cli import data, models, reports, worlds
from phys4d.cli.app import COMMANDS, app
from phys4d.errors import InputError, Phys4DError, Phys4DWarning, unknown_name
from phys4d.usage import usage_problem

GPU_FULL = (
    "the GPU's memory ran out; lower batch_size (and raise accumulate), or take smaller or shorter clips.\n"
    "`phys4d train STAGE --recipe NAME --dry-run` tells what a step needs."
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings():
            warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
            return _parse([argument for argument in arguments if argument != "--debug"])() or 0
    except KeyboardInterrupt:
        print("\nphys4d: interrupted; what was finished stays, the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except (Phys4DError, OSError, MemoryError) as error:
        if debug:
            raise
        message, code = _explain(error)
        print(f"phys4d: {message}", file=sys.stderr)
        return code
    except Exception as error:
        if debug:
            raise
        # Told by its name: torch is not imported where a command needs none.
        if type(error).__name__ == "OutOfMemoryError":
            print(f"phys4d: {GPU_FULL}", file=sys.stderr)
            return 1
        print(f"phys4d: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of phys4d; --debug shows where.", file=sys.stderr)
        return 1


def _explain(error: Phys4DError | OSError | MemoryError) -> tuple[str, int]:
    """Message and exit code."""
    if isinstance(error, Phys4DError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "memory ran out; ask for fewer frames, a smaller size or fewer --workers", 1
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; free some space and run the same command again", 1
    users = (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
    return f"{where}{error.strerror or error}", 2 if isinstance(error, users) else 1


def _show_warning(
    others: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any
) -> None:
    if issubclass(category, Phys4DWarning):
        print(f"phys4d: warning: {message}", file=sys.stderr)
    else:
        others(message, category, *rest)


def _parse(arguments: list[str]) -> Callable[[], int | None]:
    """The command and its arguments, ready to be called. Raises InputError in one or two lines for wrong ones."""
    if not arguments:
        raise InputError(f"say what to do: phys4d {'|'.join(COMMANDS)}\n`phys4d --help` shows more.")
    if arguments == ["--version"]:
        return _print_version
    name = arguments[0]
    if name.startswith("-") and name not in ("-h", "--help"):
        raise InputError(f"{name} comes before the command; say phys4d {'|'.join(COMMANDS)} first")
    if name not in ("-h", "--help", *COMMANDS):
        raise InputError(unknown_name("command", name, COMMANDS))
    helping = f"`phys4d {name} --help`" if name in COMMANDS else "`phys4d --help`"
    if name in COMMANDS and not {"-h", "--help"} & set(arguments):
        problem = usage_problem(COMMANDS[name], arguments[1:])
        if problem:
            raise InputError(f"{problem}\n{helping} shows what there is.")
    words = io.StringIO()
    try:
        with contextlib.redirect_stderr(words):
            return app.cli(
                prog="phys4d",
                description=__doc__,
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        # What tyro says in a box with a title, a message and more, said in a line.
        inside = [line.strip("│ ") for line in words.getvalue().splitlines() if line.startswith("│")]
        message = " ".join(inside[: next((k for k, line in enumerate(inside) if line.startswith("──")), None)])
        message = message or "the command line is not understood"
        raise InputError(f"{message}\n{helping} shows what there is.") from None


def _print_version() -> None:
    import importlib.metadata

    print(f"phys4d {importlib.metadata.version('phys4d')}")


def entry() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a name shows its code instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())


__all__ = ["data", "entry", "main", "models", "reports", "worlds"]

"""The two ways in which things go wrong, and the one way in which names are looked up.

`InputError` is the user's to mend (exit code 2); `WorkError` is a failure at work (exit code 1). Both carry
one or two lines for a person: what is wrong, where, and the mend.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar, cast

Entry = TypeVar("Entry")
Named = TypeVar("Named")


class Phys4DError(Exception):
    """Base of every error that phys4d raises on purpose."""

    exit_code = 1

    @property
    def line(self) -> str:
        """The message on one line, for lists of what went wrong."""
        return str(self).replace("\n", " ")


class InputError(Phys4DError, ValueError):
    """Input or usage that the user can mend: a missing file, an unknown name, an impossible parameter."""

    exit_code = 2


class WorkError(Phys4DError, RuntimeError):
    """Work that could not be finished: a full disk, a simulation that exploded, a worker that died."""


class ExplodedError(WorkError):
    """A simulation that is not to be believed: NaN, energy from nowhere, things flown away."""


class MissingFieldError(InputError):
    """A consumer needs fields of a `World4D` that this world does not have."""


class Phys4DWarning(UserWarning):
    """Something the user should know that does not stop the work."""


class Registry(Generic[Entry]):
    """Named things of one kind (scenes, engines, backbones, teachers): a dict and a decorator."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Named], Named]:
        """Decorator that files its argument under `name`, and leaves it as it is; a name is given once."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")

        def add(entry: Named) -> Named:
            self._entries[name] = cast(Entry, entry)
            return entry

        return add

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise InputError(unknown_name(self.kind, name, self._entries)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


def unknown_name(kind: str, name: str, known: object) -> str:
    """The message for a name that is not there: the nearest one, then all of them."""
    names = sorted(str(entry) for entry in known)  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint}\nKnown: {', '.join(names) or 'none'}."

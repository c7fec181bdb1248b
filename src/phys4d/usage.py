"""What is wrong with a command line, said plainly before the parser sees it.

The parser's own messages are long and name Python types, and of two equal options it silently takes the last.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple, get_args, get_type_hints

MANY = 1000


class _Option(NamedTuple):
    """What an option takes: values of a kind, at least and at most so many."""

    kind: type
    least: int
    most: int
    metavar: str
    required: bool


def usage_problem(function: Callable[..., Any], words: list[str]) -> str | None:
    """What is wrong with the words after a command; None where nothing is that shows here."""
    options, positionals = _accepted(function)
    given: dict[str, list[str]] = {}
    loose: list[str] = []
    name = ""
    for word in words:
        if re.match(r"--?[a-zA-Z]", word):
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            if name not in options:
                near = difflib.get_close_matches(name, options, n=1)
                return f"no option {name}." + (f" Did you mean {near[0]}?" if near else "")
            if name in given:
                several = (
                    f"; name several after one: {name} A B" if options[name].most > options[name].least else ""
                )
                return f"{name} is given twice{several}"
            given[name] = [value] if equals else []
        elif name and len(given[name]) < options[name].most:
            given[name].append(word)
        else:
            loose.append(word)
    for name, values in given.items():
        kind, least, most, metavar, _ = options[name]
        if not least <= len(values) <= most:
            return f"{name} takes {metavar if most else 'no value'}, not {' '.join(values) or 'nothing'}"
        for value in values:
            if not _is_a(kind, value):
                return f"{name} takes {metavar}: {value!r} is no {'whole ' if kind is int else ''}number"
    most = sum(place.most for place in positionals)
    if len(loose) > most:
        return f"{loose[most]!r} is one word too many"
    unsaid = [f"{name} {o.metavar}" for name, o in options.items() if o.required and name not in given]
    missing = [place.metavar for place in positionals[len(loose) :]] + unsaid
    return f"missing: {', '.join(missing)}" if missing else None


def _accepted(function: Callable[..., Any]) -> tuple[dict[str, _Option], list[_Option]]:
    """The options of a command by their names, and its positional arguments, of which the last may be several."""
    options: dict[str, _Option] = {}
    positionals: list[_Option] = []
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        kind, *notes = get_args(hints[parameter.name])
        described: Any = next(note for note in notes if hasattr(note, "metavar"))
        if type(None) in get_args(kind):
            kind = get_args(kind)[0]
        parts = get_args(kind)
        least, most = (1, MANY) if Ellipsis in parts else (len(parts) or int(kind is not bool),) * 2
        required = parameter.default is parameter.empty
        option = _Option(parts[0] if parts else kind, least, most, described.metavar, required)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positionals.append(option)
        else:
            options["--" + (described.name or parameter.name.replace("_", "-"))] = option
    return options, positionals


def _is_a(kind: type, value: str) -> bool:
    if kind not in (int, float):
        return True
    try:
        kind(value)
    except ValueError:
        return False
    return True

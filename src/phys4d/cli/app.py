"""The application that commands are filed in, and the types that they share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.extras import SubcommandApp

app = SubcommandApp()
arg = tyro.conf.arg
Command = Callable[..., int | None]
COMMANDS: dict[str, Command] = {}

Count = Annotated[int, arg(metavar="N")]
Size = Annotated[tuple[int, int], arg(metavar="H W")]
WorldPath = Annotated[tyro.conf.Positional[Path], arg(metavar="WORLD")]
Intrinsics = Annotated[
    tuple[float, float, float, float] | None,
    arg(metavar="FX FY CX CY", help_behavior_hint="(default: those in the folder's intrinsics.txt)"),
]


def command(function: Command) -> Command:
    """File a function as a command. Parsing returns it with its arguments, to be called once they are right."""

    @functools.wraps(function)
    def later(*arguments: Any, **options: Any) -> Callable[[], int | None]:
        return functools.partial(function, *arguments, **options)

    app.command(later)
    COMMANDS[function.__name__] = function
    return function

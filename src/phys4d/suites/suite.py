"""What a suite is asked, and the suites by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from phys4d.errors import InputError, Registry
from phys4d.evaluation import Report


@dataclasses.dataclass(frozen=True)
class SuiteRequest:
    """One run of a suite. Each suite says which of these it needs, and refuses those that it cannot use.

    model: a name or a folder, which makes what is judged. videos: what was made already, in the suite's own layout
    or as a data set. benchmark: the suite's data (its truth), in its public layout. subset: names of categories or
    scenarios, all of them if empty. limit: at most so many items, evenly from the whole. runs: generations of each
    item, for the spread between seeds. exact: the public code's own path where ours differs in rounding.
    seed: of generations and of the bootstrap. workers: processes.
    """

    model: str | None = None
    videos: Path | None = None
    benchmark: Path | None = None
    subset: tuple[str, ...] = ()
    limit: int | None = None
    runs: int = 1
    exact: bool = False
    steps: int | None = None
    seed: int = 0
    workers: int = 1

    def need(self, suite: str, *names: str) -> None:
        """Raise InputError, which names the flag, where one of these fields was not given."""
        for name in names:
            if getattr(self, name) is None:
                raise InputError(f"--suite {suite} needs --{name}")

    def refuse(self, suite: str, *names: str) -> None:
        """Raise InputError, which names the flag, where one of these fields was given: never ignore one."""
        for field in dataclasses.fields(self):
            if field.name in names and getattr(self, field.name) != field.default:
                raise InputError(f"--suite {suite} cannot use --{field.name}")


Suite = Callable[[SuiteRequest], Report]
SUITES: Registry[Suite] = Registry("suite")


def suites() -> Registry[Suite]:
    """Every suite by its name."""
    # Imported when first asked for: a suite may need packages that take seconds to load.
    import phys4d.suites.horizon
    import phys4d.suites.physics_iq
    import phys4d.suites.point_maps
    import phys4d.suites.tapvid3d
    import phys4d.suites.video_depth  # noqa: F401

    return SUITES


def suite_of(name: str) -> Suite:
    """The suite of that name; an unknown one raises InputError with the known ones."""
    return suites()[name]

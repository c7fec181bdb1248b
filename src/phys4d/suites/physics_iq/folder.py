"""The public layout of Physics-IQ and Physics-IQ Verified: which files belong to which view of which scenario.

    DIR/split-videos/testing/30FPS/0001_testing-videos_30FPS_perspective-left_take-1_trimmed-ball-and-block-fall.mp4
    DIR/video-masks/real/30FPS/0001_video-masks_30FPS_perspective-left_take-1_trimmed-ball-and-block-fall.mp4
    DIR/switch-frames/0001_switch-frames_anyFPS_perspective-left_trimmed-ball-and-block-fall.jpg
    DIR/descriptions.csv (or DIR/descriptions/...; or beside DIR): scenario, description, category, ...

Generated videos keep the number of the first take: 0001_perspective-left_trimmed-ball-and-block-fall.mp4.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from phys4d.data.opening import evenly
from phys4d.errors import InputError, unknown_name

TAKES = ("take-1", "take-2")
SOURCE_FPS = 30
"""The rate of the recordings, from which others are made."""
TESTING = ("split-videos/testing", "split-videos/testing-videos")
"""Where the takes are, by the public code and by its description."""
DESCRIPTIONS = (
    "descriptions_base.csv", "descriptions.csv", "descriptions_original.csv", "descriptions_*.csv",
)  # fmt: skip
"""Names of the description files, those of Physics-IQ Verified first."""
_SCENARIO = re.compile(r"(\d{4})_(perspective-\w+)_(take-\d)_(?:trimmed-)?([^_]+)\.mp4")
_NUMBER = re.compile(r"(\d{4})_.*\.mp4")


@dataclasses.dataclass(frozen=True)
class ViewFiles:
    """One view of a scenario, as described. numbers: of take 1 and take 2; stem: the scenario's name in files."""

    scenario: str
    view: str
    category: str
    prompt: str
    numbers: tuple[str, str]
    stem: str

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.view}"

    @property
    def generated_name(self) -> str:
        return f"{self.numbers[0]}_{self.view}_{self.stem}.mp4"


class Benchmark:
    """A folder of the benchmark, or its parent.

    Raises InputError where recordings or descriptions are not there, and for descriptions that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; --benchmark is the folder that holds split-videos")
        inner = [p for p in sorted(folder.iterdir()) if (p / "split-videos").is_dir()]
        if not (folder / "split-videos").is_dir() and len(inner) == 1:
            folder = inner[0]
        testing = [folder / name for name in TESTING if (folder / name).is_dir()]
        if not testing:
            raise InputError(f"{folder}: holds no {TESTING[0]}; is it the folder of Physics-IQ?")
        self.folder, self.testing = folder, testing[0]
        self.descriptions = _descriptions(folder)
        self.views = read_descriptions(self.descriptions)

    def source_fps(self, fps: int) -> int:
        """The rate of the recordings from which this one is had: itself, or SOURCE_FPS. Raises InputError."""
        for rate in (fps, SOURCE_FPS):
            if (self.testing / f"{rate}FPS").is_dir():
                return rate
        there = sorted(p.name for p in self.testing.iterdir() if p.is_dir())
        raise InputError(
            f"{self.testing}: has neither {fps}FPS nor {SOURCE_FPS}FPS, only {', '.join(there) or 'nothing'}"
        )

    def takes(self, view: ViewFiles, fps: int) -> tuple[Path, Path]:
        """The recordings of a view."""
        first, second = (
            self.testing / f"{fps}FPS" / f"{number}_testing-videos_{fps}FPS_{view.view}_{take}_{view.stem}.mp4"
            for number, take in zip(view.numbers, TAKES)
        )
        return first, second

    def masks(self, view: ViewFiles, fps: int) -> tuple[Path, Path] | None:
        """The masks that come with the recordings, where any do: Physics-IQ Verified corrects them by hand."""
        folder = self.folder / "video-masks" / "real" / f"{fps}FPS"
        if not folder.is_dir():
            return None
        first, second = (
            folder / f"{number}_video-masks_{fps}FPS_{view.view}_{take}_{view.stem}.mp4"
            for number, take in zip(view.numbers, TAKES)
        )
        return first, second

    def switch_frame(self, view: ViewFiles) -> Path:
        """The picture from which a video of this view begins."""
        stem = f"{view.numbers[0]}_switch-frames_anyFPS_{view.view}_{view.stem}"
        found = [self.folder / "switch-frames" / f"{stem}{ending}" for ending in (".jpg", ".jpeg", ".png")]
        return next((path for path in found if path.is_file()), found[0])

    def choose(self, subset: Sequence[str], limit: int | None) -> list[ViewFiles]:
        """The views of the named scenarios, categories or views, of at most `limit` scenarios, evenly."""
        names = {name for view in self.views for name in (view.scenario, view.category, view.view)}
        for name in subset:
            if name not in names:
                raise InputError(unknown_name("scenario, category or view", name, names))
        wanted = set(subset)
        views = [v for v in self.views if not wanted or wanted & {v.scenario, v.category, v.view}]
        scenarios = list(dict.fromkeys(view.scenario for view in views))
        kept = {scenarios[i] for i in evenly(len(scenarios), limit)}
        return [view for view in views if view.scenario in kept]


def read_descriptions(path: Path) -> list[ViewFiles]:
    """The views that a description file lists, in its order. Raises InputError for what it does not say."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    lacking = [name for name in ("scenario", "description", "category") if not rows or name not in rows[0]]
    if lacking:
        raise InputError(f"{path}: no column {', '.join(lacking)}; it should be a description file of Physics-IQ")
    found: dict[tuple[str, str], dict[str, tuple[str, dict[str, str]]]] = {}
    for line, row in enumerate(rows, start=2):
        match = _SCENARIO.fullmatch(row["scenario"] or "")
        if not match:
            raise InputError(
                f"{path}, row {line}: {row['scenario']!r} is no scenario; they read like "
                "0001_perspective-left_take-1_trimmed-ball-and-block-fall.mp4"
            )
        number, view, take, _ = match.groups()
        stem = row["scenario"].split("_")[-1].removesuffix(".mp4")
        found.setdefault((stem, view), {})[take] = (number, row)
    views = []
    for (stem, view), takes in found.items():
        if set(takes) != set(TAKES):
            raise InputError(
                f"{path}: {stem}, {view} has {', '.join(sorted(takes))}; it needs {' and '.join(TAKES)}"
            )
        (first, row), (second, _) = takes["take-1"], takes["take-2"]
        scenario = stem.removeprefix("trimmed-")
        views.append(ViewFiles(scenario, view, row["category"], row["description"] or "", (first, second), stem))
    return views


def generated_runs(folder: Path, benchmark: Benchmark, views: Sequence[ViewFiles]) -> dict[str, list[Path]]:
    """The generated videos of every run, in the order of the views.

    A folder of videos is one run; a folder of such folders, one each. Raises InputError where a view has none or
    two, and for videos whose number the benchmark does not know.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --videos is the folder of generated videos")
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and any(p.glob("*.mp4")))
    if any(folder.glob("*.mp4")):
        inner = [folder]
    if not inner:
        raise InputError(f"{folder}: holds no .mp4; generated videos are named like {views[0].generated_name}")
    known = {view.numbers[0] for view in benchmark.views}
    runs = {}
    for place in inner:
        by_number: dict[str, list[Path]] = {}
        for path in sorted(place.glob("*.mp4")):
            match = _NUMBER.fullmatch(path.name)
            if not match or match[1] not in known:
                raise InputError(
                    f"{path}: belongs to no scenario; names begin with the number of a first take, "
                    f"like {views[0].generated_name}"
                )
            by_number.setdefault(match[1], []).append(path)
        twice = [paths for paths in by_number.values() if len(paths) > 1]
        if twice:
            raise InputError(f"{twice[0][0]} and {twice[0][1].name}: two videos of one view; keep one")
        lacking = [view.generated_name for view in views if view.numbers[0] not in by_number]
        if lacking:
            raise InputError(
                f"{place}: {len(lacking)} of {len(views)} videos are missing, first {lacking[0]}; "
                "--subset or --limit judges a part"
            )
        runs["run" if len(inner) == 1 else place.name] = [by_number[view.numbers[0]][0] for view in views]
    return runs


def _descriptions(folder: Path) -> Path:
    places = [folder, folder / "descriptions", folder / "descriptions" / "best_practice"]
    places += [folder.parent, folder.parent / "descriptions", folder.parent / "descriptions" / "best_practice"]
    for level in (places[:3], places[3:]):
        for name in DESCRIPTIONS:
            found = [path for place in level for path in sorted(place.glob(name))]
            if found:
                return found[0]
    raise InputError(
        f"{folder}: no descriptions.csv there, in its folder descriptions, or beside it; the public code has it"
    )

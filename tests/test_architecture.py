"""The house stands as it was drawn: imports point down, files stay small, nothing heavy slips in.

Each rule is a function of a source tree, so that it can be shown a tree that breaks it.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "phys4d"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("geometry", "codecs", "errors", "atomic"),
    ("world", "members", "pictures", "data"),
    ("sim", "backbones", "heads", "teachers"),
    ("model", "storage", "hub", "sampling", "losses", "rewards", "evaluation"),
    ("training",),
    ("recipes", "viewers", "judge", "ladder", "lifting", "suites", "demo", "about", "usage", "cli", "__main__"),
)
"""Rooms (the first name below phys4d) by floor, from the ground up."""

DOOR = "phys4d"
"""The package's own __init__.py may import anything."""

MOST_LINES = 500


def modules(root: Path) -> Iterator[tuple[Path, str, ast.Module]]:
    """Path, dotted name and syntax tree of every module below `root`, the folder of the package phys4d."""
    for path in sorted(root.rglob("*.py")):
        parts = [DOOR, *path.relative_to(root).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield path, name, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported when code runs; `package` is what relative imports start from."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from imports(ast.Module([other], []), package)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        else:
            yield from imports(node, package)


def room_of(name: str) -> str:
    return (name.split(".") + [""])[1]


def floor_faults(root: Path) -> list[str]:
    """Every import that points up, and every room without a floor."""
    floor = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    faults = []
    for path, name, tree in modules(root):
        if name == DOOR:
            continue
        where, room = path.relative_to(root), room_of(name)
        if room not in floor:
            faults.append(f"{where}: '{room}' has no floor yet; add it to FLOORS in tests/test_architecture.py")
            continue
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for line, target in imports(tree, package):
            if target.split(".")[0] != DOOR:
                continue
            goal = room_of(target)
            if goal not in floor:
                faults.append(
                    f"{where}:{line}: imports {target}, which has no floor (the door is for users alone)"
                )
            elif floor[goal] > floor[room]:
                faults.append(
                    f"{where}:{line}: '{room}' (floor {floor[room]}) imports '{goal}' (floor {floor[goal]})"
                )
    return faults


def torchvision_faults(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{line}: imports {target}"
        for path, name, tree in modules(root)
        for line, target in imports(tree, name)
        if target.split(".")[0] == "torchvision"
    ]


def size_faults(root: Path) -> list[str]:
    """Files that are too long, and rooms for everything and nothing."""
    faults = []
    for path in sorted(root.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            faults.append(f"{path.relative_to(root)}: {lines} lines, {MOST_LINES} at most")
        if path.stem in ("utils", "util", "helpers", "misc", "common"):
            faults.append(f"{path.relative_to(root)}: a file is named after the one thing it holds")
    return faults


PICKLES = ("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")


def pickle_faults(root: Path) -> list[str]:
    """Whatever could run code that a file brings along: pickles, read by whichever door."""
    faults = []
    for path, name, tree in modules(root):
        where = path.relative_to(root)
        # Naming the errors of a pickle harms nobody.
        faults += [
            f"{where}:{line}: imports {target}"
            for line, target in imports(tree, name)
            if target.split(".")[0] in PICKLES and target != "pickle" and not target.endswith("Error")
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
                if not node.attr.endswith("Error"):
                    faults.append(f"{where}:{node.lineno}: pickle.{node.attr}")
                continue
            if not isinstance(node, ast.Call):
                continue
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            said = ast.unparse(node.func)
            if said == "torch.load" and options.get("weights_only") != "True":
                faults.append(f"{where}:{node.lineno}: torch.load without weights_only=True")
            if options.get("allow_pickle", "False") != "False" or said.endswith("read_pickle"):
                faults.append(f"{where}:{node.lineno}: {said} of a pickle")
    return faults


HOME = re.compile(r"(?:/home/|/Users/|/root/|[A-Z]:\\Users\\)\w")


def home_faults(root: Path) -> list[str]:
    """Paths of somebody's machine in the sources."""
    return [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in sorted(root.rglob("*"))
        if path.suffix in (".py", ".html", ".js", ".json", ".toml", ".yaml", ".md", ".txt")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if HOME.search(line)
    ]


@pytest.mark.parametrize("rule", [floor_faults, torchvision_faults, pickle_faults, size_faults, home_faults])
def test_the_house_keeps_its_rules(rule):
    assert rule(SOURCE) == []


def test_every_room_is_on_one_floor():
    rooms = [room for floor in FLOORS for room in floor]
    assert len(rooms) == len(set(rooms))


IMPORT_EVERYTHING = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # An optional dependency that is not installed here; a module of ours must be there.
        if (error.name or "").split(".")[0] == "phys4d":
            raise
    except Exception as error:
        if "pip install" not in str(error) and "extra" not in str(error):
            raise
    assert "torchvision" not in sys.modules, f"{name} imports torchvision"
"""


def test_nothing_imports_torchvision_in_the_end():
    """Whatever is imported, by whichever dependency: torchvision stays out. The package itself comes first."""
    names = [name for path, name, _ in modules(SOURCE) if path.stem not in ("__main__",)]
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, DOOR, *names],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE.parent)},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]


def test_torchvision_is_not_even_installed_by_the_lock():
    lock = SOURCE.parents[1] / "requirements.lock"
    assert "torchvision" not in lock.read_text(encoding="utf-8")
    assert find_spec("phys4d") is not None


# Planted faults: each rule must see a tree that breaks it.


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_imports_that_point_up_are_seen_however_they_are_written(tmp_path):
    upward = {
        "geometry/plain.py": "import phys4d.world",
        "geometry/members.py": "from phys4d.sim import scene",
        "geometry/door.py": "from phys4d import losses",
        "geometry/relative.py": "from .. import training",
        "geometry/deeper.py": "from ..evaluation.report import Report",
        "geometry/late.py": "def f():\n    if True:\n        from phys4d import cli\n",
        "geometry/otherwise.py": "if TYPE_CHECKING:\n    pass\nelse:\n    import phys4d.data\n",
        "geometry/tried.py": "try:\n    import phys4d.model\nexcept ImportError:\n    pass\n",
        "geometry/__init__.py": "from ..viewers import html",
        "training/loop.py": "from phys4d.recipes import nano",
    }
    for number, (name, text) in enumerate(upward.items()):
        faults = floor_faults(plant(tmp_path / str(number), {name: text}))
        assert len(faults) == 1, (name, faults)
        assert faults[0].startswith(f"{name}:")
        assert "(floor " in faults[0]


def test_imports_that_point_down_or_only_name_types_are_let_through(tmp_path):
    files = {
        "__init__.py": "from phys4d.cli import main\n",
        "geometry/warp.py": "from .camera import project\nfrom phys4d import codecs\nimport numpy\n",
        "members.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from phys4d.cli import main\n"
        "def load():\n    from phys4d.world import World4D\n",
        "cli.py": "import phys4d.geometry.warp\nfrom phys4d.training.loop import run\nimport phys4dish\n",
    }
    root = plant(tmp_path, files)
    assert floor_faults(root) == []


def test_rooms_without_a_floor_are_seen(tmp_path):
    faults = floor_faults(plant(tmp_path, {"kitchen/sink.py": "", "cli.py": "from phys4d import World4D\n"}))
    assert len(faults) == 2
    assert "cli.py:1: imports phys4d.World4D, which has no floor" in faults[0]
    assert "'kitchen' has no floor yet; add it to FLOORS in tests/test_architecture.py" in faults[1]


def test_other_planted_faults_are_seen(tmp_path):
    files = {
        "long.py": "x = 1\n" * (MOST_LINES + 1),
        "short.py": "x = 1\n" * MOST_LINES,
        "sim/utils.py": "",
        "vision.py": "def f():\n    from torchvision.ops import nms\n",
        "harmless.py": "import torchvisionary\n# torchvision is not welcome here\n",
        "path.py": 'DATA = "/ho' + 'me/ada/data"\n',
        "jar.py": "import dill\nfrom pickle import loads\n",
        "load.py": "import torch\na = torch.load(p)\nb = torch.load(p, weights_only=False)\n",
        "open.py": "import pickle\na = pickle.loads(b)\n",
        "npz.py": "import numpy as np\na = np.load(p, allow_pickle=True)\n",
        "safe.py": "a = torch.load(p, weights_only=True)\nb = np.load(p, allow_pickle=False)\n"
        "import pickle\ntry:\n    f()\nexcept pickle.UnpicklingError:\n    pass\n",
    }
    root = plant(tmp_path, files)
    assert [fault.split(":")[0] for fault in size_faults(root)] == ["long.py", "sim/utils.py"]
    assert torchvision_faults(root) == ["vision.py:2: imports torchvision.ops.nms"]
    assert [fault.split(":")[0] for fault in home_faults(root)] == ["path.py"]
    jars = [fault.split(": ")[0] for fault in pickle_faults(root)]
    assert jars == ["jar.py:1", "jar.py:2", "load.py:2", "load.py:3", "npz.py:2", "open.py:2"]

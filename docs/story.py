"""Run the demo and print its tables; its animation becomes docs/worlds.webp."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from phys4d.demo import run


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        with contextlib.redirect_stdout(sys.stderr):
            run(out)
        shutil.copy(out / "worlds.webp", Path(__file__).parent / "worlds.webp")
        print((out / "table.txt").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()

"""Write the numbers into README.md and docs/: each is what a command printed.

    python docs/generate.py          (or: make docs)

A page asks for the output of a command with a comment, `<!-- $ python benchmarks/physics.py -->`; the code block
after it is replaced by what the command prints.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- \$ (?P<command>.+?) -->\n```text\n)(?P<output>.*?)(```\n)", re.DOTALL)


def output_of(command: str) -> str:
    """What a command prints; it must succeed."""
    words = shlex.split(command)
    words[0] = {"python": sys.executable, "phys4d": str(Path(sys.executable).with_name("phys4d"))}.get(
        words[0], words[0]
    )
    print(f"$ {command}", file=sys.stderr, flush=True)
    return subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        filled = BLOCK.sub(lambda m: f"{m[1]}{output_of(m['command']).rstrip()}\n{m[4]}", text)
        page.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()

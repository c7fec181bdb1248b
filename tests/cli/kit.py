"""What the tests of the command line share."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

SMALL = ("--size", "16", "16", "--frames", "3", "--clips", "3", "--shard-size", "2")
SIMULATE = ("simulate", "--scene", "ball_drop", *SMALL)


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(*words) -> subprocess.Popen[str]:
    """The command in a process of its own, as from a shell."""
    command = [sys.executable, "-u", "-m", "phys4d", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)

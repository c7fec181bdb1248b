"""The command line; `main.py` parses and reports, the commands are in `data.py`, `models.py`, `reports.py` and
`worlds.py`."""

from phys4d.cli.app import COMMANDS, app
from phys4d.cli.main import entry, main

__all__ = ["COMMANDS", "app", "entry", "main"]

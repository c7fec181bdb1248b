"""`python -m phys4d` is `phys4d`."""

from phys4d.cli import entry

entry()

"""`phys4d demo`: the whole story on the embedded model, in minutes on two cores."""

from phys4d.demo.story import run

__all__ = ["run"]

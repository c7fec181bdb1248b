"""Physics probes: bodies are followed through a world, and their paths asked whether mechanics allows them.

`bodies` says who is followed and how; `falling`, `impact` and `presence` ask. Each probe is a function of arrays
and a row of the table of metrics. `tolerances` says what true worlds score, which is as much as the instrument
resolves.
"""

from phys4d.evaluation.probes import falling, impact, presence

ROWS = (*falling.ROWS, *impact.ROWS, *presence.ROWS)
"""The metrics of these probes."""

__all__ = ["ROWS"]

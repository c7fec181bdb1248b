"""Prints the report of the suite physics-iq-sim on a few of its scenes, for docs/physics_iq.md."""

from __future__ import annotations

import sys

from phys4d.suites import SuiteRequest, suite_of

ROWS = ("projectile", "block_domino", "wrecking_ball")


def main() -> None:
    report = suite_of("physics-iq-sim")(SuiteRequest(model=sys.argv[1], subset=ROWS))
    print(report.table())


if __name__ == "__main__":
    main()

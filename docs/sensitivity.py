"""Print the sensitivity table: which violation moves which metric, measured now.

python docs/sensitivity.py [--doses]
"""

from __future__ import annotations

import argparse

from phys4d.evaluation.sensitivity import COLUMNS, DOSES, EXPECTED, LEGAL, allowed, scores, stage, sweep, verdict

MARKS = {"sees": "#", "unmoved": ".", "confused": "~", "unmeasured": " "}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doses", action="store_true")
    every = parser.parse_args().doses
    print(f"doses {', '.join(f'{dose:g}' for dose in DOSES)};  # sees it  . unmoved  ~ moved, not by dose;")
    print("(brackets: must see, or must not move)\n")
    found = {(row.violation, row.stage): sweep(row.violation, row.stage, COLUMNS) for row in EXPECTED}
    for line in range(max(map(len, COLUMNS))):
        letters = "".join(f" {name.rjust(max(map(len, COLUMNS)))[line]} " for name in COLUMNS)
        print(f"{'':30}{letters}".rstrip())
    for row in EXPECTED:
        cells = []
        for name in COLUMNS:
            mark = MARKS[verdict(name, found[row.violation, row.stage][name])]
            cells.append(f"[{mark}]" if name in (*row.sees, *row.unmoved) else f" {mark} ")
        print(f"{row.violation:17}{row.stage:13}{''.join(cells)}".rstrip())
    for name, words in LEGAL.items():
        values = scores(stage(name).world, name, COLUMNS)
        marks = (verdict(metric, [_perfect(metric), value]) for metric, value in values.items())
        print(f"{words[:29]:30}{''.join(f' {MARKS[mark]} ' for mark in marks)}".rstrip())
    if every:
        print()
        for (violation, on), values in found.items():
            for name, series in values.items():
                print(
                    f"{violation:17}{on:10}{name:18}{'  '.join(f'{v:9.4f}' for v in series)}  {allowed(name):.4f}"
                )


def _perfect(metric: str) -> float:
    return {"psnr": 100.0, "sharpness": 1.0, "object_iou": 1.0, "mask_iou": 1.0}.get(metric, 0.0)


if __name__ == "__main__":
    main()

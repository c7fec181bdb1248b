"""How tables are printed, everywhere: cells for numbers and intervals, text in columns, Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a table as lines of text in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def text_of(rows: Sequence[Sequence[str]]) -> str:
    """A table for terminals."""
    return "\n".join(aligned(rows))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    return [_line(header), _line(["---"] * len(header)), *map(_line, rows)]


def number_text(value: float | None) -> str:
    """Four digits, or - where there is no number."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def interval_text(row: Mapping[str, Any]) -> str:
    """ "[lo, hi]", or "one scene" where there is no spread to speak of."""
    if not (math.isfinite(row["lo"]) and math.isfinite(row["hi"])):
        return "one scene"
    return f"[{number_text(row['lo'])}, {number_text(row['hi'])}]"


def spread_text(row: Mapping[str, Any]) -> str:
    """ "± std" of a row, with two digits."""
    std = row.get("std", math.nan)
    return f"± {std:.2g}" if math.isfinite(std) else "-"


def ranged(value: float, lo: float, hi: float, sign: str = "") -> str:
    """A number and its interval in one cell, with three digits; sign: "+" for a change."""
    return f"{value:{sign}.3g} [{lo:{sign}.3g}, {hi:{sign}.3g}]"


def row_text(row: Mapping[str, Any] | None) -> str:
    """A row's value, with its interval over scenes and its spread over seeds where it has them; - without one."""
    if row is None or not math.isfinite(row["value"]):
        return "-"
    value, lo, hi = (float(row[key]) for key in ("value", "lo", "hi"))
    known = math.isfinite(lo) and math.isfinite(hi)
    text = ranged(value, lo, hi) if known else f"{value:.3g}"
    return f"{text} {spread_text(row)}" if math.isfinite(row.get("std", math.nan)) else text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"

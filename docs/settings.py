"""Prints every setting of every stage: its default, and what the recipe `nano` says instead."""

from __future__ import annotations

import dataclasses

from phys4d.evaluation.tables import text_of
from phys4d.recipes import recipes
from phys4d.training.config import TrainConfig
from phys4d.training.run import STAGES


def main() -> None:
    recipe = recipes["nano"]()
    shared = [field.name for field in dataclasses.fields(TrainConfig)]
    kinds = {stage: kind for stage, (_, kind) in STAGES.items()}
    print("of every stage (its recipe's, where it differs from the default)\n")
    rows = [["", "default", *kinds]]
    for name in shared:
        own = [getattr(recipe.settings(stage), name) for stage in kinds]
        default = getattr(TrainConfig(), name)
        rows.append([name, _text(default), *(_text(v) if v != default else "" for v in own)])
    print(text_of(rows))
    for stage, kind in kinds.items():
        default, own = kind(), recipe.settings(stage)
        names = [field.name for field in dataclasses.fields(kind) if field.name not in shared]
        print(f"\n{stage} alone (nano)\n")
        pairs = [(name, _text(getattr(default, name)), _text(getattr(own, name))) for name in names]
        print("  " + ", ".join(f"{name} {a}" + (f" ({b})" if a != b else "") for name, a, b in pairs))


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()

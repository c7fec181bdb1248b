"""Put the model of a training run among those that ship, in half precision; keep its curves in docs/runs.

python tools/ship.py runs/base/final nano-base
python tools/ship.py runs/finetune/final nano-finetune --base nano-base

--base: the shipped model on whose backbone this one was trained; its weights are then named, not stored again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from phys4d import WorldModel
from phys4d.atomic import write_text
from phys4d.storage import SHIPPED

RUNS = Path(__file__).resolve().parents[1] / "docs" / "runs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a model")
    parser.add_argument("name", help="name under which it ships")
    parser.add_argument("--base", help="shipped model whose backbone it shares")
    chosen = parser.parse_args()
    model = WorldModel.from_pretrained(chosen.model)
    model.meta["name"] = chosen.name
    if chosen.base:
        if not same_backbone(model, WorldModel.from_pretrained(chosen.base)):
            sys.exit(f"{chosen.model}: was not trained on the backbone of {chosen.base}")
        model.base = chosen.base
    folder = model.save_pretrained(SHIPPED / chosen.name, dtype=torch.float16)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{chosen.name}: {size / 2**20:.2f} MiB")
    if (log := chosen.model.parent / "log.jsonl").is_file():
        keep_curves(log, chosen.name)


def keep_curves(log: Path, name: str) -> None:
    """What a run logged, to four digits, for `docs/curves.py`."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    short = [{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    RUNS.mkdir(exist_ok=True)
    write_text(RUNS / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in short))


def same_backbone(model: WorldModel, other: WorldModel) -> bool:
    """Whether two backbones, without adapters, are the same in half precision."""
    mine, theirs = (
        {k.replace(".base_layer.", "."): v for k, v in m.backbone.state_dict().items() if ".lora_" not in k}
        for m in (model, other)
    )
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k].half(), theirs[k].half()) for k in mine)


if __name__ == "__main__":
    main()

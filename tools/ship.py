"""Put the model of a training run among those that ship, in half precision.

python tools/ship.py runs/base/final nano-base
python tools/ship.py runs/finetune/final nano-finetune --base nano-base

--base: the shipped model on whose backbone this one was trained; its weights are then named, not stored again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from phys4d import WorldModel
from phys4d.storage import SHIPPED


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


def same_backbone(model: WorldModel, other: WorldModel) -> bool:
    """Whether two backbones, without adapters, are the same in half precision."""
    mine, theirs = (
        {k.replace(".base_layer.", "."): v for k, v in m.backbone.state_dict().items() if ".lora_" not in k}
        for m in (model, other)
    )
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k].half(), theirs[k].half()) for k in mine)


if __name__ == "__main__":
    main()

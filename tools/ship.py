"""Put the model of a training run among those that ship, in half precision.

python tools/ship.py runs/finetune/final nano-finetune
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from phys4d import WorldModel
from phys4d.storage import SHIPPED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a model")
    parser.add_argument("name", help="name under which it ships")
    chosen = parser.parse_args()
    model = WorldModel.from_pretrained(chosen.model)
    model.meta["name"] = chosen.name
    folder = model.save_pretrained(SHIPPED / chosen.name, dtype=torch.float16)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{chosen.name}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()

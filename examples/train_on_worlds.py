"""Make a small data set and read it as a training loop would: shuffled batches of a few fields.

    python examples/train_on_worlds.py [DATA]

Ends with a check: an epoch shows every world once.
"""

import sys

import phys4d
from phys4d.data import training_loader

folder = sys.argv[1] if len(sys.argv) > 1 else "data"


def main() -> None:
    phys4d.simulate_dataset(folder, ["ball_drop", "ball_ramp"], clips=8, size=(32, 32), shard_size=4)
    worlds = phys4d.open_dataset(folder)
    print(worlds, worlds.index.column_names)

    seen = []
    for batch in training_loader(worlds, batch_size=2, fields=("rgb", "depth", "flow"), epochs=1):
        print(batch["prompt"][0], {name: tuple(batch[name].shape) for name in ("rgb", "depth", "flow")})
        seen += batch["key"]
    assert sorted(seen) == sorted(worlds.index.column("key").to_pylist()), "an epoch shows every world once"


if __name__ == "__main__":  # worker processes import this file
    main()

"""Makes shards by Ray in a process of its own: where Ray loses its node it ends the whole process at once.

python ray_shards.py FOLDER    writes here, there and failing, three data sets, and told.json
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path

import tiny_worlds

from phys4d.data import cluster
from phys4d.data.writer import write_dataset
from phys4d.errors import WorkError


def fails(payload):
    if payload["seed"] == 4:
        raise ValueError("no such world")
    return tiny_worlds.make(payload)


def main(folder: Path) -> None:
    ray, _ = cluster.connect()
    write = functools.partial(write_dataset, arguments={"seed": 0}, progress=False)
    same = functools.partial(write, plan=tiny_worlds.plan(7), make=tiny_worlds.make, shard_size=3)
    told = {name: dataclasses.asdict(same(folder / name, ray=name == "there")) for name in ("here", "there")}
    told["again"] = dataclasses.asdict(same(folder / "there", ray=True))
    half = functools.partial(write, folder / "failing", tiny_worlds.plan(6), shard_size=2, ray=True)
    try:
        half(fails)
    except WorkError as error:
        told["error"] = str(error)
    told["left"] = sorted(path.name for path in (folder / "failing").iterdir())
    told["mended"] = dataclasses.asdict(half(tiny_worlds.make))
    ray.shutdown()
    (folder / "told.json").write_text(json.dumps(told, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

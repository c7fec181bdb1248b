"""How fast worlds come out of shards: `python benchmarks/loader.py` (under a minute, no GPU).

Clips of 17 frames at 64x64 per second, each process with one thread: our loader (shuffled, random access) beside a
plain WebDataset pipeline (in the order of the shards) in the same run. "bytes" reads and does not decode.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import webdataset
from scipy import ndimage

from phys4d import codecs
from phys4d.data import Item, open_dataset, training_loader, write_dataset
from phys4d.geometry import look_at, motion_from_scene_flow
from phys4d.world import Camera, World4D

FRAMES, SIZE, BATCH = 17, 64, 8
ALL = tuple(name for name in World4D.FIELDS if name != "confidence")


def make(seed: int) -> World4D:
    """Shaded, textured balls that roll before a textured wall, seen by a moving camera."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.random((256, 256, 3)), (1.5, 1.5, 0), mode="wrap")
    texture = (texture - texture.min()) / np.ptp(texture)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    ids, depth, rgb, moved = [], [], [], []
    start, speed = rng.uniform(10, 54, (4, 2)), rng.uniform(-1.5, 1.5, (4, 2))
    for t in range(FRAMES):
        z = 6 + 0.02 * rows
        index = np.zeros((SIZE, SIZE), dtype=np.int32)
        u, v, light = columns + 0.7 * t, rows + 0.2 * t, 0.6 + 0.4 * rows / SIZE
        motion = np.zeros((SIZE, SIZE, 3))
        for ball, (centre, drift) in enumerate(zip(start, speed)):
            x, y = columns - centre[0] - drift[0] * t, rows - centre[1] - drift[1] * t
            height = np.sqrt(np.clip(81 - x**2 - y**2, 0, None)) / 9
            inside = (height > 0) & (4 + 0.3 * ball - 0.6 * height < z)
            z = np.where(inside, 4 + 0.3 * ball - 0.6 * height, z)
            index = np.where(inside, ball + 1, index)
            u, v = np.where(inside, 3 * x + 40 * ball, u), np.where(inside, 3 * y + 80, v)
            light = np.where(inside, 0.25 + 0.75 * height, light)
            motion[inside] = [*(drift * 0.06), 0.01 * ball]
        colour = [ndimage.map_coordinates(texture[..., c], [v, u], order=1, mode="grid-wrap") for c in range(3)]
        rgb.append(np.stack(colour, axis=-1) * light[..., None] * 255)
        depth.append(z)
        ids.append(index)
        moved.append(motion)
    z = np.array(depth, dtype=np.float32)
    scene_flow = np.array(moved[:-1], dtype=np.float32)
    k = torch.tensor([[64.0, 0, 32], [0, 64, 32], [0, 0, 1]]).expand(FRAMES, 3, 3).contiguous()
    eye = torch.stack([torch.tensor([0.03 * t, -5.0, 1.0]) for t in range(FRAMES)])
    pose = look_at(eye, torch.zeros(3))
    flow, _ = motion_from_scene_flow(
        torch.from_numpy(z[:-1]), torch.from_numpy(scene_flow), k[:-1], k[1:], pose[:-1], pose[1:]
    )
    return World4D(
        rgb=np.array(rgb).astype(np.uint8),
        depth=z,
        flow=flow.numpy(),
        scene_flow=scene_flow,
        visible=rng.random(scene_flow.shape[:3]) > 0.02,
        segmentation=np.array(ids),
        camera=Camera(k.numpy(), pose.numpy()),
        tracks=np.cumsum(rng.normal(scale=0.02, size=(256, FRAMES, 3)), axis=1).astype(np.float32),
        track_visibility=rng.random((256, FRAMES)) > 0.1,
        meta={"prompt": "balls roll before a wall", "scene": "benchmark", "seed": seed},
    )


def clips_per_second(batches: Iterable[int], seconds: float) -> float:
    """Rate of a stream of batch sizes. The first batches only start and warm up what makes them."""
    stream = iter(batches)
    for _ in range(4):
        next(stream)
    clips, begin = 0, time.perf_counter()
    for size in stream:
        clips += size
        if time.perf_counter() - begin > seconds:
            break
    return clips / (time.perf_counter() - begin)


def ours(folder: Path, fields: tuple[str, ...], workers: int) -> Iterable[int]:
    loader = training_loader(open_dataset(folder), batch_size=BATCH, fields=fields, workers=workers)
    return (len(batch["key"]) for batch in loader)


def plain(folder: Path, fields: tuple[str, ...]) -> Iterable[int]:
    """WebDataset's reader, with our codecs for the members."""
    shards = [str(shard) for shard in sorted(folder.glob("*.tar"))]
    for sample in webdataset.WebDataset(shards, shardshuffle=False).repeat():
        if fields == ("rgb",):
            codecs.decode_rgb(sample["rgb.mkv"])
        elif fields:
            World4D.from_members(sample, fields)
        yield 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=1.2, help="of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "DATA"
        begin = time.perf_counter()
        summary = write_dataset(
            folder,
            [Item(f"{seed:06d}", seed) for seed in range(options.clips)],
            make,
            arguments={},
            shard_size=16,
            progress=False,
        )
        rate = options.clips / (time.perf_counter() - begin)
        size = f"{FRAMES}x{SIZE}x{SIZE}, {summary.size / options.clips / 1024:.0f} KiB each"
        print(f"{options.clips} clips of {size}, made and written at {rate:.0f} clips/s")
        print(f"{'':28}{'rgb':>8}{'all':>8}   clips/s")
        for workers in (0, 1, 2):
            rates = [
                clips_per_second(ours(folder, fields, workers), options.seconds) for fields in (("rgb",), ALL)
            ]
            print(f"{f'phys4d, {workers} workers':28}" + "".join(f"{rate:8.0f}" for rate in rates), flush=True)
        rates = [clips_per_second(plain(folder, fields), options.seconds) for fields in (("rgb",), ALL)]
        print(f"{'webdataset, 0 workers':28}" + "".join(f"{rate:8.0f}" for rate in rates))
        raw = clips_per_second(plain(folder, ()), options.seconds)
        print(f"{'webdataset, bytes':28}{'':8}{raw:8.0f}")


if __name__ == "__main__":
    main()

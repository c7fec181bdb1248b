"""Make a contact sheet of scenes: for each row a strip of frames and its caption.

python docs/contact_sheet.py scenes.png
python docs/contact_sheet.py bends.png --category rope garment --seeds 0 1
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from phys4d.sim.catalog import SCENES, names_of
from phys4d.sim.simulate import simulate

FRAMES, SHOWN = 17, (0, 4, 8, 12, 16)
GAP, LINE, PAPER, INK, FAINT = 12, 15, (255, 255, 255), (25, 25, 25), (120, 120, 120)


def strip(name: str, seed: int, size: int) -> tuple[Image.Image, str]:
    """Frames of one clip side by side, and its caption."""
    world = simulate(name, seed=seed, size=(size, size), frames=FRAMES)
    assert world.rgb is not None
    return Image.fromarray(np.concatenate([world.rgb[t] for t in SHOWN], axis=1)), str(world.meta["prompt"])


def cell(name: str, seeds: Sequence[int], size: int) -> Image.Image:
    """The strips of one row of the catalogue, one a seed, with its name and the captions."""
    font = ImageFont.load_default(12)
    wide = size * len(SHOWN)
    strips = [strip(name, seed, size) for seed in seeds]
    captions = [textwrap.wrap(caption, wide // 6) for _, caption in strips]
    height = LINE + sum(size + LINE * (len(lines)) + 4 for lines in captions)
    picture = Image.new("RGB", (wide, height), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((0, 0), name, INK, font)
    y = LINE
    for (frames, _), lines in zip(strips, captions):
        picture.paste(frames, (0, y))
        y += size + 2
        for line in lines:
            pen.text((0, y), line, FAINT, font)
            y += LINE
        y += 2
    return picture


def sheet(names: Sequence[str], seeds: Sequence[int], size: int, columns: int) -> Image.Image:
    """All rows, read from left to right and from top to bottom."""
    cells = [cell(name, seeds, size) for name in names]
    lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(each.height for each in line) for line in lines]
    wide = columns * (size * len(SHOWN) + GAP) + GAP
    picture = Image.new("RGB", (wide, sum(heights) + GAP * (len(lines) + 1)), PAPER)
    y = GAP
    for line, height in zip(lines, heights):
        for k, each in enumerate(line):
            picture.paste(each, (GAP + k * (size * len(SHOWN) + GAP), y))
        y += height + GAP
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="picture to write (.png, .webp)")
    parser.add_argument("--scene", nargs="+", default=[], help="rows by name; default: all of them")
    parser.add_argument("--category", nargs="+", default=[], help="the rows of categories")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one strip for each")
    parser.add_argument("--size", type=int, default=96, help="height and width of a frame [px]")
    parser.add_argument("--columns", type=int, default=2)
    chosen = parser.parse_args()
    wanted = {name for category in chosen.category for name in names_of((), category, everything=False)}
    names = [name for name in SCENES if name in wanted]
    if not names:
        names = names_of(chosen.scene, None, everything=not chosen.scene)
    sheet(names, chosen.seeds, chosen.size, chosen.columns).save(chosen.out)


if __name__ == "__main__":
    main()

"""A folder of worlds to look at: one page with a moving picture of each, and behind each picture its 3D page."""

from __future__ import annotations

import html
import importlib.resources
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from phys4d.atomic import write_text
from phys4d.errors import InputError
from phys4d.pictures import depth_picture
from phys4d.viewers.html import world_page
from phys4d.viewers.pictures import animation, flow_picture
from phys4d.world import World4D

CELL = 160
"""Edge of a world's picture in the mosaic [px]."""


def write_gallery(
    worlds: Iterable[World4D], out: str | Path, *, about: str = "Each was simulated with exact labels."
) -> Path:
    """Write `index.html` and what it shows into the folder `out`; returns the page.

    about: where their labels come from, in a sentence.

    For every world with colour: `worlds/NAME.html` and `pictures/NAME.webp` (colour, depth and flow side by side).
    For all together: `gallery.webp`, a mosaic that plays. Nothing is asked of any network.
    """
    out = Path(out)
    cards: list[str] = []
    cells: list[UInt8[np.ndarray, "T h w 3"]] = []
    fps = 12.0
    for world in worlds:
        world.require("rgb")
        name = f"{world.meta.get('scene', 'world')}-{len(cards):03d}"
        write_text(out / "worlds" / f"{name}.html", world_page(world))
        strip = triptych(world)
        animation(_enlarged(strip, 2 if strip.shape[1] <= 96 else 1), out / "pictures" / f"{name}.webp", world.fps)
        cards.append(_card(world, name))
        cells.append(_mosaic_cell(world))
        fps = world.fps
    if not cards:
        raise InputError("a gallery needs at least one world")
    animation(mosaic(cells), out / "gallery.webp", fps)
    page = importlib.resources.files("phys4d.viewers").joinpath("page/gallery.html").read_text(encoding="utf-8")
    page = page.replace("{{COUNT}}", str(len(cards))).replace("{{ABOUT}}", html.escape(about))
    write_text(out / "index.html", page.replace("{{CARDS}}", "\n".join(cards)))
    return out / "index.html"


def triptych(world: World4D) -> UInt8[np.ndarray, "T h w 3"]:
    """Colour, depth and flow side by side, of those that the world has; the last flow is held for a frame."""
    world.require("rgb")
    assert world.rgb is not None
    parts = [world.rgb]
    if world.depth is not None:
        parts.append(depth_picture(world.depth))
    if world.flow is not None and len(world.flow):
        picture = flow_picture(world.flow)
        parts.append(np.concatenate([picture, picture[-1:]]))
    gap = np.full((len(world.rgb), world.rgb.shape[1], 2, 3), 16, dtype=np.uint8)
    row = [parts[0]]
    for part in parts[1:]:
        row += [gap, part]
    return np.concatenate(row, axis=2)


def mosaic(cells: list[UInt8[np.ndarray, "T h w 3"]]) -> UInt8[np.ndarray, "T H W 3"]:
    """Equal cells in four to eight columns with few blanks; the last frame is held for half a second."""
    frames = max(len(cell) for cell in cells) + 6
    held = [np.concatenate([cell, np.repeat(cell[-1:], frames - len(cell), axis=0)]) for cell in cells]
    columns = min(len(held), min(range(8, 3, -1), key=lambda c: -len(held) % c))
    while len(held) % columns:
        held.append(np.full_like(held[0], 16))
    rows = [np.concatenate(held[k : k + columns], axis=2) for k in range(0, len(held), columns)]
    return np.concatenate(rows, axis=1)


def _mosaic_cell(world: World4D) -> UInt8[np.ndarray, "T h w 3"]:
    """Colour above, depth and flow below it at half the size."""
    assert world.rgb is not None
    picture = _resized(world.rgb, CELL, CELL)
    below = []
    if world.depth is not None:
        below.append(_resized(depth_picture(world.depth), CELL // 2, CELL // 2))
    if world.flow is not None and len(world.flow):
        flow = flow_picture(world.flow)
        below.append(_resized(np.concatenate([flow, flow[-1:]]), CELL // 2, CELL // 2))
    blank = np.full((len(picture), CELL // 2, CELL // 2, 3), 16, dtype=np.uint8)
    return np.concatenate([picture, np.concatenate((below + [blank, blank])[:2], axis=2)], axis=1)


def _resized(frames: UInt8[np.ndarray, "T H W 3"], height: int, width: int) -> UInt8[np.ndarray, "T h w 3"]:
    return np.stack(
        [np.asarray(Image.fromarray(f).resize((width, height), Image.Resampling.LANCZOS)) for f in frames]
    )


def _enlarged(frames: UInt8[np.ndarray, "T H W 3"], factor: int) -> UInt8[np.ndarray, "T h w 3"]:
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def _card(world: World4D, name: str) -> str:
    title = html.escape(str(world.meta.get("scene") or world.meta.get("source", "world")))
    prompt = html.escape(str(world.meta.get("prompt", "")))
    height, width = world.size
    facts = f"{world.frames} × {height} × {width}, {world.fps:g} fps"
    if "start" in world.meta:
        facts += f", from {world.meta['start']:g} s on"
    if world.meta.get("camera_move"):
        facts += f", {html.escape(str(world.meta['camera_move']))} camera"
    return (
        f'<a class="card" href="worlds/{name}.html"><img loading="lazy" src="pictures/{name}.webp" alt="{prompt}">'
        f"<h2>{title}</h2><p>{prompt}</p><small>{facts}</small></a>"
    )

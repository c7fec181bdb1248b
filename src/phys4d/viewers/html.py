"""A world as one HTML page: coloured points, tracks and cameras in 3D, with the pictures, all in step.

The page holds everything it needs and asks no host for anything, so it works from a disk, in a mail and in a
notebook. A content security policy in the page itself makes the browser enforce that.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

from phys4d.errors import InputError
from phys4d.viewers.payload import Thinning, encode_world
from phys4d.viewers.staging import Stage, set_stage
from phys4d.world import World4D

MAX_POINTS = 3_000_000
"""Points over all frames of a page: about 6 MB for a real recording."""
NOTEBOOK_POINTS = 500_000
"""Points over all frames inside a notebook, which keeps every output it shows."""
SCRIPTS = ("data.js", "view.js", "gl.js", "lines.js", "pictures.js", "controls.js", "app.js")
"""The page's scripts in the order in which they are joined."""
SHOWN_FIRST = ("prompt", "caption", "title", "scene", "scene_id", "source", "seed")


def world_page(world: World4D, *, title: str | None = None, max_points: int = MAX_POINTS) -> str:
    """A self-contained HTML page that plays a world; fields that the world lacks are left out, and said so.

    max_points: points over all frames; larger worlds are shown by every k-th pixel, as the page then says.
    """
    if max_points < 1:
        raise InputError(f"max_points must be at least 1, not {max_points}")
    world.validate()
    thinning = Thinning.of(world, max_points)
    stage = set_stage(world)
    header, payload = encode_world(world, stage, thinning)
    name = title or str(world.meta.get("title") or world.meta.get("scene") or world.meta.get("source") or "World")
    # A lone surrogate is valid in JSON and nowhere else.
    name = name.encode("utf-8", "replace").decode()
    header |= {
        "title": name,
        "space": world.depth is not None or stage.tracks is not None,
        "prompt": str(world.meta.get("prompt") or world.meta.get("caption") or ""),
        "facts": _facts(world),
        "meta": _meta_rows(world.meta),
        "notes": _notes(world, stage, thinning),
    }
    script = '(() => {\n"use strict";\n' + "\n".join(map(_page_file, SCRIPTS)) + "\n})();\n"
    style = _page_file("viewer.css")
    # Only this script and this style may run, and nothing may be loaded. `eval` stays allowed for the tools that
    # drive browsers and wait for `phys4dReady`; the page never uses it.
    policy = (
        f"default-src 'none'; img-src data:; script-src {_digest(script)} 'unsafe-eval'; "
        f"style-src {_digest(style)}"
    )
    parts = {
        "title": html.escape(name),
        "policy": policy,
        "style": style,
        "header": _script_json(header),
        "payload": base64.b64encode(payload).decode(),
        "script": script,
    }
    # One pass, so that nothing inside a part is ever taken for a placeholder.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _page_file("page.html"))


def notebook_html(world: World4D) -> str:
    """The page in a sandboxed frame, for notebooks: the page's styles and the notebook's do not meet."""
    page = html.escape(world_page(world, max_points=NOTEBOOK_POINTS), quote=True)
    style = "width:100%;height:680px;border:0;border-radius:8px"
    return f'<iframe sandbox="allow-scripts" style="{style}" title="phys4d world" srcdoc="{page}"></iframe>'


def _page_file(name: str) -> str:
    return (resources.files("phys4d.viewers") / "page" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment there."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(world: World4D) -> list[list[str]]:
    """Short facts for the head of the page: label and value."""
    height, width = world.size
    facts = [
        ["size", f"{width} × {height} px"],
        ["frames", str(world.frames)],
        ["rate", f"{world.fps:.4g} fps"],
        ["duration", f"{world.frames / world.fps:.3g} s"],
    ]
    named = [
        [key, str(world.meta[key])[:60]] for key in ("scene", "seed") if world.meta.get(key) not in (None, "")
    ]
    return named + facts


def _meta_rows(meta: dict[str, Any]) -> list[list[str]]:
    """Every entry of `meta` as key and text, those that people ask for first; long ones are cut."""
    keys = [key for key in SHOWN_FIRST if key in meta] + [key for key in meta if key not in SHOWN_FIRST]
    rows = []
    for key in keys[:80]:
        value = meta[key]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows.append([str(key), text if len(text) <= 600 else text[:600] + " …"])
    return rows


def _notes(world: World4D, stage: Stage, thinning: Thinning) -> list[str]:
    """Sentences about what is missing, assumed or thinned."""
    notes = list(stage.notes)
    if world.depth is None:
        have = "only its pictures are shown" if world.fields else "there is nothing to show"
        notes.insert(0, f"No depth in this world: there are no points to place in space, {have}.")
    elif world.rgb is None:
        notes.append("No colour in this world: points are coloured by their depth.")
    if thinning.frame_step > 1:
        notes.append(f"Every {_ordinal(thinning.frame_step)} frame is shown.")
    if thinning.stride > 1 and world.depth is not None:
        notes.append(
            f"Every {_ordinal(thinning.stride)} pixel of every {_ordinal(thinning.stride)} row is a point."
        )
    if thinning.track_step > 1 and stage.tracks is not None:
        notes.append(f"Every {_ordinal(thinning.track_step)} of {len(stage.tracks)} tracks is shown.")
    return notes


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"

"""The catalogue of scenes: a row is a name, a caption template, and a function of one seed.

To add a scene, write a row in the file of its category (`rigid.py`, ...): a function that takes a `Draw`, places
bodies and returns a `Layout`. Everything around it (floor, walls, light, sky, viewpoints) is drawn here.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from phys4d.errors import InputError, Registry, unknown_name
from phys4d.sim.dressing import Draw
from phys4d.sim.elastics import Elastic, Wind
from phys4d.sim.lights import AreaLight, Light, Sky
from phys4d.sim.media import Medium
from phys4d.sim.scene import Body, Rope, SceneSpec, Viewpoints, perturbed


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is particular to a scene. `facts` fill the caption's template and go into the metadata (SI units).

    lights, sky: where a scene has its own, such as those of `Draw.studio`; else one sun and a sky are drawn.
    """

    bodies: tuple[Body, ...]
    facts: dict[str, Any]
    viewpoints: Viewpoints = dataclasses.field(default_factory=Viewpoints)
    ropes: tuple[Rope, ...] = ()
    elastics: tuple[Elastic, ...] = ()
    wind: Wind | None = None
    media: tuple[Medium, ...] = ()
    lights: tuple[Light | AreaLight, ...] | None = None
    sky: Sky | None = None


@dataclasses.dataclass(frozen=True)
class SceneRow:
    """A row of the catalogue. caption: a template over the layout's facts and {floor}."""

    name: str
    category: str
    engine: str
    caption: str
    context_frames: int
    layout: Callable[[Draw], Layout]


SCENES: Registry[SceneRow] = Registry("scene")


def scene(
    name: str, caption: str, *, category: str, engine: str = "mujoco", context_frames: int = 1
) -> Callable[[Callable[[Draw], Layout]], Callable[[Draw], Layout]]:
    """Decorator that files a layout function as a row. context_frames: frames that show what will happen."""

    def add(layout: Callable[[Draw], Layout]) -> Callable[[Draw], Layout]:
        SCENES.register(name)(SceneRow(name, category, engine, caption, context_frames, layout))
        return layout

    return add


def build(name: str, seed: int = 0, perturb: int = 0) -> SceneSpec:
    """The scene of that name and seed; with `perturb` k > 0, the k-th member of its ensemble.

    Members of an ensemble look alike and differ within measurement error, see `scene.perturbed`. Raises InputError
    for an unknown name, listing the known ones.
    """
    row = SCENES[name]
    if seed < 0 or perturb < 0:
        raise InputError(f"seed and perturb must not be negative, not {seed} and {perturb}")
    draw = Draw(random_stream(name, seed, "physics"), random_stream(name, seed, "looks"))
    floor_name, floor = draw.floor()
    layout = row.layout(draw)
    bodies_seen = (body for body in layout.bodies if body.free or body.focus)
    seen = [*bodies_seen, *layout.ropes, *layout.elastics, *layout.media]
    instances = {thing.name: number for number, thing in enumerate(seen, start=1)}
    bodies = [dataclasses.replace(b, instance=instances.get(b.name, 0)) for b in layout.bodies]
    ropes = [dataclasses.replace(each, instance=instances[each.name]) for each in layout.ropes]
    elastics = [dataclasses.replace(each, instance=instances[each.name]) for each in layout.elastics]
    media = [dataclasses.replace(each, instance=instances[each.name]) for each in layout.media]
    spec = SceneSpec(
        name=name,
        category=row.category,
        engine=row.engine,
        caption=row.caption.format(floor=floor_name, **layout.facts),
        bodies=(floor, *bodies, *draw.walls()),
        lights=draw.lights() if layout.lights is None else layout.lights,
        sky=draw.sky() if layout.sky is None else layout.sky,
        viewpoints=layout.viewpoints,
        context_frames=row.context_frames,
        parameters={"floor": floor_name, **layout.facts},
        ropes=tuple(ropes),
        elastics=tuple(elastics),
        wind=layout.wind,
        media=tuple(media),
    )
    return perturbed(spec, random_stream(name, seed, f"perturb {perturb}")) if perturb else spec


def names_of(chosen: Sequence[str], category: str | None, *, everything: bool) -> list[str]:
    """The scenes that a person asked for: by name, by category, or all of them; exactly one of the three."""
    if bool(chosen) + bool(category) + everything != 1:
        raise InputError("say which scenes: --scene NAME, --category NAME or --all (`phys4d info` lists them)")
    if category:
        known = sorted({SCENES[name].category for name in SCENES})
        if category not in known:
            raise InputError(unknown_name("category", category, known))
    return [SCENES[n].name for n in chosen] or [n for n in SCENES if category in (None, SCENES[n].category)]


def random_stream(name: str, seed: int, purpose: str) -> np.random.Generator:
    """An independent random stream for each scene, seed and purpose, the same on every machine."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(purpose.encode())])


# Rows file themselves.
from phys4d.sim.catalog import rigid, everyday, articulated, rope, optics  # noqa: E402, F401, I001
from phys4d.sim.catalog import garment, deformable, inflatable, granular, fluid, thermodynamics  # noqa: E402, F401

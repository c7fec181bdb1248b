"""Who is followed, and how: a body's pixels through a world, and from them its centre over time.

What a single view sees of a body is its front. A sphere's centre follows from any part of it once its radius is
known; the centre of any other body is taken to lie behind the mean of its visible points as a sphere's would,
which is off by a nearly constant amount, and all probes look at differences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int32
from scipy import ndimage
from scipy.spatial import KDTree

from phys4d.evaluation.alignment import take
from phys4d.evaluation.chamfer import chamfers, surface_points
from phys4d.evaluation.measure import MOVING, Pair, Truth
from phys4d.world import World4D

FEWEST_PIXELS = 8
"""A body of fewer pixels is not seen."""
GROWTH = 2
"""Pixels by which a body's mask may grow in a frame, where new surface turns up."""
WHOLE_AREA = 0.75
"""Share of its usual size below which something hides part of a body."""
SURE_AREA = 0.4
"""Share of its usual size that a sphere must show for its centre to be known."""
ROUND = 0.05
"""A body is round where its visible points leave a sphere by less than this share of the radius."""
_SQUARE = np.ones((3, 3), np.uint8)
OUTLIER = 0.2
"""Points farther off a sphere than this share of its radius are not of its surface."""
FROZEN = 0.1
"""A body that travels less than this share of the way it should does not move."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """radius [m]: of the sphere, or of the disc with the silhouette's area. round: whether it is a sphere."""

    radius: float
    round: bool


@dataclasses.dataclass(frozen=True)
class Body:
    """A body over time.

    centre (T,3) [m] in the reference's world axes, NaN where it is not seen. whole (T,): seen, and neither cut by
    the picture's border nor hidden in part. sure (T,): its centre is known, for a sphere also from a part. size
    (T,) [m]: radius of the disc with the silhouette's area, NaN where it is not seen. mass [kg], where it is
    known.
    """

    name: str
    instance: int
    mass: float | None
    centre: Float[np.ndarray, "T 3"]
    whole: Bool[np.ndarray, "T"]
    sure: Bool[np.ndarray, "T"]
    size: Float[np.ndarray, "T"]
    shape: Shape

    def travel(self, start: int = 0) -> float:
        """The farthest, from frame `start` on, that it comes from where it is first surely seen [m], or 0."""
        seen = self.centre[start:][self.sure[start:]]
        return float(np.linalg.norm(seen - seen[0], axis=-1).max()) if len(seen) else 0.0


@dataclasses.dataclass(frozen=True)
class Followed:
    """A body of the prediction, and as the same instrument sees it in the world that knows it (itself if
    alone). start: the first judged frame."""

    mine: Body
    truth: Body
    start: int = 0

    @property
    def frozen(self) -> bool:
        """Whether it stands still, in the frames that are judged, though it should move."""
        goes = self.truth.travel(self.start)
        return goes > self.truth.shape.radius / 2 and self.mine.travel(self.start) < FROZEN * goes


def propagate(
    seeds: Int32[np.ndarray, "H W"],
    flow: Float[np.ndarray, "T-1 H W 2"],
    visible: Bool[np.ndarray, "T-1 H W"] | None,
    candidates: Bool[np.ndarray, "T H W"],
    points: Float[np.ndarray, "T H W 3"],
    *,
    start: int = 0,
    newcomers: bool = False,
) -> Int32[np.ndarray, "T H W"]:
    """Carry instance ids along the flow [px] from frame `start` on; 0 before it.

    candidates: pixels that may belong to a body; a mask grows into those beside it, and loses what is none where
    most of it are. Between bodies that meet in the picture, a pixel is that one's whose moved surface is nearest
    to its point [m]. A body that has been lost (hidden, or gone faster than its flow says) is found again as the
    part of the candidates that nobody claims and that is nearest to where it would have got to. newcomers: parts
    that no lost body explains become bodies of their own.
    """
    labels = np.zeros((len(candidates), *seeds.shape), np.int32)
    seen: dict[int, list[tuple[int, np.ndarray, int]]] = {}
    for t in range(start, len(labels)):
        if t == start:
            labels[t] = seeds
            for instance in np.unique(seeds[seeds > 0]):
                labels[t][(seeds == instance) & ~_outstanding(seeds == instance, candidates[t])] = 0
        else:
            shown = (labels[t - 1] > 0) if visible is None else (labels[t - 1] > 0) & visible[t - 1]
            labels[t] = _carried(labels[t - 1], shown, flow[t - 1], candidates[t], points[t - 1 : t + 1])
        if newcomers or t > start:
            _adopt(labels, candidates, t, seen, newcomers)
        for instance in np.unique(labels[t][labels[t] > 0]):
            place = np.argwhere(labels[t] == instance)
            if len(place) >= FEWEST_PIXELS:
                seen.setdefault(int(instance), []).append((t, place.mean(0), len(place)))
    return labels


def _carried(
    labels: np.ndarray, shown: np.ndarray, flow: np.ndarray, candidates: np.ndarray, points: np.ndarray
) -> np.ndarray:
    row, column = np.nonzero(shown)
    target = np.floor(np.stack([row, column], axis=-1) + 0.5 + flow[row, column, ::-1]).astype(int)
    inside = ((target >= 0) & (target < labels.shape)).all(-1)
    row, column, target = row[inside], column[inside], target[inside]
    later, ids = np.zeros_like(labels), labels[row, column]
    if not len(ids):
        return later
    later[tuple(target.T)] = ids
    surface = points[0][row, column]
    landed = points[1][tuple(target.T)]
    for instance in np.unique(ids):
        mine = ids == instance
        surface[mine] += np.median(landed[mine] - surface[mine], axis=0)
        closed = cv2.morphologyEx(np.pad((later == instance).astype(np.uint8), 2), cv2.MORPH_CLOSE, _SQUARE)
        later[(closed[2:-2, 2:-2] > 0) & (later == 0)] = instance
    near = candidates & (cv2.distanceTransform((later == 0).astype(np.uint8), cv2.DIST_L2, 5) <= GROWTH)
    near &= np.isfinite(points[1]).all(-1)
    known = np.isfinite(surface).all(-1)
    if near.any() and known.any():
        later[near] = ids[known][KDTree(surface[known]).query(points[1][near])[1]]
    for instance in np.unique(later[later > 0]):
        later[(later == instance) & ~_outstanding(later == instance, candidates)] = 0
    return later


def _outstanding(mask: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The part of a body that stands out; all of it where most does not, as of one that rests."""
    part = mask & candidates
    return part if part.sum() > mask.sum() / 2 else mask


def _adopt(labels: np.ndarray, candidates: np.ndarray, t: int, seen: dict[int, list], newcomers: bool) -> None:
    """Give unclaimed parts of the candidates to lost bodies, or make them new ones."""
    parts, count = ndimage.label(candidates[t] & (labels[t] == 0))  # type: ignore[misc]
    here = set(np.unique(labels[t]))
    lost = {i: past for i, past in seen.items() if i not in here}
    for part in range(1, count + 1):
        mask = parts == part
        if mask.sum() < FEWEST_PIXELS:
            continue
        centre = np.argwhere(mask).mean(0)
        alike = [i for i, past in lost.items() if mask.sum() > past[-1][2] / 4]
        if alike:
            nearest = min(alike, key=lambda i: float(np.linalg.norm(_expected(lost[i], t) - centre)))
            labels[t][mask] = nearest
            del lost[nearest]
        elif newcomers and not lost:
            labels[t][mask] = max(int(labels.max()), *seen, 0) + 1


def _expected(past: list[tuple[int, np.ndarray, int]], t: int) -> np.ndarray:
    last, place, _ = past[-1]
    if len(past) < 2:
        return place
    earlier, before, _ = past[-2]
    return place + (place - before) * (t - last) / (last - earlier)


def shape_of(points: Sequence[Float[np.ndarray, "N 3"]], sizes: Sequence[float]) -> Shape:
    """The shape that visible surface points (one array a frame) [m] and silhouettes' sizes [m] tell."""
    flat = float(np.median(sizes))
    radii, errors = [], []
    for some in points:
        middle = some.mean(0)
        rest = some - middle
        # |p|^2 = 2 p.c + (r^2 - |c|^2) is linear in the centre and one more number.
        terms = np.column_stack([2 * rest, np.ones(len(rest))])
        found, *_ = np.linalg.lstsq(terms, np.square(rest).sum(-1), rcond=None)
        square = found[3] + found[:3] @ found[:3]
        if square <= 0:
            return Shape(flat, False)
        radii.append(np.sqrt(square))
        errors.append(np.abs(np.linalg.norm(rest - found[:3], axis=-1) - radii[-1]).mean() / radii[-1])
    radius = float(np.median(radii))
    sphere = np.median(errors) < ROUND and 0.8 < radius / flat < 1.25
    return Shape(radius if sphere else flat, bool(sphere))


def centre_of(
    points: Float[np.ndarray, "N 3"], eye: Float[np.ndarray, "3"], shape: Shape
) -> Float[np.ndarray, "3"]:
    """The centre [m] of a body of known shape, of which points are seen from `eye`.

    A sphere of that radius is laid on the points by least squares, which a hidden part does not disturb; points
    that turn out farther from it than OUTLIER are left out. Other bodies: two thirds of the radius behind the
    points' mean, where the centre of a sphere would be.
    """
    mean = points.mean(0)
    ahead = (mean - eye) / max(float(np.linalg.norm(mean - eye)), 1e-12)
    centre = mean + 2 / 3 * shape.radius * ahead
    if not shape.round:
        return centre
    for _ in range(20):
        offset = centre - points
        distance = np.maximum(np.linalg.norm(offset, axis=-1), 1e-12)
        gap = shape.radius - distance
        on_it = np.abs(gap - np.median(gap)) < OUTLIER * shape.radius
        step, *_ = np.linalg.lstsq((offset / distance[:, None])[on_it], gap[on_it], rcond=1e-3)
        centre = centre + step
        if np.linalg.norm(step) < 1e-7:
            break
    return centre


def read_body(
    world: World4D,
    points: Float[np.ndarray, "T H W 3"],
    mask: Bool[np.ndarray, "T H W"],
    *,
    name: str = "body",
    instance: int = 1,
    mass: float | None = None,
    shape: Shape | None = None,
) -> Body | None:
    """A body from its pixels; None where it is never whole. points: every pixel's [m]. shape: known before."""
    depth, camera = take(world, "depth", "camera")
    mask = mask & (depth > 0)
    focal = np.sqrt(camera.intrinsics[:, 0, 0] * camera.intrinsics[:, 1, 1]).astype(np.float64)
    frames = len(mask)
    size = np.full(frames, np.nan)
    clear = np.zeros(frames, bool)
    for t in range(frames):
        count = int(mask[t].sum())
        if count < FEWEST_PIXELS:
            continue
        z = depth[t][mask[t]]
        size[t] = np.sqrt(count / np.pi) * float(np.mean(z)) / focal[t]
        ring = cv2.dilate(mask[t].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask[t]
        border = mask[t][[0, -1]].any() or mask[t][:, [0, -1]].any()
        hidden = ((depth[t][ring] > 0) & (depth[t][ring] < z.min() - size[t] / 4)).any()
        clear[t] = not border and not hidden
    if not clear.any():
        return None
    share = np.nan_to_num(size) ** 2 / np.median(size[clear]) ** 2
    whole = clear & (share > WHOLE_AREA)
    chosen = np.flatnonzero(whole)
    if shape is None:
        shape = shape_of([points[t][mask[t]] for t in chosen], list(size[chosen]))
    centre = np.full((frames, 3), np.nan)
    for t in np.flatnonzero(np.isfinite(size)):
        centre[t] = centre_of(points[t][mask[t]], camera.world_from_camera[t, :3, 3].astype(np.float64), shape)
    sure = whole | (share > SURE_AREA) if shape.round else whole
    return Body(name, instance, mass, centre, whole, sure, size, shape)


def labels_of(pair: Pair) -> Int32[np.ndarray, "T H W"] | None:
    """Which body each pixel of the prediction shows, by the reference's ids (its own where it is alone).

    The prediction's own segmentation, matched by overlap in the first frame; else ids carried along its flow. A
    world alone without segmentation: what moves, by its scene flow. None where nothing tells.
    """
    world, start = pair.prediction, pair.steps.start
    if world.depth is None or world.camera is None:
        return None
    if not pair.has_reference:
        if world.segmentation is not None:
            return world.segmentation
        if world.flow is None or world.scene_flow is None:
            return None
        moves = np.linalg.norm(world.scene_flow, axis=-1) > MOVING
        moves = np.concatenate([moves, np.zeros_like(moves[:1])])
        first = np.zeros(moves.shape[1:], np.int32)
        return propagate(first, world.flow, world.visible, moves, surface_points(world), newcomers=True)
    truth = pair.reference.segmentation
    if truth is None:
        return None
    if world.segmentation is not None:
        return _matched(world.segmentation, truth, start)
    if world.flow is None or pair.reference.scene_flow is None:
        return None
    known = [body["instance"] for body in _told(pair.reference).values()]
    moving = np.unique(truth[pair.truth.moving])
    seeds = np.where(np.isin(truth[start], [*known, *moving]), truth[start], 0).astype(np.int32)
    found = pair.once(chamfers)
    out = found.moving
    for instance in np.unique(seeds[seeds > 0]):
        place = seeds == instance
        if found.moving_true[start][place].mean() > 0.5 > out[start][place].mean():
            # It stands out in the reference, and nothing does there in the prediction: there is none to follow.
            seeds[place] = 0
    return propagate(seeds, world.flow, world.visible, out, surface_points(world), start=start)


def _matched(mine: np.ndarray, truth: np.ndarray, start: int) -> np.ndarray:
    ids = np.zeros(int(mine.max()) + 1, np.int32)
    for instance in np.unique(mine[start][mine[start] > 0]):
        ids[instance] = np.bincount(truth[start][mine[start] == instance]).argmax()
    return ids[mine]


def bodies_of(truth: Truth) -> dict[int, Body]:
    """The bodies of a world that has a segmentation: those that can move, whole at least once."""
    world = truth.world
    if world.segmentation is None or world.depth is None or world.camera is None:
        return {}
    told = _told(world)
    if told:
        names = {body["instance"]: (name, body.get("mass")) for name, body in told.items()}
    elif world.scene_flow is not None:
        names = {int(i): (f"body {i}", None) for i in np.unique(world.segmentation[truth.moving])}
    else:
        names = {}
    points = surface_points(world)
    found = {}
    for instance, (name, mass) in names.items():
        body = read_body(world, points, world.segmentation == instance, name=name, instance=instance, mass=mass)
        if body is not None:
            found[instance] = body
    return found


def followed(pair: Pair) -> list[Followed]:
    """The bodies of a pair that are seen in both worlds; of a world alone, held against itself."""
    world = pair.prediction
    labels = pair.once(labels_of)
    if labels is None or world.depth is None or world.camera is None:
        return []
    points = surface_points(world)
    known = pair.once_for_truth(bodies_of) if pair.has_reference else bodies_of(Truth(world))
    if not known and not pair.has_reference:
        ids = np.unique(labels[labels > 0])
        alone = [read_body(world, points, labels == i, name=f"body {i}", instance=int(i)) for i in ids]
        return [Followed(body, body) for body in alone if body is not None]
    pairs = []
    for instance, truth in known.items():
        told: dict[str, Any] = {
            "name": truth.name, "instance": instance, "mass": truth.mass, "shape": truth.shape
        }  # fmt: skip
        body = read_body(world, points, labels == instance, **told)
        if body is None:
            continue
        if pair.has_reference and world.segmentation is None:
            # What is found as standing out from the background is held against what truly does.
            (ids,) = take(pair.reference, "segmentation")
            stands = pair.once(chamfers).moving_true
            masks = [_outstanding(frame == instance, out) for frame, out in zip(ids, stands)]
            seen = read_body(pair.reference, pair.once_for_truth(_truth_points), np.stack(masks), **told)
            truth = seen or truth
        pairs.append(Followed(body, truth, pair.start))
    return pairs


def _truth_points(truth: Truth) -> np.ndarray:
    return surface_points(truth.world)


def knower(pair: Pair) -> World4D:
    """The world whose meta tells of gravity, masses and contacts: the reference, or the prediction alone."""
    return pair.reference if pair.has_reference else pair.prediction


def movable(pair: Pair) -> int:
    """How many bodies there are to follow."""
    if pair.has_reference:
        return len(pair.once_for_truth(bodies_of))
    return len(_told(pair.prediction)) or len(pair.once(followed))


def _told(world: World4D) -> dict[str, dict[str, Any]]:
    """Bodies that a simulation names, which have pixels of their own."""
    physics = world.meta.get("physics")
    bodies = physics.get("bodies") if isinstance(physics, dict) else None
    return {name: body for name, body in (bodies or {}).items() if body.get("instance")}

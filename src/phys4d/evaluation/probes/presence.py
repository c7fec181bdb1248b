"""Are bodies where they can be? Overlap with the support and each other, permanence behind occluders, volume."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float

from phys4d.evaluation.alignment import take
from phys4d.evaluation.chamfer import Background, background, chamfers
from phys4d.evaluation.measure import Measured, Metric, Pair, Truth, nothing, of_curve
from phys4d.evaluation.probes.bodies import FEWEST_PIXELS, bodies_of, followed, movable

PATCHES = 16
"""Nearest points of the background that tell what surface is below a sphere."""
FLAT = 0.1
"""They are a plane where they leave it by no more than this share of the radius."""
OUT, PRESENT = 0.5, 0.25
"""A body is out where it shows this share of its usual size; something is there where it shows that share."""


def overlap_with_support(
    centre: Float[np.ndarray, "3"], radius: float, support: Background, eye: Float[np.ndarray, "3"]
) -> float:
    """How deep a sphere reaches into the background, as seen from `eye` [m]; 0 where it does not.

    The nearest points that a camera saw are one plane, of which as much is there as they reach; where they are not
    (an edge, a corner), points inside the sphere. What no frame shows cannot be reached into, so that the overlap
    comes out too small rather than too large.
    """
    count = min(PATCHES, len(support.points))
    distance, index = support.tree.query(centre, k=count)
    distance, index = np.atleast_1d(distance), np.atleast_1d(index)
    points = support.points[index]
    middle = points.mean(0)
    *_, (*_, normal) = np.linalg.svd(points - middle)
    if count < 4 or np.abs((points - middle) @ normal).max() > FLAT * radius:
        return max(radius - float(distance[0]), 0.0)
    normal = normal if (eye - middle) @ normal > 0 else -normal
    off = float((centre - middle) @ normal)
    foot = centre - off * normal
    aside = max(
        float(np.linalg.norm(points - foot, axis=-1).min()) - float(np.median(support.reach[index])) / 2, 0.0
    )
    return max(radius - (float(np.hypot(off, aside)) if aside > 0 else off), 0.0)


def overlap_of_spheres(
    first: Float[np.ndarray, "T 3"], second: Float[np.ndarray, "T 3"], radii: tuple[float, float]
) -> Float[np.ndarray, "T"]:
    """How deep two spheres reach into each other [m] in every frame; NaN where either is not seen."""
    return np.maximum(sum(radii) - np.linalg.norm(first - second, axis=-1), 0)


def penetration(pair: Pair) -> Measured:
    """Overlap [m] of round bodies with the still background and with each other: the deepest of a clip.

    The mean over bodies of each one's deepest overlap. Only spheres have an inside that one view can tell. Bodies
    that stand still although they should move are not judged. curve: the deepest overlap of a frame. coverage:
    share of the movable bodies that were judged.
    """
    bodies = [b for b in pair.once(followed) if b.truth.shape.round]
    if not bodies:
        return nothing("no round body can be followed")
    bodies = [b for b in bodies if not b.frozen]
    if not bodies:
        return nothing("nothing moves in the prediction, though it should")
    support = pair.once_for_truth(background) if pair.has_reference else _own_background(pair)
    if support is None and len(bodies) < 2:
        return nothing("there is no second body, and no background that is known to be still")
    (camera,) = take(pair.prediction, "camera")
    frames = len(bodies[0].mine.centre)
    depth = np.full((len(bodies), frames), np.nan)
    for row, body in enumerate(bodies):
        for t in np.flatnonzero(body.mine.sure):
            radius = body.truth.shape.radius
            eye = camera.world_from_camera[t, :3, 3]
            if support is None:
                depth[row, t] = 0.0
            else:
                depth[row, t] = overlap_with_support(body.mine.centre[t], radius, support, eye)
        for other, theirs in enumerate(bodies[:row]):
            radii = (body.truth.shape.radius, theirs.truth.shape.radius)
            both = overlap_of_spheres(body.mine.centre, theirs.mine.centre, radii)
            both[~(body.mine.sure & theirs.mine.sure)] = np.nan
            for place in (row, other):
                depth[place] = np.fmax(depth[place], both)
    depth[:, : pair.start] = np.nan
    seen = np.isfinite(depth).any(1)
    if not seen.any():
        return nothing("no round body is seen in a judged frame")
    known = np.isfinite(depth).any(0)
    curve = np.full(frames, np.nan)
    curve[known] = np.nanmax(depth[:, known], axis=0)
    value = float(np.mean(np.nanmax(depth[seen], axis=1)))
    return Measured(value, seen.sum() / max(movable(pair), 1), curve=curve[pair.judged])


def _own_background(pair: Pair) -> Background | None:
    world = pair.prediction
    if world.segmentation is None or world.scene_flow is None:
        return None
    return background(Truth(world))


def presence_errors(
    there: Bool[np.ndarray, "T H W"],
    body: Bool[np.ndarray, "T H W"],
    others: Bool[np.ndarray, "T H W"],
) -> Float[np.ndarray, "T"]:
    """1 where a body is wrongly there or not, 0 where it is right, NaN in frames that tell nothing.

    there: pixels that show something off the background. body: those that should show this body; others: those
    that should show others. The body is out in a frame where it should show at least OUT of its usual (median)
    size, and hidden where it should show nothing. Out, there must be something near its place, and nothing
    elsewhere; hidden, nothing anywhere. Near: within half of its own width.
    """
    area = body.sum((1, 2))
    usual = float(np.median(area[area > 0])) if area.any() else 0.0
    errors = np.full(len(body), np.nan)
    if usual < FEWEST_PIXELS:
        return errors
    reach = max(int(np.sqrt(usual / np.pi)), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    for t in range(len(body)):
        near, theirs = (cv2.dilate(m[t].astype(np.uint8), kernel) > 0 for m in (body, others))
        inside = int((there[t] & near).sum())
        stray = int((there[t] & ~near & ~theirs).sum())
        if area[t] >= OUT * usual:
            errors[t] = inside < PRESENT * area[t] or stray >= PRESENT * usual
        elif area[t] == 0:
            errors[t] = stray >= PRESENT * usual
    return errors


def permanence_error(pair: Pair) -> Measured:
    """Share of frames in which a body that passes behind something is wrongly there or not there.

    From the first frame in which it is hidden to the end: out it comes, once, on time. The bodies are those of the
    reference that vanish within the picture and come back. coverage: share of their frames that tell something.
    """
    if not pair.has_reference:
        return nothing("there is no reference that knows who is hidden")
    world = pair.reference
    if world.segmentation is None or world.scene_flow is None or world.depth is None or world.camera is None:
        return nothing("the reference has no segmentation, scene_flow, depth, camera")
    hidden = {i: t for i, t in pair.once_for_truth(occluded).items() if t >= pair.start}
    if not hidden:
        return nothing("no body passes behind another")
    there = pair.once(chamfers).moving
    moving = pair.truth.moving
    curves = []
    for instance, first in hidden.items():
        mine = world.segmentation == instance
        errors = presence_errors(there, mine, moving & ~mine)
        errors[:first] = np.nan
        curves.append(errors[first:])
    joined = np.concatenate(curves)
    if not np.isfinite(joined).any():
        return nothing("no frame tells whether the body is there")
    return Measured(float(np.nanmean(joined)), float(np.isfinite(joined).mean()))


def occluded(truth: Truth) -> dict[int, int]:
    """instance -> first frame of those that are hidden for a while, and neither leave nor enter the picture."""
    (ids,) = take(truth.world, "segmentation")
    found = {}
    for instance in bodies_of(truth):
        mask = ids == instance
        area = mask.sum((1, 2))
        seen = np.flatnonzero(area)
        gone = np.flatnonzero(area == 0)
        between = gone[(gone > seen[0]) & (gone < seen[-1])]
        border = mask[:, [0, -1]].any((1, 2)) | mask[:, :, [0, -1]].any((1, 2))
        if len(between) and not border[between[0] - 1]:
            found[int(instance)] = int(between[0])
    return found


def volume_error(pair: Pair) -> Measured:
    """|V / V_true - 1|, at most 1: the mean over bodies and frames of how far their size is off.

    V: of the sphere with the area of the body's silhouette at its depth, against the same of the reference in the
    same frame; of a world alone, against the body's first whole frame, and only for round bodies, as others change
    their silhouette when they turn. One view cannot tell more: what grows or shrinks along the ray alone is not
    seen. Bodies that stand still although they should move are not judged. curve: by frame. coverage: share of the
    movable bodies' frames that were judged.
    """
    bodies = pair.once(followed)
    curves = []
    for body in bodies:
        if body.frozen:
            continue
        mine, both = body.mine.size, body.mine.whole & body.truth.whole
        if pair.has_reference:
            true = body.truth.size
        elif body.mine.shape.round:
            true = np.full_like(mine, mine[np.flatnonzero(both)[0]])
        else:
            continue
        off = np.abs((mine / true) ** 3 - 1)
        off[~both] = np.nan
        off[: pair.start] = np.nan
        curves.append(np.minimum(off, 1))
    if not curves:
        return nothing("no body whose size can be told can be followed")
    stacked = np.stack(curves)
    known = np.isfinite(stacked)
    curve = np.where(known.any(0), np.where(known, stacked, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)
    found = of_curve(curve[pair.judged], "no body is whole in a judged frame")
    share = known[:, pair.judged].sum() / (max(movable(pair), 1) * max(known[0, pair.judged].size, 1))
    return Measured(found.value, float(share) if np.isfinite(found.value) else 0.0, found.reason, found.curve)


_SEEN = ("depth", "camera")
ROWS = (
    Metric("penetration", _SEEN, (), "m", "lower", penetration),
    Metric("permanence_error", _SEEN, (), "", "lower", permanence_error),
    Metric("volume_error", _SEEN, (), "", "lower", volume_error),
)
"""The metrics of this file."""

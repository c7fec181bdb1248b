"""Do bodies meet as mechanics has it? Momentum over collisions, energy over time, restitution of bounces.

Who touched whom and when is what the simulation says; how the bodies then move is read off the world that is
judged, and held against the true paths by the very same differences, so that what a frame rate cannot resolve
cancels.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from phys4d.evaluation.measure import Measured, Metric, Pair, nothing
from phys4d.evaluation.probes.bodies import Followed, followed, knower
from phys4d.world import World4D

ARRIVES = 0.1
"""A body that comes with less than this share of the true speed does not arrive."""
SLOWEST = 0.5
"""Speed [m/s] of an impact below which the ratio of two speeds says nothing."""
EARLY_OR_LATE = 1
"""Frames by which a contact may be early or late."""
LONGEST_CONTACT = 4
"""Intervals between frames for which energy may be stored in a contact, or its speed be unresolved."""


@dataclasses.dataclass(frozen=True)
class Contact:
    """Two bodies touch, between the frames `before` and `after`."""

    first: str
    second: str
    before: int
    after: int


def momentum_drift(
    before: Float[np.ndarray, "N 3"],
    after: Float[np.ndarray, "N 3"],
    masses: Float[np.ndarray, "N"],
    outside: Float[np.ndarray, "3"],
) -> float:
    """|sum m (v' - v) - J| / sum m |v|, at most 1: what a collision makes of the momentum of N bodies.

    before, after: velocities [m/s]. masses [kg]. outside: J [kg m/s], what gravity and the support give meanwhile.
    Bodies that all stand still carry no momentum into a collision: NaN.
    """
    carried = float(masses @ np.linalg.norm(before, axis=-1))
    if carried <= 0:
        return math.nan
    drift = masses @ (after - before) - outside
    return min(float(np.linalg.norm(drift)) / carried, 1.0)


def energy_rise(energy: Float[np.ndarray, "T"], scale: float) -> float:
    """The largest rise of energy over time as a share of `scale`; 0 where it only falls.

    Dips of at most LONGEST_CONTACT intervals are filled first: a contact stores energy and gives it back, and in
    the interval of a bounce the mean speed says nothing.
    """
    filled = ndimage.grey_closing(energy, size=LONGEST_CONTACT + 1, mode="nearest") if len(energy) > 2 else energy
    return float((filled - np.minimum.accumulate(filled)).max()) / scale


def restitution(
    before: Float[np.ndarray, "3"], after: Float[np.ndarray, "3"], normal: Float[np.ndarray, "3"]
) -> float:
    """Speed away from the surface after a bounce by the speed towards it before; NaN where it did not come."""
    towards = float(-before @ normal)
    return max(float(after @ normal), 0.0) / towards if towards > 0 else math.nan


def contacts_of(world: World4D) -> list[Contact]:
    """The contacts that a simulation tells of; one that the clip does not see end lasts until its last frame."""
    physics = world.meta.get("physics")
    found = []
    for row in (physics.get("contacts") if isinstance(physics, dict) else None) or []:
        before = math.floor(row["begin"] * world.fps)
        after = world.frames if row["end"] is None else math.ceil(row["end"] * world.fps)
        first, second = row["bodies"]
        found.append(Contact(first, second, before, max(after, before + 1)))
    return found


def momentum_error(pair: Pair) -> Measured:
    """`momentum_drift`, the mean over collisions of two bodies that move freely.

    outside: what the true paths' momenta change by, read by the same differences. A collision to which the bodies
    bring less than ARRIVES of the true momentum does not happen and costs 1. coverage: share of the collisions in
    which all bodies were followed.
    """
    told, bodies = knower(pair), {b.truth.name: b for b in pair.once(followed)}
    free = _free(told)
    if not free:
        return nothing("no meta tells of bodies, masses and contacts")
    collisions = [
        c for c in contacts_of(told) if c.first in free and c.second in free and c.before - 1 >= pair.steps.start
    ]
    collisions = [c for c in collisions if c.after + 1 < told.frames and _first_touch(c, collisions)]
    if not collisions:
        return nothing("no two bodies collide")
    errors = []
    for contact in collisions:
        names = [contact.first, contact.second]
        # Whoever else touches them meanwhile takes part in it.
        for other in contacts_of(told):
            if other.before <= contact.after and other.after >= contact.before:
                touching = {other.first, other.second}
                if touching & set(names) and touching <= set(free):
                    names += sorted(touching - set(names))
        if all(name in bodies for name in names):
            error = _momentum(contact, [bodies[name] for name in names], [free[name] for name in names], told.fps)
            if math.isfinite(error):
                errors.append(error)
    if not errors:
        return nothing("no collision can be followed")
    return Measured(float(np.mean(errors)), len(errors) / len(collisions))


def _first_touch(contact: Contact, collisions: list[Contact]) -> bool:
    """Bodies that rattle against each other collide once: later touches have no free motion before them."""
    pair = {contact.first, contact.second}
    return not any(
        {other.first, other.second} == pair and contact.before - 2 < other.after and other.before < contact.before
        for other in collisions
    )


def _momentum(contact: Contact, bodies: list[Followed], told: list[dict[str, Any]], fps: float) -> float:
    masses = np.array([body["mass"] for body in told], dtype=np.float64)
    paths = [np.array(body["position"], dtype=np.float64) for body in told]
    true = [np.stack([_speed(path, at, fps) for path in paths]) for at in (contact.before - 1, contact.after)]
    outside, carried = masses @ (true[1] - true[0]), float(masses @ np.linalg.norm(true[0], axis=-1))
    drifts = []
    for shift in range(-EARLY_OR_LATE, EARLY_OR_LATE + 1):
        around = (contact.before - 1 + shift, contact.after + shift)
        if around[0] < 0 or around[1] + 1 >= len(bodies[0].mine.centre):
            continue
        if not all(body.mine.sure[at : at + 2].all() for body in bodies for at in around):
            continue
        mine = [np.stack([_speed(body.mine.centre, at, fps) for body in bodies]) for at in around]
        if masses @ np.linalg.norm(mine[0], axis=-1) < ARRIVES * carried:
            drifts.append(1.0)
        else:
            drifts.append(momentum_drift(mine[0], mine[1], masses, outside))
    return min(drifts, default=math.nan)


def energy_error(pair: Pair) -> Measured:
    """`energy_rise`, at most 1, of the followed bodies in a scene that nothing drives.

    Energy of translation and height alone, for a view does not tell spin well; so what rolls only seems to lose
    energy on its way down. scale: the largest kinetic energy of the true paths. Not judged where the bodies stand
    still although they should move. coverage: share of the intervals in which the centre of every body that moves
    is known.
    """
    told = knower(pair)
    physics = told.meta.get("physics")
    if not isinstance(physics, dict) or not physics.get("passive"):
        return nothing("no meta tells that the scene is passive")
    free = _free(told)
    bodies = {b.truth.name: b for b in pair.once(followed)}
    if not free or set(free) != set(physics["bodies"]) or physics.get("elastics"):
        return nothing("not every body of the scene moves freely and keeps its shape")
    if any(name not in bodies for name in free):
        return nothing("a body of the scene cannot be followed")
    chosen = [bodies[name] for name in free]
    moving = [b for b in chosen if b.truth.travel(b.start) > b.truth.shape.radius / 2]
    if not moving:
        return nothing("nothing moves")
    if all(b.frozen for b in moving):
        return nothing("nothing moves in the prediction, though it should")
    masses = np.array([free[b.truth.name]["mass"] for b in moving], dtype=np.float64)
    down = np.array(told.meta.get("gravity") or (0, 0, 0), dtype=np.float64)
    true = np.stack([np.array(free[b.truth.name]["position"], dtype=np.float64) for b in moving])
    kinetic = 0.5 * masses @ np.square(np.diff(true, axis=1) * told.fps).sum(-1)
    mine = np.stack([b.mine.centre for b in moving])
    energy = mechanical_energy(mine, masses, down, told.fps)
    sure = np.logical_and.reduce([b.mine.sure for b in moving])
    judged = (sure[1:] & sure[:-1])[pair.steps]
    if judged.sum() < 2 or kinetic.max() <= 0:
        return nothing("the bodies are never surely seen at the same time")
    rise = energy_rise(energy[pair.steps][judged], float(kinetic.max()))
    return Measured(min(rise, 1.0), float(judged.mean()))


def mechanical_energy(
    centres: Float[np.ndarray, "N T 3"],
    masses: Float[np.ndarray, "N"],
    gravity: Float[np.ndarray, "3"],
    fps: float,
) -> Float[np.ndarray, "T-1"]:
    """Kinetic and potential energy [J] of N bodies in each interval between frames, up to a constant.

    Speed and height are the interval's means; in free fall their sum is constant.
    """
    kinetic = 0.5 * np.square(np.diff(centres, axis=1) * fps).sum(-1)
    height = (centres[:, 1:] + centres[:, :-1]) / 2 @ gravity
    return masses @ (kinetic - height)


def restitution_error(pair: Pair) -> Measured:
    """|e - e_true|, at most 1, the mean over bounces of a body on what does not move.

    Both by the same differences of position, one interval before and one after; the bounce may be EARLY_OR_LATE.
    A body that comes with less than ARRIVES of the true speed costs 1. coverage: share of the bounces in which it
    was followed.
    """
    told, bodies = knower(pair), {b.truth.name: b for b in pair.once(followed)}
    free = _free(told)
    if not free:
        return nothing("no meta tells of bodies, masses and contacts")
    gravity = np.array(told.meta.get("gravity") or (0, 0, 0), dtype=np.float64)
    bounces, errors = 0, []
    for contact in contacts_of(told):
        names = [name for name in (contact.first, contact.second) if name in free]
        if len(names) != 1 or contact.before - 1 < pair.steps.start or contact.after + 1 >= told.frames:
            continue
        if _disturbed(contact, names[0], told):
            continue
        path = np.array(free[names[0]]["position"], dtype=np.float64)
        true = [_speed(path, at, told.fps) for at in (contact.before - 1, contact.after)]
        # Gravity acts meanwhile; the rest of the change is the surface's doing, along its normal.
        push = true[1] - true[0] - gravity * (contact.after + 1 - contact.before) / told.fps
        normal = push / max(float(np.linalg.norm(push)), 1e-12)
        if -true[0] @ normal < SLOWEST:
            continue
        bounces += 1
        if names[0] in bodies:
            error = _bounce(bodies[names[0]], contact, (true[0], true[1]), normal, told.fps)
            if math.isfinite(error):
                errors.append(error)
    if not bounces:
        return nothing("no body bounces on its own")
    if not errors:
        return nothing("no bounce can be followed")
    return Measured(float(np.mean(errors)), len(errors) / bounces)


def _bounce(
    body: Followed, contact: Contact, true: tuple[np.ndarray, np.ndarray], normal: np.ndarray, fps: float
) -> float:
    centre, sure = body.mine.centre, body.mine.sure
    best, kick = math.nan, -math.inf
    for shift in range(-EARLY_OR_LATE, EARLY_OR_LATE + 1):
        around = (contact.before - 1 + shift, contact.after + shift)
        if around[0] < 0 or around[1] + 1 >= len(centre) or not all(sure[at : at + 2].all() for at in around):
            continue
        mine = [_speed(centre, at, fps) for at in around]
        turned = float((mine[1] - mine[0]) @ normal)
        if turned > kick:
            came = -mine[0] @ normal
            late = came < ARRIVES * float(-true[0] @ normal)
            gap = 1.0 if late else abs(restitution(mine[0], mine[1], normal) - restitution(*true, normal))
            best, kick = min(gap, 1.0), turned
    return best


def _disturbed(contact: Contact, name: str, world: World4D) -> bool:
    """Whether the body touches anything else so soon before or after that no interval is free."""
    return any(
        other != contact
        and name in (other.first, other.second)
        and other.before <= contact.after + EARLY_OR_LATE
        and other.after >= contact.before - EARLY_OR_LATE
        for other in contacts_of(world)
    )


def _speed(path: np.ndarray, at: int, fps: float) -> np.ndarray:
    return (path[at + 1] - path[at]) * fps


def _free(world: World4D) -> dict[str, dict[str, Any]]:
    """Bodies of known mass that hang on nothing."""
    physics = world.meta.get("physics")
    bodies = (physics.get("bodies") if isinstance(physics, dict) else None) or {}
    return {
        name: body
        for name, body in bodies.items()
        if body.get("instance") and body.get("mass") and not body.get("joint") and body.get("position")
    }


_SEEN = ("depth", "camera")
ROWS = (
    Metric("momentum_error", _SEEN, (), "", "lower", momentum_error),
    Metric("energy_error", _SEEN, (), "", "lower", energy_error),
    Metric("restitution_error", _SEEN, (), "", "lower", restitution_error),
)
"""The metrics of this file."""

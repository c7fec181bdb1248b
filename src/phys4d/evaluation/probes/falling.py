"""Does a fall gather speed as it must? Galileo's ratio, which needs neither a scale nor g."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from phys4d.evaluation.measure import Measured, Metric, Pair, nothing
from phys4d.evaluation.physics import FEWEST_FRAMES, Flight, free_flights
from phys4d.evaluation.probes.bodies import Followed, followed, knower
from phys4d.world import World4D

AT_REST = 0.1
"""A fall begins from rest where its first speed is below this share of the speed that it ends with."""
FALLS = 0.1
"""What drops by less than this share of the true drop has not fallen."""
PIXELS = 2.0
"""Drops below so many pixels say nothing of how they grow."""


def fall_exponent(
    drop: Float[np.ndarray, "T"], time: Float[np.ndarray, "T"], known: Bool[np.ndarray, "T"]
) -> float | None:
    """p in drop ~ time^p of a fall from rest at time 0, by least squares of the logarithms.

    drop: below the place of release, in any unit. time > 0: since the release, in any unit. Entries are weighted
    by time^4, as the error of a logarithm falls with the drop. 0 for what does not fall; None for fewer than two
    known entries. Galileo: p = 2, so that t1^2 / t2^2 = h1 / h2.
    """
    if known.sum() < 2:
        return None
    drop, time = drop[known], time[known]
    if (drop <= 0).all() or drop[-1] <= 0:
        return 0.0
    up = drop > 0
    if up.sum() < 2:
        return 0.0
    slope = np.polyfit(np.log(time[up]), np.log(drop[up]), 1, w=np.square(time[up]))[0]
    return float(slope)


def falls_from_rest(
    centre: Float[np.ndarray, "T 3"], known: Bool[np.ndarray, "T"], up: Float[np.ndarray, "3"], least: float
) -> list[tuple[int, int]]:
    """Runs of frames start..stop-1 in which a body that stood still goes down, faster from frame to frame.

    Read from the path alone. It stood where it has gone by less than an eighth of `least` [m] in the two frames
    before (what falls from the first frame on may have been thrown), and comes down by more than twice that.
    """
    height = centre @ up
    runs, start = [], None
    for t in range(len(height)):
        falling = t + 1 < len(height) and known[t] and known[t + 1] and height[t + 1] < height[t]
        if falling and start is not None and t > start:
            # A fall that slows down has met something; half a pixel is measurement.
            falling = height[t] - height[t + 1] > height[t - 1] - height[t] - least / 2
        if falling and start is None:
            # Neither thrown down before, nor coming to the top of a throw: it was there, and not moving.
            before = slice(max(t - 2, 0), t + 1)
            stood = t > 1 and known[before].all() and np.ptp(height[before]) < least / 8
            start = t if stood and height[t] - height[t + 1] > least / 40 else None
        elif not falling and start is not None:
            if t - start + 1 >= FEWEST_FRAMES and height[start] - height[t] > 2 * least:
                runs.append((start, t + 1))
            start = None
    return runs


def galileo_error(pair: Pair) -> Measured:
    """|p / 2 - 1|, at most 1, of drop ~ time^p; the mean over falls from rest.

    The falls are those of the simulation that knows them, else those that the world itself shows. A body that
    should fall and stays costs 1. coverage: share of the falls in which the body is seen.
    """
    told = knower(pair)
    down = _down(told)
    errors, falls = [], 0
    known = _falls_of(told, down)
    bodies = pair.once(followed)
    if known is None and pair.has_reference:
        return nothing("the reference's meta has no gravity or no physics.bodies")
    for flight, true_drop in known or []:
        if flight.start < pair.steps.start:
            continue
        falls += 1
        body = next((b for b in bodies if b.mine.instance == flight.instance), None)
        error = None if body is None else _error(body, flight, down, true_drop)
        if error is not None:
            errors.append(error)
    if known is None:
        for body in bodies:
            pixel = _pixel(pair.prediction, body)
            for start, stop in falls_from_rest(body.mine.centre, body.mine.sure, -down, PIXELS * pixel):
                falls += 1
                error = _error(body, Flight(body.mine.instance, start, stop), down, None)
                if error is not None:
                    errors.append(error)
    if not falls:
        return nothing("no body falls from rest for long enough")
    if not errors:
        return nothing("no body that falls from rest can be followed")
    return Measured(float(np.mean(errors)), len(errors) / falls)


def _error(body: Followed, flight: Flight, down: np.ndarray, true_drop: float | None) -> float | None:
    at = slice(flight.start + 1, flight.stop)
    if not body.mine.sure[flight.start]:
        return None
    drop = (body.mine.centre[at] - body.mine.centre[flight.start]) @ down
    time = np.arange(1, flight.stop - flight.start, dtype=np.float64)
    known = body.mine.sure[at] & np.isfinite(drop)
    if known.any() and true_drop is not None and drop[known].max() < FALLS * true_drop:
        return 1.0
    # Early drops are smaller than what a pixel can tell.
    late = known & (time >= time[-1] / 2)
    # A path alone does not say when, within a frame, the body was let go.
    releases = [0.0] if true_drop is not None else np.linspace(0, 0.95, 20)
    found = [fall_exponent(np.nan_to_num(drop), time - release, late) for release in releases]
    errors = [min(abs(exponent / 2 - 1), 1.0) for exponent in found if exponent is not None]
    return min(errors, default=None)


def _falls_of(world: World4D, down: np.ndarray) -> list[tuple[Flight, float]] | None:
    """Falls from rest that a simulation knows, and how far each goes [m]; None where it tells nothing."""
    physics = world.meta.get("physics")
    bodies: dict[str, Any] = (physics.get("bodies") if isinstance(physics, dict) else None) or {}
    if not bodies or not np.linalg.norm(world.meta.get("gravity") or 0) > 0:
        return None
    paths = {body.get("instance"): np.array(body["position"]) for body in bodies.values()}
    falls = []
    for flight in free_flights(world):
        drop = (paths[flight.instance][flight.start : flight.stop] - paths[flight.instance][flight.start]) @ down
        last = drop[-1] - drop[-2]
        # The first step of a fall from rest is g / 2 fps^2; what is beyond that was its speed.
        first = drop[1] - (drop[2] - 2 * drop[1]) / 2
        if last > 0 and abs(first) < AT_REST * last:
            falls.append((flight, float(drop[-1])))
    return falls


def _down(world: World4D) -> np.ndarray:
    gravity = np.array(world.meta.get("gravity") or (0.0, 0.0, -1.0), dtype=np.float64)
    length = float(np.linalg.norm(gravity))
    return gravity / length if length > 0 and math.isfinite(length) else np.array([0.0, 0.0, -1.0])


def _pixel(world: World4D, body: Followed) -> float:
    """How wide a pixel is at the body [m]."""
    assert world.camera is not None
    seen = np.flatnonzero(body.mine.sure)[0]
    pose, k = world.camera.world_from_camera[seen], world.camera.intrinsics[seen]
    return float((body.mine.centre[seen] - pose[:3, 3]) @ pose[:3, 2] / k[0, 0])


_SEEN = ("depth", "camera")
ROWS = (Metric("galileo_error", _SEEN, (), "", "lower", galileo_error),)
"""The metrics of this file."""

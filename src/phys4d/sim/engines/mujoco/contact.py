"""Contacts that bounce as they should, and the record of who touched whom, when and how hard."""

# MuJoCo ships no types for what its C library holds.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

CONTACT_RATE = 600.0
"""Undamped angular frequency of a contact [rad/s]: it lasts 5 ms, and an impact at 4 m/s sinks in by 6 mm."""
BREAK = math.pi / CONTACT_RATE
"""A pause shorter than a contact lasts does not end one [s]."""


def damping_ratio(restitution: float, rate_step: float) -> float:
    """The damping ratio of a contact that bounces with this coefficient of restitution.

    `rate_step` is CONTACT_RATE times the time step. A contact can push but not pull, so it ends when its force has
    fallen to zero, not its depth; and a step is a finite part of it. Both move the bounce away from the textbook's
    zeta = -ln e / sqrt(pi^2 + ln^2 e), so the ratio is read off the very recursion that is integrated.
    """
    if restitution >= 1:
        return 0.0
    curve = _damping_of(round(rate_step, 9))
    # In long steps so dull a contact cannot be had: the dullest one.
    return float(curve(np.clip(restitution, curve.x[0], 1.0)))


@functools.cache
def _damping_of(rate_step: float) -> PchipInterpolator:
    """The damping ratio against the restitution, from the dullest contact that there is to a perfect one."""
    ratios = np.linspace(0, 3, 201)
    rebound = bounce(ratios, rate_step)
    # Beyond the dullest, a step takes a contact through its rest and out again.
    falling = np.flatnonzero(np.diff(rebound) >= 0)
    count = int(falling[0]) + 1 if len(falling) else len(ratios)
    return PchipInterpolator(rebound[:count][::-1], ratios[:count][::-1])


def bounce(damping: Float[np.ndarray, "Z"], rate_step: float, phases: int = 64) -> Float[np.ndarray, "Z"]:
    """Root-mean-square rebound speeds of a unit impact on contacts, over where in a step the impact falls.

    In the limit of small steps this is Schwager and Poeschel, Granular Matter 9, 465 (2007), equation 21.
    """
    depth = np.tile((np.arange(phases) + 0.5) / phases * rate_step, (len(damping), 1))
    speed, touching = np.ones_like(depth), np.ones_like(depth, dtype=bool)
    for _ in range(math.ceil(20 * (1 + float(damping.max())) / rate_step)):
        push = np.maximum(depth + 2 * damping[:, None] * speed, 0) * (depth > 0)
        speed = np.where(touching, speed - rate_step * push, speed)
        depth = np.where(touching, depth + rate_step * speed, depth)
        touching &= (depth > 0) & ~((push == 0) & (speed < 0))
        if not touching.any():
            break
    return np.sqrt(np.mean(speed**2, axis=1))


@dataclasses.dataclass
class Touch:
    """Two things that touch. begin, last: the first and the last sample that saw them push [s]; peak [N]."""

    pair: tuple[int, int]
    begin: float
    last: float
    peak: float


class Touches:
    """Collects contacts while a scene runs: `sample` after every few steps, `rows` at the end."""

    def __init__(self, names: Sequence[str], owner: np.ndarray, interval: float) -> None:
        """names: of the things; owner: the thing that each geom belongs to; interval: between samples [s]."""
        self._names, self._owner, self._interval = names, owner, interval
        self._open: dict[tuple[int, int], Touch] = {}
        self._closed: list[Touch] = []
        self._now = 0.0

    def sample(self, data: Any) -> None:
        """Note the contacts of the step that was taken last."""
        if not data.ncon:
            self._now = data.time
            return
        contact = data.contact
        address = contact.efc_address
        # With elliptic cones the first row of a contact is its normal force.
        force = np.where(address >= 0, data.efc_force[address], 0.0) if data.nefc else np.zeros(len(address))
        pushes: dict[tuple[int, int], float] = {}
        for (a, b), push in zip(self._owner[contact.geom].tolist(), force.tolist()):
            if push > 0:
                pair = (a, b) if a <= b else (b, a)
                pushes[pair] = pushes.get(pair, 0.0) + push
        self.note(pushes, data.time)

    def note(self, pushes: dict[tuple[int, int], float], now: float) -> None:
        """Note who pushes whom now, and how hard [N]."""
        self._now = now
        for pair, push in pushes.items():
            touch = self._open.get(pair)
            if touch and self._now - touch.last <= BREAK:
                touch.last, touch.peak = self._now, max(touch.peak, push)
                continue
            if touch:
                self._closed.append(touch)
            # The first sample stands for the start of the scene.
            begin = 0.0 if self._now <= self._interval * 1.5 else self._now
            self._open[pair] = Touch(pair, begin, self._now, push)

    def rows(self) -> list[dict[str, Any]]:
        """Every contact in the order of its beginning: bodies, begin, end [s], peak normal force [N].

        end is None where the two still touch in the last frame. Times are exact to the interval.
        """
        touches = sorted([*self._closed, *self._open.values()], key=lambda t: (t.begin, t.pair))
        return [
            {
                "bodies": [self._names[i] for i in touch.pair],
                "begin": round(touch.begin, 4),
                "end": None if self._now - touch.last <= BREAK else round(touch.last, 4),
                "peak_force": float(f"{touch.peak:.4g}"),
            }
            for touch in touches
        ]

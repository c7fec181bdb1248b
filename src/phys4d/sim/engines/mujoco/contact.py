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
from scipy.optimize import brentq

CONTACT_RATE = 600.0
"""Undamped angular frequency of a contact [rad/s]: it lasts 5 ms, and an impact at 4 m/s sinks in by 6 mm."""
BREAK = math.pi / CONTACT_RATE
"""A pause shorter than a contact lasts does not end one [s]."""


def damping_ratio(restitution: float, rate_step: float) -> float:
    """The damping ratio of a contact that bounces with this coefficient of restitution.

    `rate_step` is CONTACT_RATE times the time step. A contact can push but not pull, so it ends when its force has
    fallen to zero, not its depth; and a step is a finite part of it. Both move the bounce away from the textbook's
    zeta = -ln e / sqrt(pi^2 + ln^2 e), so the ratio is solved for on the very recursion that is integrated.
    """
    if restitution >= 1:
        return 0.0
    return _solve_damping(max(round(restitution, 6), 0.02), round(rate_step, 9))


def bounce(damping: float, rate_step: float, phases: int = 64) -> float:
    """Root-mean-square rebound speed of a unit impact on a contact, over where in a step the impact falls.

    In the limit of small steps this is Schwager and Poeschel, Granular Matter 9, 465 (2007), equation 21.
    """
    depth = (np.arange(phases) + 0.5) / phases * rate_step
    speed, touching = np.ones(phases), np.ones(phases, dtype=bool)
    for _ in range(math.ceil(20 * (1 + damping) / rate_step)):
        push = np.maximum(depth + 2 * damping * speed, 0) * (depth > 0)
        speed = np.where(touching, speed - rate_step * push, speed)
        depth = np.where(touching, depth + rate_step * speed, depth)
        touching &= (depth > 0) & ~((push == 0) & (speed < 0))
        if not touching.any():
            break
    return float(np.sqrt(np.mean(speed**2)))


@functools.cache
def _solve_damping(restitution: float, rate_step: float) -> float:
    if bounce(3.0, rate_step) > restitution:
        # In steps this long so dull a contact cannot be had: the dullest one.
        ratios = np.linspace(0.2, 2.0, 91)
        return float(ratios[np.argmin([abs(bounce(float(z), rate_step) - restitution) for z in ratios])])
    root: Any = brentq(lambda z: bounce(z, rate_step) - restitution, 0.0, 3.0, xtol=1e-5)
    return float(root)


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
        pushes: dict[tuple[int, int], float] = {}
        contact = data.contact
        address = contact.efc_address
        # With elliptic cones the first row of a contact is its normal force.
        force = np.where(address >= 0, data.efc_force[address], 0.0) if data.nefc else np.zeros(len(address))
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

"""The metrics' own test: which violation moves which metric, which it must leave alone, and what is no violation.

`EXPECTED` and `LEGAL` are the whole expectation; `docs/sensitivity.py` prints what is measured, and the tests hold
one against the other.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from phys4d.evaluation.evaluate import METRICS
from phys4d.evaluation.measure import Pair, Truth
from phys4d.evaluation.probes.tolerances import measured, tolerance
from phys4d.evaluation.violations import violate
from phys4d.sim.simulate import simulate
from phys4d.world import World4D

DOSES = (0.25, 0.5, 1.0)
SIZE = (64, 64)
COLUMNS = (
    "gravity_error", "galileo_error", "momentum_error", "energy_error", "restitution_error", "penetration",
    "permanence_error", "volume_error", "chamfer_dynamic", "scene_flow_epe", "flow_epe_moving", "object_iou",
    "abs_rel", "tae", "depth_warp_l1", "mask_iou", "sharpness", "psnr",
)  # fmt: skip
"""The metrics of the published table."""
STAGES: dict[str, dict[str, object]] = {
    "fall": {"scene": "ball_drop", "seed": 11, "camera": "static"},
    # Without its bounce, which comes later under a weaker gravity.
    "free fall": {"scene": "ball_drop", "seed": 11, "camera": "static", "fps": 24.0, "frames": 11},
    "collision": {"scene": "ball_collide", "seed": 12, "camera": "static"},
    "occlusion": {"scene": "roll_behind_box", "seed": 11, "camera": "static"},
    "fast": {"scene": "projectile", "seed": 13, "camera": "static"},
    "moving camera": {"scene": "ball_drop", "seed": 14, "camera": "handheld"},
    "bounce": {"scene": "ball_bounce", "seed": 15, "camera": "static"},
}
"""Scenes to break, and legal ones, with seeds that no tolerance was measured on."""

TOLERANCES = {
    "psnr": 0.5, "sharpness": 0.02, "mask_iou": 0.05, "object_iou": 0.05, "chamfer_dynamic": 0.005,
    "scene_flow_epe": 0.002, "flow_epe_moving": 0.05, "tae": 0.1, "depth_warp_l1": 0.002, "abs_rel": 0.002,
    "galileo_error": 0.02,
}  # fmt: skip
"""What counts as unmoved, where true worlds have not told it, or less than retelling one costs: between two frames
a body's place is interpolated."""


@dataclasses.dataclass(frozen=True)
class Expectation:
    """A violation on a stage. sees: metrics that get worse with every dose. unmoved: those that stay as they
    are."""

    violation: str
    stage: str
    sees: tuple[str, ...]
    unmoved: tuple[str, ...]


def _row(violation: str, stage: str, sees: str, unmoved: str) -> Expectation:
    return Expectation(violation, stage, tuple(sees.split()), tuple(unmoved.split()))


_PATH = "chamfer_dynamic scene_flow_epe flow_epe_moving object_iou"
EXPECTED = (
    _row("frozen", "fall", f"gravity_error galileo_error restitution_error {_PATH}", "tae"),
    _row("frozen", "collision", f"momentum_error {_PATH}", "tae"),
    _row("teleport", "collision", _PATH, "tae"),
    _row("floating", "fall", f"energy_error gravity_error {_PATH}", "penetration tae"),
    _row("interpenetration", "collision", f"penetration {_PATH}", "tae"),
    _row("time_reversed", "fall", f"energy_error restitution_error {_PATH}", "penetration tae"),
    _row("weak_gravity", "free fall", f"gravity_error {_PATH}", "galileo_error penetration tae"),
    _row("jitter", "fall", f"energy_error restitution_error {_PATH}", "tae"),
    _row("vanished", "occlusion", "permanence_error chamfer_dynamic object_iou", "tae"),
    _row("frozen", "occlusion", "permanence_error chamfer_dynamic", "tae"),
    _row("swelling", "fall", "volume_error chamfer_dynamic object_iou", "tae"),
    _row("swapped_identity", "collision", "momentum_error chamfer_dynamic object_iou psnr", "tae"),
    _row("scale_drift", "fall", "tae abs_rel depth_warp_l1", "psnr sharpness mask_iou"),
    _row("blur", "fall", "sharpness psnr", "abs_rel gravity_error galileo_error energy_error chamfer_dynamic"),
)
"""What each violation must move, and must leave alone."""

LEGAL = {
    "fast": "fast but valid motion", "occlusion": "a body passes behind another",
    "moving camera": "a hand-held camera", "bounce": "a legal bounce", "collision": "a legal collision",
}  # fmt: skip
"""Stages on which nothing is wrong: no probe may find more there than on other true worlds."""


@functools.cache
def stage(name: str) -> Truth:
    """A stage's world, simulated once."""
    options: dict[str, Any] = {"size": SIZE, "frames": 17, **STAGES[name]}
    return Truth(simulate(**options))


@functools.cache
def _unbroken(name: str) -> Pair:
    return Pair(as_prediction(stage(name).world), stage(name))


def as_prediction(world: World4D) -> World4D:
    """What a model gives: no segmentation, no tracks, and no word of how the world was made."""
    return dataclasses.replace(world, segmentation=None, tracks=None, track_visibility=None, meta={})


def scores(world: World4D, name: str, metrics: Sequence[str]) -> dict[str, float]:
    """Metrics of a world that a stage's truth was made into, NaN where there is nothing to judge."""
    pair = _unbroken(name) if world is stage(name).world else Pair(as_prediction(world), stage(name))
    return {metric: METRICS[metric].measure(pair).value for metric in metrics}


def sweep(
    violation: str, on: str, metrics: Sequence[str], doses: Sequence[float] = DOSES
) -> dict[str, list[float]]:
    """metric -> its value on the unbroken world, then at each dose."""
    world = stage(on).world
    rows = [scores(world, on, metrics), *(scores(violate(world, violation, dose), on, metrics) for dose in doses)]
    return {metric: [row[metric] for row in rows] for metric in metrics}


def allowed(metric: str) -> float:
    """By how much a metric may move without a reason."""
    told = tolerance(metric, SIZE) if metric in measured()[str(SIZE[0])] else 0.0
    return max(told, TOLERANCES.get(metric, 0.0))


def badness(metric: str, value: float) -> float:
    """The value such that more is worse."""
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[METRICS[metric].better]


def verdict(metric: str, values: Sequence[float]) -> str:
    """What a metric's values say, at growing doses, the first without any: sees, unmoved, confused or unmeasured.

    It sees a violation where no dose makes it better, and the last makes it worse by more than is allowed; it is
    unmoved where no dose moves it by more than that; it is confused where it does anything else.
    """
    if not all(math.isfinite(value) for value in values):
        return "unmeasured"
    bad, slack = [badness(metric, value) for value in values], allowed(metric)
    if max(abs(b - bad[0]) for b in bad) <= slack:
        return "unmoved"
    grows = all(later >= earlier - slack / 2 for earlier, later in itertools.pairwise(bad))
    return "sees" if grows and bad[-1] > bad[0] + slack else "confused"

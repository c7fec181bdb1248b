"""No metric goes blind, and none cries wolf: the published expectations, measured."""

import math

import numpy as np
import pytest

from phys4d.evaluation import METRICS
from phys4d.evaluation.probes import ROWS
from phys4d.evaluation.sensitivity import (
    COLUMNS,
    DOSES,
    EXPECTED,
    LEGAL,
    STAGES,
    allowed,
    badness,
    scores,
    stage,
    sweep,
    verdict,
)
from phys4d.evaluation.violations import VIOLATIONS


@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: f"{row.violation} on {row.stage}")
def test_a_violation_moves_what_should_see_it_and_nothing_that_should_not(row):
    found = sweep(row.violation, row.stage, (*row.sees, *row.unmoved))
    told = {name: verdict(name, values) for name, values in found.items()}
    wanted = {**dict.fromkeys(row.sees, "sees"), **dict.fromkeys(row.unmoved, "unmoved")}
    assert told == wanted, {name: found[name] for name in told if told[name] != wanted[name]}


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_moves_no_probe(name):
    found = scores(stage(name).world, name, ("gravity_error", *(row.name for row in ROWS)))
    assert any(math.isfinite(value) for value in found.values())
    for metric, value in found.items():
        if math.isfinite(value):
            assert badness(metric, value) <= allowed(metric), metric


def test_the_table_leaves_nothing_out():
    assert len(DOSES) >= 3
    assert {row.violation for row in EXPECTED} == set(VIOLATIONS)
    assert {row.stage for row in EXPECTED} | set(LEGAL) == set(STAGES)
    assert {name for row in EXPECTED for name in (*row.sees, *row.unmoved)} <= set(COLUMNS) <= set(METRICS)
    probes = {row.name for row in ROWS}
    assert probes <= {name for row in EXPECTED for name in row.sees}, "each probe must see something"
    assert probes <= set(COLUMNS)


def test_verdicts_tell_a_blind_and_a_confused_metric():
    assert verdict("penetration", [0.0, 0.1, 0.2, 0.3]) == "sees"
    assert verdict("penetration", [0.0, 0.0, 0.0, 0.0]) == "unmoved"
    assert verdict("penetration", [0.0, 0.3, 0.1, 0.2]) == "confused"
    assert verdict("penetration", [0.3, 0.2, 0.1, 0.0]) == "confused"
    assert verdict("penetration", [0.0, 0.1, math.nan, 0.3]) == "unmeasured"
    assert verdict("psnr", [100.0, 50.0, 40.0, 30.0]) == "sees"
    assert verdict("sharpness", [1.0, 0.8, 0.6, 0.4]) == "sees"
    assert np.isclose(badness("sharpness", 1.5), 0.5)

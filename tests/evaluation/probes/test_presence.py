"""Overlap against spheres on planes, presence against drawn masks."""

import numpy as np
import pytest

from phys4d.evaluation.chamfer import Background
from phys4d.evaluation.probes.presence import overlap_of_spheres, overlap_with_support, presence_errors
from phys4d.geometry import point_tree

EYE = np.array([0.0, -5.0, 2.0])


def table(edge=2.0, pitch=0.05):
    """The top of a table at height 0, out to x = edge."""
    x, y = np.meshgrid(np.arange(-2, edge, pitch), np.arange(-2, 2, pitch))
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], -1)
    normals = np.tile([0.0, 0.0, -1.0], (len(points), 1))
    normals[::7] = [0.6, 0.8, 0.0]  # As at silhouettes.
    return Background(points, normals, np.full(len(points), pitch), point_tree(points), 4.0)


@pytest.mark.parametrize(
    ("height", "depth"), [(0.5, 0), (0.3, 0), (0.2, 0.1), (0.05, 0.25), (-0.1, 0.4), (-2, 2.3)]
)
def test_a_sphere_on_a_plane(height, depth):
    found = overlap_with_support(np.array([0.02, 0.01, height]), 0.3, table(), EYE)
    assert found == pytest.approx(depth, abs=1e-9)


def test_beside_the_edge_there_is_no_table():
    falls = [overlap_with_support(np.array([2.4, 0, z]), 0.3, table(), EYE) for z in (0.3, 0.0, -0.2, -1.0)]
    assert falls == [0, 0, 0, 0]
    assert overlap_with_support(np.array([2.1, 0, 0.0]), 0.3, table(), EYE) == pytest.approx(0.175, abs=0.03)


def test_spheres_that_meet():
    first, second = np.zeros((3, 3)), np.array([[1.0, 0, 0], [0.4, 0, 0], [np.nan] * 3])
    found = overlap_of_spheres(first, second, (0.3, 0.3))
    assert found[:2] == pytest.approx([0, 0.2])
    assert np.isnan(found[2])


def square(frames, places, size=8, shape=(32, 64)):
    masks = np.zeros((frames, *shape), bool)
    for t, place in enumerate(places):
        if place is not None:
            masks[t, 12 : 12 + size, place : place + size] = True
    return masks


PLACES = [4, 10, None, None, 36, 44]


def test_a_body_that_comes_out_once_and_on_time_is_right():
    body = square(6, PLACES)
    assert not presence_errors(body, body, np.zeros_like(body)).any()


@pytest.mark.parametrize(
    ("places", "wrong"),
    [
        ([4, 10, None, None, None, None], [0, 0, 0, 0, 1, 1]),  # It does not come out.
        ([4, 10, 10, 10, 10, 10], [0, 0, 1, 1, 1, 1]),  # It never went behind.
        ([4, 10, None, None, None, 44], [0, 0, 0, 0, 1, 0]),  # It comes late.
    ],
)
def test_what_is_wrong_is_counted(places, wrong):
    body = square(6, PLACES)
    assert presence_errors(square(6, places), body, np.zeros_like(body)).tolist() == wrong


def test_it_comes_out_once_and_other_bodies_do_not_count():
    body = square(6, PLACES)
    twice = body | square(6, [None] * 4 + [4, 4])
    assert presence_errors(twice, body, np.zeros_like(body)).tolist() == [0, 0, 0, 0, 1, 1]
    others = square(6, [None] * 4 + [4, 4])
    assert not presence_errors(twice, body, others).any()


def test_no_body_no_verdict():
    nothing = np.zeros((4, 16, 16), bool)
    assert np.isnan(presence_errors(nothing, nothing, nothing)).all()

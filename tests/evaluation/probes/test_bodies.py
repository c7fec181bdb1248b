"""Bodies are found again, and their centres are where they are, from whatever part of them is seen."""

import dataclasses
import itertools

import numpy as np
import pytest

from phys4d.evaluation.measure import Pair, Truth
from phys4d.evaluation.probes.bodies import Shape, bodies_of, centre_of, followed, propagate, read_body, shape_of
from phys4d.world import Camera, World4D


def cap(centre, radius, eye, share=1.0, count=400):
    """Points of a sphere's visible front, the leftmost `share` of them."""
    rng = np.random.default_rng(0)
    way = rng.normal(size=(count, 3))
    points = np.asarray(centre) + radius * way / np.linalg.norm(way, axis=-1, keepdims=True)
    front = points[((np.asarray(eye) - points) * (points - centre)).sum(-1) > 0]
    return front[np.argsort(front[:, 0])][: int(share * len(front))]


def test_a_sphere_is_known_from_its_front():
    points = cap((0.3, 2.0, 0.5), 0.4, (0, 0, 0))
    shape = shape_of([points], [0.4])
    assert shape.round
    assert shape.radius == pytest.approx(0.4, rel=1e-6)
    assert not shape_of([points * [1, 1, 2]], [0.5]).round


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_the_centre_of_a_sphere_is_found_from_a_part_of_it(share):
    centre = np.array([0.3, 2.0, 0.5])
    points = cap(centre, 0.4, (0, 0, 0), share)
    found = centre_of(points, np.zeros(3), Shape(0.4, True))
    assert found == pytest.approx(centre, abs=1e-5)
    with_strangers = np.concatenate([points, points[: len(points) // 10] + [0, 1.5, 0]])
    assert centre_of(with_strangers, np.zeros(3), Shape(0.4, True)) == pytest.approx(centre, abs=0.02)


def discs(paths, radii, size=(40, 60)):
    """Pictures (T,H,W) of discs that go their way (x, y), the first in front."""
    row, column = np.mgrid[: size[0], : size[1]] + 0.5
    labels = np.zeros((len(paths[0]), *size), np.int32)
    for instance, (path, radius) in reversed(list(enumerate(zip(paths, radii), start=1))):
        for t, (x, y) in enumerate(path):
            labels[t][np.hypot(column - x, row - y) < radius] = instance
    return labels


def plane_points(labels):
    """Every pixel's point in a plane, bodies one behind the other."""
    row, column = np.mgrid[: labels.shape[1], : labels.shape[2]] + 0.5
    still = np.broadcast_to(np.stack([column, row], axis=-1), (*labels.shape, 2))
    return np.concatenate([still, 100.0 * labels[..., None]], axis=-1)


def flow_of(labels, paths):
    flow = np.zeros((len(labels) - 1, *labels.shape[1:], 2), np.float32)
    for instance, path in enumerate(paths, start=1):
        steps = np.diff(np.asarray(path, dtype=float), axis=0)
        flow += (labels[:-1] == instance)[..., None] * steps[:, None, None]
    return flow.astype(np.float32)


def test_ids_follow_bodies_that_cross_in_the_picture():
    paths = [np.stack([np.linspace(10, 50, 11), np.full(11, 20)], -1)] * 2
    paths[1] = paths[0][::-1] + [0, 6]
    truth = discs(paths, (6, 6))
    found = propagate(truth[0], flow_of(truth, paths), None, truth > 0, plane_points(truth))
    assert ((found == truth) | (truth == 0)).mean() > 0.999
    assert not found[truth == 0].any()


def test_a_body_that_was_hidden_is_found_again():
    path = np.stack([np.linspace(8, 52, 12), np.full(12, 20)], -1)
    truth = discs([path], (5,))
    truth[4:8] = 0
    visible = np.stack([(frame > 0) & (later > 0).any() for frame, later in itertools.pairwise(truth)])
    found = propagate(truth[0], flow_of(truth, [path]), visible, truth > 0, plane_points(truth))
    np.testing.assert_array_equal(found[8:], truth[8:])
    assert not found[5:8].any()


def test_what_turns_up_is_a_new_body_only_where_that_is_asked_for():
    path = np.stack([np.linspace(8, 52, 12), np.full(12, 20)], -1)
    truth = discs([path], (5,))
    truth[:3] = 0
    empty, flow = np.zeros(truth.shape[1:], np.int32), flow_of(truth, [path])
    assert not propagate(empty, flow, None, truth > 0, plane_points(truth)).any()
    found = propagate(empty, flow, None, truth > 0, plane_points(truth), newcomers=True)
    np.testing.assert_array_equal(found[3:], truth[3:])


def flat_world(mask, depth):
    frames = len(mask)
    k = np.tile(np.array([[50, 0, 30], [0, 50, 20], [0, 0, 1]], np.float32), (frames, 1, 1))
    camera = Camera(k, np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)))
    return World4D(depth=depth.astype(np.float32), segmentation=mask.astype(np.int32), camera=camera)


def test_cut_or_hidden_bodies_are_not_whole():
    path = np.stack([np.linspace(4, 40, 10), np.full(10, 20)], -1)
    mask = discs([path], (6,)) > 0
    depth = np.where(mask, 2.0, 4.0)
    depth[-1, 10:30, 46:60] = 1.0  # Something nearer comes beside the last place.
    world = flat_world(mask, depth)
    points = np.zeros((*mask.shape, 3)) + [0, 0, 1.0]
    body = read_body(world, points, mask, shape=Shape(0.24, False))
    assert body is not None
    assert not body.whole[0], "the border cuts it"
    assert body.whole[2:-1].all()
    assert not body.whole[-1], "something hides it"
    assert body.size[4] == pytest.approx(6 * 2 / 50, rel=0.02)


def test_nothing_is_followed_where_nothing_is_seen():
    mask = np.zeros((3, 40, 60), bool)
    world = flat_world(mask, np.full(mask.shape, 3.0))
    assert read_body(world, np.zeros((*mask.shape, 3)), mask) is None
    assert bodies_of(Truth(world)) == {}
    assert followed(Pair(dataclasses.replace(world, segmentation=None), None)) == []

"""Distances between point sets against scipy's k-d tree."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from phys4d.geometry import chamfer_distance, nearest_distance


def random_sets(count_a: int, count_b: int, seed: int, batch: tuple[int, ...] = ()) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*batch, n, 3, generator=generator, dtype=torch.float64) for n in (count_a, count_b))


def tree_distance(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return cKDTree(targets).query(points)[0]


def tree_chamfer(a, b, truncation: float = math.inf) -> float:
    a, b = np.asarray(a), np.asarray(b)
    one_way = [np.minimum(tree_distance(p, q), truncation).mean() for p, q in ((a, b), (b, a))]
    return sum(one_way) / 2


@pytest.mark.parametrize("sizes", [(1, 1), (1, 50), (57, 1), (83, 131), (300, 17)])
@pytest.mark.parametrize("chunk", [1, 7, 64, 4096])
def test_nearest_distance_agrees_with_a_tree(sizes, chunk):
    points, targets = random_sets(*sizes, seed=sum(sizes))
    ours = nearest_distance(points, targets, chunk=max(chunk, max(sizes) // 16))
    np.testing.assert_allclose(ours.numpy(), tree_distance(points.numpy(), targets.numpy()), rtol=1e-12)


def test_nearest_distance_heeds_batches_and_masks():
    points, targets = random_sets(40, 60, seed=1, batch=(2, 3))
    mask = torch.rand(2, 3, 60, generator=torch.Generator().manual_seed(2)) < 0.3
    mask[1, 2] = False
    ours = nearest_distance(points, targets, mask, chunk=16)
    for i, j in np.ndindex(2, 3):
        if mask[i, j].any():
            truth = tree_distance(points[i, j].numpy(), targets[i, j][mask[i, j]].numpy())
            np.testing.assert_allclose(ours[i, j].numpy(), truth, rtol=1e-12)
    assert ours[1, 2].isinf().all()


def test_nearest_distance_keeps_its_digits_far_from_the_origin():
    """A micrometre at 10 m, in single precision: the matrix-product shortcut would return noise."""
    points = torch.tensor([[10.0, 0.0, 0.0]])
    shifted = points + torch.tensor([[0.0, 1e-6, 0.0]])
    assert nearest_distance(points, shifted).item() == pytest.approx(1e-6, rel=1e-3)
    assert nearest_distance(points, points).item() == 0


def test_nearest_distance_of_empty_sets():
    none, some = torch.zeros(0, 3), torch.zeros(4, 3)
    assert nearest_distance(none, some).shape == (0,)
    assert nearest_distance(some, none).isinf().all()


def test_gradients_reach_both_sets_and_pull_them_together():
    a, b = (s.requires_grad_() for s in random_sets(9, 11, seed=3))
    assert torch.autograd.gradcheck(lambda p, q: nearest_distance(p, q, chunk=4), (a, b))
    assert torch.autograd.gradcheck(lambda p, q: chamfer_distance(p, q, truncation=0.8, chunk=4), (a, b))
    same = a.detach().clone().requires_grad_()
    chamfer_distance(same, a.detach()).backward()
    assert torch.isfinite(same.grad).all(), "the root's kink at distance 0 must not give NaN"


@pytest.mark.parametrize("truncation", [0.2, 1.0, math.inf])
def test_chamfer_agrees_with_a_tree(truncation):
    for seed, sizes in enumerate([(1, 1), (20, 90), (140, 33)]):
        a, b = random_sets(*sizes, seed=seed)
        ours = chamfer_distance(a, b, truncation=truncation, chunk=16)
        assert ours.item() == pytest.approx(tree_chamfer(a, b, truncation), rel=1e-12)
        assert chamfer_distance(b, a, truncation=truncation).item() == pytest.approx(ours.item(), rel=1e-12)


def test_chamfer_is_in_metres_and_halves_the_sum():
    """Two points 3 m apart are at distance 3: not 9 (squared), not 6 (summed). Scaling space scales it."""
    a, b = torch.zeros(1, 3), torch.tensor([[0.0, 3.0, 0.0]])
    assert chamfer_distance(a, b).item() == 3
    assert chamfer_distance(2 * a, 2 * b).item() == 6
    # One more point on top of b: only a's half and the new point's distance change.
    c = torch.cat([b, a])
    assert chamfer_distance(a, c).item() == pytest.approx(0.5 * (0 + (3 + 0) / 2))


def test_chamfer_heeds_masks_in_a_batch():
    a, b = random_sets(30, 50, seed=4, batch=(3,))
    generator = torch.Generator().manual_seed(5)
    a_mask, b_mask = torch.rand(3, 30, generator=generator) < 0.5, torch.rand(3, 50, generator=generator) < 0.5
    ours = chamfer_distance(a, b, a_mask, b_mask, truncation=0.7, chunk=8)
    for i in range(3):
        assert ours[i].item() == pytest.approx(tree_chamfer(a[i][a_mask[i]], b[i][b_mask[i]], 0.7), rel=1e-12)


@pytest.mark.parametrize("truncation", [0.5, math.inf])
def test_chamfer_of_empty_sets(truncation):
    some, none = torch.randn(2, 4, 3), torch.zeros(2, 0, 3)
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    assert chamfer_distance(some, none, truncation=truncation).tolist() == [truncation] * 2
    assert chamfer_distance(none, some, truncation=truncation).tolist() == [truncation] * 2
    assert chamfer_distance(none, none, truncation=truncation).tolist() == [0, 0]
    assert chamfer_distance(some, some, nothing, None, truncation=truncation).tolist() == [truncation] * 2
    assert chamfer_distance(some, some, nothing, nothing, truncation=truncation).tolist() == [0, 0]


def test_chamfer_is_invariant_to_rigid_motion_and_order():
    a, b = random_sets(60, 70, seed=6)
    turn, _ = torch.linalg.qr(random_sets(3, 1, seed=7)[0])
    shift = torch.tensor([5.0, -2.0, 1.0], dtype=torch.float64)
    before = chamfer_distance(a, b)
    torch.testing.assert_close(chamfer_distance(a @ turn.T + shift, b.flip(0) @ turn.T + shift), before)

"""The gradient of two losses on the same weights, against hand-made derivatives."""

import pytest
import torch

from phys4d.training.balance import balanced


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_other_pulls_by_its_share_whatever_its_size(size):
    a, b, idle = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(3))
    main, other = 3 * a[0] + 4 * b[1], size * (a[1] + 2 * b[0])
    loss = balanced(main, other, [a, b, idle], share=0.5)
    assert float(loss.detach()) == float(main.detach())
    loss.backward()
    # |d main| = 5, and the other's direction is (1, 2) / sqrt 5 of a[1] and b[0].
    torch.testing.assert_close(a.grad, torch.tensor([3.0, 2.5 / 5**0.5]))
    torch.testing.assert_close(b.grad, torch.tensor([5.0 / 5**0.5, 4.0]))
    assert not idle.grad.any()


def test_another_that_says_nothing_leaves_the_main_one_alone():
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    balanced(3 * a[0], 0 * a[1], [a], share=0.5).backward()
    torch.testing.assert_close(a.grad, torch.tensor([3.0, 0.0]))


def test_what_only_the_other_knows_keeps_its_gradient():
    shared, own = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    balanced(5 * shared[0], 1e4 * shared[1] + 3 * own[1], [shared], 0.2, [own]).backward()
    torch.testing.assert_close(shared.grad, torch.tensor([5.0, 1.0]))
    torch.testing.assert_close(own.grad, torch.tensor([0.0, 3.0]))

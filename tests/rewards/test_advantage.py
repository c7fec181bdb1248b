"""Advantages by hand."""

import pytest
import torch

from phys4d.errors import WorkError
from phys4d.rewards import advantages


def test_mean_of_the_group_and_spread_of_the_batch():
    rewards = torch.tensor([[0.0, 1.0], [4.0, 8.0], [3.0, 3.0]])
    a, kept = advantages(rewards)
    assert kept.tolist() == [True, True, False]
    spread = rewards[:2].std(correction=0)
    expected = torch.tensor([[-0.5, 0.5], [-2.0, 2.0], [0.0, 0.0]]) / (spread + 1e-4)
    torch.testing.assert_close(a, expected)


def test_outliers_are_clipped_and_a_dead_batch_is_all_dropped():
    rewards = torch.zeros(1, 100)
    rewards[0, 0] = 1.0
    a, kept = advantages(rewards)
    assert a.max() == 5
    assert a[0, 1:].max() < 0
    a, kept = advantages(torch.full((2, 4), 0.7))
    assert not kept.any()
    assert (a == 0).all()


def test_scale_of_the_reward_hardly_matters():
    rewards = torch.rand(4, 6)
    torch.testing.assert_close(advantages(rewards)[0], advantages(9 * rewards + 3)[0], rtol=1e-3, atol=1e-3)


def test_rewards_that_are_no_numbers_are_refused():
    with pytest.raises(WorkError, match="not finite"):
        advantages(torch.tensor([[1.0, float("nan")]]))

"""The 4D Chamfer skill on planted worlds: what is honest earns more than what is not."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from planted import frozen, oracle, prepared, simulated

from phys4d.errors import InputError, MissingFieldError
from phys4d.geometry import chamfer_distance, tree_chamfer
from phys4d.rewards import DEFAULT, chamfer_skill, measure, prepare_scene, rewards
from phys4d.rewards.scene import _trees
from phys4d.world import Camera, World4D

CASES = [("ball_bounce", 5, "static"), ("ball_drop", 3, "orbit"), ("ball_hits_duck", 2, "dolly")]


def without_body(world, prepared_scene, frames=slice(1, None)):
    """The moving bodies gone after frame 0: the background's depth instead."""
    behind = np.where(np.isinf(prepared_scene.farthest), 0, prepared_scene.farthest)
    depth = world.depth.copy()
    moving = moving_pixels(world)
    depth[frames][moving[frames]] = behind[frames][moving[frames]]
    return dataclasses.replace(world, depth=depth)


def moving_pixels(world):
    ids = [number for number in np.unique(world.segmentation) if number]
    still = [
        n for n in ids if np.linalg.norm(world.scene_flow[world.segmentation[:-1] == n], axis=-1).max() < 1e-3
    ]
    return (world.segmentation > 0) & ~np.isin(world.segmentation, still)


def nearer(world, share, start=1):
    """The moving bodies pulled towards the camera by a share of their distance, after frame 0."""
    depth = world.depth.copy()
    moving = moving_pixels(world)
    moving[:start] = False
    depth[moving] *= 1 - share
    return dataclasses.replace(world, depth=depth)


@pytest.mark.parametrize("case", CASES)
def test_the_truth_earns_one_and_the_frozen_world_no_skill(case):
    world, scene = simulated(*case), prepared(*case)
    assert scene.dropped == ""
    truth = chamfer_skill(world, scene)
    assert truth.reward == pytest.approx(1, abs=2e-3)
    assert truth.errors.dynamic < 1e-3
    still = chamfer_skill(frozen(world), scene)
    assert still.dynamic == 0
    assert still.track == 0
    assert still.reward <= 0.2
    assert rewards[DEFAULT] is chamfer_skill


def test_misplacement_lowers_the_reward_with_its_dose():
    world, scene = simulated(), prepared()
    earned = [chamfer_skill(nearer(world, share), scene) for share in (0, 0.05, 0.1, 0.2, 0.3)]
    assert all(more.reward > less.reward + 0.01 for more, less in itertools.pairwise(earned))
    assert all(more.dynamic > less.dynamic for more, less in itertools.pairwise(earned))
    assert all(more.track > less.track for more, less in itertools.pairwise(earned))


def test_error_of_a_misplaced_body_is_in_metres():
    """Points that all lie d off are at most d from the truth, and truncated beyond tau."""
    world, scene = simulated(), prepared()
    moving = moving_pixels(world)
    distance = world.depth[moving].mean()
    found = measure(nearer(world, 0.05), scene).dynamic
    assert 0.4 * 0.05 * distance < found < 1.2 * 0.05 * distance
    after_frame_0 = 1 - 1 / world.frames
    assert measure(nearer(world, 0.7), scene).dynamic == pytest.approx(after_frame_0 * scene.truncation)


def test_time_matters():
    """The right shapes at the wrong time: a reversed clip, a late one."""
    world, scene = simulated(), prepared()
    late = dataclasses.replace(
        world,
        depth=np.concatenate([world.depth[:1], world.depth[:1], world.depth[1:-1]]),
        flow=np.concatenate([np.zeros_like(world.flow[:1]), world.flow[:-1]]),
        visible=np.concatenate([np.ones_like(world.visible[:1]), world.visible[:-1]]),
    )
    assert chamfer_skill(late, scene).reward < 0.85
    reversed_world = dataclasses.replace(world, depth=np.concatenate([world.depth[:1], world.depth[:0:-1]]))
    assert chamfer_skill(reversed_world, scene).dynamic < 0.5


def test_a_hidden_body_earns_less_than_a_frozen_one_and_costs_tau():
    world, scene = simulated(), prepared()
    gone = measure(without_body(world, scene), scene)
    assert gone.dynamic == pytest.approx((1 - 1 / world.frames) * scene.truncation)
    hidden = chamfer_skill(without_body(world, scene), scene)
    assert hidden.dynamic < 0
    assert hidden.reward < chamfer_skill(frozen(world), scene).reward
    late = chamfer_skill(without_body(world, scene, slice(12, None)), scene)
    assert hidden.reward < late.reward < 0.9


def test_a_blurred_body_earns_less_than_a_sharp_one():
    """Depth that hedges between the body and what is behind it."""
    world, scene = simulated(), prepared()
    earned = []
    for share in (0.0, 0.5, 0.9):
        behind = without_body(world, scene).depth
        mixed = np.where((world.depth > 0) & (behind > 0), (1 - share) * world.depth + share * behind, world.depth)
        mixed[0] = world.depth[0]
        earned.append(chamfer_skill(dataclasses.replace(world, depth=mixed.astype(np.float32)), scene).reward)
    assert earned[0] > earned[1] > earned[2]


def test_phantoms_cost():
    """A second body that is not there."""
    world, scene = simulated(), prepared()
    depth = world.depth.copy()
    depth[1:, 5:15, 5:15] = 0.6 * scene.extent
    phantom = chamfer_skill(dataclasses.replace(world, depth=depth), scene)
    assert phantom.dynamic < 0.9


@pytest.mark.parametrize("case", CASES)
def test_scale_and_shift_of_disparity_and_the_world_frame_are_forgiven(case):
    world, scene = simulated(*case), prepared(*case)
    turn = np.eye(4, dtype=np.float32)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turn[:3, 3] = [4, -2, 1]
    pose = turn @ world.camera.world_from_camera
    pose[:, :3, 3] = pose[:1, :3, 3] + 1.7 * (pose[:, :3, 3] - pose[:1, :3, 3])
    scaled = dataclasses.replace(world, depth=1.7 * world.depth, camera=Camera(world.camera.intrinsics, pose))
    assert chamfer_skill(scaled, scene).reward == pytest.approx(1, abs=5e-3)
    if case[2] == "static":
        disparity = 0.6 / np.where(world.depth > 0, world.depth, 1) + 0.05
        shifted = np.where(world.depth > 0, 1 / disparity, 0).astype(np.float32)
        assert chamfer_skill(dataclasses.replace(world, depth=shifted), scene).reward > 0.98


def test_scale_is_fitted_on_frame_0_only():
    """Depth that drifts after frame 0 is not forgiven."""
    world, scene = simulated(), prepared()
    drift = np.linspace(1, 1.4, world.frames, dtype=np.float32)[:, None, None]
    earned = chamfer_skill(dataclasses.replace(world, depth=world.depth * drift), scene)
    assert earned.background < 0.9
    assert earned.reward < 0.8


def test_a_tracker_that_loses_everything_is_no_better_than_a_frozen_one():
    world, scene = simulated(), prepared()
    lost = dataclasses.replace(world, visible=np.zeros_like(world.visible))
    assert chamfer_skill(lost, scene).dynamic == pytest.approx(1, abs=1e-3)
    assert chamfer_skill(lost, scene).track == pytest.approx(0, abs=0.02)


def test_the_lifters_own_error_is_in_nobodys_favour():
    """With a lifter that sees everything 4 % off, in patches, its truth still earns 1 and its frozen world 0."""
    world = simulated()
    noise = np.random.default_rng(0).normal(size=(world.frames, 8, 8)).repeat(8, axis=1).repeat(8, axis=2)

    def spoil(lifted):
        return dataclasses.replace(lifted, depth=(lifted.depth * np.exp(0.04 * noise)).astype(np.float32))

    scene = prepare_scene(world, oracle(world, spoil))
    assert scene.dropped == ""
    assert 0.05 < scene.epsilon < 0.15
    assert scene.floor.dynamic > 0.02
    assert chamfer_skill(spoil(world), scene).dynamic == 1
    assert chamfer_skill(spoil(frozen(world)), scene).dynamic == 0
    assert chamfer_skill(world, scene).dynamic == 1


def test_scenes_that_say_nothing_are_dropped_with_a_reason():
    still = simulated("stable_blocks", 1)
    scene = prepare_scene(still, oracle(still))
    assert "barely moves" in scene.dropped
    with pytest.raises(InputError, match="barely moves"):
        chamfer_skill(still, scene)
    world = simulated()
    blind = prepare_scene(world, lambda rgb: [frozen(world) for _ in rgb])
    assert "hardly tells" in blind.dropped
    untracked = dataclasses.replace(world, track_visibility=np.zeros_like(world.track_visibility))
    assert "no track" in prepare_scene(untracked, oracle(untracked)).dropped


def test_wrong_worlds_are_refused():
    world, scene = simulated(), prepared()
    with pytest.raises(MissingFieldError, match="flow"):
        measure(dataclasses.replace(world, flow=None), scene)
    with pytest.raises(MissingFieldError, match="tracks"):
        prepare_scene(dataclasses.replace(world, tracks=None, track_visibility=None), oracle(world))
    short = World4D(
        depth=world.depth[:9],
        flow=world.flow[:8],
        visible=world.visible[:8],
        camera=Camera(world.camera.intrinsics[:9], world.camera.world_from_camera[:9]),
    )
    with pytest.raises(InputError, match="9 frames"):
        measure(short, scene)


def test_the_tree_finds_what_geometry_finds():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 3)), rng.normal(size=(70, 3)) + 0.5
    order, tau = np.arange(120), 0.6
    points = np.concatenate([a, b])[None, :, None]
    first = np.zeros((1, 120, 1), bool)
    first[:, :50] = True
    trees = [_trees(points, mask, order, 100)[0] for mask in (first, ~first, first & ~first)]
    expected = chamfer_distance(torch.from_numpy(a), torch.from_numpy(b), truncation=tau).item()
    assert tree_chamfer(trees[0], trees[1], tau) == pytest.approx(expected)
    assert tree_chamfer(trees[0], trees[2], tau) == tree_chamfer(trees[2], trees[1], tau) == tau
    assert tree_chamfer(trees[2], trees[2], tau) == 0
    assert _trees(points, ~first, order, 30)[0].n == 30

"""Warp consistency: near zero on simulated truth, and a planted error in any one of its inputs shows."""

import pytest
import torch
from loss_truth import truth

from phys4d.errors import WorkError
from phys4d.losses import depth_edges, warp_loss

SCENES = [("ball_drop", 3, "orbit"), ("block_slide", 4, "dolly"), ("ball_collide", 1, "static")]


def inputs(t):
    return {
        "log_depth": t.log_depth.clone(),
        "motion": t.motion.clone(),
        "intrinsics": t.intrinsics,
        "camera0_from_camera": t.camera0_from_camera.clone(),
        "visible": t.visible,
        "static": t.static,
        "edge": depth_edges(t.depth),
    }


@pytest.mark.parametrize("case", SCENES)
def test_near_zero_on_truth(case):
    loss = warp_loss(**inputs(truth(*case)))
    assert loss.parts["time"] < 4e-3
    assert loss.parts["rigid_flow"] < 1e-5
    assert loss.parts["rigid_depth"] < 1e-5
    assert loss.coverage["visible"] > 0.4
    assert 0.4 < loss.coverage["static"] < loss.coverage["visible"]


def test_edges_matter():
    """Bilinear sampling across silhouettes mixes surfaces: without the edges the truth would not pass."""
    t = truth("ball_collide", 1, "orbit")
    with_edges = warp_loss(**inputs(t)).parts["time"]
    without = warp_loss(**{**inputs(t), "edge": torch.zeros_like(t.surface)}).parts["time"]
    assert without > 3 * with_edges


def planted(kind, dose):
    given = inputs(truth())
    if kind == "depth of one frame":
        given["log_depth"][:, 4] += 0.1 * dose
    elif kind == "drift of depth":
        given["log_depth"] += 0.02 * dose * torch.arange(9.0)[:, None, None]
    elif kind == "flow":
        given["motion"][..., 0] += dose
    elif kind == "change of depth":
        given["motion"][..., 2] += 0.03 * dose
    elif kind == "translation":
        given["camera0_from_camera"][..., :3, 3] *= 1 + dose
    elif kind == "scale of depth":
        given["log_depth"] += 0.2 * dose
    return warp_loss(**given)


@pytest.mark.parametrize(
    "kind", ["depth of one frame", "drift of depth", "flow", "change of depth", "translation", "scale of depth"]
)
def test_planted_errors_raise_the_loss_with_their_dose(kind):
    values = [planted(kind, dose).value.item() for dose in (0, 1, 2)]
    assert values[0] < values[1] < values[2]
    assert values[1] > 1.5 * values[0]


def test_terms_by_hand():
    """A wall of 2 m that a still camera watches: each term in its own unit."""
    k = torch.tensor([[50.0, 0, 8], [0, 50, 8], [0, 0, 1]]).expand(1, 2, 3, 3)
    pose = torch.eye(4).expand(1, 2, 4, 4)
    everywhere, nowhere = torch.ones(1, 1, 16, 16, dtype=torch.bool), torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    log_depth = torch.full((1, 2, 16, 16), 2.0).log()
    motion = torch.tensor([3.0, 4.0, 0.0]).expand(1, 1, 16, 16, 3)
    loss = warp_loss(log_depth, motion, k, pose, everywhere, everywhere, nowhere)
    assert loss.parts["time"] == 0
    assert loss.parts["rigid_flow"].item() == pytest.approx(5 / 16)
    assert loss.parts["rigid_depth"] == pytest.approx(0, abs=1e-6)
    # Pixels within (3, 4) of the lower right border leave the picture.
    assert loss.coverage["visible"].item() == pytest.approx((13 * 12) / 256)
    half = warp_loss(log_depth, motion, k, pose, everywhere, everywhere, nowhere, gamma=0.5)
    assert half.value.item() == pytest.approx(loss.value.item() / 2)
    deeper = warp_loss(log_depth, motion * 0 + torch.tensor([0, 0, 0.1]), k, pose, everywhere, everywhere, nowhere)
    assert deeper.parts["time"].item() == pytest.approx(0.1, rel=1e-5)
    assert deeper.parts["rigid_depth"].item() == pytest.approx(0.1, rel=1e-5)


def test_what_moves_owes_nothing_to_the_cameras():
    """The first term alone judges moving pixels: a ball may go where it likes if its depth agrees."""
    given = inputs(truth())
    static = warp_loss(**given)
    everything = warp_loss(**{**given, "static": given["visible"]})
    assert everything.parts["rigid_flow"] > 10 * static.parts["rigid_flow"]
    assert everything.parts["time"] == static.parts["time"]


def test_gradients_reach_depth_motion_and_cameras():
    given = inputs(truth())
    given["camera0_from_camera"][..., :3, 3] *= 1.1
    given["log_depth"][:, 3] += 0.05
    given["motion"] += 0.1
    learnt = {
        name: given[name].clone().requires_grad_() for name in ("log_depth", "motion", "camera0_from_camera")
    }
    learnt["intrinsics"] = given["intrinsics"].clone().requires_grad_()
    warp_loss(**{**given, **learnt}).value.backward()
    for name, value in learnt.items():
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().sum() > 0, name
    assert learnt["motion"].grad[..., 2].abs().sum() > 0
    exact = inputs(truth())
    exact["log_depth"].requires_grad_()
    warp_loss(**exact).value.backward()
    assert torch.isfinite(exact["log_depth"].grad).all()


def test_empty_masks_raise_and_name_themselves():
    given = inputs(truth())
    with pytest.raises(WorkError, match="visible"):
        warp_loss(**{**given, "visible": torch.zeros_like(given["visible"])})
    with pytest.raises(WorkError, match="visible"):
        warp_loss(**{**given, "edge": torch.ones_like(given["edge"])})
    with pytest.raises(WorkError, match="static"):
        warp_loss(**{**given, "static": torch.zeros_like(given["static"])})


def test_depth_edges_are_steps_and_sky_but_not_slopes():
    rows = torch.arange(32.0)
    plane = (1 / (0.2 + 0.01 * rows))[:, None].expand(32, 32)
    assert not depth_edges(plane).any()
    box = plane.clone()
    box[10:20, 10:20] *= 0.7
    edges = depth_edges(box)
    assert edges[10, 10:20].all()
    assert edges[9, 10:20].all()
    assert not edges[13:17, 13:17].any()
    assert not edges[:, 25:].any()
    sky = plane.clone()
    sky[:5] = 0
    assert depth_edges(sky)[:6].all()
    assert not depth_edges(sky)[8:].any()

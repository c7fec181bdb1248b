"""The heads: shapes for any backbone, rigid cameras, worlds that agree with themselves, one clip learned."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import phys4d
from phys4d.errors import InputError
from phys4d.geometry import motion_from_scene_flow
from phys4d.heads import HeadOutput, Heads
from phys4d.heads.layers import _frames_of, local_correlation, shifted
from phys4d.heads.network import MAPS, rigid_motion_of

PIXELS = {"frames": 5, "size": (32, 48), "grid": (3, 4, 6), "latents": (3, 5, 32, 48)}
LATENT = {"frames": 9, "size": (64, 32), "grid": (3, 4, 2), "latents": (16, 3, 8, 4)}


def inputs(frames, size, grid, latents, *, dims=(24, 40), clips=2):
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(clips, *grid, d, generator=generator, requires_grad=True) for d in dims]
    noisy = torch.randn(clips, *latents, generator=generator)
    return features, noisy, torch.linspace(0.1, 0.9, clips), frames, size


def shaken(heads, seed=0, scale=0.1):
    """Heads whose every weight is perturbed, so that no output keeps its starting value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return heads


def small_heads(shape, **options):
    torch.manual_seed(0)
    return Heads((24, 40), shape["latents"][0], width=8, **options)


@pytest.mark.parametrize(
    "shape",
    [
        PIXELS,
        {"frames": 17, "size": (64, 64), "grid": (9, 8, 8), "latents": (3, 17, 64, 64)},
        {"frames": 6, "size": (16, 32), "grid": (4, 4, 8), "latents": (3, 6, 16, 32)},  # finer than the cells
        {"frames": 2, "size": (32, 32), "grid": (1, 2, 2), "latents": (3, 2, 32, 32)},
        LATENT,
        {"frames": 17, "size": (96, 64), "grid": (5, 3, 2), "latents": (48, 5, 6, 4)},  # a VAE of 1/16
    ],
)
def test_shapes_follow_the_video_whatever_the_backbone_compresses(shape):
    output = small_heads(shape)(*inputs(**shape))
    t, (h, w) = shape["frames"], shape["size"]
    expected = {
        "log_depth": (2, t, h, w),
        "depth_log_confidence": (2, t, h, w),
        "motion": (2, t - 1, h, w, 3),
        "motion_log_confidence": (2, t - 1, h, w),
        "visibility": (2, t - 1, h, w),
        "sky": (2, t, h, w),
        "log_focal": (2,),
        "gravity": (2, 3),
        "camera0_from_camera": (2, t, 4, 4),
    }
    assert {name: tuple(getattr(output, name).shape) for name in expected} == expected
    assert all(getattr(output, name).dtype == torch.float32 for name in expected)


def test_untrained_heads_say_two_metres_no_motion_and_a_level_camera_that_looks_slightly_down():
    output = small_heads(PIXELS)(*inputs(**PIXELS))
    assert output.log_depth.exp().mean().item() == pytest.approx(2.0, rel=0.1)
    assert not output.motion.any()
    assert not output.depth_log_confidence.any()
    assert not output.motion_log_confidence.any()
    torch.testing.assert_close(output.log_focal.exp(), torch.full((2,), 1.2), rtol=0.02, atol=0)
    down = torch.tensor([0, 0.95, 0.3]) / math.hypot(0.95, 0.3)
    torch.testing.assert_close(output.gravity, down.expand(2, 3), atol=0.02, rtol=0)
    torch.testing.assert_close(output.camera0_from_camera, torch.eye(4).expand(2, 5, 4, 4), atol=0.02, rtol=0)


@pytest.mark.parametrize("shape", [PIXELS, LATENT])
def test_cameras_are_rigid_and_start_at_the_identity_whatever_the_weights(shape):
    output = shaken(small_heads(shape), scale=0.3)(*inputs(**shape))
    pose = output.camera0_from_camera
    assert torch.equal(pose[:, 0], torch.eye(4).expand(2, 4, 4))
    assert (pose[:, 1:] - torch.eye(4)).abs().amax((-2, -1)).min() > 1e-3
    rotation = pose[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(pose.shape[:2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.gravity.norm(dim=-1), torch.ones(2))
    for confidence in (output.depth_log_confidence, output.motion_log_confidence):
        assert 0 < confidence.abs().max() <= 4


def test_a_rotation_vector_turns_about_itself_by_its_length():
    quarter = rigid_motion_of(torch.tensor([0, 0, math.pi / 2, 1.0, 2.0, 3.0]))
    expected = torch.tensor([[0, -1.0, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    torch.testing.assert_close(quarter, expected, atol=1e-6, rtol=0)
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 1.5, 50)[:, None]
    twist = torch.nn.functional.pad(vectors, (0, 3)).double()
    exact = torch.linalg.matrix_exp(torch.linalg.cross(twist[:, None, :3], torch.eye(3)[None].double(), dim=-1).mT)
    torch.testing.assert_close(rigid_motion_of(twist)[:, :3, :3], exact, atol=1e-9, rtol=0)


def test_a_camera_that_stands_still_can_still_learn_to_turn():
    twist = torch.zeros(6, requires_grad=True)
    slope = torch.autograd.grad(rigid_motion_of(twist)[1, 0], twist)[0]
    assert slope.tolist() == [0, 0, 1, 0, 0, 0]


def test_a_causal_latent_frame_covers_k_frames_and_the_first_frame_its_own():
    index, phase = _frames_of(3, 9)
    assert index.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert phase.tolist() == [0, 0.25, 0.5, 0.75, 1, 0.25, 0.5, 0.75, 1]
    index, phase = _frames_of(5, 5)
    assert index.tolist() == [0, 1, 2, 3, 4]
    assert phase.tolist() == [0, 1, 1, 1, 1]


def test_frames_of_one_token_differ_and_so_do_the_cells_in_it():
    shape = {"frames": 5, "size": (32, 32), "grid": (2, 1, 1), "latents": (16, 2, 4, 4)}
    features, latents, *rest = inputs(**shape, clips=1)
    output = shaken(small_heads(shape))(features, torch.zeros_like(latents), *rest)
    depth = output.log_depth[0]
    assert (depth[1:] - depth[1:].mean(0)).abs().max() > 1e-3
    assert (depth - depth.mean((1, 2), keepdim=True)).abs().max() > 1e-3


def test_correlation_peaks_at_the_displacement():
    generator = torch.Generator().manual_seed(0)
    here = torch.nn.functional.normalize(torch.randn(1, 16, 12, 12, generator=generator), dim=1)
    after = torch.roll(here, (2, -3), dims=(2, 3))  # two rows down, three columns left
    best = local_correlation(here, after, 3).argmax(1)[0, 3:-3, 3:-3]
    assert (best == (2 + 3) * 7 + (-3 + 3)).all()


def test_neighbouring_frames_never_come_from_another_clip():
    x = torch.arange(6.0)[:, None]
    assert shifted(x, 3, 1).flatten().tolist() == [1, 2, 2, 4, 5, 5]
    assert shifted(x, 3, -1).flatten().tolist() == [0, 0, 1, 3, 3, 4]


@pytest.mark.parametrize("shape", [PIXELS, LATENT])
def test_clips_of_a_batch_do_not_touch_each_other(shape):
    heads = shaken(small_heads(shape))
    features, latents, t, *rest = inputs(**shape)
    together = heads(features, latents, t, *rest)
    alone = heads([f[1:] for f in features], latents[1:], t[1:], *rest)
    for name in HeadOutput.__dataclass_fields__:
        torch.testing.assert_close(getattr(together[1:], name), getattr(alone, name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [PIXELS, LATENT])
def test_decoding_in_chunks_changes_nothing(shape):
    heads = shaken(small_heads(shape))
    whole, parts = (heads(*inputs(**shape), chunk=chunk) for chunk in (None, 3))
    for name in HeadOutput.__dataclass_fields__:
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [PIXELS, LATENT])
@pytest.mark.parametrize("name", ["log_depth", "sky", "visibility", "log_focal", "gravity", "camera0_from_camera"])
def test_every_output_of_untrained_heads_reaches_every_feature(shape, name):
    heads = small_heads(shape)
    features, *rest = inputs(**shape)
    value = getattr(heads(features, *rest), name)
    # A fixed pattern, since the sum over a unit vector or a rotation can be blind to what changes it.
    (value * torch.linspace(-1, 2, value.numel()).view(value.shape)).sum().backward()
    assert all(f.grad is not None and f.grad.abs().sum() > 0 for f in features)


@pytest.mark.parametrize("shape", [PIXELS, LATENT])
def test_every_parameter_is_used(shape):
    heads = shaken(small_heads(shape))
    output = heads(*inputs(**shape))
    sum((getattr(output, name) ** 2).sum() for name in HeadOutput.__dataclass_fields__).backward()
    assert [n for n, p in heads.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_noise_level_is_heard():
    heads = shaken(small_heads(PIXELS))
    features, latents, _, *rest = inputs(**PIXELS)
    low, high = (heads(features, latents, torch.full((2,), t), *rest) for t in (0.05, 0.9))
    assert (low.log_depth - high.log_depth).abs().max() > 1e-3


def test_weights_and_config_make_the_same_heads_again():
    heads = shaken(small_heads(PIXELS))
    again = Heads(**heads.config)
    again.load_state_dict(load(save(heads.state_dict())))
    first, second = (h(*inputs(**PIXELS)) for h in (heads, again))
    assert all(torch.equal(getattr(first, n), getattr(second, n)) for n in HeadOutput.__dataclass_fields__)


def test_autocast_leaves_outputs_and_cameras_in_full_precision():
    heads = shaken(small_heads(PIXELS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = heads(*inputs(**PIXELS))
    assert all(getattr(output, n).dtype == torch.float32 for n in HeadOutput.__dataclass_fields__)
    rotation = output.camera0_from_camera[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 1}, "at least 2 frames"),
        ({"size": (32, 40)}, "multiples of 16"),
        ({"frames": 6}, "5, 32, 48"),
        ({"latents": (4, 5, 32, 48)}, "3 channels"),
        ({"dims": (24, 41)}, "24, 41"),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    with pytest.raises(InputError, match=words):
        small_heads(PIXELS)(*inputs(**(PIXELS | change)))


def predicted(shape=PIXELS, sky=None):
    """A world-like output of rough maps: depths about 2 m, motion of some pixels, turning cameras."""
    output = shaken(small_heads(shape), scale=0.05)(*inputs(**shape))
    frames, (height, width) = shape["frames"], shape["size"]
    generator = torch.Generator().manual_seed(1)
    fields = {n: getattr(output, n) for n in HeadOutput.__dataclass_fields__}
    fields["motion"] = torch.randn(2, frames - 1, height, width, 3, generator=generator) * 0.8
    fields["gravity"] = torch.nn.functional.normalize(torch.randn(2, 3, generator=generator), dim=-1)
    fields["sky"] = torch.randn(2, frames, height, width, generator=generator) if sky is None else sky
    rgb = torch.randint(256, (2, frames, height, width, 3), dtype=torch.uint8, generator=generator)
    return HeadOutput(**fields), rgb


def test_worlds_are_valid_and_scene_flow_projects_back_to_the_motion():
    output, rgb = predicted()
    worlds = output.worlds(rgb, 8.0, [{"prompt": "a"}, {"prompt": "b"}])
    assert [w.meta["prompt"] for w in worlds] == ["a", "b"]
    for b, world in enumerate(worlds):
        world.validate().require("rgb", "depth", "flow", "scene_flow", "visible", "camera", "tracks", "confidence")
        assert np.array_equal(world.rgb, rgb[b].numpy())
        assert np.array_equal(world.depth == 0, output.sky[b].numpy() > 0)
        surface = torch.from_numpy(world.depth[:-1]) > 0
        k, pose = map(torch.from_numpy, (world.camera.intrinsics, world.camera.world_from_camera))
        depth, scene_flow = torch.from_numpy(world.depth[:-1]), torch.from_numpy(world.scene_flow)
        flow, moved = motion_from_scene_flow(depth, scene_flow, k[:-1], k[1:], pose[:-1], pose[1:])
        torch.testing.assert_close(flow[surface], output.motion[b][surface][:, :2], atol=2e-3, rtol=0)
        delta = moved[surface].log() - depth[surface].log()
        torch.testing.assert_close(delta, output.motion[b][surface][:, 2], atol=1e-4, rtol=0)
        assert not world.flow[~surface.numpy()].any()
        assert not world.visible[~surface.numpy()].any()
        assert not world.scene_flow[~surface.numpy()].any()
        assert len(world.tracks) == (world.depth[0, 2::4, 2::4] > 0).sum()


def test_visible_needs_a_target_inside_the_picture():
    output, rgb = predicted(sky=-torch.ones(2, 5, 32, 48))
    motion = torch.tensor([10.0, 0, 0]).expand(2, 4, 32, 48, 3)
    output = dataclasses.replace(output, motion=motion, visibility=torch.full((2, 4, 32, 48), 3.0))
    world = output.worlds(rgb, 8.0, [{}, {}])[0]
    assert world.visible[:, :, :38].all()
    assert not world.visible[:, :, 38:].any()


def test_worlds_stand_upright_with_camera_0_at_the_origin():
    output, rgb = predicted()
    straight_down = torch.tensor([[0.0, 0, 1], [0.0, -1, 0]])  # along the view, and an upside-down camera
    for gravity in (output.gravity, straight_down):
        fields = {n: getattr(output, n) for n in HeadOutput.__dataclass_fields__} | {"gravity": gravity}
        for b, world in enumerate(HeadOutput(**fields).worlds(rgb, 8.0, [{}, {}])):
            pose = torch.from_numpy(world.camera.world_from_camera)
            assert not pose[0, :3, 3].any()
            torch.testing.assert_close(pose[0, :3, :3] @ gravity[b], torch.tensor([0, 0, -1.0]))
            torch.testing.assert_close(torch.linalg.inv(pose[:1]) @ pose, fields["camera0_from_camera"][b])
            assert world.camera.intrinsics[0, 0, 0] == pytest.approx(32 * output.log_focal[b].exp().item())


def test_a_clip_of_sky_alone_is_a_valid_world_without_tracks():
    output, rgb = predicted(sky=torch.ones(2, 5, 32, 48))
    world = output.worlds(rgb.numpy(), 8.0, [{}, {}])[0]
    assert not world.depth.any()
    assert world.tracks is None


def test_worlds_name_pictures_that_do_not_fit():
    output, rgb = predicted()
    with pytest.raises(InputError, match="rgb"):
        output.worlds(rgb[:, :4], 8.0, [{}, {}])
    with pytest.raises(InputError, match="1 metas"):
        output.worlds(rgb, 8.0, [{}])


@pytest.mark.slow
def test_one_simulated_clip_is_learned():
    world = phys4d.simulate("ball_drop", seed=3, size=(64, 64), frames=9)
    depth, flow = torch.from_numpy(world.depth)[None], torch.from_numpy(world.flow)[None]
    moving = flow.norm(dim=-1) > 0.5
    assert moving.sum() > 100
    torch.manual_seed(0)
    heads = Heads((32, 32), 3, width=16)
    features = [torch.randn(1, 5, 8, 8, 32) for _ in range(2)]
    video = torch.from_numpy(world.rgb).float()[None].permute(0, 4, 1, 2, 3) / 127.5 - 1
    optimizer = torch.optim.Adam(heads.parameters(), lr=4e-3)
    for step in range(150):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1, (150 - step) / 75)
        output = heads(features, video, torch.zeros(1), 9, (64, 64))
        depth_error = (output.log_depth - depth.log()).abs().mean()
        epe = (output.motion[..., :2] - flow).norm(dim=-1)
        optimizer.zero_grad()
        (depth_error + 0.1 * epe.mean() + 0.1 * epe[moving].mean()).backward()
        optimizer.step()
    assert depth_error < 0.05
    assert epe[moving].mean() < 0.5 * flow[moving].norm(dim=-1).mean()


def test_a_pixel_follows_the_backbones_own_motion_as_far_as_it_trusts_it():
    frames, (height, width), span = 5, (32, 32), 4
    heads = Heads((24, 3 * span), 3, width=8, flow_span=span)
    flows = torch.zeros(1, 2, 4, 4, 3 * span)
    flows[0, 0, 1, 2, :3] = torch.tensor([1.0, 0.5, -0.25])  # frame 0: half a cell to the right, a quarter up
    flows[0, 1, 2, 2, 3:6] = torch.tensor([0.5, 0.5, 0.0])  # frame 2: half of the cell moves by a whole one
    features = [torch.randn(1, 2, 4, 4, 24), flows]
    latents = torch.randn(1, 3, frames, height, width)
    trust = heads.last.bias[4 * MAPS.index("share") :]
    with torch.no_grad():
        heads.last.weight[4 * MAPS.index("share") :] = 0
        trust.fill_(30)
        motion = heads(features, latents, torch.zeros(1), frames, (height, width)).motion[..., :2]
        trust.fill_(0)
        half = heads(features, latents, torch.zeros(1), frames, (height, width)).motion[..., :2]
    assert motion.shape == (1, frames - 1, height, width, 2)
    torch.testing.assert_close(motion[0, 0, 12, 20], torch.tensor([4.0, -2.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(motion[0, 2, 20, 20], torch.tensor([8.0, 0.0]), atol=1e-3, rtol=0)
    assert not motion[0, 1].any()
    assert not motion[0, 0, :, :8].any()
    torch.testing.assert_close(half, motion / 2)


def test_a_long_clip_is_computed_again_instead_of_kept():
    """Chunks save memory in the backward pass, too, and change neither the output nor the gradients."""
    torch.manual_seed(0)
    heads = Heads((16, 16), 8, width=8)
    features = [torch.randn(1, 3, 4, 4, 16, requires_grad=True) for _ in range(2)]
    latents, t = torch.randn(1, 8, 3, 8, 8), torch.tensor([0.1])
    found = []
    for chunk in (None, 2):
        kept = []
        heads.zero_grad()
        for feature in features:
            feature.grad = None

        def keep(value, kept=kept):
            kept.append(value.nbytes)
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            seen = heads(features, latents, t, 9, (64, 64), chunk=chunk)
        (seen.log_depth.mean() + seen.motion.square().mean() + seen.sky.mean()).backward()
        grads = [p.grad.clone() for p in heads.parameters() if p.grad is not None]
        found.append((seen.log_depth.detach(), grads, features[0].grad.clone(), sum(kept)))
    (depth, grads, reaching, much), (again, others, also, little) = found
    torch.testing.assert_close(depth, again)
    torch.testing.assert_close(reaching, also)
    for a, b in zip(grads, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert little < 0.4 * much

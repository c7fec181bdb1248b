"""`WorldModel`: what is made begins as it was told, the seed decides the rest, what is lifted is continuous."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

import phys4d
from phys4d.errors import InputError
from phys4d.model import OVERLAP, WorldModel
from phys4d.world import World4D

STEPS = 2
SIZE = (64, 64)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    """A tiny model whose heads say something of everything."""
    torch.manual_seed(0)
    made = WorldModel.tiny("nano").requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(1)
    assert made.heads is not None
    for parameter in made.heads.parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return made


def pictures(count=1, seed=0, size=SIZE):
    """Smooth frames that move."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]] / size[0]
    phase = rng.uniform(0, 6, 3)
    frames = [
        np.stack([127 + 100 * np.sin(6 * rows + 4 * columns + p + 0.2 * t) for p in phase], axis=-1)
        for t in range(count)
    ]
    return np.stack(frames).astype(np.uint8)


def same(a: World4D, b: World4D) -> bool:
    fields = [name for name in a.fields if name != "camera"]
    equal = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in fields)
    cameras = a.camera is None or np.array_equal(a.camera.world_from_camera, b.camera.world_from_camera)
    return a.fields == b.fields and equal and cameras


def test_generate_gives_a_whole_world_that_begins_with_what_was_given(model):
    for count in (1, 3):
        given = pictures(count)
        world = model.generate(given, "a ball falls", seed=4, steps=STEPS)
        assert (world.frames, world.size, world.fps) == (model.backbone.most_frames, SIZE, model.backbone.fps)
        world.validate().require("depth", "flow", "scene_flow", "visible", "camera", "confidence")
        assert np.array_equal(world.rgb[:count], given)
        assert not np.array_equal(world.rgb[count], given[-1])
        expected = {"mode": "generate", "prompt": "a ball falls", "seed": 4, "context_frames": count}
        assert expected.items() <= world.meta.items()


def test_the_seed_and_nothing_else_decides(model):
    one = model.generate(pictures(), "a ball", seed=1, frames=5, steps=STEPS)
    torch.manual_seed(99)
    torch.rand(7)
    again = model.generate(pictures(), "a ball", seed=1, frames=5, steps=STEPS)
    assert same(one, again)
    assert not np.array_equal(
        one.rgb[1:], model.generate(pictures(), "a ball", seed=2, frames=5, steps=STEPS).rgb[1:]
    )
    assert not np.array_equal(
        one.rgb[1:], model.generate(pictures(), "a box", seed=1, frames=5, steps=STEPS).rgb[1:]
    )


def test_pictures_in_any_form_and_size(model, tmp_path):
    picture = pictures(size=(80, 100))[0]
    Image.fromarray(picture).save(tmp_path / "first.png")
    forms = [picture, picture[None], Image.fromarray(picture), tmp_path / "first.png", str(tmp_path / "first.png")]
    worlds = [model.generate(form, frames=5, steps=1) for form in forms]
    assert all(same(worlds[0], world) for world in worlds)
    assert worlds[0].size == SIZE
    assert worlds[-1].meta["source"] == "first.png"


def test_several_at_once_are_what_each_is_alone(model):
    contexts, prompts = [pictures(k, seed=k) for k in (1, 3, 2)], ["a ball", "", "two boxes"]
    options = {"frames": 5, "steps": STEPS}
    metas = [{"scene_id": str(i)} for i in range(3)]
    together = model.generate_many(contexts, prompts, seeds=[7, 8, 9], metas=metas, **options)
    batched = model.generate_many(contexts, prompts, seeds=[7, 8, 9], batch=2, **options)
    for i, world in enumerate(together):
        alone = model.generate(contexts[i], prompts[i], seed=7 + i, **options)
        assert world.meta == {**alone.meta, "scene_id": str(i)}
        for other in (alone, batched[i]):
            # Sums in another order; a level of colour may flip.
            assert np.abs(world.rgb.astype(int) - other.rgb).max() <= 1
            np.testing.assert_allclose(world.depth, other.depth, rtol=0.02)
            np.testing.assert_allclose(world.camera.world_from_camera, other.camera.world_from_camera, atol=0.01)


@pytest.mark.parametrize("frames", [29, 41])
def test_long_worlds_go_on_from_window_to_window(model, frames):
    given = pictures(2)
    world = model.generate(given, "a ball", seed=3, frames=frames, steps=1)
    assert world.frames == frames
    world.validate()
    assert np.array_equal(world.rgb[:2], given)
    # The first window is the same as if it were all; the second one continues its last frames.
    first = model.generate(given, "a ball", seed=3, steps=1)
    window = model.backbone.most_frames
    assert np.array_equal(world.rgb[:window], first.rgb)
    second = model.generate(first.rgb[-OVERLAP:], "a ball", seed=3 + 7919, steps=1)
    assert np.array_equal(world.rgb[window : 2 * window - OVERLAP], second.rgb[OVERLAP:])
    for seam in range(window, frames, window - OVERLAP):
        assert_continued(model, world, start=seam - OVERLAP, seam=seam)


def assert_continued(model, world, start, seam):
    """From frame seam - 1 to seam the camera moves as the window from `start` says, and depth has its scale."""
    video = model.to_video(torch.from_numpy(world.rgb[None, start : start + model.backbone.most_frames]))
    said = model.read(video, [world.meta["prompt"]], seed=start)
    last, here = world.camera.world_from_camera[seam - 1 : seam + 1].astype(np.float64)
    step = np.linalg.inv(last) @ here
    own = said.camera0_from_camera[0].double().numpy()
    expected = np.linalg.inv(own[seam - 1 - start]) @ own[seam - start]
    np.testing.assert_allclose(step[:3, :3], expected[:3, :3], atol=1e-4)
    seen = world.depth[seam] > 0
    scale = np.median(world.depth[seam][seen] / said.log_depth[0, seam - start].exp().numpy()[seen])
    np.testing.assert_allclose(step[:3, 3], scale * expected[:3, 3], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (0, "the nearest is 5"),
        (1, "the nearest is 5"),
        (14, "the nearest is 13"),
        (18, "18 is none of these, the nearest is 17"),
        (25, "the nearest is 29"),
        (40, "the nearest is 41"),
    ],
)
def test_frames_that_cannot_be_made(model, frames, message):
    with pytest.raises(InputError, match=message):
        model.generate(pictures(), frames=frames)


def test_a_backbone_of_short_windows_cannot_chain():
    from phys4d.backbones import backbones

    short = WorldModel(backbones["nano"](width=32, depth=4, heads=2, groups=1))
    with pytest.raises(InputError, match="nano makes at most 5 frames, not 9"):
        short.check_frames(9)


def test_impossible_requests(model):
    for count, frames in ((17, 17), (20, 29), (5, 5)):
        window = min(frames, 17)
        message = (
            f"a window of {window} frames out of 1 to {window - 1} first frames, not {count}; give {window - 1}"
        )
        with pytest.raises(InputError, match=message):
            model.generate(pictures(count), frames=frames, steps=1)
    with pytest.raises(InputError, match="at least one step, not 0"):
        model.generate(pictures(), steps=0)
    for seed in (-1, 2**63):
        with pytest.raises(InputError, match=f"seed must lie between 0 and 2.63, not {seed}"):
            model.generate(pictures(), seed=seed, steps=1)
    with pytest.raises(InputError, match="2 contexts need as many prompts and seeds, not 1 and 2"):
        model.generate_many([pictures()] * 2, [""], seeds=[1, 2])
    with pytest.raises(InputError, match=r"unknown backbone 'nanoo'\. Did you mean 'nano'"):
        WorldModel.tiny("nanoo")


def test_lift_reads_arrays_worlds_and_films_alike(model, tmp_path):
    frames = pictures(9)
    lifted = model.lift(frames, fps=12.0, prompt="waves")
    lifted.validate().require("depth", "flow", "scene_flow", "visible", "camera", "confidence")
    assert np.array_equal(lifted.rgb, frames)
    assert {"mode": "lift", "prompt": "waves"}.items() <= lifted.meta.items()
    meta = {"prompt": "waves", "scene_id": "waves-1", "secret": 1}
    world = World4D(rgb=frames, fps=12.0, meta=meta)
    from_world = model.lift(world)
    assert same(from_world, lifted)
    assert from_world.meta["prompt"] == "waves"
    assert from_world.meta["scene_id"] == "waves-1"
    assert "secret" not in from_world.meta
    assert model.lift(world, prompt="other").meta["prompt"] == "other"
    film = world.save(tmp_path / "world") / "rgb.mp4"
    from_film = model.lift(film)
    assert (from_film.frames, from_film.fps, from_film.meta["source"]) == (9, 12.0, "rgb.mp4")
    seen = World4D.from_video(film, size=SIZE, fps=12.0)
    assert same(from_film, model.lift(seen.rgb, fps=12.0))


def test_lifting_does_not_depend_on_neighbours_or_on_chance(model):
    clips = [pictures(9, seed=s) for s in range(3)]
    together = model.read_worlds(clips, ["a", "b", "c"], 12.0, [{}] * 3)
    for clip, prompt, world in zip(clips, "abc", together):
        torch.manual_seed(5)
        alone = model.lift(clip, prompt=prompt)
        np.testing.assert_allclose(alone.depth, world.depth, rtol=1e-3)
        np.testing.assert_allclose(alone.flow, world.flow, atol=1e-3)
    assert not np.allclose(together[0].depth, together[1].depth, rtol=1e-3)


@pytest.mark.parametrize("frames", [5, 6, 16, 17, 20])
def test_films_of_any_length_are_lifted(model, frames):
    world = model.lift(pictures(frames))
    assert world.frames == frames
    world.validate()
    if frames == 20:
        assert_continued(model, world, start=3, seam=17)


def test_films_that_are_too_short(model, tmp_path):
    for frames, told in ((1, "1 frame is"), (4, "4 frames are")):
        with pytest.raises(InputError, match=f"{told} too few for nano: it reads 5 at least"):
            model.lift(pictures(frames))
    film = World4D(rgb=pictures(3), fps=12.0).save(tmp_path / "world") / "rgb.mp4"
    with pytest.raises(InputError, match=r"rgb\.mp4: 3 frames are too few"):
        model.lift(film)
    with pytest.raises(InputError, match=r"nowhere\.mp4: no such"):
        model.lift(tmp_path / "nowhere.mp4")
    with pytest.raises(InputError, match="has no rgb"):
        model.lift(World4D(depth=np.ones((5, 64, 64), np.float32)))


def test_without_heads_there_is_rgb_alone(model):
    bare = WorldModel(model.backbone, meta={"name": "bare"})
    world = bare.generate(pictures(), "a ball", seed=1, frames=5, steps=STEPS)
    assert world.fields == ("rgb",)
    assert np.array_equal(world.rgb, model.generate(pictures(), "a ball", seed=1, frames=5, steps=STEPS).rgb)
    for ask in (lambda: bare.lift(pictures(9)), lambda: bare.read(torch.zeros(1, 5, *SIZE, 3), [""])):
        with pytest.raises(InputError, match="bare has no heads, it makes RGB alone"):
            ask()


def test_reading_carries_gradients_unless_it_is_told_not_to():
    torch.manual_seed(0)
    model = WorldModel.tiny()
    video = torch.from_numpy(pictures(5)[None]).float() / 255
    for detach, seed in itertools.product((False, True), (None, 3)):
        model.zero_grad()
        out = model.read(video, [""], detach=detach, seed=seed)
        (out.log_depth.mean() + out.motion.square().mean()).backward()
        assert any(p.grad is not None for p in model.heads.parameters())
        assert any(p.grad is not None for p in model.backbone.parameters()) != detach


def test_the_door_leads_here():
    assert phys4d.WorldModel is WorldModel

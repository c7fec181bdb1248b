"""The flow teacher: known shifts, simulated truth, and nothing where nothing moves."""

import itertools

import cv2
import numpy as np
import pytest

from phys4d import simulate
from phys4d.errors import InputError
from phys4d.recipes import recipes
from phys4d.teachers import flow_teachers
from phys4d.teachers.flow import dis_flow, still_pixels

RNG = np.random.default_rng(0)


def texture(height: int, width: int) -> np.ndarray:
    """Blobs of colour a few pixels wide."""
    noise = RNG.random((height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.0)
    low, high = blurred.min(), blurred.max()
    return ((blurred - low) / (high - low) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def teacher():
    return flow_teachers["dis"].load()


@pytest.mark.parametrize("side", [48, 64, 128, 320])
@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-2, 4)])
def test_a_picture_that_moves_as_a_whole(teacher, side, shift):
    large = texture(side + 16, side + 16)
    x, y = shift
    frames = np.stack([large[8 - k * y :, 8 - k * x :][:side, :side] for k in (0, 1)])
    labels = teacher(frames)
    inner = labels.flow[0, 8:-8, 8:-8]
    assert np.abs(inner - np.array(shift)).mean() < 0.1
    assert labels.consistent[0, 8:-8, 8:-8].mean() > 0.98
    assert labels.flow.dtype == np.float32


def test_flow_is_that_of_forward_time(teacher):
    large = texture(80, 80)
    frames = np.stack([large[8:72, 8 - 2 * k : 72 - 2 * k] for k in range(3)])
    forward, backward = teacher(frames).flow, teacher(frames[::-1]).flow
    assert forward[:, 16:48, 16:48, 0].mean() == pytest.approx(2, abs=0.1)
    assert backward[:, 16:48, 16:48, 0].mean() == pytest.approx(-2, abs=0.1)


def test_what_stands_still_has_no_flow_at_all(teacher):
    """A thing crosses a smooth ground before a camera at rest: the ground away from it stays at exactly 0."""
    ground = texture(64, 64) // 2 + 64
    thing = texture(12, 12)
    frames = np.stack([ground.copy() for _ in range(3)])
    for t, frame in enumerate(frames):
        frame[20:32, 10 + 3 * t : 22 + 3 * t] = thing
    labels = teacher(frames)
    assert (labels.flow[:, 40:] == 0).all()
    assert labels.consistent[:, 40:].all()
    assert labels.flow[0, 23:29, 13:19, 0].mean() == pytest.approx(3, abs=0.5)
    assert (np.abs(dis_flow(frames)[:, 34:38]) > 0).any(), "the search alone would have leaked"


def test_smooth_ground_under_a_moving_camera_does_not_count_as_still():
    frames = np.full((2, 64, 64, 3), 128, np.uint8)
    frames[0, :, 10:20] = texture(64, 10)
    frames[1, :, 13:23] = frames[0, :, 10:20]
    assert not still_pixels(frames).any()
    assert still_pixels(frames[[0, 0]]).all()


def test_uncovered_ground_is_not_consistent(teacher):
    """Behind a thing that comes 6 px closer, what it hides has nowhere to go."""
    ground, thing = texture(64, 64), texture(24, 24)
    frames = np.stack([ground.copy(), ground.copy()])
    for t, frame in enumerate(frames):
        frame[20:44, 10 + 6 * t : 34 + 6 * t] = thing
    labels = teacher(frames)
    assert labels.consistent[0, 24:40, 35:39].mean() < 0.3
    assert labels.consistent[0, 24:40, 16:28].mean() > 0.9
    assert labels.confidence == pytest.approx(labels.consistent.mean())


def test_it_beats_zero_flow_on_simulated_truth(teacher):
    """End-point error [px] over visible surfaces, and over those of them that move by more than half a pixel.

    Not where light moves over things or mirrors show others: there what is seen does not move as what is there.
    """
    errors, truths, agreed = [], [], []
    for name, seed in itertools.product(recipes["nano"]().scenes[::2], range(3)):
        world = simulate(name, seed=seed, size=(64, 64), frames=5)
        labels = teacher(world.rgb)
        seen = world.visible
        errors.append(np.linalg.norm(labels.flow - world.flow, axis=-1)[seen])
        truths.append(np.linalg.norm(world.flow, axis=-1)[seen])
        agreed.append(labels.consistent[seen])
    error, truth, trusted = (np.concatenate(parts) for parts in (errors, truths, agreed))
    moving = truth > 0.5
    assert moving.sum() > 1000
    assert error.mean() < 0.85 * truth.mean()
    assert error[trusted].mean() < 0.7 * truth[trusted].mean()
    assert error[moving].mean() < 0.6 * truth[moving].mean()
    assert trusted.mean() > 0.7


def test_the_number_of_threads_does_not_matter(teacher):
    frames = np.stack([texture(96, 128), texture(96, 128)])
    before = cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            results.append(teacher(frames))
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    np.testing.assert_array_equal(results[0].flow, results[1].flow)


def test_one_frame_has_no_flow_and_tiny_pictures_are_refused(teacher):
    assert teacher(texture(32, 32)[None]).flow.shape == (0, 32, 32, 2)
    with pytest.raises(InputError, match="at least 16x16 px, not 12x40"):
        teacher(np.zeros((2, 12, 40, 3), np.uint8))

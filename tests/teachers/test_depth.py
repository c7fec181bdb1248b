"""The embedded depth teacher: its weights, its word about what it does not know, and depth it has never seen."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from phys4d import simulate
from phys4d.errors import InputError
from phys4d.recipes import recipes
from phys4d.teachers import depth_teachers
from phys4d.teachers.alignment import aligned_error
from phys4d.teachers.depth import FORMAT, WEIGHTS, EmbeddedDepth, load_depth_net, save_depth_net, working_size
from phys4d.teachers.depth_net import DepthNet


@pytest.fixture(scope="module")
def teacher():
    return depth_teachers["embedded"].load()


def test_the_weights_come_with_the_package_and_are_small():
    assert WEIGHTS.stat().st_size <= 2_000_000
    assert {value.dtype for value in load_file(WEIGHTS).values()} == {torch.float16}


def test_it_beats_what_sees_nothing_on_new_worlds(teacher):
    """Seeds that no training set has, of the rows that it knows; one scale and shift a clip for each predictor."""
    errors = {"teacher": [], "rows": [], "constant": []}
    things = {"teacher": [], "rows": [], "constant": []}
    for name in recipes["nano"]().scenes[::2]:
        world = simulate(name, seed=77_000_001, size=(64, 64), frames=17)
        surface, instances = world.depth > 0, world.segmentation > 0
        rows = np.broadcast_to(np.linspace(0, 1, 64)[:, None], surface.shape)
        guesses = {"teacher": teacher(world.rgb).values, "rows": rows, "constant": 0 * rows}
        for guess, values in guesses.items():
            error = aligned_error(values, world.depth, surface)
            errors[guess].append(error[surface].mean())
            things[guess].append(error[instances].mean())
    mean = {guess: np.mean(values) for guess, values in errors.items()}
    assert mean["teacher"] < 0.6 * min(mean["rows"], mean["constant"])
    assert np.mean(things["teacher"]) < 0.6 * min(np.mean(things["rows"]), np.mean(things["constant"]))


def test_labels_say_what_they_are(teacher):
    world = simulate("ball_drop", seed=77_000_002, size=(64, 64), frames=3)
    labels = teacher(world.rgb)
    assert (labels.quantity, labels.alignment) == ("disparity", "scale+shift")
    assert labels.values.shape == labels.confidence.shape == labels.sky.shape == (3, 64, 64)
    assert labels.values.dtype == labels.confidence.dtype == np.float32
    assert 0 <= labels.confidence.min() < labels.confidence.max() <= 1


def test_confidence_is_lower_where_the_error_is_larger(teacher):
    """Over clips: the surest half of the surface is more often right than the other."""
    sure, unsure = [], []
    for name in ("ball_drop", "block_domino", "unstable_block_stack"):
        world = simulate(name, seed=77_000_001, size=(64, 64), frames=3)
        labels, surface = teacher(world.rgb), world.depth > 0
        error = aligned_error(labels.values, world.depth, surface)
        surer = labels.confidence >= np.median(labels.confidence[surface])
        sure.append(error[surface & surer].mean())
        unsure.append(error[surface & ~surer].mean())
    assert np.mean(sure) < 0.8 * np.mean(unsure)


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (61, 75), (128, 208)])
def test_any_size_of_picture(teacher, size):
    labels = teacher(np.random.default_rng(0).integers(0, 255, (2, *size, 3), dtype=np.uint8))
    assert labels.values.shape == (2, *size)
    assert np.isfinite(labels.values).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (64, 64)),
        ((20, 30), (48, 72)),
        ((61, 75), (64, 72)),
        ((480, 832), (96, 168)),
        ((96, 48), (96, 48)),
    ],
)
def test_the_working_size_is_near_the_trainings(size, expected):
    assert working_size(*size) == expected


def test_frames_are_of_one_scale_and_shift(teacher):
    """A film of one picture, in which nothing but the light flickers, is given nearly one depth."""
    world = simulate("block_domino", seed=77_000_003, size=(64, 64), frames=2)
    light = np.linspace(0.85, 1.0, 5)[:, None, None, None]
    frames = (world.rgb[:1] * light).astype(np.uint8)
    labels = teacher(frames)
    surface = world.depth[0] > 0
    spread = np.abs(labels.values[0, surface] - labels.values[0, surface].mean()).mean()
    assert np.ptp(labels.values, axis=0)[surface].mean() < 0.25 * spread


def test_missing_weights_are_named_with_the_mend(tmp_path):
    with pytest.raises(
        InputError, match=r"none.safetensors: the weights .* are missing; install phys4d again, or"
    ):
        EmbeddedDepth(tmp_path / "none.safetensors")


def corrupted(kind: str) -> bytes:
    weights = load_file(WEIGHTS)
    about = {"format": FORMAT, "widths": [16, 32, 64, 128]}
    if kind == "cut short":
        return WEIGHTS.read_bytes()[:-1000]
    if kind == "text":
        return b"once upon a time"
    if kind == "another's":
        about["format"] = "another"
    if kind == "other widths":
        about["widths"] = [8, 32, 64, 128]
    if kind == "a tensor too few":
        weights.pop("stem.weight")
    if kind == "NaN":
        weights["stem.weight"].fill_(torch.nan)
    return save(weights, {"phys4d": json.dumps(about)})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut short", "damaged weights"),
        ("text", "damaged weights"),
        ("another's", "not weights of this depth teacher"),
        ("other widths", r"damaged weights .*size mismatch"),
        ("a tensor too few", r"damaged weights .*stem.weight"),
        ("NaN", "hold NaN"),
    ],
)
def test_wrong_weights_are_refused(tmp_path, kind, message):
    path = tmp_path / "depth.safetensors"
    path.write_bytes(corrupted(kind))
    with pytest.raises(InputError, match=message):
        load_depth_net(path)


def test_weights_come_back_as_they_went_to_half_precision(tmp_path):
    torch.manual_seed(0)
    net = DepthNet()
    save_depth_net(net, tmp_path / "w", {"steps": 1})
    for (name, before), after in zip(
        net.state_dict().items(), load_depth_net(tmp_path / "w").state_dict().values()
    ):
        torch.testing.assert_close(after, before.half().float(), msg=name)

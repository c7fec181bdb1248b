"""Training the depth teacher: the loss falls, the seed decides, and the check beside it is fair."""

import numpy as np
import pytest
import torch

from phys4d.data import Item, open_dataset, write_dataset
from phys4d.errors import InputError, MissingFieldError
from phys4d.teachers.depth import load_depth_net
from phys4d.teachers.teacher import DepthLabels
from phys4d.teachers.train_depth import check_depth, read_frames, train_depth_teacher
from phys4d.world import World4D


def discs(seed: int) -> World4D:
    """Near bright discs before a ground that recedes upwards into a pale sky; 3 frames, in which a disc moves."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48] + 0.5
    horizon, ground = rng.uniform(5, 15), rng.integers(60, 140, 3)
    disparity = np.clip((rows - horizon) / 48, 0.02, None) * (rows > horizon)
    rgb, depth, segmentation = [], [], []
    x, y, radius = rng.uniform(12, 36, 2).tolist() + [rng.uniform(5, 9)]
    for t in range(3):
        disc = np.hypot(columns - x - 2 * t, rows - y) < radius
        seen = np.where(disc, 1.2, disparity)
        colour = np.where((disparity > 0)[..., None], ground, 220)
        rgb.append(np.where(disc[..., None], 255 - ground, colour).astype(np.uint8))
        depth.append(np.where(seen > 0, 1 / np.maximum(seen, 1e-6), 0).astype(np.float32))
        segmentation.append(disc.astype(np.int32))
    return World4D(
        rgb=np.stack(rgb), depth=np.stack(depth), segmentation=np.stack(segmentation), meta={"seed": seed}
    )


def colours_only(seed: int) -> World4D:
    return World4D(rgb=discs(seed).rgb)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("discs") / "DATA"
    plan = [Item(f"{seed:06d}", seed) for seed in range(8)]
    write_dataset(out, plan, discs, arguments={}, progress=False)
    return out


SHORT = {"steps": 6, "clips": 2, "frames": 1, "kept": 2, "log_every": 3}


def test_a_few_steps_lower_the_loss(data, tmp_path):
    report = train_depth_teacher(
        data, tmp_path / "w", 20, clips=2, frames=1, held_out=data, log_every=5, learning_rate=4e-3
    )
    losses = [loss for _, loss in report["loss"]]
    assert [step for step, _ in report["loss"]] == [5, 10, 15, 20]
    assert losses[-1] < 0.8 * losses[0]
    assert report["held_out"]["worlds"] == 8


def test_the_seed_decides(data, tmp_path):
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        train_depth_teacher(data, tmp_path / name, **SHORT, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_training_leaves_the_global_generator_alone(data, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train_depth_teacher(data, tmp_path / "w", **{**SHORT, "steps": 1})
    assert torch.equal(torch.rand(1), expected)


def test_what_is_written_is_a_network_within_its_budget(data, tmp_path):
    train_depth_teacher(data, tmp_path / "w", **{**SHORT, "steps": 1})
    assert (tmp_path / "w").stat().st_size <= 2e6
    assert not load_depth_net(tmp_path / "w").training


def test_frames_are_those_of_the_data(data):
    rgb, disparity = read_frames(open_dataset(data), 2, np.random.default_rng(0))
    assert rgb.shape == (8, 2, 48, 48, 3)
    for i, world in enumerate(open_dataset(data)):
        for image, inverse in zip(rgb[i].numpy(), disparity[i].numpy()):
            (t,) = [t for t in range(3) if np.array_equal(world.rgb[t], image)]
            assert ((inverse > 0) == (world.depth[t] > 0)).all()
            surface = inverse > 0
            np.testing.assert_allclose(1 / inverse[surface], world.depth[t][surface], rtol=1e-3)


class Oracle:
    """Says what `answer` makes of the truth; knows worlds by their colours."""

    version = "0"

    def __init__(self, answer):
        self.worlds = {world.rgb.tobytes(): world for world in map(discs, range(8))}
        self.answer = answer

    def __call__(self, rgb):
        world = self.worlds[rgb.tobytes()]
        disparity = np.where(world.depth > 0, 1 / np.maximum(world.depth, 1e-6), 0)
        values = self.answer(disparity).astype(np.float32)
        return DepthLabels(values, "disparity", "scale+shift", np.ones_like(values), world.depth == 0)


def test_the_check_gives_the_truth_no_error_and_rows_their_own(data):
    rows = np.linspace(0, 1, 48)[None, :, None]
    truth = check_depth(Oracle(lambda disparity: 2 * disparity - 3), open_dataset(data))
    assert truth["teacher"] < 1e-3
    assert truth["teacher_things"] < 1e-3
    assert truth["sky_iou"] == 1
    assert truth["rows"] > 0.05
    guess = check_depth(Oracle(lambda disparity: 0 * disparity + rows), open_dataset(data))
    assert guess["teacher"] == pytest.approx(guess["rows"], abs=1e-4)
    flat = check_depth(Oracle(lambda disparity: 0 * disparity + 5), open_dataset(data))
    assert flat["teacher"] == flat["constant"]
    assert flat["teacher_things"] == flat["constant_things"]


def test_data_without_depth_or_too_few_worlds_are_refused(data, tmp_path):
    write_dataset(tmp_path / "RGB", [Item("a", 0)], colours_only, arguments={}, progress=False)
    with pytest.raises(MissingFieldError, match="has no depth"):
        train_depth_teacher(tmp_path / "RGB", tmp_path / "w", **SHORT)
    with pytest.raises(InputError, match="8 worlds with a surface do not fill one batch of 9"):
        train_depth_teacher(data, tmp_path / "w", **{**SHORT, "clips": 9})
    with pytest.raises(InputError, match="has 3 frames; 4 are to be kept"):
        train_depth_teacher(data, tmp_path / "w", **{**SHORT, "kept": 4})
    with pytest.raises(InputError, match="impossible training"):
        train_depth_teacher(data, tmp_path / "w", **{**SHORT, "frames": 3})
    assert not (tmp_path / "w").exists()

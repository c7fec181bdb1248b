"""RGB-D sequences on disk, in both layouts: made here pixel by pixel, and a real one."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from phys4d.data.recordings import read_rgbd
from phys4d.errors import InputError
from phys4d.geometry import project, world_points
from phys4d.world import World4D

HEIGHT, WIDTH = 12, 16
INTRINSICS = (20.0, 22.0, 8.0, 6.0)
OURS = ("{:03d}.rgb.png", "{:03d}.depth_mm.png", "{:03d}.world_from_camera.txt")
SEVEN_SCENES = ("frame-{:06d}.color.png", "frame-{:06d}.depth.png", "frame-{:06d}.pose.txt")


def turned_y_down() -> np.ndarray:
    """The pose of an upright camera in a world whose y points down, as in 7-Scenes: the identity."""
    return np.eye(4)


def write_sequence(folder: Path, layout: tuple[str, str, str] = OURS, frames: int = 5) -> Path:
    """Frame i is all of gray value 10 i, at depth 1 m + i cm, its camera at x = 0.1 i."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(frames):
        picture, depth, pose = (folder / name.format(i) for name in layout)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 10 * i, np.uint8)).save(picture)
        Image.fromarray(np.full((HEIGHT, WIDTH), 1000 + 10 * i, np.uint16)).save(depth)
        matrix = turned_y_down()
        matrix[0, 3] = 0.1 * i
        np.savetxt(pose, matrix)
    return folder


@pytest.mark.parametrize("layout", [OURS, SEVEN_SCENES])
def test_both_layouts_are_read(tmp_path, layout):
    world = read_rgbd(write_sequence(tmp_path / "room", layout), intrinsics=INTRINSICS)
    assert world.rgb[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    np.testing.assert_allclose(world.depth[:, 3, 4], [1.0, 1.01, 1.02, 1.03, 1.04], rtol=1e-6)
    np.testing.assert_array_equal(world.camera.intrinsics[2], [[20, 0, 8], [0, 22, 6], [0, 0, 1]])
    np.testing.assert_allclose(world.camera.world_from_camera[:, 0, 3], [0, 0.1, 0.2, 0.3, 0.4], atol=1e-6)
    assert world.fps == 30
    assert world.meta == {"source": "room", "prompt": "", "up": "assumed from the cameras"}
    # u = -f tx / z for a camera that slides to the right.
    np.testing.assert_allclose(world.flow[1, ..., 0], -20 * 0.1 / 1.01, rtol=1e-4)


def test_every_so_many_frames_and_no_more_than_asked(tmp_path):
    world = read_rgbd(write_sequence(tmp_path, frames=9), intrinsics=INTRINSICS, stride=3, frames=2, fps=30.0)
    assert world.rgb[:, 0, 0, 0].tolist() == [0, 30]
    assert world.fps == 10
    assert read_rgbd(tmp_path, intrinsics=INTRINSICS, frames=1).frames == 1


def test_frames_are_sorted_by_number_and_not_by_letter(tmp_path):
    write_sequence(tmp_path, ("{}.rgb.png", "{}.depth_mm.png", "{}.world_from_camera.txt"), frames=12)
    assert read_rgbd(tmp_path, intrinsics=INTRINSICS).rgb[:, 0, 0, 0].tolist() == list(range(0, 120, 10))


def test_no_reading_is_zero_and_the_unit_is_the_callers(tmp_path):
    codes = np.full((HEIGHT, WIDTH), 5000, np.uint16)
    codes[0, 0], codes[0, 1] = 0, 65535
    Image.fromarray(codes).save(write_sequence(tmp_path) / OURS[1].format(0))
    world = read_rgbd(tmp_path, intrinsics=INTRINSICS, depth_scale=1 / 5000)
    assert world.depth[0, 0, :3].tolist() == [0, 0, 1]
    assert not world.visible[0, 0, :2].any()


@pytest.mark.parametrize("name", ["intrinsics.txt", "camera-intrinsics.txt"])
def test_intrinsics_come_from_the_folder(tmp_path, name):
    write_sequence(tmp_path)
    np.savetxt(tmp_path / name, [[20, 0, 8], [0, 22, 6], [0, 0, 1]])
    np.testing.assert_array_equal(read_rgbd(tmp_path).camera.intrinsics[0], [[20, 0, 8], [0, 22, 6], [0, 0, 1]])
    assert read_rgbd(tmp_path, intrinsics=(9.0, 9.0, 8.0, 6.0)).camera.intrinsics[0, 0, 0] == 9


def test_resized_depth_is_never_a_mean_and_stays_where_it_was(tmp_path):
    """A step from 1 m to 3 m: no reading in between, and the same points in space as before."""
    codes = np.full((HEIGHT, WIDTH), 1000, np.uint16)
    codes[:, WIDTH // 2 :] = 3000
    Image.fromarray(codes).save(write_sequence(tmp_path, frames=1) / OURS[1].format(0))
    whole = read_rgbd(tmp_path, intrinsics=INTRINSICS)
    for size in ((6, 8), (5, 7), (24, 32)):
        world = read_rgbd(tmp_path, intrinsics=INTRINSICS, size=size)
        assert world.size == size
        assert set(np.unique(world.depth)) == {1.0, 3.0}
        camera, other = world.camera, whole.camera
        points = world_points(
            *(torch.from_numpy(a[:1]) for a in (world.depth, camera.intrinsics, camera.world_from_camera))
        )
        local = points - torch.from_numpy(other.world_from_camera[0, :3, 3])
        local = local @ torch.from_numpy(other.world_from_camera[0, :3, :3])
        pixels, z = project(local, torch.from_numpy(other.intrinsics[:1]))
        assert ((pixels[..., 0] < WIDTH / 2) == (z < 2)).all() or size == (5, 7)


def random_rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize("seed", range(4))
def test_world_is_turned_upright_whatever_axes_it_came_in(tmp_path, seed):
    """The same sequence in other world axes is the same world: z up, x to the first camera's right."""
    write_sequence(tmp_path / "a")
    write_sequence(tmp_path / "b")
    turn = np.eye(4)
    turn[:3, :3] = random_rotation(seed)
    for i in range(5):
        path = tmp_path / "b" / OURS[2].format(i)
        np.savetxt(path, turn @ np.loadtxt(path))
    plain, turned = (read_rgbd(tmp_path / name, intrinsics=INTRINSICS) for name in "ab")
    np.testing.assert_allclose(plain.camera.world_from_camera, turned.camera.world_from_camera, atol=1e-6)
    expected = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    np.testing.assert_allclose(plain.camera.world_from_camera[0, :3, :3], expected, atol=1e-6)
    given = read_rgbd(tmp_path / "b", intrinsics=INTRINSICS, up=tuple(turn[:3, :3] @ [0, -2.0, 0]))
    np.testing.assert_allclose(given.camera.world_from_camera, plain.camera.world_from_camera, atol=1e-6)
    assert given.meta["up"] == "given"


def test_camera_on_its_side_has_forward_along_x(tmp_path):
    world = read_rgbd(write_sequence(tmp_path), intrinsics=INTRINSICS, up=(1.0, 0.0, 0.0))
    np.testing.assert_allclose(world.camera.world_from_camera[0, :3, 2], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(world.camera.world_from_camera[0, :3, 0], [0, 0, 1], atol=1e-6)


def test_up_that_points_nowhere_is_refused(tmp_path):
    with pytest.raises(InputError, match="up direction"):
        read_rgbd(write_sequence(tmp_path), intrinsics=INTRINSICS, up=(0.0, 0.0, 0.0))


def test_rounded_poses_become_rigid_and_others_are_refused(tmp_path):
    path = write_sequence(tmp_path) / OURS[2].format(1)
    matrix = np.eye(4)
    matrix[:3, :3] += np.random.default_rng(0).uniform(-0.004, 0.004, (3, 3))
    np.savetxt(path, matrix)
    read_rgbd(tmp_path, intrinsics=INTRINSICS)
    for bad, message in (
        (np.diag([1, 1, -1, 1.0]), "no rotation"),
        (np.diag([2, 2, 2, 1.0]), "no rotation"),
        (np.full((4, 4), np.inf), "finite numbers"),
        (np.eye(3), "4x4 matrix"),
    ):
        np.savetxt(path, bad)
        with pytest.raises(InputError, match=message) as caught:
            read_rgbd(tmp_path, intrinsics=INTRINSICS)
        assert str(path) in str(caught.value)


def spoil_size(folder: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH + 2), 1000, np.uint16)).save(folder / OURS[1].format(3))


def spoil_picture_size(folder: Path) -> None:
    Image.fromarray(np.zeros((HEIGHT * 2, WIDTH, 3), np.uint8)).save(folder / OURS[0].format(2))


def spoil_half(folder: Path) -> None:
    path = folder / OURS[1].format(0)
    Image.fromarray(np.random.default_rng(0).integers(0, 9999, (HEIGHT, WIDTH)).astype(np.uint16)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


SPOILED = {
    "missing": (
        lambda folder: [(folder / OURS[k].format(i)).unlink() for k, i in ((1, 1), (1, 2), (2, 2), (2, 4))],
        "001.depth_mm.png, 002.depth_mm.png, 002.world_from_camera.txt and 1 more missing",
    ),
    "depth of another size": (spoil_size, "003.depth_mm.png: is 18x12, but the sequence starts with 16x12"),
    "picture of another size": (spoil_picture_size, "002.rgb.png: is 16x24, but"),
    "8 bits": (
        lambda folder: Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folder / OURS[1].format(0)),
        "000.depth_mm.png: is no 16-bit depth picture but one of mode L",
    ),
    "no picture": (lambda folder: (folder / OURS[0].format(0)).write_text("text"), "not a readable picture"),
    "half a picture": (spoil_half, "not a readable picture"),
    "no numbers": (lambda folder: (folder / OURS[2].format(0)).write_text("a b c d\n" * 4), "not a matrix"),
    "empty": (lambda folder: [path.unlink() for path in folder.iterdir()], "no RGB-D frames"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_what_is_wrong_with_a_sequence_is_named(tmp_path, fault):
    folder = write_sequence(tmp_path / "room")
    spoil, message = SPOILED[fault]
    spoil(folder)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_rgbd(folder, intrinsics=INTRINSICS)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_named(tmp_path):
    write_sequence(tmp_path)
    with pytest.raises(InputError, match=r"pass intrinsics=\(fx, fy, cx, cy\)"):
        read_rgbd(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_rgbd(tmp_path / "nowhere", intrinsics=INTRINSICS)
    for wrong in (
        {"stride": 0},
        {"frames": 0},
        {"size": (0, 4)},
        {"fps": 0.0},
        {"intrinsics": (-1.0, 1.0, 1.0, 1.0)},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            read_rgbd(tmp_path, **{"intrinsics": INTRINSICS, **wrong})


def test_real_kitchen_stands_upright_and_still(real_recordings, tmp_path):
    world = read_rgbd(
        real_recordings / "kitchen_rgbd", intrinsics=(292.5, 292.5, 160.0, 120.0), fps=15.0, stride=4
    )
    assert world.frames == 9
    assert world.size == (240, 320)
    up_in_picture = world.camera.world_from_camera[:, 2, 1]
    assert (up_in_picture < -0.9).all(), "the picture's down points down in the world"
    seen = world.depth[world.depth > 0]
    assert 0.3 < seen.min() < seen.max() < 10
    world.save(tmp_path / "kitchen")
    np.testing.assert_array_equal(World4D.load(tmp_path / "kitchen").rgb, world.rgb)


def test_real_kitchen_is_one_place_seen_from_everywhere(real_recordings):
    """The points of the last frame, seen by the first camera, lie on what it measured there."""
    world = read_rgbd(real_recordings / "kitchen_rgbd", intrinsics=(292.5, 292.5, 160.0, 120.0), size=(120, 160))

    def disagreement(poses: np.ndarray) -> float:
        depth, k, pose = (torch.from_numpy(a) for a in (world.depth, world.camera.intrinsics, poses))
        points = world_points(depth[16:17], k[16:17], pose[16:17])[depth[16:17] > 0]
        pixels, z = project((points - pose[0, :3, 3]) @ pose[0, :3, :3], k[0])
        column, row = pixels.floor().long().unbind(-1)
        inside = (column >= 0) & (column < 160) & (row >= 0) & (row < 120) & (z > 0)
        measured = depth[0, row[inside], column[inside]]
        known = measured > 0
        return float(((z[inside] - measured).abs() / measured)[known].median())

    poses = world.camera.world_from_camera
    right = disagreement(poses)
    assert right < 0.02
    assert disagreement(np.linalg.inv(poses).copy()) > 3 * right

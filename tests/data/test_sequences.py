"""Sequences in the layouts of ScanNet and TUM RGB-D, written here as their readers and files have them."""

import re

import numpy as np
import pytest
from PIL import Image

from phys4d.data.opening import open_world, stored_worlds
from phys4d.data.recordings import read_rgbd
from phys4d.errors import InputError

HEIGHT, WIDTH = 12, 16
INTRINSICS = (20.0, 22.0, 8.0, 6.0)


def picture(value, shape=(HEIGHT, WIDTH)):
    return Image.fromarray(np.full((*shape, 3), value, np.uint8))


def depth(code):
    return Image.fromarray(np.full((HEIGHT, WIDTH), code, np.uint16))


def write_scannet(folder, frames=4, lost=()):
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    for i in range(frames):
        picture(10 * i, (2 * HEIGHT, 2 * WIDTH)).save(folder / f"color/{i}.jpg")
        depth(1000 + 10 * i).save(folder / f"depth/{i}.png")
        pose = np.eye(4)
        pose[0, 3] = 0.1 * i
        np.savetxt(folder / f"pose/{i}.txt", np.full((4, 4), -np.inf) if i in lost else pose)
    k = np.eye(4)
    k[[0, 1, 0, 1], [0, 1, 2, 2]] = INTRINSICS
    np.savetxt(folder / "intrinsic/intrinsic_depth.txt", k)
    return folder


def write_tum(folder, frames=4, late=0.004):
    """Depth comes `late` seconds after its picture; poses come four times as often."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    lists = {name: ["# timestamp filename"] for name in ("rgb", "depth")}
    for i in range(frames):
        time = 1305031102.175 + i / 30
        picture(10 * i).save(folder / f"rgb/{time:.6f}.png")
        depth(5000 + 50 * i).save(folder / f"depth/{time + late:.6f}.png")
        lists["rgb"].append(f"{time:.6f} rgb/{time:.6f}.png")
        lists["depth"].append(f"{time + late:.6f} depth/{time + late:.6f}.png")
    poses = ["# timestamp tx ty tz qx qy qz qw"]
    for j in range(4 * frames):
        half = 0.02 * j / 2
        poses.append(f"{1305031102.175 + j / 120:.4f} {0.025 * j} 0 0 0 {np.sin(half)} 0 {np.cos(half)}")
    for name, lines in (*lists.items(), ("groundtruth", poses)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_scannet_has_its_intrinsics_and_pictures_come_to_the_size_of_depth(tmp_path):
    world = open_world(write_scannet(tmp_path / "scene0000_00"))
    assert world.size == (HEIGHT, WIDTH)
    assert world.rgb[:, 0, 0, 0].tolist() == pytest.approx([0, 10, 20, 30], abs=2)
    np.testing.assert_allclose(world.depth[:, 3, 4], [1.0, 1.01, 1.02, 1.03], rtol=1e-6)
    np.testing.assert_array_equal(world.camera.intrinsics[2], [[20, 0, 8], [0, 22, 6], [0, 0, 1]])
    np.testing.assert_allclose(world.camera.world_from_camera[:, 0, 3], [0, 0.1, 0.2, 0.3], atol=1e-6)
    assert world.fps == 30


def test_scannet_leaves_out_frames_whose_pose_was_lost(tmp_path):
    world = read_rgbd(write_scannet(tmp_path / "a", lost=(1, 2)))
    np.testing.assert_allclose(world.depth[:, 0, 0], [1.0, 1.03], rtol=1e-6)
    with pytest.raises(InputError, match="no frame has a finite pose"):
        read_rgbd(write_scannet(tmp_path / "b", lost=range(4)))


def test_tum_goes_by_times(tmp_path):
    folder = write_tum(tmp_path / "freiburg")
    with pytest.raises(InputError, match="pass intrinsics="):
        read_rgbd(folder)
    world = read_rgbd(folder, intrinsics=INTRINSICS)
    np.testing.assert_allclose(world.depth[:, 0, 0], [1.0, 1.01, 1.02, 1.03], rtol=1e-6)
    pose = world.camera.world_from_camera
    np.testing.assert_allclose(np.linalg.norm(np.diff(pose[:, :3, 3], axis=0), axis=1), 0.1, atol=1e-5)
    # Every frame turns by 0.08 about the camera's y, which points down.
    between = pose[0, :3, :3].T @ pose[3, :3, :3]
    assert np.arctan2(between[0, 2], between[0, 0]) == pytest.approx(0.24, abs=1e-5)
    assert world.fps == pytest.approx(30, abs=0.01)
    assert [stored.name for stored in stored_worlds(tmp_path)] == ["freiburg"]


def test_tum_leaves_out_what_has_no_partner(tmp_path):
    folder = write_tum(tmp_path / "a")
    lines = (folder / "depth.txt").read_text().splitlines()
    (folder / "depth.txt").write_text("\n".join([*lines[:2], *lines[3:]]))
    assert read_rgbd(folder, intrinsics=INTRINSICS).rgb[:, 0, 0, 0].tolist() == [0, 20, 30]
    with pytest.raises(InputError, match=r"within 0.02 s"):
        read_rgbd(write_tum(tmp_path / "b", frames=1, late=0.03), intrinsics=INTRINSICS)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rgb.txt", "# nothing\n", "rgb.txt: lists no file"),
        ("rgb.txt", "first rgb/1.png\n", "rgb.txt: a line is no time and file name"),
        ("groundtruth.txt", "1 2 3\n", "groundtruth.txt: lines are not eight finite numbers"),
        ("groundtruth.txt", "1305031102.1 0 0 0 0 0 0 0\n", "groundtruth.txt: lines are not eight"),
        ("groundtruth.txt", "a b\n", "groundtruth.txt: not a matrix of numbers"),
        ("rgb.txt", "1305031102.175 rgb/gone.png\n", "rgb/gone.png missing"),
    ],
)
def test_what_is_wrong_with_lists_is_named(tmp_path, name, text, message):
    folder = write_tum(tmp_path / "room")
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_rgbd(folder, intrinsics=INTRINSICS)

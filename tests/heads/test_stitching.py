"""Windows cut from one known clip are put together to that clip."""

import dataclasses

import pytest
import torch

from phys4d.errors import InputError
from phys4d.heads import HeadOutput
from phys4d.heads.network import rigid_motion_of
from phys4d.heads.stitching import stitch, windows

FRAMES, HEIGHT, WIDTH = 29, 6, 8


@pytest.mark.parametrize(
    ("frames", "window", "overlap", "starts"),
    [
        (17, 17, 5, [0]),
        (29, 17, 5, [0, 12]),
        (41, 17, 5, [0, 12, 24]),
        (20, 17, 5, [0, 3]),
        (30, 17, 5, [0, 12, 13]),
        (7, 5, 5, [0, 1, 2]),
    ],
)
def test_windows(frames, window, overlap, starts):
    assert windows(frames, window, overlap) == starts
    covered = {t for start in starts for t in range(start, start + window)}
    assert covered == set(range(frames))
    with pytest.raises(InputError, match=f"{window - 1} frames do not fill a window of {window}"):
        windows(window - 1, window, overlap)


@pytest.fixture
def whole():
    """Two clips of a walk of the camera; the lower rows are sky in the second clip."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(2, *shape, generator=generator)

    poses = [torch.eye(4).expand(2, 4, 4)]
    for _ in range(FRAMES - 1):
        poses.append(poses[-1] @ rigid_motion_of(0.1 * draw(6)))
    sky = draw(FRAMES, HEIGHT, WIDTH).abs().neg()
    sky[1, :, 2:] = 3
    return HeadOutput(
        log_depth=draw(FRAMES, HEIGHT, WIDTH),
        depth_log_confidence=draw(FRAMES, HEIGHT, WIDTH),
        motion=draw(FRAMES - 1, HEIGHT, WIDTH, 3),
        motion_log_confidence=draw(FRAMES - 1, HEIGHT, WIDTH),
        visibility=draw(FRAMES - 1, HEIGHT, WIDTH),
        sky=sky,
        log_focal=draw(),
        gravity=torch.nn.functional.normalize(draw(3), dim=-1),
        camera0_from_camera=torch.stack(poses, dim=1),
    )


def cut(whole, start, window, log_scale):
    """What a window of its own first camera and depth scale (B,) would say; of sky, any depth."""
    frames, steps = slice(start, start + window), slice(start, start + window - 1)
    poses = torch.linalg.inv(whole.camera0_from_camera[:, start, None]) @ whole.camera0_from_camera[:, frames]
    poses[..., :3, 3] *= log_scale.exp()[:, None, None]
    depth = whole.log_depth[:, frames] + log_scale[:, None, None, None]
    return dataclasses.replace(
        whole,
        log_depth=torch.where(whole.sky[:, frames] > 0, whole.log_depth[:, frames], depth),
        depth_log_confidence=whole.depth_log_confidence[:, frames],
        motion=whole.motion[:, steps],
        motion_log_confidence=whole.motion_log_confidence[:, steps],
        visibility=whole.visibility[:, steps],
        sky=whole.sky[:, frames],
        camera0_from_camera=poses,
        # Focal length and gravity are the first window's alone.
        log_focal=whole.log_focal + start,
        gravity=whole.gravity if start == 0 else -whole.gravity,
    )


@pytest.mark.parametrize(("window", "overlap"), [(17, 5), (13, 5), (5, 4), (9, 1)])
def test_windows_of_any_scale_give_back_the_clip(whole, window, overlap):
    starts = windows(FRAMES, window, overlap)
    assert len(starts) > 1
    scales = torch.linspace(-0.7, 0.9, 2 * len(starts)).view(len(starts), 2)
    scales[0] = 0
    cuts = [cut(whole, start, window, scale) for start, scale in zip(starts, scales)]
    found = stitch(cuts, starts)
    sky = whole.sky > 0
    for field in dataclasses.fields(HeadOutput):
        said, true = getattr(found, field.name), getattr(whole, field.name)
        if field.name == "log_depth":
            said, true = said[~sky], true[~sky]
        torch.testing.assert_close(said, true, atol=1e-4, rtol=1e-4, msg=lambda m, n=field.name: f"{n}: {m}")


def test_one_window_is_the_clip(whole):
    assert stitch([whole], [0]) is whole


def test_a_view_of_nothing_but_sky_is_stitched_too(whole):
    whole = dataclasses.replace(whole, sky=torch.ones_like(whole.sky))
    starts = windows(FRAMES, 17, 5)
    found = stitch([cut(whole, start, 17, torch.zeros(2)) for start in starts], starts)
    torch.testing.assert_close(found.camera0_from_camera, whole.camera0_from_camera, atol=1e-4, rtol=1e-4)


def test_the_path_does_not_jump_where_windows_disagree(whole):
    starts = windows(FRAMES, 17, 5)
    cuts = [cut(whole, start, 17, torch.zeros(2)) for start in starts]
    # The second window believes in another path from its first frame on.
    turn = rigid_motion_of(torch.tensor([0.3, -0.2, 0.5, 1.0, 2.0, -1.0]))
    others = cuts[1].camera0_from_camera.clone()
    others[:, 1:] = turn @ others[:, 1:]
    found = stitch([cuts[0], dataclasses.replace(cuts[1], camera0_from_camera=others)], starts)
    torch.testing.assert_close(found.camera0_from_camera, whole.camera0_from_camera, atol=1e-4, rtol=1e-4)


def test_windows_that_do_not_meet(whole):
    with pytest.raises(InputError, match="overlap by a frame"):
        stitch([cut(whole, start, 5, torch.zeros(2)) for start in (0, 5)], [0, 5])

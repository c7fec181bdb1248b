"""The compositor with weights set by hand: whole-pixel motion is exact."""

import pytest
import torch

from phys4d.backbones.compositor import _GRID, PATCH, SPAN, Compositor, _grid

ROWS = COLUMNS = 8
SIDE = ROWS * PATCH
EIGHTH = SIDE / 8
"""Flow is in eighths of the picture [px]."""
GREY, RED = torch.tensor([-0.5, -0.5, -0.5]), torch.tensor([1.0, -1.0, -1.0])


def still_compositor():
    """Every weight 0: it shows the anchor frame, whatever the tokens say."""
    made = Compositor(width=4, mattes=1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        made.layers[-1].bias[0] = -100  # No matte: all is background.
        part(made, "occupancy").fill_(100)
    return made.requires_grad_(False).eval()


def part(compositor, name):
    """The bias of one part, shaped (frame of the token, channel, fine, fine)."""
    sizes = list(compositor.parts.values())
    at = list(compositor.parts).index(name)
    fine = _GRID[name]
    return compositor.moving.bias[sum(sizes[:at]) : sum(sizes[: at + 1])].view(SPAN, -1, fine, fine)


def find_red(compositor):
    """A matte over what is red, and grey behind it."""
    first, middle, last = (compositor.layers[i] for i in (0, 2, 4))
    first.weight[0, 8, 1, 1] = 20  # Channel 8 is the anchor's red.
    middle.weight[0, 0, 1, 1] = 1
    last.weight[0, 0, 1, 1] = 10
    last.bias[0] = -50
    last.bias[1:] = torch.atanh(GREY)


def compose(compositor, anchor, groups=2, last=None):
    tokens = torch.randn(1, groups, ROWS, COLUMNS, 4, generator=torch.Generator().manual_seed(0))
    return compositor(tokens[:, 0], tokens, anchor, last)


def scene(top=24, left=16, side=12):
    picture = GREY[:, None, None].repeat(1, SIDE, SIDE)
    picture[:, top : top + side, left : left + side] = RED[:, None, None]
    return picture[None]


def test_without_motion_the_anchor_stays():
    anchor = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    made = compose(still_compositor(), anchor)
    assert made.shape == (1, 3, 2 * SPAN, SIDE, SIDE)
    torch.testing.assert_close(made, anchor[:, :, None].expand_as(made), atol=2e-5, rtol=0)


def test_background_flow_shifts_by_whole_pixels_and_each_frame_by_its_own():
    compositor = still_compositor()
    anchor = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    shifts = [(1, 0), (0, 2), (3, -4), (-5, 1)]
    for frame, (right, down) in enumerate(shifts):
        part(compositor, "background")[frame, :, 0, 0] = torch.tensor([-right / EIGHTH, -down / EIGHTH])
    made = compose(compositor, anchor)
    for frame in range(2 * SPAN):
        right, down = shifts[frame % SPAN]
        expected = torch.roll(anchor[0], (down, right), dims=(1, 2))
        torch.testing.assert_close(
            made[0, :, frame, 6:-6, 6:-6], expected[:, 6:-6, 6:-6], atol=1e-4, rtol=0, msg=f"frame {frame}"
        )


@pytest.mark.parametrize("how", ["as a whole", "by its cells", "by both"])
def test_an_object_moves_over_what_is_filled_in_behind_it(how):
    compositor = still_compositor()
    find_red(compositor)
    whole = {"as a whole": 1.0, "by its cells": 0.0, "by both": 0.25}[how]
    for frame in range(SPAN):
        motion = torch.tensor([-4.0, 2.0]) * frame / EIGHTH  # To the right, and upwards.
        part(compositor, "motion")[frame] = (1 - whole) * motion[:, None, None]
        compositor.shift.bias.view(SPAN, 2)[frame] = whole * motion
    made = compose(compositor, scene(top=24, left=16))
    for frame in range(SPAN):
        expected = scene(top=24 - 2 * frame, left=16 + 4 * frame)[0]
        torch.testing.assert_close(made[0, :, frame], expected, atol=1e-3, rtol=0, msg=f"frame {frame}")


@pytest.mark.parametrize("last", [None, 0, 2])
def test_an_object_keeps_its_course_from_the_anchor_on(last):
    compositor = still_compositor()
    find_red(compositor)
    velocity, acceleration = compositor.course.bias.view(2, 2)
    velocity[0] = -2 * SPAN / EIGHTH  # 2 px to the right in each frame
    acceleration[1] = -(SPAN**2) / EIGHTH  # and 1, 4, 9, 16 px down
    made = compose(compositor, scene(), groups=1, last=None if last is None else torch.tensor([last]))
    for frame in range(1, SPAN + 1):
        since = max(0, frame - (last or 0))
        expected = scene(top=24 + since**2, left=16 + 2 * since)[0]
        torch.testing.assert_close(made[0, :, frame - 1], expected, atol=1e-3, rtol=0, msg=f"frame {frame}")


def test_what_occupancy_forbids_is_not_shown():
    compositor = still_compositor()
    find_red(compositor)
    part(compositor, "occupancy")[1].fill_(-100)
    made = compose(compositor, scene())
    torch.testing.assert_close(made[0, :, 0], scene()[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(made[0, :, 1], GREY[:, None, None].expand(3, SIDE, SIDE), atol=1e-3, rtol=0)


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 1, 2, 3), (1, 0, 1, 0)])
def test_each_number_of_a_token_has_its_pixel(place):
    clip, group, row, column = place
    values = torch.zeros(2, 2, 3, 4, SPAN, 2, 5, 5)
    values[clip, group, row, column, 3, 1, 2, 4] = 1
    pixels = _grid(values.flatten(4), fine=5)
    assert pixels.shape == (2 * 2 * SPAN, 2, 15, 20)
    frame = (clip * 2 + group) * SPAN + 3
    assert pixels.nonzero().tolist() == [[frame, 1, row * 5 + 2, column * 5 + 4]]

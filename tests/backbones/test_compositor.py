"""The compositor with weights set by hand: whole-pixel motion is exact."""

import pytest
import torch

from phys4d.backbones.compositor import BACKGROUND_PACE, MOST, PATCH, SPAN, Compositor, _grid, filled

ROWS = COLUMNS = 8
SIDE = ROWS * PATCH
GREY, RED = torch.tensor([-0.5, -0.5, -0.5]), torch.tensor([1.0, -1.0, -1.0])
MATTE, BACKGROUND = slice(0, 2), slice(2, 4)
"""Channels of the flow of a frame's cell."""


def still_compositor():
    """Every weight 0 and no matte: it shows the anchor frame, whatever the tokens say."""
    made = Compositor(width=4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        made.cut[-1].bias.fill_(-100)
        made.occupancy.bias.fill_(100)
    return made.requires_grad_(False).eval()


def find_red(compositor):
    """A matte over what is red."""
    first, middle, last = (compositor.cut[i] for i in (0, 2, 4))
    first.weight[0, 8, 1, 1] = 20  # Channel 8 is the anchor's red.
    middle.weight[0, 0, 1, 1] = 1
    last.weight[0, 0, 1, 1] = 10
    last.bias[0] = -50


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


def test_the_background_moves_by_whole_pixels_and_in_each_frame_by_its_own():
    compositor = still_compositor()
    anchor = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    shifts = [(1, 0), (0, 2), (3, -4), (-5, 1)]
    # A flow says where things come from: the other way.
    compositor.flow.bias.view(SPAN, 4)[:, BACKGROUND] = -torch.tensor(shifts) / PATCH / BACKGROUND_PACE
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
    motion = torch.tensor([[4.0, -2.0]]) * torch.arange(SPAN)[:, None] / PATCH  # To the right, and upwards.
    compositor.shift.bias.view(SPAN, 2)[:] = whole * motion
    compositor.flow.bias.view(SPAN, 4)[:, MATTE] = -(1 - whole) * motion
    made = compose(compositor, scene(top=24, left=16))
    for frame in range(SPAN):
        expected = scene(top=24 - 2 * frame, left=16 + 4 * frame)[0]
        torch.testing.assert_close(made[0, :, frame], expected, atol=1e-3, rtol=0, msg=f"frame {frame}")


def test_an_object_goes_where_the_tokens_point():
    """All share of the anchor frame on one cell, all of a frame's on another: it moves by what lies between."""
    compositor = still_compositor()
    find_red(compositor)
    compositor.norm = torch.nn.Identity()
    compositor.anchor_share.weight[0, 0] = 100
    compositor.share.weight[:, 0] = 100
    tokens = torch.zeros(1, 2, ROWS, COLUMNS, 4)
    start = tokens[:, 0].clone()
    start[0, 3, 2, 0] = tokens[0, 0, 4, 4, 0] = tokens[0, 1, 2, 5, 0] = 1
    made = compositor(start, tokens, scene(top=24, left=16))
    for frame, (down, right) in {0: (8, 16), 3: (8, 16), 4: (-8, 24), 7: (-8, 24)}.items():
        expected = scene(top=24 + down, left=16 + right)[0]
        torch.testing.assert_close(made[0, :, frame], expected, atol=1e-3, rtol=0, msg=f"frame {frame}")


@pytest.mark.parametrize("last", [None, 0, 2])
def test_an_object_keeps_its_course_from_the_anchor_on(last):
    compositor = still_compositor()
    find_red(compositor)
    velocity, acceleration = compositor.course.bias.view(2, 2)
    velocity[0] = 2 * SPAN / PATCH  # 2 px to the right in each frame
    acceleration[1] = SPAN**2 / PATCH  # and 1, 4, 9, 16 px down
    made = compose(compositor, scene(), groups=1, last=None if last is None else torch.tensor([last]))
    for frame in range(1, SPAN + 1):
        since = max(0, frame - (last or 0))
        expected = scene(top=24 + since**2, left=16 + 2 * since)[0]
        torch.testing.assert_close(made[0, :, frame - 1], expected, atol=1e-3, rtol=0, msg=f"frame {frame}")


def test_what_occupancy_forbids_is_not_shown():
    compositor = still_compositor()
    find_red(compositor)
    compositor.occupancy.bias[1] = -100
    made = compose(compositor, scene())
    torch.testing.assert_close(made[0, :, 0], scene()[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(made[0, :, 1], GREY[:, None, None].expand(3, SIDE, SIDE), atol=1e-3, rtol=0)


def test_the_matte_covers_no_more_than_its_share_however_sure_it_is():
    compositor = Compositor(width=4).requires_grad_(False)
    compositor.cut[-1].bias.fill_(50)
    matte = compositor._matte(torch.randn(2, ROWS, COLUMNS, 4), torch.rand(2, 3, SIDE, SIDE))
    over_half = (matte > 0.5).float().mean(dim=(1, 2, 3))
    assert ((over_half > 0.9 * MOST) & (over_half < 1.1 * MOST)).all()


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 1, 2, 3), (1, 0, 1, 0)])
def test_each_number_of_a_token_has_its_pixel(place):
    clip, group, row, column = place
    values = torch.zeros(2, 2, 3, 4, SPAN, 2, 5, 5)
    values[clip, group, row, column, 3, 1, 2, 4] = 1
    pixels = _grid(values.flatten(4), fine=5)
    assert pixels.shape == (2, 2 * SPAN, 2, 15, 20)
    assert pixels.nonzero().tolist() == [[clip, group * SPAN + 3, 1, row * 5 + 2, column * 5 + 4]]


def test_a_hole_is_filled_from_around_it_and_the_rest_stays():
    ramp = torch.linspace(-1, 1, SIDE).expand(1, 3, SIDE, -1)
    clear = torch.ones(1, 1, SIDE, SIDE)
    clear[..., 24:36, 30:38] = 0
    image = torch.where(clear > 0, ramp, 5.0)
    found = filled(image, clear)
    torch.testing.assert_close(found * clear, ramp * clear)
    assert (found - ramp).abs().max() < 0.2


def test_a_picture_without_a_clear_pixel_has_finite_values_and_gradients():
    clear = torch.zeros(1, 1, SIDE, SIDE, requires_grad=True)
    found = filled(torch.ones(1, 3, SIDE, SIDE), clear)
    found.sum().backward()
    assert found.isfinite().all()
    assert clear.grad is not None
    assert clear.grad.isfinite().all()

"""The compositor, cutter and motions with weights and motions set by hand: whole-pixel motion is exact."""

import math

import pytest
import torch

from phys4d.backbones.compositor import BACKGROUND_PACE, SPAN, Compositor
from phys4d.backbones.cutter import PATCH, Cutter, filled
from phys4d.backbones.layers import cells_to_pixels
from phys4d.backbones.motions import APART, KIN, PACE, Motion, Motions, expectation_loss

ROWS = COLUMNS = 8
SIDE = ROWS * PATCH
OBJECTS = 5
GREY, RED = torch.tensor([-0.5, -0.5, -0.5]), torch.tensor([1.0, -1.0, -1.0])
BLUE = torch.tensor([-1.0, -1.0, 1.0])


def still_compositor():
    made = Compositor(width=4).requires_grad_(False).eval()
    for parameter in made.parameters():
        parameter.zero_()
    return made


def square(colour, top, left, side=12):
    """(1,1,4,H,W) and its centre [cells]."""
    piece = torch.zeros(1, 1, 4, SIDE, SIDE)
    piece[0, 0, :, top : top + side, left : left + side] = torch.cat([colour, torch.ones(1)])[:, None, None]
    return piece, torch.tensor([[[left + side / 2, top + side / 2]]]) / PATCH


def shown(pieces):
    """One frame that shows such squares over grey, the last in front."""
    picture = GREY[:, None, None].repeat(1, SIDE, SIDE)
    for piece in pieces:
        picture = torch.where(piece[0, 0, 3] > 0, piece[0, 0, :3], picture)
    return picture


def motion(travel, turn=None, order=None):
    """travel (K,T,2) [px]."""
    travel = torch.as_tensor(travel, dtype=torch.float32)[None] / PATCH
    turn = torch.zeros_like(travel) if turn is None else turn
    return Motion(travel, turn, torch.zeros(travel.shape[:3]) if order is None else order, travel)


def compose(compositor, objects, centre, moves, groups=1):
    tokens = torch.randn(1, groups, ROWS, COLUMNS, 4, generator=torch.Generator().manual_seed(0))
    background = GREY[None, :, None, None].repeat(1, 1, SIDE, SIDE)
    return compositor(tokens, background, objects, centre, moves)


def test_without_motion_the_anchor_stays():
    piece, centre = square(RED, 24, 16)
    made, _ = compose(still_compositor(), piece, centre, motion(torch.zeros(1, 2 * SPAN, 2)), groups=2)
    assert made.shape == (1, 3, 2 * SPAN, SIDE, SIDE)
    for frame in range(2 * SPAN):
        torch.testing.assert_close(made[0, :, frame], shown([piece]), atol=1e-3, rtol=0)


def test_the_background_moves_by_whole_pixels_and_in_each_frame_by_its_own():
    compositor = still_compositor()
    picture = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    shifts = [(1, 0), (0, 2), (3, -4), (-5, 1)]
    # A flow says where things come from: the other way.
    compositor.behind.bias.view(SPAN, 2)[:] = -torch.tensor(shifts) / PATCH / BACKGROUND_PACE
    piece, centre = torch.zeros(1, 1, 4, SIDE, SIDE), torch.full((1, 1, 2), 4.0)
    tokens = torch.randn(1, 2, ROWS, COLUMNS, 4)
    made, _ = compositor(tokens, picture, piece, centre, motion(torch.zeros(1, 2 * SPAN, 2)))
    for frame in range(2 * SPAN):
        right, down = shifts[frame % SPAN]
        expected = torch.roll(picture[0], (down, right), dims=(1, 2))
        torch.testing.assert_close(
            made[0, :, frame, 6:-6, 6:-6], expected[:, 6:-6, 6:-6], atol=1e-4, rtol=0, msg=f"frame {frame}"
        )


def test_an_object_moves_over_the_background_and_out_of_the_picture():
    piece, centre = square(RED, 24, 16)
    made, _ = compose(still_compositor(), piece, centre, motion([[(0, 0), (4, -2), (20, 8), (90, 0)]]))
    for frame, (right, down) in enumerate([(0, 0), (4, -2), (20, 8)]):
        expected = shown([square(RED, 24 + down, 16 + right)[0]])
        torch.testing.assert_close(made[0, :, frame], expected, atol=1e-3, rtol=0, msg=f"frame {frame}")
    torch.testing.assert_close(made[0, :, 3], shown([]), atol=1e-5, rtol=0)


def test_an_object_turns_clockwise_about_its_centre_and_keeps_its_shape():
    piece, centre = square(RED, 24, 16)
    piece[:, :, :3, 24:30] = (BLUE[:, None, None] * piece[:, :, 3:, 24:30]).to(piece)  # its upper half
    turn = torch.zeros(1, 1, SPAN, 2)
    turn[..., 1, 0] = math.pi / 2
    turn[..., 2, 0] = math.pi
    made, _ = compose(still_compositor(), piece, centre, motion(torch.zeros(1, SPAN, 2), turn))
    block = made[0, :, :, 24:36, 16:28]
    # x to the right and y down: a positive angle takes x to y, and what was above to the right.
    torch.testing.assert_close(block[:, 1, :, 7:], BLUE[:, None, None].expand(3, 12, 5), atol=1e-3, rtol=0)
    torch.testing.assert_close(block[:, 1, :, :5], RED[:, None, None].expand(3, 12, 5), atol=1e-3, rtol=0)
    torch.testing.assert_close(block[:, 2, :5], RED[:, None, None].expand(3, 5, 12), atol=1e-3, rtol=0)


def test_an_object_grows_about_its_centre():
    piece, centre = square(RED, 24, 16, side=12)
    turn = torch.zeros(1, 1, SPAN, 2)
    turn[..., 1] = math.log(1.5)
    made, _ = compose(still_compositor(), piece, centre, motion(torch.zeros(1, SPAN, 2), turn))
    area = (made[0, 0, 0] > 0.25).sum()
    assert abs(int(area) - 18**2) <= 18


def test_of_objects_that_meet_the_higher_order_is_in_front():
    red, red_centre = square(RED, 24, 16)
    blue, blue_centre = square(BLUE, 24, 36)
    objects, centre = torch.cat([red, blue], dim=1), torch.cat([red_centre, blue_centre], dim=1)
    order = torch.zeros(1, 2, SPAN)
    order[0, 0, :2], order[0, 1, 2:] = 6.0, 6.0
    made, _ = compose(
        still_compositor(), objects, centre, motion([[(14, 0)] * SPAN, [(0, 0)] * SPAN], order=order)
    )
    there = square(RED, 24, 30)[0]
    torch.testing.assert_close(made[0, :, 0], shown([blue, there]), atol=0.01, rtol=0)
    torch.testing.assert_close(made[0, :, 3], shown([there, blue]), atol=0.01, rtol=0)


def test_heads_are_told_how_the_objects_move():
    piece, centre = square(RED, 24, 16, side=8)
    _, flows = compose(still_compositor(), piece, centre, motion([[(4, 0), (8, 0), (12, 8), (12, 8)]]))
    assert flows.shape == (1, 2, ROWS, COLUMNS, 3 * SPAN)
    # In the anchor frame the square is one cell; to the next frame it moves half a cell to the right.
    torch.testing.assert_close(flows[0, 0, 3, 2, :3], torch.tensor([1.0, 0.5, 0.0]), atol=1e-3, rtol=0)
    # In frame 2 it is the next cell; to frame 3 it moves half a cell to the right and one down.
    torch.testing.assert_close(flows[0, 1, 3, 3, 3:6], torch.tensor([1.0, 0.5, 1.0]), atol=1e-3, rtol=0)
    # After the last frame nothing is known, and where no object is, nothing moves.
    torch.testing.assert_close(flows[0, 1, :, :, 10:12], torch.zeros(ROWS, COLUMNS, 2))
    assert flows[0, :, 0].abs().max() < 1e-6


@pytest.fixture
def cutter():
    torch.manual_seed(0)
    return Cutter(4, ROWS, COLUMNS, OBJECTS).requires_grad_(False).eval()


def test_an_untrained_cutter_points_at_what_is_unlike_its_surroundings(cutter):
    anchor = shown([square(RED, 20, 12)[0]])[None]
    matte, centre, tokens = cutter(torch.zeros(1, ROWS * COLUMNS, 4), anchor)
    assert matte.shape == (1, OBJECTS, SIDE, SIDE)
    assert tokens.shape == (1, OBJECTS, 4)
    nearest = (centre[0] - torch.tensor([18.0, 26.0]) / PATCH).norm(dim=-1).min()
    assert nearest < 1
    inside = matte[0].sum(0)[24:28, 16:20].mean()
    assert inside > 4 * matte[0].sum(0).mean()


def test_the_objects_of_a_pixel_are_never_more_than_one(cutter):
    cutter.cut[-1].bias.fill_(50)
    matte = cutter(torch.randn(2, ROWS * COLUMNS, 4), torch.rand(2, 3, SIDE, SIDE))[0]
    assert matte.min() >= 0
    assert matte.sum(1).max() < 1 + 1e-6


def test_what_lies_in_the_window_of_an_object_is_no_later_object(cutter):
    cutter.cut[-1].bias.fill_(50)
    anchor = shown([square(RED, 20, 12)[0]])[None]
    matte, centre, _ = cutter(torch.zeros(1, ROWS * COLUMNS, 4), anchor)
    for k in range(OBJECTS - 1):
        x, y = (centre[0, k] * PATCH).round().int().tolist()
        assert matte[0, k + 1 :, y, x].sum() < 0.1


def test_an_object_keeps_its_course_from_the_anchor_on():
    motions = Motions(4, 16, PATCH).requires_grad_(False)
    motions.motion.weight.zero_()
    motions.motion.bias[-4:] = torch.tensor([2.0, 0.0, 0.0, 1.0])  # velocity, acceleration
    motions.motion.bias[2:-4:6] = -2.0
    flat = torch.zeros(1, OBJECTS, 8, SIDE, SIDE)
    moved = motions(torch.randn(1, OBJECTS, 4), flat, torch.tensor([2]))
    since = (torch.arange(1, 9) - 2).clamp_min(0) / PACE
    expected = torch.stack([2 * since, since**2], dim=-1).expand(1, OBJECTS, 8, 2)
    torch.testing.assert_close(moved.expected, expected)
    torch.testing.assert_close(moved.travel, expected, atol=0.02, rtol=0)


def kindred(logit):
    """Motions of which every two objects share at this logit, that expect them at rest."""
    motions = Motions(4, 16, PATCH).requires_grad_(False)
    motions.motion.weight.zero_()
    motions.motion.bias[2:-4:6] = 1.5
    motions.kinship.weight.zero_()
    motions.kinship.bias[:KIN], motions.kinship.bias[KIN:] = (logit - APART) / KIN**0.5, 1.0
    return motions


def test_pieces_of_one_object_go_where_any_of_them_is_seen():
    logs = torch.zeros(1, OBJECTS, 4, SIDE, SIDE)
    logs[:, 0, :, 32 + 8, 32 - 4] = 30.0  # 2 px a step: a cell to the left, two down
    tokens = torch.randn(1, OBJECTS, 4)
    alone, together = (kindred(logit)(tokens, logs, torch.tensor([0])).travel for logit in (-20.0, 20.0))
    there = torch.tensor([-1.0, 2.0]).expand(4, 2)
    torch.testing.assert_close(alone[0, 0], there, atol=0.05, rtol=0)
    torch.testing.assert_close(alone[0, 1:], torch.zeros(OBJECTS - 1, 4, 2), atol=0.05, rtol=0)
    torch.testing.assert_close(together[0], there.expand(OBJECTS, 4, 2), atol=0.05, rtol=0)


def test_an_expectation_is_held_against_where_the_clean_frames_show_the_object():
    logs = torch.zeros(1, 1, 4, SIDE, SIDE)
    logs[..., 32 + 8, 32 - 4] = 25.0  # 2 px a step: a cell to the left, two down
    there = torch.tensor([-1.0, 2.0]).expand(1, 1, 4, 2)
    last = torch.tensor([0])
    right = motion(torch.zeros(1, 4, 2))._replace(expected=there)
    assert expectation_loss(right, logs, last, PATCH) < 1e-3
    wrong = right._replace(expected=torch.zeros(1, 1, 4, 2, requires_grad=True))
    loss = expectation_loss(wrong, logs, last, PATCH)
    assert 1 < loss < 1.5  # Huber with beta 1/4: |1| + |2| - 2/8, halved
    loss.backward()
    assert (wrong.expected.grad[..., 0] > 0).all()
    assert (wrong.expected.grad[..., 1] < 0).all()
    # What is not found anywhere says nothing, nor do the frames that were given.
    assert expectation_loss(wrong, torch.zeros_like(logs), last, PATCH) == 0
    assert expectation_loss(wrong, logs, last + 4, PATCH) == 0


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 1, 2, 3), (1, 0, 1, 0)])
def test_each_number_of_a_token_has_its_pixel(place):
    clip, group, row, column = place
    values = torch.zeros(2, 2, 3, 4, SPAN, 2, 5, 5)
    values[clip, group, row, column, 3, 1, 2, 4] = 1
    pixels = cells_to_pixels(values.flatten(4), 5, SPAN)
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

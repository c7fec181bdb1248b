"""How the objects of `nano` move: what the network expects, made certain by what the noisy frames show.

For each object and frame the network says where it expects the object and how sure it is, a Gaussian; the place in
the frame is the mean of that Gaussian times the likelihood of the noisy frame (`registration`). At t = 1 that is
what is expected; as the noise falls, it becomes what is seen. Pieces that belong together, such as the halves of a
ball too large for one window, pool what they expect and see (a product of experts), so that they do not part.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from phys4d.backbones.layers import sinusoids
from phys4d.backbones.registration import expectation, posterior, prior

EVIDENCE = 4
"""Numbers about an object in a frame: displacement x, y and its standard deviation [cells], log evidence."""
KIN = 16
"""Channels by which objects know those that move as they do."""
ANYWHERE = 2.0
"""Standard deviation of displacements before anything is known [cells]."""
PACE = 8
"""Frames in the unit of time of a course."""
APART = -4.0
"""Logit of how far another object's knowledge counts, at first."""


class Motion(NamedTuple):
    """Of every object in frames 1 to T."""

    travel: Float[Tensor, "B K T 2"]
    """Displacement x, y since the anchor frame [cells]."""
    turn: Float[Tensor, "B K T 2"]
    """Angle [rad] and log scale about the object's centre."""
    order: Float[Tensor, "B K T"]
    """Higher ones are in front."""
    expected: Float[Tensor, "B K T 2"]
    """`travel` before the frames were looked at."""


class Motions(nn.Module):
    """frames: 1 to T of the longest clip. cell: its height and width [px]."""

    def __init__(self, width: int, frames: int, cell: int) -> None:
        super().__init__()
        self.frames, self.cell = frames, cell
        self.found = nn.Linear(EVIDENCE * (1 + frames) + 32, width)
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU())
        self.motion = nn.Linear(4 * width, 6 * frames + 4)
        nn.init.normal_(self.motion.weight, std=0.005)
        nn.init.zeros_(self.motion.bias)
        self.kinship = nn.Linear(width, 2 * KIN)

    def evidence(self, logs: Float[Tensor, "B K t H W"], centre: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K D"]:
        """What frames 0 to T say by themselves of each object, as tokens."""
        with torch.no_grad():
            rest = logs.new_zeros(*logs.shape[:3], 2)
            place, spread, found = posterior(logs, rest, rest[..., 0] + ANYWHERE, self.cell)
            told = torch.cat([place, spread[..., None], torch.tanh(found / 10)[..., None]], dim=-1).flatten(2)
            told = functional.pad(told, (0, EVIDENCE * (1 + self.frames) - told.shape[-1]))
        return self.found(torch.cat([told, sinusoids(20 * centre.detach(), 8).flatten(2)], dim=-1))

    def forward(
        self, tokens: Float[Tensor, "B K D"], logs: Float[Tensor, "B K T H W"], last: Int[Tensor, "B"]
    ) -> Motion:
        """logs: likelihoods of frames 1 to T. last: number of the anchor frame.

        Expected is a course, v tau + a tau^2, which early frames teach and late ones follow, and a rest of each
        frame's own.
        """
        frames = logs.shape[2]
        said, course = self.motion(self.hidden(tokens)).float().split([6 * self.frames, 4], dim=-1)
        said = said.unflatten(-1, (-1, 6))[:, :, :frames]
        velocity, acceleration = course[:, :, None].chunk(2, dim=-1)
        since = torch.arange(1, frames + 1, device=last.device)[None] - last[:, None]
        tau = (since.clamp_min(0) / PACE)[:, None, :, None]
        expected = said[..., :2] + velocity * tau + acceleration * tau.square()
        known = logs + prior(expected, said[..., 2].clamp(-2, 1.5).exp(), logs.shape[-2:], self.cell)
        shared = torch.einsum("bkj,bjtyx->bktyx", self._kinship(tokens), known)
        travel, _ = expectation(shared, self.cell)
        turn = said[..., 3:5].clamp(-3, 3) * said.new_tensor([1.0, 0.3])
        return Motion(travel, turn, said[..., 5].clamp(-4, 4), expected)

    def _kinship(self, tokens: Float[Tensor, "B K D"]) -> Float[Tensor, "B K K"]:
        """How far each object makes what others know its own: 1 of itself, 0 to 1 of others."""
        asked, told = self.kinship(functional.layer_norm(tokens, tokens.shape[-1:])).float().chunk(2, dim=-1)
        shared = torch.sigmoid(torch.einsum("bkd,bjd->bkj", asked, told) / KIN**0.5 + APART)
        own = torch.eye(tokens.shape[1], device=tokens.device)
        return shared * (1 - own) + own


def expectation_loss(
    motion: Motion, logs: Float[Tensor, "B K T H W"], last: Int[Tensor, "B"], cell: int, sure: float = 4.0
) -> Float[Tensor, ""]:
    """How far what was expected is from where the clean frames show each object [cells, Huber].

    logs: likelihoods of the clean frames. Only frames after `last` in which an object is found (log evidence above
    `sure`) at one place count. An image loss alone does not tell an object where to go that is far from there.
    """
    with torch.no_grad():
        rest = torch.zeros_like(motion.travel)
        place, spread, found = posterior(logs, rest, rest[..., 0] + 1.5 * ANYWHERE, cell)
        later = torch.arange(1, logs.shape[2] + 1, device=last.device)[None] > last[:, None]
        counts = ((found > sure) & (spread < 0.75) & later[:, None]).float()
    error = functional.smooth_l1_loss(motion.expected, place, reduction="none", beta=0.25).sum(-1)
    return (counts * error).sum() / counts.sum().clamp_min(1) / 2

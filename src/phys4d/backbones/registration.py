"""Where the noisy frames show each object of the anchor frame: a matched filter, with nothing to learn.

With the background b, the object's colours c under its matte m, and a displacement d, a noisy frame is

    x(p) = alpha (b(p) + u_d(p)) + sigma eps,    u_d(p) = m(p - d) (c(p - d) - b(p)),

up to a mismatch of variance nu. So with r = x - alpha b,

    log p(x | d) - log p(x | no object) = (alpha <r, u_d> - alpha^2 |u_d|^2 / 2) / (sigma^2 + alpha^2 nu),

for every d at once by correlations (FFT). That is against no object; where the contrast of another, more vivid one
is, |r|^2 exceeds |alpha u_d|^2, and the ratio counts by their quotient only. A small network would spend most
of its training on finding this in the pixels, and before it has, the noisy clip tells it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

STEP = 2
"""Between displacements that are tried [px]."""
MISMATCH = 0.01
"""nu: light, turns, other objects."""
MOST = 30.0
"""The likelihood is flattened to a range of as many nats, so that it says where between the places of the grid."""


@torch.no_grad()
def likelihood(
    x: Float[Tensor, "B 3 T H W"],
    alpha: Float[Tensor, "B T"],
    sigma: Float[Tensor, "B T"],
    background: Float[Tensor, "B 3 H W"],
    objects: Float[Tensor, "B K 4 H W"],
) -> Float[Tensor, "B K T H W"]:
    """Log likelihood ratio of every displacement of each object in each frame; see `offsets` for rows, columns.

    objects: colours times matte, and the matte.
    """
    # At half the resolution: a quarter of the work, and what is lost is finer than the grid.
    small = _halved(x.float().transpose(1, 2))
    behind, objects = _halved(background.float()), _halved(objects.float())
    colours, matte = objects[:, :, :3], objects[:, :, 3:]
    alpha, sigma = alpha.float(), sigma.float()
    rest = small - alpha[:, :, None, None, None] * behind[:, None]
    seen = _fft(torch.cat([rest, -(rest * behind[:, None]).sum(2, keepdim=True)], dim=2))
    cut = _fft(objects).conj()
    product = _back(torch.einsum("btcyx,bkcyx->bktyx", seen, cut))
    shown = _fft(torch.cat([torch.ones_like(behind[:, :1]), behind, behind.square().sum(1, keepdim=True)], dim=1))
    squares = torch.cat([colours.square().sum(2, keepdim=True), -2 * matte * colours, matte.square()], dim=2)
    energy = _back(torch.einsum("bcyx,bkcyx->bkyx", shown, _fft(squares).conj()))[:, :, None]
    alpha, sigma = alpha[:, None, :, None, None], sigma[:, None, :, None, None]
    noise = sigma.square() / STEP**2
    ratio = alpha * (product - alpha / 2 * energy) / (noise + alpha.square() * MISMATCH)
    # The contrast under the matte, less what noise adds to it, twice its deviation included.
    found = _back(torch.einsum("btyx,bkyx->bktyx", _fft(rest.square().sum(2)), cut[:, :, 3]))
    area = _back(_fft(torch.ones_like(behind[:, 0]))[:, None] * cut[:, :, 3])[:, :, None].clamp_min(0)
    found = found - noise * (3 * area + 2 * (6 * area).sqrt())
    due = alpha.square() * energy.clamp_min(1e-3)
    ratio = torch.where(ratio > 0, ratio * due / torch.maximum(found, due), ratio)
    return ratio * (MOST / ratio.amax(dim=(-2, -1), keepdim=True).clamp_min(MOST))


def offsets(count: int, cell: int, device: torch.device) -> Float[Tensor, "G"]:
    """Displacements along an axis of `count` px, 0 in the middle [cells of `cell` px]."""
    return (torch.arange(count, device=device) - count // 2) * STEP / cell


def prior(
    mean: Float[Tensor, "B K T 2"], spread: Float[Tensor, "B K T"], grid: Sequence[int], cell: int
) -> Float[Tensor, "B K T H W"]:
    """Log probability of every displacement under a Gaussian [cells]. grid: rows and columns of `likelihood`."""
    down, across = (offsets(n, cell, mean.device) for n in grid)
    by_x, by_y = (
        (-(places - mean[..., i, None]).square() / (2 * spread[..., None].square())).log_softmax(-1)
        for i, places in enumerate((across, down))
    )
    return by_y[..., :, None] + by_x[..., None, :]


def expectation(
    logs: Float[Tensor, "B K T H W"], cell: int
) -> tuple[Float[Tensor, "B K T 2"], Float[Tensor, "B K T"]]:
    """(mean x, y, standard deviation) of displacements [cells] of which these are the log probabilities, up to a
    constant."""
    down, across = (offsets(n, cell, logs.device) for n in logs.shape[-2:])
    share = logs.flatten(-2).softmax(-1).unflatten(-1, (len(down), len(across)))
    # Sums, not products of matrices: those would be taken in bfloat16, too coarse for places.
    by_x, by_y = share.sum(-2), share.sum(-1)
    place = torch.stack([(by_x * across).sum(-1), (by_y * down).sum(-1)], dim=-1)
    square = (by_x * across.square()).sum(-1) + (by_y * down.square()).sum(-1)
    return place, (square - place.square().sum(-1)).clamp_min(1e-6).sqrt()


def posterior(
    logs: Float[Tensor, "B K T H W"], mean: Float[Tensor, "B K T 2"], spread: Float[Tensor, "B K T"], cell: int
) -> tuple[Float[Tensor, "B K T 2"], Float[Tensor, "B K T"], Float[Tensor, "B K T"]]:
    """(mean x, y and standard deviation [cells], log evidence) of displacements with a Gaussian prior [cells]."""
    logs = logs + prior(mean, spread, logs.shape[-2:], cell)
    return *expectation(logs, cell), logs.detach().flatten(-2).logsumexp(-1)


def _halved(image: Tensor) -> Tensor:
    return functional.avg_pool2d(image.flatten(0, -4), STEP).unflatten(0, image.shape[:-3])


def _fft(image: Tensor) -> Tensor:
    """Padded to twice the size, so that nothing that leaves on one side comes back on the other."""
    return torch.fft.rfft2(image, s=(2 * image.shape[-2], 2 * image.shape[-1]))


def _back(spectrum: Tensor) -> Tensor:
    size = (spectrum.shape[-2], 2 * (spectrum.shape[-1] - 1))
    return torch.fft.fftshift(torch.fft.irfft2(spectrum, s=size), dim=(-2, -1))

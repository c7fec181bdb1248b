"""Which pixels of the anchor frame belong to something that moves away, told by the clean frames after it.

Where a pixel changes, either the anchor shows the background and a thing arrives, or it shows a thing that leaves
and uncovers the background. What surrounds all that changes says which: the background goes on like it. So `nano`
learns from RGB alone what to cut out.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from phys4d.backbones.cutter import filled

CHANGED = 0.15
"""Difference (of 2) above which a pixel has changed."""
NEAR = 7
"""Diameter [px] of the surroundings of a leaving thing in which an unchanged pixel may be its own, too."""
RARE = 4.0
"""Weight of what leaves: most of a picture stands still."""


@torch.no_grad()
def leaving(
    x0: Float[Tensor, "B 3 T H W"], last: Int[Tensor, "B"]
) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
    """(1 where the frame `last` shows what leaves, how far that is known: 0 to 1)."""
    x0 = x0.float()
    anchor = x0.gather(2, last.reshape(-1, 1, 1, 1, 1).expand(-1, 3, 1, *x0.shape[-2:]))[:, :, 0]
    later = torch.arange(x0.shape[2], device=x0.device)[None] > last[:, None]
    differs = (x0 - anchor[:, :, None]).abs().amax(1, keepdim=True) > CHANGED
    differs = (differs & later[:, None, :, None, None]).float()
    changed = differs.amax(2)
    surrounded = filled(anchor, 1 - 0.999 * functional.max_pool2d(changed, 3, 1, 1))
    foreign = (anchor - surrounded).abs().mean(1, keepdim=True)
    # The most background-like of what is seen there later.
    seen = (x0 - surrounded[:, :, None]).abs().mean(1, keepdim=True) + 9 * (1 - differs)
    uncovered = seen.amin(2)
    vote = functional.avg_pool2d(changed * (foreign - uncovered), 3, 1, 1)
    # What is passed over is as before in the end; what is left is not.
    stays = torch.stack([d[:, n:].mean(1) for d, n in zip(differs, last + 1)])
    leaves = changed * (vote > 0).float() * (differs[:, :, -1] > 0).float() * (stays > 0.3).float()
    leaves = (functional.avg_pool2d(leaves, 3, 1, 1) > 0.4).float() * changed
    near = functional.max_pool2d(leaves, NEAR, 1, NEAR // 2)
    # Neither like the surroundings: always covered, by a part of the thing itself.
    covered = changed * (torch.minimum(foreign, uncovered) > CHANGED).float()
    unsure = (1 - leaves) * torch.maximum((1 - changed) * near, covered)
    return leaves, 1 - unsure


def cut_loss(
    matte: Float[Tensor, "B K H W"], x0: Float[Tensor, "B 3 T H W"], last: Int[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Cross entropy of the mattes' sum and what leaves; the mean over pixels."""
    leaves, sure = leaving(x0, last)
    total = matte.float().sum(1, keepdim=True).clamp(1e-4, 1 - 1e-4)
    loss = -(RARE * leaves * total.log() + (1 - leaves) * (1 - total).log())
    return (sure * loss).mean()

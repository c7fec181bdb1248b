"""Open-Sora 1.2: its networks by the names of the public checkpoints, and the backbone made of them."""

from phys4d.backbones.opensora.backbone import OpenSora
from phys4d.backbones.opensora.stdit import STDiT3
from phys4d.backbones.opensora.vae import OpenSoraVAE

__all__ = ["OpenSora", "OpenSoraVAE", "STDiT3"]

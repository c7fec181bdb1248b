"""Heads that read a video diffusion backbone's features as depth, motion and cameras."""

from phys4d.heads.network import Heads
from phys4d.heads.output import HeadOutput

__all__ = ["HeadOutput", "Heads"]

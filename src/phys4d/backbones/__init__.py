"""Video diffusion backbones behind one contract; `backbones` lists them by name."""

from phys4d.backbones import cogvideox, ltx, nano, opensora, wan
from phys4d.backbones.backbone import Backbone, Condition, backbones

__all__ = ["Backbone", "Condition", "backbones", "cogvideox", "ltx", "nano", "opensora", "wan"]

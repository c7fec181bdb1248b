"""Ways to look at a world: a web page, other people's formats, and pictures."""

from phys4d.pictures import depth_picture
from phys4d.viewers.export import export, export_kinds
from phys4d.viewers.html import notebook_html, world_page
from phys4d.viewers.pictures import (
    animation,
    flow_picture,
    segmentation_picture,
)
from phys4d.viewers.server import serve
from phys4d.world import World4D

__all__ = [
    "animation",
    "depth_picture",
    "export",
    "export_kinds",
    "flow_picture",
    "segmentation_picture",
    "serve",
    "world_page",
]

World4D.html_hook = notebook_html

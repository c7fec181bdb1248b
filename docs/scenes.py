"""Print the table of scenes: category, name, frames of context, and one caption of each."""

from phys4d.sim.catalog import SCENES, build

for name in SCENES:
    row = SCENES[name]
    print(f"{row.category:8}{name:22}{row.context_frames}  {build(name, seed=1).caption}")

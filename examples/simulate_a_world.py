"""Simulate a world, ask it where a point goes, and write a page that shows it.

    python examples/simulate_a_world.py [page.html]

Ends with a check: the ball falls as Galileo says.
"""

import sys

import numpy as np

import phys4d

world = phys4d.simulate("ball_drop", seed=7, size=(96, 96), frames=17)
print(world)
print(world.meta["prompt"])

# A pixel of the ball in frame 0: what it shows, how far it is, and where it is one frame later.
row, column = np.argwhere(world.segmentation[0] == 1).mean(axis=0).round().astype(int)
print(f"pixel ({row}, {column}) is {world.depth[0, row, column]:.2f} m away")
print(f"it moves by {world.flow[0, row, column].round(2)} px, {world.scene_flow[0, row, column].round(4)} m")

page = phys4d.export(world, "html", sys.argv[1] if len(sys.argv) > 1 else "world.html")
print(f"open {page}")

height = np.array(world.meta["physics"]["bodies"]["ball"]["position"])[:, 2]
fallen, seconds = height[0] - height[3], 3 / world.fps
assert abs(fallen - 9.81 * seconds**2 / 2) < 0.01, "the ball should fall by g t^2 / 2"

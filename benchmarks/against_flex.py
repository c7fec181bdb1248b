"""A cloth that falls over a ball: MuJoCo's flex beside the engine of elastic bodies.

    python benchmarks/against_flex.py

Prints, for square sheets of 0.8 m, how long a frame of 1/12 s takes on one thread (the best of three runs).
"""

from __future__ import annotations

import time

import mujoco
import numpy as np

from phys4d.sim.elastics import Cloth
from phys4d.sim.engines import engine_of
from phys4d.sim.engines.elastic import load_kernels
from phys4d.sim.materials import Look, Material
from phys4d.sim.scene import Body, SceneSpec
from phys4d.sim.shapes import Ground, Sphere

FRAMES, FPS = 9, 12.0
GREY = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

FLEX = """
<mujoco>
  <option timestep="0.004" solver="CG" integrator="discrete" gravity="0 0 -9.81"/>
  <worldbody>
    <geom type="plane" size="3 3 0.1"/>
    <geom type="sphere" size="0.2" pos="0 0 0.2"/>
    <flexcomp name="cloth" type="grid" dim="2" count="{n} {n} 1" spacing="{h} {h} 1" pos="0 0 0.5" mass="0.1"
              radius="0.005">
      <contact selfcollide="none" solref="0.003 1"/>
      <elasticity young="3e5" poisson="0" thickness="1e-3" elastic2d="both"/>
    </flexcomp>
  </worldbody>
</mujoco>
"""


def flex(count: int) -> float:
    """Seconds that MuJoCo takes for a frame."""
    model = mujoco.MjModel.from_xml_string(FLEX.format(n=count, h=0.8 / (count - 1)))
    data = mujoco.MjData(model)
    started = time.process_time()
    for _ in range(round((FRAMES - 1) / FPS / model.opt.timestep)):
        mujoco.mj_step(model, data)
    return (time.process_time() - started) / (FRAMES - 1)


def elastic(count: int) -> float:
    """Seconds that the engine of elastic bodies takes for a frame."""
    made_of = Material("cloth", 480.0, 0.4, 0.0)
    side = np.linspace(-0.4, 0.4, count)
    start = tuple((float(x), float(y), 0.5) for x in side for y in side)
    stretch = 480 * 3e-4 * 40**2
    cloth = Cloth(
        "cloth", (count, count), 0.8 / (count - 1), start, 3e-4, made_of, GREY, stretch, 0.04 * stretch, 1e-5
    )
    ground = Body("floor", Ground(), made_of, GREY, free=False)
    ball = Body("ball", Sphere(0.2), made_of, GREY, (0, 0, 0.2), free=False)
    spec = SceneSpec("bench", "garment", "elastic", "", (ground, ball), (), elastics=(cloth,))
    started = time.process_time()
    engine_of("elastic")(spec, FRAMES, FPS)
    return (time.process_time() - started) / (FRAMES - 1)


def main() -> None:
    load_kernels()
    print("milliseconds for a frame of 1/12 s, one thread; flex in steps of 4 ms with conjugate gradients")
    print(f"{'nodes':10}{'flex':>10}{'elastic':>10}")
    for count in (12, 20, 37):
        told = (f"{1000 * min(each(count) for _ in range(3)):10.0f}" for each in (flex, elastic))
        print(f"{f'{count} x {count}':10}" + "".join(told))


if __name__ == "__main__":
    main()

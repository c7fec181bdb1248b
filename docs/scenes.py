"""Print the scenes: by category, or with --captions each with its frames of context and one caption."""

from __future__ import annotations

import argparse
import textwrap

from phys4d.sim.catalog import SCENES, build, names_of

# The scenes that the authors of Phys4D released for Isaac Sim; rows of the same name are their counterparts here.
RELEASED = """
ball_and_block ball_collide ball_hits_duck ball_hits_nothing ball_in_basket ball_ramp ball_rolls_off
ball_rolls_on_glass ball_train block_domino domino_in_juice domino_with_space duck_and_domino
duck_falls_in_box duck_static light_on_block light_on_mug light_on_mug_block light_on_sculpture marble_run_x
marble_run_y mirror_ball_fall mirror_ball_rotate mirror_teapot_rotate potato_in_water roll_behind_box
roll_front_box roll_in_box rolling_reflection rotor rotor_move_camera silk_cover smiley_ball_rotates stable_blocks
teapot_rotates two_balls_pass unstable_block_stack weight_on_ceramic weight_on_pillow weight_protects_duck
""".split()  # noqa: SIM905  as a list it would be 40 lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", action="store_true")
    if parser.parse_args().captions:
        for name in SCENES:
            row = SCENES[name]
            print(f"{row.category:16}{name:22}{row.context_frames}  {build(name, seed=1).caption}")
        return
    for category in sorted({SCENES[name].category for name in SCENES}):
        names = names_of((), category, everything=False)
        lines = textwrap.wrap(", ".join(names), 90)
        print(f"{category:16}{len(names):3}  {lines[0]}")
        for line in lines[1:]:
            print(f"{'':21}{line}")
    among = sum(name in list(SCENES) for name in RELEASED)
    print(
        f"{'in all':16}{len(list(SCENES)):3}  {among} of the {len(RELEASED)} released for Isaac Sim are among them"
    )


if __name__ == "__main__":
    main()

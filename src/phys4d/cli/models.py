"""Commands that train models and use them.

Heavy modules are imported inside the commands, so that --help and typing errors answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from phys4d.cli.app import Count, arg, command
from phys4d.errors import InputError, unknown_name

if TYPE_CHECKING:
    from phys4d.model import WorldModel

Model = Annotated[str, arg(metavar="MODEL")]
Paths = Annotated[tuple[Path, ...], arg(metavar="PATH ...", help_behavior_hint="")]


@command
def train(
    stage: Annotated[tyro.conf.Positional[str], arg(metavar="base|pretrain|finetune|reinforce")],
    /,
    *,
    out: Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="")] = None,
    data: Paths = (),
    encoded: Annotated[Path | None, arg(metavar="STORE", help_behavior_hint="")] = None,
    recipe: Annotated[str, arg(metavar="NAME")] = "nano",
    init: Annotated[str, arg(metavar="MODEL", help_behavior_hint="(default: the recipe's own)")] = "",
    held_out: Paths = (),
    set_: Annotated[tuple[str, ...], arg(name="set", metavar="KEY=VALUE ...", help_behavior_hint="")] = (),
    resume: Annotated[bool, arg(help_behavior_hint="")] = False,
    dry_run: Annotated[bool, arg(help_behavior_hint="")] = False,
) -> None:
    """Run one stage of training; the model is in RUN/final.

    Args:
        stage: base (RGB alone), pretrain (heads, pseudo-labels), finetune (adapter and heads, the simulator's
            truth), reinforce (4D Chamfer reward).
        out: folder of the run.
        data: data sets; for pretrain also videos.
        encoded: what `phys4d encode` made of the data, so that neither VAE nor text encoder is needed.
        recipe: settings to start from (nano, debug, wan, cogvideox, opensora).
        init: model to start from: a name or a folder.
        held_out: data sets that are only validated on; otherwise some scenes of --data are kept apart.
        set_: change settings, e.g. --set steps=100 lr=1e-4.
        resume: go on from the last checkpoint; exits at once where the run is finished. A run at a constant rate
            may be given more steps.
        dry_run: build everything and take the loss of one batch, without training; without --data, tell what a
            step of a large model costs, and read no weights.
    """
    from phys4d.recipes import recipes
    from phys4d.training.config import override
    from phys4d.training.run import STAGES
    from phys4d.training.run import train as run_training

    if stage not in STAGES:
        raise InputError(unknown_name("stage", stage, STAGES))
    chosen = recipes[recipe]()
    config = override(chosen.settings(stage), set_)
    if dry_run and not data:
        for devices in (1, 8):
            print("\n".join(chosen.estimate(stage, config, init or None, devices).lines(devices)))
        return
    if not data or out is None:
        unsaid = "--out RUN" if data else "--data PATH ..."
        raise InputError(f"missing: {unsaid}\n`phys4d train --help` shows what there is.")
    # Where it trains, and in which shards, is for the stage to say.
    model = _introduced(chosen.model(stage, init or None))
    if encoded is not None:
        model.backbone.use_encodings(encoded)
    run_training(
        stage,
        config,
        model,
        data,
        out,
        held_out=held_out,
        resume=resume,
        dry_run=dry_run,
    )


@command
def encode(
    *,
    model: Model,
    data: Paths,
    out: Annotated[Path, arg(metavar="STORE")],
) -> None:
    """Store what a model's VAE and text encoder say of data, so that training needs neither.

    An unfinished store is continued.

    Args:
        model: a folder of a diffusers pipeline or of a model on one, or its name on the hub.
        data: data sets.
        out: folder of the store, for `train --encoded`.
    """
    from phys4d.model import WorldModel
    from phys4d.training.encode import encode_data

    count = encode_data(_ready(WorldModel.from_pretrained(model)), data, out)
    print(f"{out}: {count} clips")


@command
def generate(
    *,
    image: Annotated[tuple[Path, ...], arg(metavar="FILE ...")],
    out: Annotated[Path, arg(metavar="WORLD")],
    model: Model = "nano",
    prompt: Annotated[str, arg(metavar="TEXT", help_behavior_hint="")] = "",
    seed: Count = 0,
    frames: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: one window)")] = None,
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the backbone's own)")] = None,
) -> None:
    """Make a 4D world that begins with a picture.

    Args:
        image: the first frame; several: the first frames in order, from which velocities can be seen.
        out: world folder to write.
        model: a name (nano, nano-base) or the folder of a model.
        prompt: what happens, in words.
        seed: the same seed gives the same world.
        frames: longer worlds are made window by window.
        steps: of the sampler.
    """
    import numpy as np

    from phys4d.model import WorldModel
    from phys4d.pictures import read_frames

    maker = _ready(WorldModel.from_pretrained(model))
    context = np.concatenate([read_frames(path, maker.backbone.size) for path in image])
    world = maker.generate(context, prompt, seed=seed, frames=frames, steps=steps)
    world.meta["source"] = image[0].name
    print(f"{world.save(out)}: {world}")


@command
def lift(
    video: Annotated[tyro.conf.Positional[Path], arg(metavar="VIDEO")],
    /,
    *,
    out: Annotated[Path, arg(metavar="WORLD")],
    model: Model = "nano",
    prompt: Annotated[str, arg(metavar="TEXT", help_behavior_hint="")] = "",
) -> None:
    """Make a 4D world of an RGB video: depth, motion and cameras.

    Args:
        video: a video file; it is cropped and resampled to the model's size and frame rate.
        out: world folder to write.
        model: a name (nano) or the folder of a model with heads.
        prompt: what is to be seen, in words.
    """
    from phys4d.model import WorldModel

    world = _ready(WorldModel.from_pretrained(model)).lift(video, prompt=prompt)
    print(f"{world.save(out)}: {world}")


def _ready(model: WorldModel) -> WorldModel:
    """A large model says what it is, and goes where it can work."""
    from phys4d.training.ranks import own_device

    return model if model.backbone.window is None else _introduced(model).to(own_device())


def _introduced(model: WorldModel) -> WorldModel:
    """A large model says what it is."""
    if model.backbone.window is not None:
        print(f"model: {model.describe()}", flush=True)
    return model

"""Commands that make data sets.

Heavy modules are imported inside the commands, so that --help and typing errors answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from phys4d.cli.app import Count, Size, arg, command
from phys4d.errors import InputError, WorkError


@command
def simulate(
    *,
    out: Annotated[Path, arg(metavar="DATA")],
    scene: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")] = (),
    category: Annotated[str, arg(metavar="NAME", help_behavior_hint="")] = "",
    all_scenes: Annotated[bool, arg(name="all", help_behavior_hint="")] = False,
    clips: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: one of each name)")] = None,
    seed: Count = 0,
    size: Size = (64, 64),
    frames: Count = 17,
    fps: Annotated[float, arg(metavar="RATE")] = 12.0,
    views: Count = 1,
    perturb: Count = 0,
    camera: Annotated[
        str, arg(metavar="static|orbit|dolly|handheld|free", help_behavior_hint="(default: drawn by the seed)")
    ] = "",
    workers: Count = 1,
    shard_size: Count = 64,
    ray: Annotated[bool, arg(help_behavior_hint="")] = False,
    device: Annotated[str, arg(metavar="cpu|cuda:0")] = "cpu",
) -> None:
    """Simulate worlds with exact labels into a data set.

    Say which scenes by --scene, --category or --all. The same command again continues an unfinished data set and
    returns at once on a finished one.

    Args:
        out: folder of the data set.
        scene: scenes by name (`phys4d info` lists them).
        category: every scene of a category, e.g. rigid.
        all_scenes: every scene there is.
        clips: scenes to simulate in all, dealt in turn over the chosen names.
        seed: seed of the first clip of each name; its next ones count up from there.
        size: height and width [px].
        frames: frames in a clip.
        fps: frames per second.
        views: cameras that film each scene; each gives a world.
        perturb: repetitions beside each clip with its parameters perturbed within measurement error.
        camera: how cameras move.
        workers: processes. The data do not depend on their number.
        shard_size: worlds in one .tar shard.
        ray: make the shards as Ray tasks on the cluster that RAY_ADDRESS names, or on this machine; all its
            machines must share the disk of --out (extra: ray).
        device: where rays are cast.
    """
    from phys4d.sim.catalog import names_of
    from phys4d.sim.dataset import simulate_dataset

    if bool(scene) + bool(category) + all_scenes > 1:
        raise InputError("--scene, --category and --all exclude each other; keep one of them")
    names = list(dict.fromkeys(names_of(scene, category or None, everything=all_scenes)))
    summary = simulate_dataset(
        out, names, clips=len(names) if clips is None else clips, seed=seed, size=size, frames=frames, fps=fps,
        views=views, perturb=perturb, camera=camera or None,
        device={"cpu": None, "cuda": "cuda:0"}.get(device, device), workers=workers, shard_size=shard_size,
        ray=ray,
    )  # fmt: skip
    print(summary)


@command
def label(
    videos: Annotated[tyro.conf.Positional[tuple[Path, ...]], arg(metavar="VIDEOS")],
    /,
    *,
    out: Annotated[Path, arg(metavar="DATA")],
    depth: Annotated[str, arg(metavar="TEACHER")] = "embedded",
    flow: Annotated[str, arg(metavar="TEACHER")] = "dis",
    size: Annotated[
        tuple[int, int] | None, arg(metavar="H W", help_behavior_hint="(default: the videos' own)")
    ] = None,
    fps: Annotated[float | None, arg(metavar="RATE", help_behavior_hint="(default: the videos' own)")] = None,
    frames: Count = 17,
    keep: Annotated[tuple[str, ...], arg(metavar="GATE ...", help_behavior_hint="(default: none)")] = (),
    samples: Count = 12,
    workers: Count = 1,
) -> None:
    """Let teachers label videos with depth and motion, for `train pretrain`.

    Videos are cut into shots, and shots into clips; clips that would teach little are left out by gates: static,
    fast, flicker, bars (a letter box), unsure (forward and backward flow disagree). DATA/survey.json says why, and
    DATA/samples/index.html shows some that were kept. A video that cannot be read is skipped and named; the exit
    code is then 1. Of a data set only its RGB is read. The same command again continues an unfinished data set.

    Args:
        videos: video files, folders of them, data sets or .tar shards. A caption is taken from a .txt beside a
            video.
        out: folder of the labelled data set.
        depth: teacher of depth (`phys4d info` lists them), or hf:FOLDER, a depth model of transformers.
        flow: teacher of motion.
        size: height and width [px]; cropped about the centre, then resampled.
        fps: frames per second that videos are resampled to.
        frames: frames of a clip; what is left at the end of a shot is counted and left out.
        keep: gates that let everything pass; `all` opens all of them and looks for no cuts.
        samples: clips on the page of samples; 0 for no page.
        workers: processes.
    """
    from phys4d.data.writer import plural
    from phys4d.teachers.labelling import label_videos
    from phys4d.teachers.survey import Gates

    if not videos:
        raise InputError("label wants videos: files, folders of them, data sets or .tar shards")
    gates = None if keep == ("all",) else Gates().opened(keep)
    summary = label_videos(
        videos, out, depth=depth, flow=flow, size=size, fps=fps, frames=frames, gates=gates, workers=workers
    )
    print(summary)
    if samples:
        print(_sample_page(out, samples))
    if summary.problems:
        raise WorkError(
            f"{plural(len(summary.problems), 'video')} skipped, as said above; the others are labelled"
        )


def _sample_page(data: Path, count: int) -> Path:
    """Some clips of a data set, evenly from the whole, as a page to look at."""
    from phys4d.data import open_dataset
    from phys4d.data.opening import evenly
    from phys4d.viewers.gallery import write_gallery

    worlds = open_dataset(data)
    labels = worlds[0].meta["labels"]
    about = (
        f"Depth was estimated by the teacher {labels['depth']['teacher']}, motion by {labels['flow']['teacher']}."
    )
    return write_gallery((worlds[i] for i in evenly(len(worlds), count)), data / "samples", about=about)

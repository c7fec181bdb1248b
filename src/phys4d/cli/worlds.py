"""Commands that show, convert and check what there is, and the demo.

Heavy modules are imported inside the commands, so that --help and typing errors answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from phys4d.cli.app import Count, Intrinsics, WorldPath, arg, command


@command
def view(
    world: WorldPath,
    /,
    *,
    index: Count = 0,
    intrinsics: Intrinsics = None,
    port: Annotated[int, arg(metavar="N", help_behavior_hint="(default: any free one)")] = 0,
    no_open_browser: Annotated[bool, arg(help_behavior_hint="")] = False,
) -> None:
    """Look at a world in the browser: points over time, tracks, cameras and pictures.

    Serves on 127.0.0.1 only, until Ctrl-C.

    Args:
        world: a world folder, data set, .tar shard, video, picture, or folder of RGB-D frames.
        index: which world of a data set or shard, counted from 0; -1 is the last.
        intrinsics: focal lengths and principal point of an RGB-D recording [px].
        port: port to serve on.
        no_open_browser: only print the address.
    """
    from phys4d.data.opening import open_world
    from phys4d.viewers import serve, world_page

    page = world_page(open_world(world, index=index, intrinsics=intrinsics))
    serve(page, port=port, open_browser=not no_open_browser)


@command
def export(
    world: WorldPath,
    /,
    *,
    to: Annotated[str, arg(metavar="html|rrd|glb|ply|npz|world")],
    out: Annotated[Path, arg(metavar="FILE")],
    index: Count = 0,
    intrinsics: Intrinsics = None,
) -> None:
    """Write a world in another form.

    Args:
        world: a world folder, data set, .tar shard, video, picture, or folder of RGB-D frames.
        to: html: a page that shows it. rrd: a Rerun recording. glb: an animation. ply: a folder with a point cloud
            for every frame. npz: all arrays. world: a world folder.
        out: file to write; a folder for ply and world. An earlier export there is replaced.
        index: which world of a data set or shard, counted from 0; -1 is the last.
        intrinsics: focal lengths and principal point of an RGB-D recording [px].
    """
    from phys4d.data.opening import open_world
    from phys4d.viewers import export as write
    from phys4d.viewers.export import check_target

    check_target(to, out, source=world)
    write(open_world(world, index=index, intrinsics=intrinsics), to, out)
    print(out)


@command
def verify(path: Annotated[tyro.conf.Positional[Path], arg(metavar="PATH")], /) -> int:
    """Check a world, shard, data set, model, checkpoint, run or report: all of it is read and held against itself.

    Exit code 0: whole; 1: damaged, with a list of what is wrong and where.

    Args:
        path: a world folder, data set, .tar shard, model folder, training run, checkpoint or report.
    """
    import phys4d.cli.checks  # noqa: F401  (makes models, runs and reports known)
    from phys4d.data.verify import verify as check

    report = check(path)
    print(report)
    return 0 if report.ok else 1


@command
def info() -> None:
    """Show versions, devices, models, teachers and scenes, and what is optional and missing."""
    from phys4d.about import about

    print(about())


@command
def demo(
    *,
    out: Annotated[Path, arg(metavar="DIR")] = Path("demo"),
    workers: Count = 2,
    seed: Count = 0,
    video: Annotated[
        Path | None, arg(metavar="FILE", help_behavior_hint="(default: a held-out scene stored as mp4)")
    ] = None,
    scene: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: all)")] = (),
    clips: Count = 2,
) -> None:
    """Tell the whole story on the embedded model: simulate, train a little, generate, lift, judge, look.

    Args:
        out: folder of the pages.
        workers: processes that simulate.
        seed: of the scenes.
        video: a film to lift.
        scene: scenes by name.
        clips: held-out worlds of each scene.
    """
    from phys4d.demo import run

    page = run(out, workers=workers, seed=seed, video=video, scenes=scene, clips=clips)
    print(f"open {page.resolve().as_uri()}")

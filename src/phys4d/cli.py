"""phys4d: physics-consistent 4D worlds from video diffusion models.

Exit codes: 0 done, 1 the work failed, 2 bad input. With --debug, errors come with their traceback.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.extras import SubcommandApp

from phys4d.errors import InputError, Phys4DError

# Heavy modules are imported inside the commands, so that --help and typing errors answer at once.

app = SubcommandApp()
Positional = tyro.conf.Positional


def command(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """File a function as a command. Parsing returns it with its arguments, to be called once they are right."""

    @functools.wraps(function)
    def later(*arguments: Any, **options: Any) -> Callable[[], int | None]:
        return functools.partial(function, *arguments, **options)

    app.command(later)
    return function


@command
def simulate(
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="DATA")],
    scene: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = (),
    category: str | None = None,
    all_scenes: Annotated[bool, tyro.conf.arg(name="all")] = False,
    clips: int = 1,
    seed: int = 0,
    size: Annotated[tuple[int, int], tyro.conf.arg(metavar="H W")] = (64, 64),
    frames: int = 17,
    fps: float = 12.0,
    views: int = 1,
    perturb: int = 0,
    camera: Literal["static", "orbit", "dolly"] | None = None,
    workers: int = 1,
    shard_size: int = 64,
    device: str = "cpu",
) -> None:
    """Simulate worlds with exact labels into a data set. Continues an unfinished one of the same arguments.

    Args:
        out: folder of the data set.
        scene: scenes by name (`phys4d info` lists them).
        category: every scene of a category, e.g. rigid.
        all_scenes: every scene there is.
        clips: scenes to simulate in all, dealt in turn over the chosen names.
        seed: first seed; scene number i has seed + i // number of names.
        size: height and width [px].
        frames: frames in a clip.
        fps: frames per second.
        views: cameras that film each scene; each gives a world.
        perturb: repetitions of each scene with its parameters perturbed within measurement error.
        camera: how cameras move; default, drawn for every clip.
        workers: processes. The data do not depend on their number.
        shard_size: worlds in one .tar shard.
        device: where rays are cast: cpu, or cuda:0.
    """
    from phys4d.sim.catalog import names_of
    from phys4d.sim.dataset import simulate_dataset

    names = names_of(scene, category, everything=all_scenes)
    device_name = None if device == "cpu" else device
    summary = simulate_dataset(
        out, names, clips=clips, seed=seed, size=size, frames=frames, fps=fps, views=views, perturb=perturb,
        camera=camera, device=device_name, workers=workers, shard_size=shard_size,
    )  # fmt: skip
    made = f"{summary.made} made now" if summary.made else "all of them were there already"
    print(
        f"{summary.path}: {summary.worlds} worlds in {summary.shards} shards, {summary.size / 1e6:.1f} MB; {made}"
    )


@command
def view(
    world: Annotated[Positional[Path], tyro.conf.arg(metavar="WORLD")],
    /,
    *,
    index: int = 0,
    intrinsics: Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="FX FY CX CY")] = None,
    port: int = 0,
    open_browser: bool = True,
) -> None:
    """Look at a world in the browser: points over time, tracks, cameras and pictures. Serves on 127.0.0.1 only.

    Args:
        world: a world folder, a data set or shard, a video file, or a folder with an RGB-D recording.
        index: which world of a data set.
        intrinsics: focal lengths and principal point of an RGB-D recording [px].
        port: 0 takes any free one.
        open_browser: also open the page.
    """
    from phys4d.data.opening import open_world
    from phys4d.viewers import serve, world_page

    serve(world_page(open_world(world, index=index, intrinsics=intrinsics)), port=port, open_browser=open_browser)


@command
def export(
    world: Annotated[Positional[Path], tyro.conf.arg(metavar="WORLD")],
    /,
    *,
    to: Annotated[str, tyro.conf.arg(metavar="html|rrd|glb|ply|npz|world")],
    out: Path,
    index: int = 0,
    intrinsics: Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="FX FY CX CY")] = None,
) -> None:
    """Write a world in another form.

    Args:
        world: a world folder, a data set or shard, a video file, or a folder with an RGB-D recording.
        to: html: a page that shows it; rrd: a Rerun recording; glb: an animation; ply: a folder with a point cloud
            for every frame; npz: all arrays; world: a world folder.
        out: file to write; a folder for ply and world.
        index: which world of a data set.
        intrinsics: focal lengths and principal point of an RGB-D recording [px].
    """
    from phys4d.data.opening import open_world
    from phys4d.viewers import export as write

    write(open_world(world, index=index, intrinsics=intrinsics), to, out)
    print(out)


@command
def verify(path: Annotated[Positional[Path], tyro.conf.arg(metavar="PATH")], /) -> int:
    """Check a world, a shard or a data set: everything is decoded, and held against everything else.

    Args:
        path: what to check.
    """
    from phys4d.data.verify import verify as check

    report = check(path)
    print(report)
    return 0 if report.ok else 1


@command
def info() -> None:
    """Show versions, devices and scenes, and what is optional and missing."""
    from phys4d.about import about

    print(about())


@command
def demo(*, out: Path = Path("demo"), workers: int = 2, size: tuple[int, int] = (128, 128), seed: int = 0) -> None:
    """Simulate, store, verify and show a gallery of worlds: opens as a file.

    Args:
        out: folder of the gallery.
        workers: processes.
        size: height and width of the pictures [px].
        seed: of every scene.
    """
    from phys4d.demo import run

    page = run(out, workers=workers, size=size, seed=seed)
    print(f"open {page.resolve().as_uri()}")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        return _parse([argument for argument in arguments if argument != "--debug"])() or 0
    except KeyboardInterrupt:
        print("phys4d: interrupted; what was finished stays, the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except (Phys4DError, OSError, MemoryError) as error:
        if debug:
            raise
        print(f"phys4d: {error or type(error).__name__}", file=sys.stderr)
        return error.exit_code if isinstance(error, Phys4DError) else 1
    except Exception as error:
        if debug:
            raise
        print(f"phys4d: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of phys4d; --debug shows where.", file=sys.stderr)
        return 1


def _parse(arguments: list[str]) -> Callable[[], int | None]:
    """The command and its arguments, ready to be called. Raises InputError in one or two lines for wrong ones."""
    words = io.StringIO()
    try:
        with contextlib.redirect_stderr(words):
            return app.cli(
                prog="phys4d",
                description=__doc__,
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        # What tyro says in a box with a title, a message and more, said in a line.
        inside = [line.strip("│ ") for line in words.getvalue().splitlines() if line.startswith("│")]
        message = " ".join(inside[: next((k for k, line in enumerate(inside) if line.startswith("──")), None)])
        known = " ".join([name for name in arguments[:1] if re.fullmatch(r"[a-z]+", name)])
        helping = f"phys4d {known} --help" if known in app._subcommands else "phys4d --help"
        raise InputError(
            f"{message or 'the command line is not understood'}\n`{helping}` shows what there is."
        ) from None


def entry() -> None:
    """The console script."""
    sys.exit(main())


__all__ = ["app", "entry", "main"]

"""phys4d: physics-consistent 4D worlds from video diffusion models.

Exit codes: 0 done, 1 the work failed, 2 bad input. With --debug, errors come with their traceback.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.extras import SubcommandApp

from phys4d.errors import InputError, Phys4DError, Phys4DWarning, unknown_name
from phys4d.usage import usage_problem

# Heavy modules are imported inside the commands, so that --help and typing errors answer at once.

app = SubcommandApp()
arg = tyro.conf.arg
Command = Callable[..., int | None]
COMMANDS: dict[str, Command] = {}

Count = Annotated[int, arg(metavar="N")]
Size = Annotated[tuple[int, int], arg(metavar="H W")]
WorldPath = Annotated[tyro.conf.Positional[Path], arg(metavar="WORLD")]
Intrinsics = Annotated[
    tuple[float, float, float, float] | None,
    arg(metavar="FX FY CX CY", help_behavior_hint="(default: those in the folder's intrinsics.txt)"),
]


def command(function: Command) -> Command:
    """File a function as a command. Parsing returns it with its arguments, to be called once they are right."""

    @functools.wraps(function)
    def later(*arguments: Any, **options: Any) -> Callable[[], int | None]:
        return functools.partial(function, *arguments, **options)

    app.command(later)
    COMMANDS[function.__name__] = function
    return function


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
        str, arg(metavar="static|orbit|dolly", help_behavior_hint="(default: drawn by the seed)")
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
    """Check a world, a shard or a data set: everything is decoded, and held against everything else.

    Exit code 0: whole; 1: damaged, with a list of what is wrong and where.

    Args:
        path: a world folder, a data set or a .tar shard.
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
def demo(
    *,
    out: Annotated[Path, arg(metavar="DIR")] = Path("demo"),
    workers: Count = 2,
    size: Size = (128, 128),
    seed: Count = 0,
) -> None:
    """Simulate a world of every scene, store them, verify them, and make a gallery page of them.

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
        with warnings.catch_warnings():
            warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
            return _parse([argument for argument in arguments if argument != "--debug"])() or 0
    except KeyboardInterrupt:
        print("\nphys4d: interrupted; what was finished stays, the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except (Phys4DError, OSError, MemoryError) as error:
        if debug:
            raise
        message, code = _explain(error)
        print(f"phys4d: {message}", file=sys.stderr)
        return code
    except Exception as error:
        if debug:
            raise
        print(f"phys4d: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of phys4d; --debug shows where.", file=sys.stderr)
        return 1


def _explain(error: Phys4DError | OSError | MemoryError) -> tuple[str, int]:
    """Message and exit code."""
    if isinstance(error, Phys4DError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "memory ran out; ask for fewer frames, a smaller size or fewer --workers", 1
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; free some space and run the same command again", 1
    users = (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
    return f"{where}{error.strerror or error}", 2 if isinstance(error, users) else 1


def _show_warning(
    others: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any
) -> None:
    if issubclass(category, Phys4DWarning):
        print(f"phys4d: warning: {message}", file=sys.stderr)
    else:
        others(message, category, *rest)


def _parse(arguments: list[str]) -> Callable[[], int | None]:
    """The command and its arguments, ready to be called. Raises InputError in one or two lines for wrong ones."""
    if not arguments:
        raise InputError(f"say what to do: phys4d {'|'.join(COMMANDS)}\n`phys4d --help` shows more.")
    if arguments == ["--version"]:
        return _print_version
    name = arguments[0]
    if name.startswith("-") and name not in ("-h", "--help"):
        raise InputError(f"{name} comes before the command; say phys4d {'|'.join(COMMANDS)} first")
    if name not in ("-h", "--help", *COMMANDS):
        raise InputError(unknown_name("command", name, COMMANDS))
    helping = f"`phys4d {name} --help`" if name in COMMANDS else "`phys4d --help`"
    if name in COMMANDS and not {"-h", "--help"} & set(arguments):
        problem = usage_problem(COMMANDS[name], arguments[1:])
        if problem:
            raise InputError(f"{problem}\n{helping} shows what there is.")
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
        message = message or "the command line is not understood"
        raise InputError(f"{message}\n{helping} shows what there is.") from None


def _print_version() -> None:
    import importlib.metadata

    print(f"phys4d {importlib.metadata.version('phys4d')}")


def entry() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a name shows its code instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())


__all__ = ["app", "entry", "main"]

"""Warp, set up once: quiet, and on the device that was asked for."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import warp as wp

from phys4d.errors import InputError, unknown_name


def _start_quietly() -> None:
    """Start Warp without its banner, and without the native library's warning that a laptop has no CUDA driver."""
    wp.config.log_level = wp.LOG_ERROR
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  a descriptor is needed, not a path
            os.dup2(nowhere.fileno(), 2)
            wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


_start_quietly()


def warp_device(name: str | None = None) -> str:
    """The Warp device of that name ("cpu", "cuda:0"); default: the CPU, which every machine has.

    Raises InputError for a device that is not there.
    """
    known = [device.alias for device in wp.get_devices()]
    chosen = {None: "cpu", "cuda": "cuda:0"}.get(name, name)
    if chosen not in known:
        raise InputError(unknown_name("device", str(chosen), known))
    return str(chosen)


@functools.cache
def _announce(what: str, seconds: int) -> None:
    """Say once why the first run takes a while."""
    print(f"phys4d: compiling {what}, once on this machine (about {seconds} s) ...", file=sys.stderr, flush=True)


def load_module(module: str, device: str | None = None, what: str = "the ray caster", seconds: int = 20) -> None:
    """Load the kernels of a Python module, saying so, and how long it takes, where they must be compiled first."""
    target = warp_device(device)
    kernels = wp.get_module(module)
    # Compiled code is filed by the number of threads in a block, which is 1 on the CPU and by default 256 on CUDA.
    block = 1 if target == "cpu" else 256
    cached = Path(wp.config.kernel_cache_dir or "") / kernels.get_module_identifier(block)
    if not cached.is_dir():
        _announce(what, seconds)
    wp.load_module(kernels, device=target, block_dim=block)


__all__ = ["load_module", "warp_device", "wp"]

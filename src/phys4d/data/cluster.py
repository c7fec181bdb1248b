"""Shards made by many machines: Ray tasks, one a shard, on a disk that all of them share.

Ray is an extra (`pip install 'phys4d[ray]'`). Where a cluster is running and RAY_ADDRESS names it, the tasks go
there; otherwise Ray starts on this machine alone, reachable on the loopback address only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from phys4d.errors import InputError, WorkError

HEALTH_CHECK = {"health_check_timeout_ms": 60_000, "health_check_failure_threshold": 10}
"""On a busy machine Ray's own checks run late, and Ray ends a driver at once whose node it takes for dead."""

MakeShard = Callable[[Path, Any], list[dict[str, Any]]]
"""(path of the shard, its items) -> its rows of the index."""


def shards_by_ray(
    make_shard: MakeShard, todo: Mapping[Path, Sequence[Any]]
) -> Generator[tuple[Path, list[dict[str, Any]]]]:
    """Make shards as Ray tasks; yields (path, rows) as they are finished, in any order.

    Raises InputError without Ray, WorkError where a task fails or its machine is lost for good. What was finished
    stays, and closing the generator cancels what was not.
    """
    ray, started = connect()

    @ray.remote(num_cpus=1, max_retries=3)
    def task(path: Path, items: Any) -> list[dict[str, Any]]:
        return make_shard(path, items)

    waiting = {task.remote(path.resolve(), items): path for path, items in todo.items()}
    try:
        while waiting:
            (done, *_), _ = ray.wait(list(waiting), num_returns=1)
            try:
                rows = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise WorkError(str(error.cause)) from error
            except ray.exceptions.RayError as error:
                raise WorkError(
                    f"a Ray worker was lost ({type(error).__name__}); run the command again"
                ) from error
            yield waiting.pop(done), rows
    finally:
        # Cancelled gently and waited for, so that each task takes its unfinished file away.
        for reference in waiting:
            ray.cancel(reference)
        if waiting:
            ray.wait(list(waiting), num_returns=len(waiting), timeout=60)
        if started:
            ray.shutdown()


def connect() -> tuple[Any, bool]:
    """Ray, connected to the cluster of RAY_ADDRESS or started here, and whether this call did that.

    Raises InputError where Ray is not installed.
    """
    # Ray reports usage to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise InputError("Ray is not installed: pip install 'phys4d[ray]'") from error
    if ray.is_initialized():
        return ray, False
    alone: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        alone = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "_system_config": HEALTH_CHECK}
    ray.init(logging_level=logging.ERROR, log_to_driver=False, **alone)
    return ray, True

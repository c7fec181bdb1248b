"""Work in several processes whose results come in the order of the tasks, whoever finishes first."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import cv2
import torch

from phys4d.errors import WorkError

Task = TypeVar("Task")
Result = TypeVar("Result")

HAND_OVER = 5.0
"""How long a worker that is no longer wanted may take to hand over what it has made [s]."""


def in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    *,
    name: Callable[[Task], str] = str,
    ahead: int = 4,
    mend: str = "run the same command again, with fewer --workers if memory was short",
) -> Generator[Result]:
    """`function` of every task, in their order, in this process or in `workers` others.

    One thread works on each task, wherever it is, so that no number depends on the machine or on `workers`. Tasks
    are taken from their iterable as workers come free, at most `ahead` for each: memory does not grow with their
    number. `function` is importable by its name; tasks and results are picklable.

    Raises what `function` raises, and WorkError, which names the unfinished tasks and the mend, where a process
    dies.
    """
    if workers < 2:
        for task in tasks:
            with single_thread():
                result = function(task)
            yield result
        return
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (watched,))
    pending: deque[tuple[Task, Future[Result]]] = deque()
    rest = iter(tasks)
    try:
        with _single_threaded_children():
            while True:
                # Enough in flight to keep every worker busy behind a slow first one; no more, for memory's sake.
                for task in itertools.islice(rest, ahead * workers - len(pending)):
                    pending.append((task, pool.submit(_work_watched, function, task)))
                if not pending:
                    break
                yield pending[0][1].result()
                pending.popleft()
        pool.shutdown()
    except BrokenProcessPool as error:
        unfinished = [name(task) for task, future in pending if not future.done() or future.exception()]
        which = ", ".join(unfinished)
        raise WorkError(
            f"a worker process died (killed, or out of memory) while making one of {which};\n{mend}"
        ) from error
    finally:
        held.close()  # nobody waits for results that nobody wants any more
        pool.shutdown(cancel_futures=True)
        watched.close()


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Torch and OpenCV work in one thread meanwhile: how work is split shows in its result."""
    threads, others = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(others)


class Leash:
    """Ends a worker that nobody waits for: at once while it works, but never while it hands its result over.

    A message cut short would leave the parent waiting for its rest for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = self._let_go = False

    def work(self, function: Callable[[Any], Any], task: Any) -> Any:
        with self._lock:
            if self._let_go:
                os._exit(1)
            self._working = True
        try:
            return function(task)
        finally:
            with self._lock:
                self._working = False

    def let_go(self) -> None:
        with self._lock:
            self._let_go = True
            if self._working:
                os._exit(1)
        time.sleep(HAND_OVER)
        os._exit(1)


_leash = Leash()
"""Of this process, where it is a worker."""


def _work_watched(function: Callable[[Any], Any], task: Any) -> Any:
    return _leash.work(function, task)


def _start_worker(watched: Connection) -> None:
    """A worker has one thread, leaves Ctrl-C to its parent, and ends when that lets go or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            watched.recv_bytes()
        _leash.let_go()

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Libraries read these when they are loaded, before any code of ours runs in a child."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

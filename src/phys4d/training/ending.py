"""An end that loses nothing: a run that is asked to end (SIGTERM) saves first, and can be continued."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from phys4d.errors import WorkError


class EndedError(WorkError):
    """A run that was asked to end, and saved first."""


@contextlib.contextmanager
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """Tells whether SIGTERM has come meanwhile; schedulers send it some time before they kill.

    Only a main thread hears signals; elsewhere nothing ever comes.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)

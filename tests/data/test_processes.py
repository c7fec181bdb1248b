"""Results come in the order of their tasks, from few tasks at a time, and no worker outlives its work."""

import contextlib
import threading
import time

import pytest
import torch

from phys4d.data import processes
from phys4d.data.processes import in_order


def slow_if_even(task):
    time.sleep(0.2 * (task % 2 == 0))
    return task, torch.get_num_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_from_few_tasks_at_a_time(workers):
    taken = []

    def tasks():
        for task in range(9):
            taken.append(task)
            yield task

    results = in_order(slow_if_even, tasks(), workers, ahead=2)
    for expected in range(9):
        assert next(results) == (expected, 1)
        assert len(taken) <= expected + 1 + 2 * workers
    assert list(results) == []


def test_a_worker_is_not_ended_while_it_hands_over(monkeypatch):
    """Else the parent would wait for ever for the rest of a message."""
    ended = threading.Event()

    def end(code):
        ended.set()
        raise SystemExit(code)

    def let_go(leash):
        with contextlib.suppress(SystemExit):
            leash.let_go()

    monkeypatch.setattr(processes.os, "_exit", end)
    monkeypatch.setattr(processes, "HAND_OVER", 0.3)
    idle, busy = processes.Leash(), processes.Leash()
    thread = threading.Thread(target=let_go, args=(idle,))
    thread.start()
    assert not ended.wait(0.1), "what it made last may still be on its way"
    with pytest.raises(SystemExit):
        idle.work(str, 1)
    thread.join()
    ended.clear()

    def work(task):
        threading.Thread(target=let_go, args=(busy,)).start()
        assert ended.wait(0.2), "nobody wants its result"
        return task

    assert busy.work(work, 7) == 7

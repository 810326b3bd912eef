"""Work that copies of this process do while the caller goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from cl_ner_bench.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")

_MOST = 8  # processes; more would wait for the longest piece of work


def processes() -> int:
    """Return how many processes should work: one for each core, or 1 for this process alone.

    A process is copied as it is, which is quick, but unsafe while another thread of it may hold a lock.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return 1
    return min(_MOST, len(os.sched_getaffinity(0)))


@contextmanager
def forked(n: int, begin: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Yield ``n`` copies of this process; each first calls ``begin(*arguments)``, which are not pickled.

    At the end what was begun is waited for and the rest dropped. The copies ignore Ctrl-C: the caller ends them.
    """
    pool = ProcessPoolExecutor(n, multiprocessing.get_context("fork"), _begin, (begin, arguments))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def beside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Iterator[Callable[[], T]]:
    """Begin ``work(*args, **kwargs)`` in a copy of this process, and yield what waits for its result.

    On one core, or where a copy would be unsafe, the work is done when the result is asked for.
    """
    if processes() == 1:
        yield lambda: work(*args, **kwargs)
        return
    with forked(1) as pool:
        future = pool.submit(work, *args, **kwargs)
        yield lambda: result_of(future.result)


def result_of(wait: Callable[[], T]) -> T:
    """Return ``wait()``. Raises UserError where a copy ended too early."""
    try:
        return wait()
    except BrokenProcessPool:
        raise UserError("a process of this command was ended, as when memory is full: run the command again") from None


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if begin is not None:
        begin(*arguments)

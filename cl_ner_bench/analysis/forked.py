"""Work in copies (forks) of this process while the caller goes on."""

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

_MOST = 8  # processes; more would only wait for the longest piece of work


def processes() -> int:
    """Return the number of processes to use: one for each core, or 1 for no copies.

    Copying a process is quick, but unsafe while another of its threads may hold a lock.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return 1
    return min(_MOST, len(os.sched_getaffinity(0)))


@contextmanager
def forked(n: int, begin: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of ``n`` copies of this process. Each copy first calls ``begin(*arguments)``, without pickling.

    At the end the pool finishes the work that has begun and drops the rest. Copies ignore Ctrl-C; the caller ends them.
    """
    pool = ProcessPoolExecutor(n, multiprocessing.get_context("fork"), _begin, (begin, arguments))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def beside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Iterator[Callable[[], T]]:
    """Begin ``work(*args, **kwargs)`` in a copy of this process, and yield a function that waits for its result.

    With one core, or if a copy would be unsafe, the function does the work itself.
    """
    if processes() == 1:
        yield lambda: work(*args, **kwargs)
        return
    with forked(1) as pool:
        future = pool.submit(work, *args, **kwargs)
        yield lambda: result_of(future.result)


def result_of(wait: Callable[[], T]) -> T:
    """Return ``wait()``. Raises UserError if a copy ended too early."""
    try:
        return wait()
    except BrokenProcessPool:
        raise UserError("a process of this command was ended, as when memory is full: run the command again") from None


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if begin is not None:
        begin(*arguments)

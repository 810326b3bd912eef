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
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from cl_ner_bench.errors import UserError

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
def beside(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Begin ``work()`` in a copy of this process, and yield a function that waits for its result.

    At the end the copy is killed, finished or not. With one core, or if a copy would be unsafe, the function does the
    work itself.
    """
    if processes() == 1:
        yield work
        return
    fork = multiprocessing.get_context("fork")
    answers, sender = fork.Pipe(duplex=False)
    copy = fork.Process(target=_answer, args=(sender, work))
    copy.start()
    sender.close()  # only the copy holds this end now: if the copy dies, `recv` raises EOFError
    try:
        yield lambda: _answered(answers)
    finally:
        copy.kill()
        copy.join()


def result_of(wait: Callable[[], T]) -> T:
    """Return ``wait()``. Raises UserError if a copy ended too early."""
    try:
        return wait()
    except (BrokenProcessPool, EOFError):
        raise UserError("a process of this command was ended, as when memory is full: run the command again") from None


def _answer(sender: Connection, work: Callable[[], object]) -> None:
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a command in the background ignores Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        sender.send((work(), None))
    except Exception as error:
        sender.send((None, error))


def _answered(answers: Connection) -> Any:
    value, error = result_of(answers.recv)
    if error is not None:
        raise error
    return value


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if begin is not None:
        begin(*arguments)

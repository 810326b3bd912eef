"""What schedules runs on which machines: joblib's loky here, Dask, Ray or Slurm anywhere.

All of them do the same: they call ``running.unit.learn`` somewhere that sees the results folder.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol

from cl_ner_bench.running.unit import Unit, learn

BACKENDS = ("loky",)
IDLE = 5.0  # seconds until a process without work ends, be it because the driver was killed


class Pool(Protocol):
    """Where units are learned."""

    def size(self) -> int:
        """How many units it can learn at a time, now."""

    def submit(self, unit: Unit) -> Future[str]:
        """Have ``unit`` learned. A future that fails says that its worker was lost, not that the run failed."""

    def close(self) -> None:
        """Give up the workers; nothing is under way."""


class Loky:
    """Processes of this machine, by joblib. If one is lost, all are replaced."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._executor: Any = None

    def size(self) -> int:
        return self._jobs

    def submit(self, unit: Unit) -> Future[str]:
        from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

        def send() -> Future[str]:
            if self._executor is None:
                self._executor = ProcessPoolExecutor(self._jobs, timeout=IDLE, initializer=ignore_interrupts)
            future: Future[str] = self._executor.submit(learn, unit)
            return future

        try:
            return send()
        except BrokenProcessPool:
            self.close()
            return send()

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(kill_workers=True)
            self._executor = None


def ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal's group; only the driver shall answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def pool(backend: str, jobs: int) -> Iterator[Pool]:
    """The pool of ``--backend``, closed at the end."""
    places = _POOLS[backend](jobs)
    try:
        yield places
    finally:
        places.close()


_POOLS: dict[str, Callable[[int], Pool]] = {"loky": Loky}

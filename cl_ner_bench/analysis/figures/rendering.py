"""The files of a report's figures, drawn by several processes while the caller goes on."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

from cl_ner_bench.analysis.figures.figure import ReportFigure
from cl_ner_bench.analysis.tables.text import frame_to_csv
from cl_ner_bench.errors import UserError

Draw = Callable[[], list[ReportFigure]]

_MOST = 8  # processes; more would wait for the figure that takes longest
_task: tuple[Sequence[Draw], Collection[str]] = ((), ())  # of a process that draws


@dataclass(frozen=True)
class FigureFiles:
    """The files of a figure, and what the page needs of it.

    ``inches``: width and height; ``images`` by suffix; ``numbers``: the ``.csv``; ``text``: the ``.txt``.
    """

    name: str
    kind: str
    caption: str
    notes: tuple[str, ...]
    inches: tuple[float, float]
    images: Mapping[str, bytes]
    numbers: bytes
    text: str

    @classmethod
    def of(cls, drawn: ReportFigure, suffixes: Collection[str]) -> FigureFiles:
        """Return the files of a figure, the image in each of the formats ``suffixes``."""
        width, height = drawn.figure.get_size_inches()
        images = {suffix: drawn.to_bytes(suffix) for suffix in suffixes}
        numbers = frame_to_csv(drawn.frame).encode()
        return cls(drawn.name, drawn.kind, drawn.caption, drawn.notes, (width, height), images, numbers, drawn.text)


def processes() -> int:
    """Return how many processes should draw: one for each core, or 1 for this process alone.

    A process is copied as it is, which is quick, but unsafe while another thread of it may hold a lock.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return 1
    return min(_MOST, len(os.sched_getaffinity(0)))


@contextmanager
def rendering(draws: Sequence[Draw], suffixes: Collection[str], n: int) -> Iterator[Callable[[], list[FigureFiles]]]:
    """Draw figures in ``n`` processes while the caller goes on; yield what waits for them and returns them in order.

    With ``n`` = 1 they are drawn when they are asked for. Raises UserError where a process ended too early.
    """
    if n == 1:
        yield lambda: [FigureFiles.of(drawn, suffixes) for draw in draws for drawn in draw()]
        return
    pool = ProcessPoolExecutor(n, multiprocessing.get_context("fork"), _begin, (draws, suffixes))
    # The last ones take longest: begun first, they leave no process waiting for the other.
    futures = [pool.submit(_draw, place) for place in reversed(range(len(draws)))][::-1]

    def wait() -> list[FigureFiles]:
        try:
            return [found for future in futures for found in future.result()]
        except BrokenProcessPool:
            raise UserError(
                "a process that draws figures was ended, as when memory is full: `bench report` again"
            ) from None

    try:
        yield wait
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(draws: Sequence[Draw], suffixes: Collection[str]) -> None:
    global _task
    _task = draws, suffixes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits ends them
    gc.disable()  # a figure's parts refer to each other: most garbage comes at once, when the figure is done
    gc.freeze()


def _draw(place: int) -> list[FigureFiles]:
    draws, suffixes = _task
    found = [FigureFiles.of(drawn, suffixes) for drawn in draws[place]()]
    gc.collect()
    return found

"""The files of a report's figures, drawn by several processes while the caller goes on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cl_ner_bench.analysis.figures.figure import ReportFigure
from cl_ner_bench.analysis.forked import forked, result_of
from cl_ner_bench.analysis.tables.text import frame_to_csv

Draw = Callable[[], list[ReportFigure]]

_task: tuple[Sequence[Draw], Collection[str]] = ((), ())  # set in each drawing process


@dataclass(frozen=True)
class FigureFiles:
    """The files of a figure, and its properties on the page.

    ``inches``: width and height. ``images``: by suffix. ``numbers``: the ``.csv``. ``text``: the ``.txt``.
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
        """Return the files of a figure, with an image in each format of ``suffixes``."""
        width, height = drawn.figure.get_size_inches()
        images = {suffix: drawn.to_bytes(suffix) for suffix in suffixes}
        numbers = frame_to_csv(drawn.frame).encode()
        return cls(drawn.name, drawn.kind, drawn.caption, drawn.notes, (width, height), images, numbers, drawn.text)


@contextmanager
def rendering(draws: Sequence[Draw], suffixes: Collection[str], n: int) -> Iterator[Callable[[], list[FigureFiles]]]:
    """Draw figures in ``n`` processes while the caller goes on; yield a function that waits and returns their files.

    With ``n`` = 1 the function draws them. It raises UserError if a process ended too early.
    """
    if n == 1:
        yield lambda: [FigureFiles.of(drawn, suffixes) for draw in draws for drawn in draw()]
        return
    with forked(n, _begin, draws, suffixes) as pool:
        # The last drawings take longest. Begun first, they keep no process waiting at the end.
        futures = [pool.submit(_draw, place) for place in reversed(range(len(draws)))][::-1]
        yield lambda: result_of(lambda: [found for future in futures for found in future.result()])


def _begin(draws: Sequence[Draw], suffixes: Collection[str]) -> None:
    global _task
    _task = draws, suffixes
    gc.disable()  # a figure's parts refer to each other, so most garbage appears when the figure is done
    gc.freeze()


def _draw(place: int) -> list[FigureFiles]:
    draws, suffixes = _task
    found = [FigureFiles.of(drawn, suffixes) for drawn in draws[place]()]
    gc.collect()
    return found

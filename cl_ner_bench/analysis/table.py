"""Tables as values, and the printed names that tables and figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

VIEW_TITLES = {"all": "all test sentences", "filter": "test sentences that hold a learned type"}


@dataclass(frozen=True)
class Cell:
    """Mean and standard deviation (ddof 1; nan with one) over trained models, 0..100; nan is printed as a dash.

    ``bold``: the best of its group. ``tied``: not significantly worse than the best.
    """

    mean: float
    std: float
    bold: bool = False
    tied: bool = False


def columns_of(cells: Mapping[str, Cell]) -> dict[str, float]:
    """Return the numbers of cells as columns of a CSV file: ``NAME_mean`` and ``NAME_std``."""
    return {f"{name}_{part}": getattr(cell, part) for name, cell in cells.items() for part in ("mean", "std")}


Line = tuple[str | Cell, ...]
Section = tuple[str, tuple[Line, ...]]


@dataclass(frozen=True)
class Table:
    """A table. ``sections`` are titled groups of rows; each row has as many entries as ``header``.

    ``frame`` holds the unrounded numbers of the CSV file.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    frame: pd.DataFrame

    @classmethod
    def of(
        cls,
        name: str,
        caption: str,
        header: tuple[str, ...],
        sections: Iterable[Section],
        notes: Iterable[str],
        data: Iterable[Mapping[str, object]],
    ) -> Table:
        """Return a table with the CSV lines ``data`` and the notes as the last column."""
        notes = tuple(notes)
        return cls(name, caption, header, tuple(sections), notes, noted(pd.DataFrame(list(data)), notes))


def noted(frame: pd.DataFrame, notes: Sequence[str]) -> pd.DataFrame:
    """Return the numbers of a CSV file with the notes as the last column.

    The first row has their text. In every row it would be most of the file: a comparison of many methods has
    kilobytes of notes, and thousands of rows.
    """
    first = "; ".join(notes)
    others = first and "as in the first row"
    return frame.assign(notes=[others if row else first for row in range(len(frame))])

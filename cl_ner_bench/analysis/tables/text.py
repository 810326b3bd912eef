"""Tables as CSV and Markdown, and cells as plain text. ``latex`` has tables as LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cl_ner_bench.analysis.scores.names import MAIN
from cl_ner_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from cl_ner_bench.analysis.table import Cell, Table

DASH = "–"
TIED = "†"  # not significantly worse than the best of its group


@dataclass(frozen=True)
class TableLayout:
    """The layout of tables in LaTeX and Markdown.

    ``columns``: the width in columns of a two-column paper, 1 (``table``) or 2 (``table*``). ``form``: ``wide``, or
    ``long`` with one number per row. ``captions``: captions by the beginning of the table's name (``main``,
    ``steps-all``, a whole name; the longest key wins). ``label_prefix`` stands before a table's name in its
    ``\\label``. ``decimals``: decimals of printed numbers. ``measures``: the columns of the main tables.
    """

    columns: int = 2
    form: str = "wide"
    captions: Mapping[str, str] = field(default_factory=dict)
    label_prefix: str = "tab:"
    decimals: int = 1
    measures: Sequence[str] = MAIN

    def caption(self, table: Table) -> str:
        """Return the user's caption of a table, else the table's own."""
        keys = [key for key in self.captions if _begins(table.name, key)]
        return self.captions[max(keys, key=len)] if keys else table.caption

    def check_captions(self, tables: Iterable[Table]) -> None:
        """Raise UserError for a caption that belongs to none of the tables."""
        names = [table.name for table in tables]
        for key in self.captions:
            if not any(_begins(name, key) for name in names):
                raise UserError(f"--caption {key}: no table's name begins so; there are {', '.join(names)}")


def _begins(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}-")


def number(value: float, digits: int = 1) -> str:
    """Return the value rounded, without a minus before zero; a dash for nan."""
    return DASH if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def to_csv(table: Table) -> str:
    """Return the table's unrounded numbers (empty if undefined), with the notes as the last column."""
    return frame_to_csv(table.frame)


def frame_to_csv(frame: pd.DataFrame) -> str:
    """Return a frame's unrounded numbers, empty if undefined."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_markdown(table: Table, layout: TableLayout | None = None, answer: Sequence[str] = ()) -> str:
    """Return a GitHub table, with the answer above and its caption and notes below."""
    layout = layout or TableLayout()
    table = long_form(table) if layout.form == "long" else table

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    width = len(table.header)
    lines = [*(f"{_md(sentence)}\n" for sentence in answer), line([_md(h) for h in table.header])]
    lines.append(line(["---", *["---:"] * (width - 1)]))
    for title, rows in table.sections:
        lines.append(line([f"*{_md(title)}*", *[""] * (width - 1)]))
        lines += [
            line([_md(cell) if isinstance(cell, str) else _md_cell(cell, layout.decimals) for cell in row])
            for row in rows
        ]
    lines += ["", _md(layout.caption(table)), "", to_list(table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_list(lines: Iterable[str]) -> str:
    """Return a list in Markdown."""
    return "".join(f"- {_md(line)}\n" for line in lines)


def long_form(table: Table) -> Table:
    """Return the table with one cell per row: the first entry of the cell's row, the title of its column, its value."""
    first, *titles = table.header
    sections = [
        (title, tuple((row[0], name, cell) for row in rows for name, cell in zip(titles, row[1:], strict=True)))
        for title, rows in table.sections
    ]
    return replace(table, header=(first, "Column", "Value"), sections=tuple(sections))


def cell_text(cell: Cell, digits: int = 1) -> str:
    """Return the mean, ± the standard deviation if defined, and a dagger if the cell is tied with the best."""
    spread = "" if math.isnan(cell.std) else f"±{number(cell.std, digits)}"
    return number(cell.mean, digits) + spread + (TIED if cell.tied else "")


def _md(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~#$])", r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def _md_cell(cell: Cell, digits: int) -> str:
    return f"**{cell_text(cell, digits)}**" if cell.bold else cell_text(cell, digits)

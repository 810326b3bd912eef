"""The table of scenario `add-one`: the gain and loss of each method by one new type."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons, group_title
from cl_ner_bench.analysis.comparison.newcomers import (
    COLUMNS,
    Estimated,
    doing_nothing,
    estimated,
    newcomers,
    per_newcomer,
)
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.errors.attributes import newcomer_mentions
from cl_ner_bench.analysis.table import VIEW_TITLES, Cell, Line, Section, Table

HEADER = ("Method", "n", "New type", "Low", "High", "Old before", "Old after", "Lost", "Lost low", "Lost high")
REFERENCE = "reference"


def new_type_tables(results: Results) -> list[Table]:
    """Return a table for each comparison of scenario `add-one` with a defined F1."""
    return [_table(c, results) for c in comparisons(results) if c.adds_one and per_newcomer(c)]


def _table(c: Comparison, results: Results) -> Table:
    found = per_newcomer(c)
    sections: list[Section] = []
    data: list[Mapping[str, object]] = []

    def line(label: str, lines: pd.DataFrame, identity: Mapping[str, object]) -> Line:
        values = {name: estimated(lines, name) for name in COLUMNS}
        numbers = {f"{name}_{part}": getattr(e, part) for name, e in values.items() for part in ("mean", "low", "high")}
        data.append({**identity, "n": len(lines), **numbers})
        new, before, after, lost = values.values()
        return (label, str(len(lines)), *_all(new), _cell(before.mean), _cell(after.mean), *_all(lost))

    for group, rows in c.groups:
        lines = [line(row.label, found[row], row.identity) for row in rows if row in found]
        if lines:
            sections.append((group_title(group), tuple(lines)))
    nothing = []
    for architecture, of in doing_nothing(c).items():
        label = f"Doing nothing ({architecture})"
        nothing.append(line(label, of, {"method": "", "config": "", "label": label, "group": REFERENCE}))
    sections.append(("The model of step 1", tuple(nothing)))
    caption = (
        f"{c.title}: one new type, {VIEW_TITLES['all']}. F1 of the new type after step 2; micro-F1 of the old types "
        f"after step 1 and after step 2, and what they lost (negative: gained). Mean over n {_unit(c)}; low, high: "
        f"95 % t interval over them. Newcomers: {', '.join(newcomers(c))}. Joint training is "
        "retraining on all sentences with all labels; after step 2 it is one model for several newcomers, unless each "
        "has its own number of sentences. Doing nothing: the model of step 1 as it is."
    )
    shots = ", ".join(f"{type_} {n:,}" for type_, n in newcomer_mentions(c, results).items())
    more = [f"train mentions of the new type: {shots}"] if shots else []
    return Table.of(f"new_type-all-{c.slug}", caption, HEADER, sections, [*notes_of(c), *more], data)


def _unit(c: Comparison) -> str:
    return "newcomers, each the mean of its seeds" if len(newcomers(c)) > 1 else "seeds of one newcomer"


def _all(value: Estimated) -> tuple[Cell, Cell, Cell]:
    return _cell(value.mean), _cell(value.low), _cell(value.high)


def _cell(value: float) -> Cell:
    return Cell(value, math.nan)

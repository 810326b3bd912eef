"""All tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.errors.breakdown import error_tables
from cl_ner_bench.analysis.scores.names import MAIN
from cl_ner_bench.analysis.table import Table
from cl_ner_bench.analysis.tables.cost import cost_tables
from cl_ner_bench.analysis.tables.new_type import new_type_tables
from cl_ner_bench.analysis.tables.published import published_tables
from cl_ner_bench.analysis.tables.scores import score_tables


def tables(results: Results, measures: Sequence[str] = MAIN) -> list[Table]:
    """Return all tables that ``bench report`` writes: scores, one new type, errors, cost and published numbers.

    ``measures``: the columns of the main tables, by their names in summary.csv. A table's ``frame`` holds its numbers
    unrounded; ``tables.text`` and ``tables.latex`` render it.
    """
    return [
        *score_tables(results, measures),
        *new_type_tables(results),
        *error_tables(results),
        *cost_tables(results),
        *published_tables(results),
    ]

"""The numbers of a report, without its figures and page: the CSV files of frames and tables."""

from __future__ import annotations

from collections.abc import Sequence

from cl_ner_bench.analysis.data.frames import Results, quick_strings
from cl_ner_bench.analysis.table import Table
from cl_ner_bench.analysis.tables.collect import tables
from cl_ner_bench.analysis.tables.text import frame_to_csv, to_csv
from cl_ner_bench.analysis.tables.trials import trial_tables

_FRAMES = ("counts", "scores", "summary")


@quick_strings()
def numbers(results: Results) -> dict[str, bytes]:
    """Return the CSV files of a report's frames and tables. Layout and choice of methods do not change them."""
    return csv_files(results, [*tables(results), *trial_tables(results)])


def csv_files(results: Results, all_tables: Sequence[Table]) -> dict[str, bytes]:
    """Return the CSV files of the frames and of ``all_tables`` by their relative path."""
    files = {f"{name}.csv": frame_to_csv(getattr(results, name)).encode() for name in _FRAMES}
    return files | {f"tables/{table.name}.csv": to_csv(table).encode() for table in all_tables}

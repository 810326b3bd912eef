"""The results of a grid as text, for `bench run`, `bench report` and `bench reproduce`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cl_ner_bench.cli.output import note, show, table, wrapped

if TYPE_CHECKING:
    from cl_ner_bench.analysis.data.frames import Results
    from cl_ner_bench.analysis.table import Table
    from cl_ner_bench.analysis.tables.text import TableLayout

WIDTH = 98


def show_results(
    results: Results, written: Iterable[Path], quiet: bool = False, layout: TableLayout | None = None
) -> None:
    """Print the main table, and on stderr the files that were left out and written."""
    show(results_text(results, layout))
    for damaged in results.damaged:
        note(f"left out: {damaged}")
    if not quiet:
        many = ("tables", "figures")  # these folders hold a file for each view and corpus
        for line in dict.fromkeys(f"{path.parent}/" if path.parent.name in many else str(path) for path in written):
            note(line)


def results_text(results: Results, layout: TableLayout | None = None) -> str:
    """Return the main table (all test sentences) of each comparison with the answer, trials and unfinished runs."""
    from cl_ner_bench.analysis.comparison.compare import comparisons
    from cl_ner_bench.analysis.comparison.verdict import verdict
    from cl_ner_bench.analysis.tables.scores import main_table
    from cl_ner_bench.analysis.tables.text import TableLayout
    from cl_ner_bench.analysis.tables.trials import best_lines

    layout = layout or TableLayout()
    parts = []
    for c in comparisons(results):
        main = main_table(c, "all", layout.measures)
        parts.append(f"{c.title}\n{table_text(main, verdict(c, results), layout.decimals)}")
    if best := best_lines(results):
        parts.append("\n".join(line for text in best for line in wrapped(text)))
    unfinished = [run for run in results.runs if run.status != "done"]
    if unfinished:
        lines = [f"{len(unfinished)} run(s) not finished:"]
        lines += [f"  {run.run_id}: {run.status}. {run.reason or ''}".rstrip() for run in unfinished]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) or "no runs yet"


def table_text(found: Table, answer: Iterable[str] = (), decimals: int = 1) -> str:
    """Return a table, with the answer, its caption and its notes below."""
    from cl_ner_bench.analysis.tables.text import cell_text

    rows = []
    for _, section in found.sections:
        for name, *cells in section:
            rows.append(
                [f"  {name}", *(cell if isinstance(cell, str) else cell_text(cell, decimals) for cell in cells)]
            )
    header, *body = table([*found.header], rows, right=True, gap=1).splitlines()
    lines = [header]
    for title, section in found.sections:
        lines += [title] if title else []
        lines += [body.pop(0) for _ in section]
    lines.append("")
    for text in answer:
        lines += textwrap.wrap(text, WIDTH)
    lines += ["", *textwrap.wrap(found.caption, WIDTH)]
    for text in found.notes:
        lines += textwrap.wrap(text, WIDTH, initial_indent="! ", subsequent_indent="  ")
    return "\n".join(lines)

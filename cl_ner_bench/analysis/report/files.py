"""The files of a report: CSV, tables, figures and one HTML page, from stored runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.notes import full_notes, notes_file, notes_of
from cl_ner_bench.analysis.comparison.verdict import verdict
from cl_ner_bench.analysis.data.frames import Results, load_results, quick_strings
from cl_ner_bench.analysis.data.run_outcomes import readable
from cl_ner_bench.analysis.forked import processes
from cl_ner_bench.analysis.report.numbers import csv_files
from cl_ner_bench.analysis.report.quotes import Quotes
from cl_ner_bench.analysis.report.unchanged import digest_of_report
from cl_ner_bench.analysis.table import Table
from cl_ner_bench.analysis.tables.collect import tables
from cl_ner_bench.analysis.tables.latex import to_latex
from cl_ner_bench.analysis.tables.text import TableLayout, to_list, to_markdown
from cl_ner_bench.analysis.tables.trials import trial_tables
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.report_files import same_report, write_report_files
from cl_ner_bench.untrusted import links_out

log = logging.getLogger(__name__)

# The page's section of each kind of table; other kinds stand in "differences".
_SECTION_OF = {"main": "scores", "new_type": "scores", "steps": "steps", "learning": "steps", "types": "types"}
_SECTION_OF |= {"cost": "cost", "published": "published"}
_SECTION_OF |= dict.fromkeys(("errors", "errorsteps", "confusion", "mentions"), "errors")
_SECTION_OF_FIGURE = {
    "new_type": "scores",
    "errors": "errors",
    "confusion": "errors",
    "mentions": "errors",
    "cost": "cost",
}


def write_report(
    dirs: Sequence[Path],
    out: Path,
    style: str = "paper",
    formats: Sequence[str] = ("pdf", "png"),
    layout: TableLayout | None = None,
) -> list[Path]:
    """Write ``counts.csv``, ``scores.csv``, ``summary.csv``, ``tables/``, ``figures/`` and ``report.html``.

    Reads only the results folders ``dirs``, writes below ``out`` (often one of ``dirs``) and returns the written paths.
    Each file appears whole or not at all. The same runs give the same bytes. Raises UserError if links lead out of
    ``out``, and the errors of ``finished_results``.
    """
    return write_files(finished_results(dirs), out, style, formats, layout)


def finished_results(dirs: Sequence[Path]) -> Results:
    """Return the results of a report, without runs that hold a damaged file (predictions included).

    Raises UserError if no run is finished and there is no trial, and the errors of ``load_results``.
    """
    results = readable(load_results(*dirs))
    if not results.finished and not results.trials:
        states = "; ".join(map(str, results.damaged)) or "; ".join(
            f"{r.run_id}: {r.status} {r.reason or ''}".strip() for r in results.runs
        )
        raise UserError(
            f"no finished run in {', '.join(map(str, dirs))} ({states or 'no runs at all'}): "
            "the same `bench run` command again resumes what is left"
        )
    return results


def write_files(
    results: Results,
    out: Path,
    style: str,
    formats: Sequence[str],
    layout: TableLayout | None = None,
    quotes: Quotes | None = None,
) -> list[Path]:
    """Write the report of ``finished_results``, as ``write_report`` does, with ``quotes`` in the page.

    If ``out`` already holds this report, nothing is written.
    """
    for path, wrong, remedy in links_out(out):
        if ResultsFolder.open(out).runs_path not in path.parents:  # a report writes below runs/ only beside sound runs
            raise UserError(f"{path} {wrong}: {remedy}")
    made_from = digest_of_report(results, style, formats, layout or TableLayout(), quotes)
    if there := same_report(out, made_from):
        log.info(f"{out}: the report is there, of the same results")
        return there
    files = report_files(results, style, formats, layout, quotes)
    return write_report_files(out, files, [run.run_id for run in (*results.finished, *results.trials)], made_from)


@quick_strings()
def report_files(
    results: Results,
    style: str = "paper",
    formats: Sequence[str] = ("pdf", "png"),
    layout: TableLayout | None = None,
    quotes: Quotes | None = None,
) -> dict[str, bytes]:
    """Return the content of each file of a report by its relative path; ``report.html`` last.

    ``style``: ``paper`` or ``slides``. ``formats``: the figures' formats, some of ``style.FORMATS``. ``layout``: the
    tables' layout. ``quotes``: quotes on the page. Raises UserError for a caption of ``layout`` that belongs to no
    table.
    """
    # Slow to import, and not needed if the report exists already.
    from cl_ner_bench.analysis.figures.draw import drawings
    from cl_ner_bench.analysis.figures.figure import Theme
    from cl_ner_bench.analysis.figures.rendering import rendering
    from cl_ner_bench.analysis.report.page import ComparisonReport, render_page

    layout = layout or TableLayout()
    compared = comparisons(results)
    shown = dict.fromkeys((*formats, "png"))  # the page shows PNG
    with rendering(drawings(results, style), [*shown], processes()) as drawn_figures:
        all_tables = tables(results, layout.measures)
        layout.check_captions(all_tables)
        of_trials = trial_tables(results)
        whole = tables(replace(results, chosen=())) if results.chosen else all_tables
        files = csv_files(results, [*whole, *of_trials])
        answers = {f"main-all-{c.slug}": verdict(c, results) for c in compared}
        for table in (*all_tables, *of_trials):
            markdown = to_markdown(table, layout, answers.get(table.name, ()))
            texts = {"md": markdown, "tex": to_latex(table, layout)}
            files |= {f"tables/{table.name}.{suffix}": text.encode() for suffix, text in texts.items()}
        all_figures = [(_SECTION_OF_FIGURE.get(drawn.kind, "figures"), drawn) for drawn in drawn_figures()]
    for _, drawn in all_figures:
        files |= {f"figures/{drawn.name}.{suffix}": drawn.images[suffix] for suffix in formats}
        files[f"figures/{drawn.name}.csv"] = drawn.numbers
        files[f"figures/{drawn.name}.txt"] = drawn.text.encode()
    files |= {notes_file(c): to_list(full_notes(c)).encode() for c in compared}
    blocks = [
        ComparisonReport(
            comparison=c,
            answer=answers[f"main-all-{c.slug}"],
            notes=dict(zip(notes_of(c), full_notes(c), strict=True)),
            tables=[(_section_of(t), t) for t in all_tables if _block_of(t.name, compared) is c],
            figures=[(section, p) for section, p in all_figures if _block_of(p.name, compared) is c],
        )
        for c in compared
    ]
    appearances = Theme.of(compared, style).appearances
    page = render_page(results, blocks, appearances, files, quotes, layout.decimals, of_trials)
    files["report.html"] = page.encode()
    return files


def _section_of(table: Table) -> str:
    return _SECTION_OF.get(table.name.split("-")[0], "differences")


def _block_of(name: str, compared: Sequence[Comparison]) -> Comparison:
    """Return the comparison with the longest slug at the end of the name, else the first comparison."""
    own = [c for c in compared if name.endswith(f"-{c.slug}")]
    return max(own, key=lambda c: len(c.slug)) if own else compared[0]

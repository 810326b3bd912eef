"""Tables of published numbers beside ours. Numbers from another protocol are marked as not comparable."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.learning import unfit_rows
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.literature.numbers import protocol_differences, published_number
from cl_ner_bench.analysis.literature.settings import UNKNOWN, Setting, settings
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.table import VIEW_TITLES, Cell, Line, Section, Table

_MICRO_MACRO = ("micro", "macro")


class MeasureColumn(NamedTuple):
    """A column: a measure of a comparison after ``step``, or over the whole run (None)."""

    c: Comparison
    measure: str
    step: int | None = None


class MeasureBlock(NamedTuple):
    """Rows of one kind of number. All blocks of a table have the same number of columns."""

    title: str
    columns: Sequence[MeasureColumn]


def published_tables(results: Results) -> list[Table]:
    """Return tables of our and the published numbers, with the rows and columns of the papers.

    Columns are steps, as in SpanKL's tables. For ``fgA-pgB`` columns are settings, as in CFNER's tables, with all
    settings of a dataset in one table. Datasets and scenarios without published numbers have no table.
    """
    families: dict[tuple[Any, ...], list[Comparison]] = {}
    for c in comparisons(results):
        if any(_same_tasks(c, setting) for setting in settings().values()):
            families.setdefault(_family(c), []).append(c)
    out = []
    for family in families.values():
        found = [s for s in settings().values() if any(_same_tasks(c, s) for c in family)]
        for view in VIEW_TITLES:
            if shown := [s for s in found if view == (s.view if s.view != UNKNOWN else "all")]:
                out.append((_by_setting if _is_fg(family[0]) else _by_step)(family, view, shown))
    return out


def _same_tasks(c: Comparison, setting: Setting) -> bool:
    return (c.dataset, c.scenario) == (setting.dataset, setting.scenario)


def _is_fg(c: Comparison) -> bool:
    return c.scenario.startswith("fg")


def _family(c: Comparison) -> tuple[Any, ...]:
    """Return the key of the table: settings of a dataset, encoder and sample share one, other comparisons do not."""
    sample = c.runs[0].settings.get("max_sentences")
    return (c.dataset, c.encoder, c.scenario.endswith("-seen"), sample) if _is_fg(c) else (c.slug,)


def _by_step(family: Sequence[Comparison], view: str, found: Sequence[Setting]) -> Table:
    (c,) = family
    measure = "task_macro_f1"
    columns = [*(MeasureColumn(c, measure, k) for k in range(1, c.n_steps + 1)), MeasureColumn(c, "bi")]
    header = ("Method", *(f"S{k}" for k in range(1, c.n_steps + 1)), "BI")
    caption = (
        f"{c.title}: mean task F1 after each step, and BI, {VIEW_TITLES[view]}, ours and published. Ours: mean "
        f"± standard deviation over the n = {len(c.pairs)} (order, seed) pairs that all methods finished; published: "
        "over orders, where known."
    )
    return _published_table(c, view, caption, header, [MeasureBlock(NAMES[measure].title, columns)], found)


def _by_setting(family: Sequence[Comparison], view: str, found: Sequence[Setting]) -> Table:
    family = sorted(family, key=lambda c: [int(n) for n in re.findall(r"\d+", c.scenario)])
    titles = [re.sub(r"(FG|PG)(\d)", r"\1-\2", c.scenario.upper()) for c in family]  # as the papers write them
    header = ("Method", *(f"{title} {name}" for title in titles for name in _MICRO_MACRO))
    blocks = [
        MeasureBlock(title, [MeasureColumn(c, f"{prefix}{name}_f1") for c in family for name in _MICRO_MACRO])
        for title, prefix in (("Mean over steps", "avg_"), ("After the last step", ""))
    ]
    c = family[0]
    caption = (
        f"{c.dataset}, {c.encoder}: micro-F1 and mean type F1 of each setting, {VIEW_TITLES[view]}, ours and "
        "published; mean ± standard deviation, where known; ours over the (order, seed) pairs that all methods "
        "finished. Means over steps include the first."
    )
    return _published_table(c, view, caption, header, blocks, found)


def _published_table(
    c: Comparison,
    view: str,
    caption: str,
    header: tuple[str, ...],
    blocks: Sequence[MeasureBlock],
    found: Sequence[Setting],
) -> Table:
    compared = list(dict.fromkeys(column.c for column in blocks[0].columns))
    why = {s.name: _why_not(next(d for d in compared if _same_tasks(d, s)), s) for s in found}
    sections: list[Section] = []
    data: list[dict[str, object]] = []
    unfit = {row.label: reason for d in compared for row, reason in unfit_rows(d).items()}
    labels = dict.fromkeys(row.label for d in compared for row in d.rows)
    for block in blocks:
        for reason in dict.fromkeys(["", *unfit.values()]):
            own = [label for label in labels if unfit.get(label, "") == reason]
            ours: list[Line] = [(label, *(_ours(column, label, view) for column in block.columns)) for label in own]
            if ours:
                mark = f"NOT COMPARABLE ({reason}): " if reason else ""
                sections.append((f"{block.title}: {mark}these results", tuple(ours)))
                about = {"source": "these results", "evidence": "", "comparable": not reason, "why": reason}
                data += _tidy(block, ours, about)
        for cite, evidence in dict.fromkeys((s.cite, s.evidence) for s in found):
            for fits in (True, False):
                same = [s for s in found if (s.cite, s.evidence) == (cite, evidence)]
                chosen = [s for s in same if (not why[s.name]) == fits]
                lines = [line for line in _theirs(block, chosen) if any(not _empty(cell) for cell in line[1:])]
                if lines:
                    because = "; ".join(dict.fromkeys(reason for s in chosen for reason in why[s.name]))
                    mark = "" if fits else f"NOT COMPARABLE ({because}): "
                    sections.append((f"{block.title}: {mark}{cite}, {evidence}", tuple(lines)))
                    about = {"source": cite, "evidence": evidence, "comparable": fits, "why": because}
                    data += _tidy(block, lines, about)
    about_numbers = [*_left_empty(compared), *(note for s in found for note in _notes(s))]
    notes = dict.fromkeys([*(note for d in compared for note in notes_of(d)), *about_numbers])
    return Table.of(f"published-{view}-{c.slug}", caption, header, sections, notes, data)


def _why_not(c: Comparison, setting: Setting) -> list[str]:
    """Return the reasons why a comparison's rows may not stand beside the setting's numbers."""
    return protocol_differences(setting, c.compared_runs) + (
        [] if c.matched else ["here no run that all methods finished"]
    )


def _ours(column: MeasureColumn, label: str, view: str) -> Cell:
    """Return a row's mean over the runs that all methods finished, or nan if the row lacks one of these runs."""
    c, measure, step = column
    frame = c.measures if step is None else c.scores[c.scores["step"] == step]
    rows = [row for row in c.rows if row.label == label and all(row in runs for runs in c.matched_runs)]
    if not rows:
        return Cell(math.nan, math.nan)
    values = rows[0].of(c.per_model(c.compared(frame[frame["view"] == view]), measure))[measure]
    return Cell(float(values.mean()), float(values.std(ddof=1)))


def _left_empty(compared: Sequence[Comparison]) -> list[str]:
    """Return a note on the rows that are left empty because they lack a run that all methods finished."""
    lacking = [row.label for c in compared for row in c.rows if not all(row in runs for runs in c.matched_runs)]
    return [f"left empty, as not all runs are finished: {', '.join(dict.fromkeys(lacking))}"] if lacking else []


def _theirs(block: MeasureBlock, found: Sequence[Setting]) -> list[Line]:
    """Return a line per published label; labels with a misprinted cell have a mark."""
    lines: list[Line] = []
    for label in dict.fromkeys(row.label for s in found for row in s.rows):
        cells, marked = [], ""
        for c, measure, step in block.columns:
            cell = Cell(math.nan, math.nan)
            for s in found:
                if _same_tasks(c, s) and _empty(cell):
                    rows = [row for row in s.rows if row.label == label]
                    orders = {run.order for run in c.compared_runs} & set(s.orders) or s.orders
                    cell = published_number(rows, measure, s.n_steps, step, orders)
                    if any((e.row, e.measure) == (label, measure) for e in s.errata):
                        marked = " (misprint)"
            cells.append(cell)
        lines.append((label + marked, *cells))
    return lines


def _notes(setting: Setting) -> list[str]:
    """Return source, evidence, defects and known misprints of a setting's numbers."""
    notes = [f"{setting.cite}: {setting.source}; {setting.place}; {setting.evidence}"]
    notes += [f"{setting.cite}: {note}" for note in setting.notes]
    if setting.defects:
        notes.append(f"{setting.cite}: {setting.defects}")
    for e in setting.errata:
        right = "shown as printed" if math.isnan(e.right) else f"shown is {e.right:.2f}"
        notes.append(f"misprint: {setting.name}, {e.row}, {e.measure}: printed {e.printed:.2f}, {right} ({e.why})")
    return notes


def _tidy(block: MeasureBlock, lines: Sequence[Line], about: Mapping[str, object]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for label, *cells in lines:
        for column, cell in zip(block.columns, cells, strict=True):
            if isinstance(cell, Cell) and not _empty(cell):
                what = {"label": label, "scenario": column.c.scenario, "measure": column.measure, "step": column.step}
                rows.append({**about, **what, "mean": cell.mean, "std": cell.std})
    return rows


def _empty(cell: str | Cell) -> bool:
    return isinstance(cell, Cell) and math.isnan(cell.mean)

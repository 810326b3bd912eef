"""The error analysis: kinds of errors after each step, the confusion of types, and the mentions that are forgotten.

docs/errors.md defines the terms. All numbers are of view ``all``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow, comparisons
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.data.distinct import LAST
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.data.outcomes import GOLD, KINDS, RIGHT, Integers, Outcomes
from cl_ner_bench.analysis.data.run_outcomes import outcomes_of
from cl_ner_bench.analysis.errors.attributes import BinnedMentions
from cl_ner_bench.analysis.scores.measures import JOINT, TaskLayout
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.table import Cell, Line, Section, Table, columns_of
from cl_ner_bench.storage.run_record import RunRecord

VIEW = "all"
MANY_TYPES = 20  # above it, the confusion is shown by task
RIGHTS = ("old-right", "new-right")
LOST = tuple(kind for kind in KINDS if kind not in RIGHTS)
# The printed name of each kind, by section of the tables.
SECTIONS = {
    "Lost gold mentions of old types": {
        "old-as-O": "predicted as O (E2O)",
        "old-as-new": "as a type of this step",
        "old-as-old": "as another old type",
        "old-boundary": "wrong boundary",
    },
    "Lost gold mentions of this step's types": {
        "new-as-O": "predicted as O",
        "new-as-new": "as another type of this step",
        "new-as-old": "as an old type",
        "new-boundary": "wrong boundary",
    },
    "False positives": {
        "false-O-as-new": "O as a type of this step (O2E)",
        "false-old-as-new": "old mention as a type of this step (O2E)",
        "false-boundary": "wrong boundary",
        "false-type": "other wrong type",
        "false-spurious": "O as an old type",
    },
}


@dataclass(frozen=True)
class Confusion:
    """The confusion of types (or tasks) in learning order, pooled over ``n`` runs. The last row and column are O.

    ``share[i, j]``: percent of the gold mentions of row i that were taken for column j. The last row holds the false
    positives that overlap no lost mention. ``size[i]``: mean number of mentions of row i per run.
    """

    names: tuple[str, ...]
    share: NDArray[np.float64]
    size: NDArray[np.float64]
    n: int


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """The error analysis of one comparison, view ``all``.

    ``steps``: a row per trained model and step: method, config, step, micro_f1 (0..100), and for each kind of LOST the
    points of micro-F1 that it costs; the points add up to 100 - micro_f1. ``counts``: the same rows with the numbers of
    KINDS. ``confusion``: after the last step, in the comparison's first order. ``bins``: a row per trained model,
    attribute and bin with the number of mentions of types learned before the last step, and their recall (0..100) when
    learned and at the end; empty if ``mentions.csv.gz`` is missing. ``notes``: what could not be computed.
    """

    c: Comparison
    steps: pd.DataFrame
    counts: pd.DataFrame
    confusion: Mapping[MethodRow, Confusion]
    bins: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Return the unit of the confusion: ``type``, or ``task`` if there are many types."""
        return _unit(self.c)

    @property
    def order(self) -> int:
        """Return the order of the runs in the confusion."""
        return self.c.first_order


@lru_cache(maxsize=4)  # tables and figures share the analyses
def error_analyses(results: Results) -> tuple[ErrorAnalysis, ...]:
    """Return one analysis per comparison. Outcomes of runs that are not stored yet are stored."""
    return tuple(_analyse(c, results) for c in comparisons(results))


def error_tables(results: Results) -> list[Table]:
    """Return the tables of kinds ``errors`` (last step), ``errorsteps`` (each step), ``confusion`` and ``mentions``."""
    found = []
    for a in error_analyses(results):
        found += [error_table(a), step_table(a), confusion_table(a)]
        found += [] if a.bins.empty else [mention_table(a)]
    return found


def error_table(a: ErrorAnalysis) -> Table:
    """Return the points of micro-F1 that each kind of error costs after the last step."""
    last = [_columns(row.of(a.steps[a.steps["step"] == a.c.n_steps])) for row in a.c.rows]

    def line(name: str, kind: str) -> Line:
        return (name, *(_cell(own[kind]) for own in last))

    sections: list[Section] = [("What is left", (line("micro-F1", "micro_f1"),))]
    for title, kinds in SECTIONS.items():
        sections.append((title, tuple(line(name, kind) for kind, name in kinds.items())))
    caption = (
        f"{a.c.title}: points of micro-F1 lost to each kind of error after the last of {a.c.n_steps} step(s), all test "
        "sentences. A lost mention and a false positive cost the same, so that each column adds up to 100. Old: "
        "learned in an earlier step."
    )
    data = []
    nothing = np.empty(0)
    for row in a.c.rows:
        of_points, of_counts = row.of(a.steps), row.of(a.counts)
        for step in sorted(set(of_points["step"])):
            own = _columns(of_points[of_points["step"] == step])
            numbers = _columns(of_counts[of_counts["step"] == step])
            what = {**row.identity, "step": step, "n": len(own["step"])}
            for kind in ("micro_f1", *KINDS):
                points, number = _cell(own.get(kind, nothing)), _cell(numbers.get(kind, nothing))
                spread = {"points_mean": points.mean, "points_std": points.std}
                data.append({**what, "kind": kind, "number_mean": number.mean, **spread})
    header = ("Points of micro-F1", *(row.label for row in a.c.rows))
    return _error_table(a, "errors", caption, header, sections, data)


def step_table(a: ErrorAnalysis) -> Table:
    """Return the points of micro-F1 that each kind of error costs after each step, with a section for each method."""
    columns = {
        "micro_f1": NAMES["micro_f1"].title,
        "old-as-O": "E2O",
        "old-as-new": "Old as new",
        "old-as-old": "Old as old",
        "old-boundary": "Old boundary",
        "new": "New, lost",
        "false-O-as-new": "O2E: O",
        "false-old-as-new": "O2E: old",
        "false-boundary": "False boundary",
        "false-type": "False type",
        "false-spurious": "Spurious",
    }
    steps = a.steps.assign(new=a.steps[[k for k in LOST if k.startswith("new-")]].sum(axis=1, min_count=1))
    sections: list[Section] = []
    data = []
    for row in a.c.rows:
        lines: list[Line] = []
        for step, own in row.of(steps).groupby("step"):
            found = _columns(own)
            cells = {name: _cell(found[name]) for name in columns}
            lines.append((f"S{step}", *cells.values()))
            values = columns_of(cells)
            data.append({**row.identity, "step": step, "n": len(own), **values})
        sections.append((row.label, tuple(lines)))
    caption = (
        f"{a.c.title}: points of micro-F1 lost to each kind of error after each step, all test sentences; each row "
        "adds up to 100. E2O: an old mention predicted as O. O2E: O, or an old mention, predicted as a type of the "
        "step."
    )
    return _error_table(a, "errorsteps", caption, ("Step", *columns.values()), sections, data)


def confusion_table(a: ErrorAnalysis) -> Table:
    """Return the confusion of types (or tasks) after the last step, with a section for each method."""
    sections: list[Section] = []
    data = []
    for row, confusion in a.confusion.items():
        names = (*confusion.names, "O")
        lines: list[Line] = []
        for name, shares, size in zip(names, confusion.share, confusion.size, strict=True):
            lines.append((name, f"{size:.0f}", *(Cell(float(share), np.nan) for share in shares)))
            data += [
                {**row.identity, "gold": name, "predicted": other, "n": confusion.n, "share_mean": share}
                | {"mentions_mean": size}
                for other, share in zip(names, shares, strict=True)
            ]
        sections.append((row.label, tuple(lines)))
    unit, order = a.unit, f" of order {a.order}" if len(a.c.orders) > 1 else ""
    caption = (
        f"{a.c.title}: percent of the gold mentions of each {unit} (rows, in learning order{order}) that were "
        f"taken for each {unit} (columns) after the last step; the same {unit} with a wrong boundary stands "
        "on the diagonal. Row O: false positives where no gold mention was lost. n: mentions."
    )
    header = ("Gold", "n", *next(iter(a.confusion.values())).names, "O")
    return _error_table(a, "confusion", caption, header, sections, data)


def mention_table(a: ErrorAnalysis) -> Table:
    """Return recall right after learning and at the end, by attributes of the mention.

    A method whose runs have only the last step (joint training) has one column.
    """
    moments = ("learned", "end")
    columns = [(row, when) for row in a.c.rows for when in moments if row.column(a.bins, when).notna().any()]
    data = []
    cells: dict[tuple[MethodRow, str, str], dict[str, Cell]] = {}
    for row in a.c.rows:
        for (attribute, bin_), group in row.of(a.bins).groupby(["attribute", "bin"], sort=False):
            own = _columns(group)
            found = {when: _cell(own[when]) for when in moments} | {"drop": _cell(own["learned"] - own["end"])}
            what = {**row.identity, "attribute": attribute, "bin": bin_, "n": len(group)}
            data.append({**what, "mentions_mean": _cell(own["n"]).mean, **columns_of(found)})
            cells[row, str(attribute), str(bin_)] = found
    sections: list[Section] = []
    unknown = dict.fromkeys(moments, Cell(np.nan, np.nan))
    for attribute, frame in a.bins.groupby("attribute", sort=False):
        lines: list[Line] = []
        for bin_, numbers in frame.groupby("bin", sort=False)["n"]:
            of_rows = (cells.get((row, str(attribute), str(bin_)), unknown)[when] for row, when in columns)
            lines.append((str(bin_), f"{numbers.mean():.0f}", *of_rows))
        sections.append((str(attribute), tuple(lines)))
    caption = (
        f"{a.c.title}: recall (0 to 100) of test mentions of types learned before the last step, right after "
        "their step (learned) and after the last one (end), by attributes of the mention and of its type. n: mentions."
    )
    header = ("Mentions", "n", *(f"{row.label}, {when}" for row, when in columns))
    return _error_table(a, "mentions", caption, header, sections, data)


def _analyse(c: Comparison, results: Results) -> ErrorAnalysis:
    binned = BinnedMentions.of(c, results, _confusion_rates(c, results))
    points, counts, bins = [], [], []
    tables: dict[MethodRow, list[Integers]] = {row: [] for row in c.rows}
    names: tuple[str, ...] = ()
    for run in c.runs:
        r = outcomes_of(results, run.run_id)
        row = c.row_of[run.run_id]
        numbers = r.errors.sum(axis=2)
        own = pd.DataFrame({"run_id": run.run_id, "method": row.method, "config": row.config, "step": r.steps})
        counts.append(own.assign(**dict(zip(KINDS, numbers.T, strict=True))))
        points.append(own.assign(**_points(numbers)))
        if run.order == c.first_order:
            names, table = _confusion_counts(run, r, _unit(c) == "task")
            tables[row].append(table)
        if binned is not None:
            bins += [
                {"run_id": run.run_id, "method": row.method, "config": row.config} | b for b in _bins(run, r, binned)
            ]
    notes = [] if binned else ["without mentions.csv.gz forgetting by attributes of mentions cannot be computed"]
    if binned and not any(attribute.name == "confusion" for attribute in binned.attributes):
        notes.append("without joint training the similarity of types cannot be computed")
    return ErrorAnalysis(
        c=c,
        steps=c.per_model(pd.concat(points, ignore_index=True), "micro_f1", *LOST, by=["step"]),
        counts=c.per_model(pd.concat(counts, ignore_index=True), *KINDS, by=["step"]),
        confusion={row: _share(names, found) for row, found in tables.items() if found},
        bins=c.per_model(pd.DataFrame(bins), "n", "learned", "end", by=["attribute", "bin"])
        if bins
        else pd.DataFrame(),
        notes=tuple(notes),
    )


def _points(numbers: Integers) -> dict[str, NDArray[np.float64]]:
    """Return micro-F1 after each step and the points that each kind of LOST costs, from counts ``[S, kinds]``.

    F1 = 2 tp / (2 tp + fp + fn), so every error costs 100 / (2 tp + fp + fn) points of 100. A step without gold
    mentions gives nan.
    """
    right = numbers[:, [KINDS.index(kind) for kind in RIGHTS]].sum(axis=1)
    gold = numbers[:, : len(GOLD)].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        point = np.where(gold > 0, 100 / (numbers.sum(axis=1) + right), np.nan)
    return {"micro_f1": 2 * right * point} | {kind: numbers[:, KINDS.index(kind)] * point for kind in LOST}


def _confusion_counts(run: RunRecord, r: Outcomes, by_task: bool) -> tuple[tuple[str, ...], Integers]:
    """Return the names of types (or tasks), and the counts by gold (rows) and predicted (columns) name, O last."""
    layout = TaskLayout.of(run.tasks)
    first = {type_: task for (_, type_), task in reversed([*zip(layout.units, layout.task_of, strict=True)])}
    names = tuple(dict.fromkeys(first[t] for t in r.types)) if by_task else r.types
    place = np.array([*(names.index(first[t] if by_task else t) for t in r.types), len(names)])
    table = np.zeros((len(names) + 1, len(names) + 1), dtype=np.int64)
    last = r.confusion[r.confusion[:, 0] == r.steps[-1]]
    np.add.at(table, (place[last[:, 1]], place[last[:, 2]]), last[:, 3])
    return names, table


def _share(names: tuple[str, ...], tables: Sequence[Integers]) -> Confusion:
    counts = np.array(tables, dtype=np.float64)
    total = counts.sum(axis=2, keepdims=True)
    with np.errstate(invalid="ignore"):
        pooled = 100 * counts.sum(axis=0) / total.sum(axis=0)
    return Confusion(names, pooled, total.mean(axis=0)[:, 0], len(tables))


def _confusion_rates(c: Comparison, results: Results) -> dict[str, float]:
    """Return the percentage of each type's test mentions that joint training takes for another type after all steps.

    The models of both architectures are pooled, so all methods share the rates. Empty without joint training.
    """
    gold: dict[str, int] = {}
    wrong: dict[str, int] = {}
    for run in c.runs:
        if run.registry_name in JOINT and c.models[run.run_id, LAST] == run.run_id:
            r = outcomes_of(results, run.run_id)
            last = r.confusion[(r.confusion[:, 0] == r.steps[-1]) & (r.confusion[:, 1] < len(r.types))]
            for _, type_, other, n in last.tolist():
                name = r.types[type_]
                gold[name] = gold.get(name, 0) + n
                wrong[name] = wrong.get(name, 0) + n * (other not in (type_, len(r.types)))
    return {name: 100 * wrong[name] / n for name, n in gold.items()}


def _bins(run: RunRecord, r: Outcomes, binned: BinnedMentions) -> list[dict[str, Any]]:
    """Return the recall in each bin, right after learning and at the end, of types learned before the last step."""
    old = np.flatnonzero(r.learned < run.n_steps)
    at_end = r.outcomes[-1, old] == RIGHT
    row = np.searchsorted(r.steps, r.learned[old])
    complete = len(r.steps) == run.n_steps  # else the outcome right after learning is unknown
    when_learned = r.outcomes[row if complete else np.zeros_like(row), old] == RIGHT
    out = []
    for attribute, codes in zip(binned.attributes, binned.codes(run, r), strict=True):
        for code, label in enumerate(binned.labels[attribute.name]):
            here = codes[old] == code
            if n := int(here.sum()):
                learned = 100 * float(when_learned[here].mean()) if complete else np.nan
                what = {"attribute": attribute.title, "bin": label, "n": n}
                out.append({**what, "learned": learned, "end": 100 * float(at_end[here].mean())})
    return out


def _columns(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {str(name): column.to_numpy() for name, column in frame.items()}


def _cell(values: NDArray[Any]) -> Cell:
    """Return mean and standard deviation of the defined values.

    They equal the values of pandas to the bit, but the calls of pandas take twenty times as long.
    """
    known = ~np.isnan(values)
    n = int(known.sum())
    if not n:
        return Cell(np.nan, np.nan)
    mean = np.where(known, values, 0).sum(dtype=np.float64) / n
    squares = np.where(known, (mean - values) ** 2, 0).sum(dtype=np.float64)
    return Cell(float(mean), float(np.sqrt(squares / (n - 1))) if n > 1 else np.nan)


def _unit(c: Comparison) -> str:
    return "task" if c.counts["type"].nunique() > MANY_TYPES else "type"


def _error_table(
    a: ErrorAnalysis, kind: str, caption: str, header: tuple[str, ...], sections: Sequence[Section], data: list[Any]
) -> Table:
    return Table.of(f"{kind}-{VIEW}-{a.c.slug}", caption, header, sections, (*notes_of(a.c), *a.notes), data)

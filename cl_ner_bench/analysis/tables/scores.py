"""The contents of the tables of scores; ``text`` and ``latex`` format them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow, comparisons, group_title, learning_order
from cl_ner_bench.analysis.comparison.influence import drawn_together
from cl_ner_bench.analysis.comparison.learning import (
    FAR_BELOW,
    MARGIN,
    count_without_choice,
    learning_checks,
    new_task_scores,
)
from cl_ner_bench.analysis.comparison.naming import few
from cl_ner_bench.analysis.comparison.notes import FEW, notes_of, sample_sizes, undefined_notes
from cl_ner_bench.analysis.comparison.spread import spread
from cl_ner_bench.analysis.comparison.statistics import (
    GAP_OF,
    Difference,
    best_and_tied,
    differences,
    gaps,
    unit_of,
)
from cl_ner_bench.analysis.comparison.undertrained import without_gap
from cl_ner_bench.analysis.comparison.verdict import power_notes, significance_notes
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.measures import GAPS, MEASURES
from cl_ner_bench.analysis.scores.names import HEADLINE, MAIN, NAMES
from cl_ner_bench.analysis.scores.scorer import f1_scores
from cl_ner_bench.analysis.table import VIEW_TITLES, Cell, Line, Section, Table, columns_of
from cl_ner_bench.analysis.tables.text import DASH
from cl_ner_bench.storage.run_record import Task

MEANINGS = {
    "micro_f1": "micro-F1 pools all mentions",
    "macro_f1": "mean type F1: over types",
    HEADLINE: "mean task F1: over tasks, each by its own mentions",
    "forgetting": "forgetting: mean drop of a task's F1 from the best before the last step (Chaudhry et al. 2018)",
    "bwt": "BWT: change of a task's F1 since it was learned (Lopez-Paz and Ranzato 2017)",
    "learning": "learning: a task's F1 right after it was learned",
    "gap": "gap: joint training of the same architecture minus the method, in mean task F1",
}
"""The captions' explanations of measures."""
STEPS = (HEADLINE, "micro_f1", "macro_f1")
SINGLE_TASK_TITLE = "References for learning"
ALL_PAIRS = 10  # a group of up to so many rows has every pair printed
COMPARED = (HEADLINE, "micro_f1", "forgetting")


def score_tables(results: Results, measures: Sequence[str] = MAIN) -> list[Table]:
    """Return the tables of scores, for both views of each comparison.

    These are the main table and the table by step (of ``measures``), the table by type, and differences, gaps and
    spread if there are any. View ``all`` also has a table of the learning of new tasks.
    """

    def main(c: Comparison, view: str) -> Table:
        return main_table(c, view, measures)

    def by_step(c: Comparison, view: str) -> Table:
        return step_table(c, view, measures)

    def differing(c: Comparison, view: str) -> Table | None:
        return difference_table(c, view, results)

    def behind(c: Comparison, view: str) -> Table | None:
        return gap_table(c, view, results)

    build: tuple[Callable[[Comparison, str], Table | None], ...]
    build = (main, by_step, type_table, learning_table, differing, behind, spread_table)
    made = [make(c, view) for c in comparisons(results) for view in VIEW_TITLES for make in build]
    return [table for table in made if table is not None]


def main_table(c: Comparison, view: str, measures: Sequence[str] = MAIN) -> Table:
    """Return ``measures`` of each method. The table's frame holds all measures."""
    frame = c.measures[c.measures["view"] == view]
    cells = _cells(c, frame, MEASURES, marked=[name for name in measures if NAMES[name].ranks])
    alone = c.single_task_measures[c.single_task_measures["view"] == view]
    n = {row: c.n_models(row, frame) for row in c.rows}
    n |= {row: row.of(alone)["seed"].nunique() for row in c.single_task_rows}
    varies = len(set(n.values())) > 1  # else only the caption gives n
    sections: list[Section] = []
    for group, rows in c.groups:
        lines: list[Line] = [
            (row.label, *((str(n[row]),) * varies), *(_shown(c, row, m, cells[m][row]) for m in measures))
            for row in rows
        ]
        sections.append((group_title(group), tuple(lines)))
    data = [
        {**row.identity, "n": n[row], "gap_n": c.n_models(row, frame[frame["gap"].notna()])}
        | columns_of({m: cells[m][row] for m in MEASURES})
        for row in c.rows
    ]
    if c.single_task_rows:
        found = {row: {m: _single_task_cell(row, alone, m, "seed") for m in MEASURES} for row in c.single_task_rows}
        lines = [(row.label, *((str(n[row]),) * varies), *(of[m] for m in measures)) for row, of in found.items()]
        sections.append((SINGLE_TASK_TITLE, tuple(lines)))
        data += [{**row.identity, "n": n[row], **columns_of(of)} for row, of in found.items()]
    meanings = "; ".join(MEANINGS[name] for name in measures if name in MEANINGS)
    caption = f"{c.title}: after the last of {_steps(c)}, {VIEW_TITLES[view]}.{_std(c)}"
    caption += f" {meanings[0].upper()}{meanings[1:]}." if meanings else ""
    header = ("Method", *(("n",) * varies), *(NAMES[m].title for m in measures))
    return _score_table(c, view, "main", caption, header, sections, data, "column", _gap_notes(c, frame))


def _shown(c: Comparison, row: MethodRow, measure: str, cell: Cell) -> Cell:
    """Return the cell to print; it is empty for gaps to undertrained joint training."""
    return Cell(math.nan, math.nan) if measure in GAPS and row.architecture in without_gap(c) else cell


def _gap_notes(c: Comparison, frame: pd.DataFrame) -> list[str]:
    """Return a note on the rows with gaps for only some of their runs."""
    sizes = {row.label: (c.n_models(row, frame[frame["gap"].notna()]), c.n_models(row, frame)) for row in c.rows}
    fewer = [f"{label} {known} of {n}" for label, (known, n) in sizes.items() if 0 < known < n]
    return [f"gap over the runs whose joint training is finished: {few(fewer)}"] if fewer else []


def step_table(c: Comparison, view: str, measures: Sequence[str] = MAIN) -> Table:
    """Return the ``measures`` that are in STEPS, else HEADLINE, after each step. The table's frame holds all STEPS."""
    frame = c.scores[c.scores["view"] == view]
    steps = range(1, c.n_steps + 1)
    sections: list[Section] = []
    data: list[dict[str, object]] = []
    cells = {k: _cells(c, frame[frame["step"] == k], STEPS, marked=STEPS) for k in steps}
    for name in [name for name in measures if name in STEPS] or [HEADLINE]:
        for group, rows in c.groups:
            lines: list[Line] = [(row.label, *(cells[k][name][row] for k in steps)) for row in rows]
            sections.append((f"{NAMES[name].title}: {group_title(group)}", tuple(lines)))
    for row in c.rows:
        own = row.of(frame)
        for k in sorted(set(own["step"])):
            values = columns_of({m: cells[k][m][row] for m in STEPS})
            data.append({**row.identity, "step": k, "n": c.n_models(row, own[own["step"] == k]), **values})
    caption = f"{c.title}: F1 after each of {_steps(c)}, types learned so far, {VIEW_TITLES[view]}.{_std(c)}"
    return _score_table(
        c,
        view,
        "steps",
        caption,
        ("Method", *(f"S{k}" for k in steps)),
        sections,
        data,
        "column",
    )


def type_table(c: Comparison, view: str) -> Table:
    """Return F1 of each type after the last step.

    Types are sorted by task in the order of the first run, or by name if a type's task depends on the order.
    """
    frame = with_f1(c.counts[(c.counts["view"] == view) & (c.counts["step"] == c.n_steps)], "type")
    sections: list[Section] = []
    data: list[dict[str, object]] = []
    tasks = learning_order(c.runs[0])
    if c.tasks_vary:
        tasks = [Task(name="", types=sorted(t for task in tasks for t in task.types), learned_at=1)]
    for task in tasks:
        lines: list[Line] = []
        for type_ in task.types:
            here = frame[(frame["type"] == type_) & (frame["task"].eq(task.name) | c.tasks_vary)]
            if here.empty:  # a type that several tasks learn stands under the first of them
                continue
            cells = _cells(c, here, ["f1"], marked=["f1"])["f1"]
            lines.append((type_, *cells.values()))
            for row, cell in cells.items():
                what = {**row.identity, "task": task.name, "type": type_, "n": c.n_models(row, here)}
                data.append({**what, "f1_mean": cell.mean, "f1_std": cell.std})
        if lines:
            sections.append((task.name or "types", tuple(lines)))
    if all(task.types == [task.name] for task in tasks):  # each title would repeat its only line
        sections = [("types", tuple(line for _, lines in sections for line in lines))]
    caption = f"{c.title}: F1 of each type after the last step, {VIEW_TITLES[view]}.{_std(c)}"
    header = ("Type", *(row.label for row in c.rows))
    return _score_table(c, view, "types", caption, header, sections, data, "line")


def learning_table(c: Comparison, view: str) -> Table | None:
    """Return F1 of each step's new task right after learning, and the number of steps that starved or chose no epoch.

    Return None for view ``filter``, because learning is checked on all test sentences.
    """
    if view != "all":
        return None
    frame = new_task_scores(c)
    of_rows = frame["run_id"].isin([run.run_id for run in c.runs])
    steps = range(1, c.n_steps + 1)
    checks = {check.row: check for check in learning_checks(c)}
    cells = {}
    for k in steps:
        here = frame["step"] == k
        alone = {row: _single_task_cell(row, frame[here], "f1", "seed", "task") for row in c.single_task_rows}
        cells[k] = _cells(c, frame[here & of_rows], ["f1"], marked=())["f1"] | alone
    groups = [(group_title(group), rows) for group, rows in c.groups]
    if c.single_task_rows:
        groups.append((SINGLE_TASK_TITLE, [*c.single_task_rows]))
    sections: list[Section] = []
    data: list[dict[str, object]] = []
    for title, rows in groups:
        lines: list[Line] = []
        for row in rows:
            starved = _count_of(len(checks[row].starved), checks[row].checked) if row in checks else DASH
            zero = _count_of(*count_without_choice(c, row))
            lines.append((row.label, starved, zero, *(cells[k][row] for k in steps)))
            own = row.of(frame)
            for k in sorted(set(own["step"])):
                here = own[own["step"] == k]
                n = c.n_models(row, here) if row in c.rows else here.groupby(["seed", "task"]).ngroups
                what = {**row.identity, "step": k, "n": n, "f1_mean": cells[k][row].mean}
                numbers = {"f1_std": cells[k][row].std, "reference_mean": here["reference"].mean()}
                data.append({**what, **numbers, "starved": int(here["starved"].sum())})
        sections.append((title, tuple(lines)))
    caption = (
        f"{c.title}: F1 of the task that is new at each step, right after it was learned, {VIEW_TITLES[view]}. "
        f"Starved: steps at which it is below {100 * FAR_BELOW:.0f} % of a reference's, and {MARGIN:g} points or more "
        "below, of all steps that have one; the reference is the best of single-task models, fine-tuning and joint "
        "training of the same architecture at that step. Dev 0: steps whose dev score was 0 in every epoch, of all "
        f"that have dev scores.{_std(c)}"
    )
    header = ("Method", "Starved", "Dev 0", *(f"S{k}" for k in steps))
    return _score_table(c, view, "learning", caption, header, sections, data)


def difference_table(c: Comparison, view: str, results: Results) -> Table | None:
    """Return mean difference, interval and p of each pair of methods in a group, or None without such a pair.

    The table prints HEADLINE. Its frame also holds the other measures of COMPARED.
    """
    found = {measure: differences(c, view, measure, results) for measure in COMPARED}
    if not found[HEADLINE]:
        return None
    sections: list[Section] = []
    left_out = 0
    for group, rows in c.groups:
        of_group = [d for d in found[HEADLINE] if d.group == group]
        shown = [d for d in of_group if len(rows) <= ALL_PAIRS or d.row == of_group[0].row]
        left_out += len(of_group) - len(shown)
        lines: list[Line] = [(d.row.label, d.other.label, str(d.n), *_numbers(d), _p(d.p), _p(d.p_holm)) for d in shown]
        if lines:
            sections.append((group_title(group), tuple(lines)))
    names = ("n", "units", "mean", "low", "high", "sentences", "p", "p_holm")
    data: list[dict[str, object]] = [
        {"measure": measure, "group": d.group, "method": d.row.method, "config": d.row.config, "label": d.row.label}
        | {"other_method": d.other.method, "other_config": d.other.config, "other_label": d.other.label}
        | {name: getattr(d, name) for name in names}
        for measure, of in found.items()
        for d in of
    ]
    n = len(c.pairs)
    test = "no test"
    if n >= FEW:
        test = (
            "p: of the same t distribution (below 0.05 where the interval leaves 0 out), and after Holm's correction "
            "over all rows"
        )
    caption = (
        f"{c.title}: method minus other method of its group in {NAMES[HEADLINE].name} after the last of {_steps(c)}, "
        f"{VIEW_TITLES[view]}. Mean over n matched (order, seed) runs; {_interval(c)}; {test}."
    )
    header = ("Method", "Other", "n", "Difference", "Low", "High", "Sentences", "p", "p (Holm)")
    more = power_notes(c) if n >= FEW else []
    if left_out:
        more.append(f"of large groups differences to the best alone; {left_out} more pairs are in the CSV file")
    return _score_table(c, view, "differences", caption, header, sections, data, more=more)


def gap_table(c: Comparison, view: str, results: Results) -> Table | None:
    """Return joint training minus each method of its architecture, with intervals, or None without gaps.

    The table prints the gap in HEADLINE. Its frame also holds the other gaps.
    """
    found = {name: gaps(c, view, name, results) for name in GAP_OF}
    if not found["gap"]:
        return None
    runs = c.compared(c.measures[c.measures["view"] == view]).dropna(subset=["gap"])
    models = {row: c.n_models(row, runs) for row in c.rows}
    sections: list[Section] = []
    for group, _ in c.groups:
        lines: list[Line] = [
            (d.other.label, str(models[d.other]), d.row.label, str(models[d.row]), *_numbers(d))
            for d in found["gap"]
            if d.group == group
        ]
        if lines:
            sections.append((group_title(group), tuple(lines)))
    names = ("units", "mean", "low", "high", "sentences")
    data: list[dict[str, object]] = [
        {"measure": measure, **d.other.identity, "n": models[d.other], "joint_method": d.row.method}
        | {"joint_n": models[d.row], **{name: getattr(d, name) for name in names}}
        for measure, of in found.items()
        for d in of
    ]
    caption = (
        f"{c.title}: joint training of the same architecture minus method in {NAMES[HEADLINE].name} after the last of "
        f"{_steps(c)}, {VIEW_TITLES[view]}. Numbers of trained models; the spread of the joint models is part of the "
        f"interval, and one joint model alone gives none; {_interval(c)}."
    )
    header = ("Method", "n", "Joint", "n (joint)", "Gap", "Low", "High", "Sentences")
    return _score_table(
        c, view, "gaps", caption, header, sections, data, more=power_notes(c) if len(c.pairs) >= FEW else ()
    )


def spread_table(c: Comparison, view: str) -> Table | None:
    """Return the spread of runs between orders and between seeds, or None if no method has two trained models."""
    found = {s.row: s for s in spread(c, view, HEADLINE)}
    if max(s.n for s in found.values()) < 2:
        return None
    sections: list[Section] = []
    for group, rows in c.groups:
        lines: list[Line] = []
        for row in rows:
            s = found[row]
            shares = (100 * share for share in (s.order_share, s.share_low, s.share_high))
            parts = (s.order_std, s.seed_std, *shares, s.rank)
            lines.append((row.label, str(s.n), str(s.n_orders), Cell(s.mean, s.std), *map(_plain, parts)))
        sections.append((group_title(group), tuple(lines)))
    names = ("n", "n_orders", "mean", "std", "order_std", "seed_std", "order_share", "share_low", "share_high", "rank")
    data = [
        {**row.identity, "measure": HEADLINE} | {name: getattr(s, name) for name in names} for row, s in found.items()
    ]
    caption = (
        f"{c.title}: {NAMES[HEADLINE].name} after the last of {_steps(c)}, {VIEW_TITLES[view]}. Standard deviation "
        "over all models, over the orders' means, and over seeds within an order (orders that share their models are "
        "one); order's share: percent of the variance that lies between orders (intraclass correlation) with its 95 % "
        "interval, where an estimate below 0 is shown as 0 and is no sign that orders do not matter; rank: within the "
        "group, mean over orders, descriptive."
    )
    header = ("Method", "n", "Orders", "Mean", "Std of orders", "Std of seeds", "Order's share", "Low", "High", "Rank")
    return _score_table(c, view, "spread", caption, header, sections, data)


def with_f1(counts: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Return ``counts`` pooled per run, step and unit (``task`` or ``type``), with a column ``f1`` (0..100)."""
    keys = ["run_id", "method", "config", "step", "task", *([] if unit == "task" else [unit])]
    pooled = counts.groupby(keys, sort=False)[["tp", "fp", "fn"]].sum().reset_index()
    pooled["f1"] = f1_scores(pooled[["tp", "fp", "fn"]].to_numpy())
    return pooled


def _score_table(
    c: Comparison,
    view: str,
    kind: str,
    caption: str,
    header: tuple[str, ...],
    sections: Sequence[Section],
    data: list[dict[str, object]],
    family: str = "",
    more: Sequence[str] = (),
) -> Table:
    """Return the table with its notes. ``family``: the part that has marked best cells, ``column``, ``line`` or ''."""
    marked = any(isinstance(cell, Cell) and cell.bold for _, lines in sections for line in lines for cell in line)
    tests = significance_notes(c, family, marked) if family else ()
    notes = (*notes_of(c), *tests, *more, *undefined_notes(c, view))
    return Table.of(f"{kind}-{view}-{c.slug}", caption, header, sections, notes, data)


def _cells(
    c: Comparison, frame: pd.DataFrame, names: Sequence[str], marked: Collection[str]
) -> dict[str, dict[MethodRow, Cell]]:
    """Return mean and spread of each row's models in the columns ``names`` of ``frame``, which has a row per run.

    The best cells of each group are marked in the columns ``marked``.
    """
    groups = c.per_model(frame, *names).groupby(["method", "config"])
    nowhere = dict.fromkeys(((row.method, row.config) for row in c.rows), math.nan)
    cells = {}
    for name in names:  # means of several columns at once differ in the last digit
        best, tied = best_and_tied(c, frame, name) if name in marked else (set(), set())
        means, stds = (nowhere | found.to_dict() for found in (groups[name].mean(), groups[name].std()))
        cells[name] = {
            row: Cell(means[row.method, row.config], stds[row.method, row.config], bold=row in best, tied=row in tied)
            for row in c.rows
        }
    return cells


def _numbers(d: Difference) -> tuple[Cell, ...]:
    return tuple(map(_plain, (d.mean, d.low, d.high, d.sentences)))


def _interval(c: Comparison) -> str:
    """Return the meaning of the columns Low, High and Sentences of a table of differences."""
    drawn = drawn_together(c)
    if len(c.pairs) < FEW:
        return (
            f"sentences: half the width of low to high, which is the 95 % interval over test {drawn}, for these "
            "trained models only"
        )
    return (
        f"low, high: 95 % t interval over {unit_of(c)}, on these test {drawn}; sentences: half the 95 % interval over "
        f"test {drawn}, for these trained models only"
    )


def _single_task_cell(row: MethodRow, frame: pd.DataFrame, name: str, *models: str) -> Cell:
    """Return mean and spread of a single-task row over its models, which the columns ``models`` identify."""
    values = row.of(frame).groupby([*models])[name].mean()
    return Cell(float(values.mean()), float(values.std(ddof=1)))


def _count_of(n: int, total: int) -> str:
    return f"{n} of {total}" if total else DASH


def _plain(value: float) -> Cell:
    return Cell(value, math.nan)


def _p(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.2g}"


def _steps(c: Comparison) -> str:
    return "1 step" if c.n_steps == 1 else f"{c.n_steps} steps"


def _std(c: Comparison) -> str:
    """Return a caption's sentence on the runs behind means and deviations."""
    frame = c.measures[c.measures["view"] == "all"]
    sizes = {row.label: c.n_models(row, frame) for row in c.rows}
    if set(sizes.values()) == {1}:
        return " One run each."
    return f" Mean ± standard deviation over all finished runs of a method (order, seed), {sample_sizes(sizes)}."

"""The tables as values: which numbers stand where. How they look in each format: ``render``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cl_ner_bench.analysis.compare import GROUPS, Comparison, Row, comparisons
from cl_ner_bench.analysis.frames import Results
from cl_ner_bench.analysis.measures import MEASURES
from cl_ner_bench.analysis.notes import FEW, notes_of, undefined, undertrained
from cl_ner_bench.analysis.render import to_text

VIEW_TITLES = {"all": "all test sentences", "filter": "test sentences that hold a learned type"}
MAIN = {
    "micro_f1": "Micro",
    "macro_f1": "Macro",
    "task_macro_f1": "Task macro",
    "avg_micro_f1": "Avg micro",
    "avg_macro_f1": "Avg macro",
    "forgetting": "Forgetting",
    "bwt": "BWT",
    "learning": "Learning",
    "gap": "Gap",
}
STEPS = {"micro_f1": "Micro-F1", "macro_f1": "Macro-F1 over types", "task_macro_f1": "Macro-F1 over tasks"}
LOWER_IS_BETTER = {"forgetting", "gap"}


@dataclass(frozen=True)
class Cell:
    """Mean and standard deviation (ddof 1; nan with one run) over runs, 0..100; nan is printed as a dash."""

    mean: float
    std: float
    bold: bool = False


Line = tuple[str | Cell, ...]
Section = tuple[str, tuple[Line, ...]]


@dataclass(frozen=True)
class Table:
    """``sections`` are titled groups of rows; each row has as many entries as ``header``.

    ``frame`` holds the same numbers unrounded, as the CSV file gives them.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    frame: pd.DataFrame


def tables(results: Results) -> list[Table]:
    """All tables of a report: main, per step and per type, for both views of each comparison."""
    build = (main_table, step_table, type_table)
    return [make(c, view) for c in comparisons(results) for view in VIEW_TITLES for make in build]


def main_table(c: Comparison, view: str) -> Table:
    """Final and average scores, forgetting, transfer, plasticity and the gap to the own joint training."""
    frame = c.measures[c.measures["view"] == view]
    spread = _spread(c, frame, list(MEASURES))
    sections: list[Section] = []
    for group, rows in c.groups:
        best = {name: _best(c, group, [spread[row][name] for row in rows], name) for name in MAIN}
        lines: list[Line] = [
            (row.label, str(len(row.of(frame))), *(_bold(spread[row][m], best[m]) for m in MAIN)) for row in rows
        ]
        sections.append((GROUPS.get(group, group), tuple(lines)))
    data = [
        {**_identity(row), "n": len(row.of(frame))}
        | {f"{m}_{part}": getattr(spread[row][m], part) for m in MEASURES for part in ("mean", "std")}
        for row in c.rows
    ]
    caption = (
        f"{c.title}: F1 after the last of {_steps(c)} and measures over steps, {VIEW_TITLES[view]}. "
        "Forgetting: mean drop of a task's F1 from its best earlier step (lower is better); BWT: its change "
        "since it was learned; learning: its F1 right after learning; gap: joint training of the same "
        f"architecture minus the method, macro-F1 over tasks.{_std(c)}"
    )
    return _table(c, view, "main", caption, ("Method", "n", *MAIN.values()), sections, data)


def step_table(c: Comparison, view: str) -> Table:
    """Micro-, macro- and task-macro-F1 after each step."""
    frame = c.scores[c.scores["view"] == view]
    steps = range(1, c.n_steps + 1)
    sections: list[Section] = []
    data: list[dict[str, object]] = []
    spreads = {k: _spread(c, frame[frame["step"] == k], list(STEPS)) for k in steps}
    for name, title in STEPS.items():
        for group, rows in c.groups:
            best = {k: _best(c, group, [spreads[k][row][name] for row in rows], name) for k in steps}
            lines: list[Line] = [(row.label, *(_bold(spreads[k][row][name], best[k]) for k in steps)) for row in rows]
            sections.append((f"{title}: {GROUPS.get(group, group)}", tuple(lines)))
    for row in c.rows:
        own = row.of(frame)
        for k in sorted(set(own["step"])):
            cells = spreads[k][row]
            values = {f"{m}_{part}": getattr(cells[m], part) for m in STEPS for part in ("mean", "std")}
            data.append({**_identity(row), "step": k, "n": int((own["step"] == k).sum()), **values})
    caption = f"{c.title}: F1 after each of {_steps(c)}, types learned so far, {VIEW_TITLES[view]}.{_std(c)}"
    return _table(c, view, "steps", caption, ("Method", *(f"S{k}" for k in steps)), sections, data)


def type_table(c: Comparison, view: str) -> Table:
    """F1 of each type after the last step; types by task in the order of the first run, or, where a type's task
    depends on the order, by name."""
    frame = with_f1(c.counts[(c.counts["view"] == view) & (c.counts["step"] == c.n_steps)], "type")
    sections: list[Section] = []
    data: list[dict[str, object]] = []
    tasks = sorted(c.runs[0]["tasks"], key=lambda t: t["learned_at"])
    if c.tasks_vary:
        tasks = [{"name": "", "types": sorted(t for task in tasks for t in task["types"])}]
    for task in tasks:
        lines: list[Line] = []
        for type_ in task["types"]:
            here = frame[(frame["type"] == type_) & (frame["task"].eq(task["name"]) | c.tasks_vary)]
            if here.empty:  # a type that comes back stands under its first task
                continue
            cells = [_cell(row.of(here)["f1"]) for row in c.rows]
            lines.append((type_, *cells))
            for row, cell in zip(c.rows, cells, strict=True):
                own = row.of(here)
                what = {**_identity(row), "task": task["name"], "type": type_, "n": len(own)}
                data.append({**what, "f1_mean": cell.mean, "f1_std": cell.std})
        if lines:
            sections.append((task["name"] or "types", tuple(lines)))
    caption = f"{c.title}: F1 of each type after the last step, {VIEW_TITLES[view]}.{_std(c)}"
    return _table(c, view, "types", caption, ("Type", *(row.label for row in c.rows)), sections, data)


def terminal_table(results: Results) -> str:
    """What `bench run` prints at its end: the main table (all test sentences), notes, and unfinished runs."""
    parts = [to_text(main_table(c, "all"), leave_out=("Avg macro", "BWT")) for c in comparisons(results)]
    broken = [run for run in results.runs if run["status"] != "done"]
    if broken:
        lines = [f"{len(broken)} run(s) not finished:"]
        lines += [f"  {r['run_id']}: {r['status']}. {r.get('reason') or ''}".rstrip() for r in broken]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) or "no runs yet"


def with_f1(counts: pd.DataFrame, unit: str) -> pd.DataFrame:
    """``counts`` pooled per run, step and unit (``task`` or ``type``), with a column ``f1`` (0..100)."""
    keys = ["run_id", "method", "config", "step", "task", *([] if unit == "task" else [unit])]
    pooled = counts.groupby(keys, sort=False)[["tp", "fp", "fn"]].sum().reset_index()
    gold = pooled["tp"] + pooled["fn"]
    pooled["f1"] = (200 * pooled["tp"] / (gold + pooled["tp"] + pooled["fp"])).where(gold > 0)
    return pooled


def _table(
    c: Comparison,
    view: str,
    kind: str,
    caption: str,
    header: tuple[str, ...],
    sections: Sequence[Section],
    data: list[dict[str, object]],
) -> Table:
    notes = (*notes_of(c), *undefined(c, view))
    frame = pd.DataFrame(data)
    frame["notes"] = "; ".join(notes)
    return Table(f"{kind}-{view}-{c.slug}", caption, header, tuple(sections), notes, frame)


def _identity(row: Row) -> dict[str, object]:
    return {"method": row.method, "config": row.config, "label": row.label, "group": row.group}


def _spread(c: Comparison, frame: pd.DataFrame, names: Sequence[str]) -> dict[Row, dict[str, Cell]]:
    return {row: {name: _cell(row.of(frame)[name]) for name in names} for row in c.rows}


def _cell(values: pd.Series) -> Cell:
    return Cell(float(values.mean()), float(values.std(ddof=1)))


def _best(c: Comparison, group: str, cells: Sequence[Cell], name: str) -> float:
    """The mean that is set bold, nan for none: only among several methods of a group, over enough runs."""
    means = [round(cell.mean, 2) for cell in cells if not math.isnan(cell.mean)]
    if group == "reference" or len(means) < 2 or not c.matched or len(c.pairs) < FEW or undertrained(c):
        return math.nan
    return min(means) if name in LOWER_IS_BETTER else max(means)


def _bold(cell: Cell, best: float) -> Cell:
    return Cell(cell.mean, cell.std, round(cell.mean, 2) == best)


def _steps(c: Comparison) -> str:
    return "1 step" if c.n_steps == 1 else f"{c.n_steps} steps"


def _std(c: Comparison) -> str:
    if not c.matched:
        return " Mean ± standard deviation over each method's own runs."
    n = len(c.pairs)
    return " One run each." if n == 1 else f" Mean ± standard deviation over n = {n} runs (order, seed)."

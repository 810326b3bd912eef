"""Comparisons: methods on one dataset and scenario, over matched (order, seed) pairs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cl_ner_bench.analysis.data.distinct import LAST, Models, models_of, per_model
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.measures import SINGLE_TASK, Floats
from cl_ner_bench.analysis.scores.names import HEADLINE
from cl_ner_bench.storage.run_record import NEWCOMER, RunRecord, Task

_LONGEST = 160  # bytes of a slug: file names end at 255
SHARED_PRINTS = ("data", "encoder")  # fingerprints that comparable runs share
GROUPS = {
    "memory-free": "Memory-free",
    "exemplar": "Stored examples",
    "closed-form": "Closed form or frozen encoder",
    "imported": "Imported results",
    "reference": "References",
}
LOWER_BOUNDS = ("finetune-span", "finetune-token")


APART = ("imported", "reference")
"""Groups that are shown beside the methods but are in no test, rank or claim about differences. The training data of
imported results is unknown."""


@dataclass(frozen=True)
class MethodRow:
    """A method with one setting: a row of a table, a line of a figure."""

    method: str
    config: str
    label: str
    group: str
    architecture: str

    @property
    def identity(self) -> dict[str, object]:
        """Return the columns that name the row in the CSV file of a table."""
        return {"method": self.method, "config": self.config, "label": self.label, "group": self.group}

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return this method's rows of ``frame``."""
        return frame[self.places(frame)]

    def column(self, frame: pd.DataFrame, name: str) -> pd.Series:
        """Return column ``name`` of this method's rows of ``frame``, without copying the other columns."""
        return frame[name][self.places(frame)]

    def places(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Return a mask of this method's rows of ``frame``. (Tables call it thousands of times; numpy is faster.)"""
        return (frame["method"].to_numpy() == self.method) & (frame["config"].to_numpy() == self.config)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The rows of one table with all of their finished runs, and the runs for differences between them.

    Differences use only ``pairs``, the (order, seed) pairs that every method finished, because other runs would mix
    differences between runs into differences between methods. References and imported results may lack a pair, unless
    there are no methods. ``left_out``: the pairs that only some methods finished, with the rows that lack the pair and
    the reason. ``matched`` is false if no pair is left. Single-task models are references for learning only: beside
    methods they have no row, but frames of their own (``single_task_*``).
    """

    dataset: str
    scenario: str
    encoder: str
    slug: str  # part of file names
    n_steps: int
    rows: tuple[MethodRow, ...]
    pairs: tuple[tuple[int, int], ...]
    matched: bool
    left_out: Mapping[tuple[int, int], Mapping[MethodRow, str]]
    runs: tuple[RunRecord, ...]
    measures: pd.DataFrame
    scores: pd.DataFrame
    counts: pd.DataFrame
    joints: Mapping[str, str]  # run_id -> the joint run that gives its gaps
    single_task_rows: tuple[MethodRow, ...]
    single_task_runs: tuple[RunRecord, ...]
    single_task_measures: pd.DataFrame
    single_task_counts: pd.DataFrame
    repeated: Mapping[int, int] = field(default_factory=dict)  # order without runs here -> the order that it repeats
    damaged: tuple[str, ...] = ()  # runs of the results that cannot be read; their rows are unknown
    whole: Comparison | None = None  # the comparison of all methods, if only some are shown

    @property
    def title(self) -> str:
        return f"{self.dataset}, {self.scenario}, {self.encoder}"

    @property
    def basis(self) -> Comparison:
        """Return the comparison of all methods, which keeps the references of learning and gaps."""
        return self.whole or self

    @property
    def groups(self) -> list[tuple[str, list[MethodRow]]]:
        """Return the rows by group, in the order of ``GROUPS``."""
        names = [*GROUPS, *sorted({row.group for row in self.rows} - set(GROUPS))]
        grouped = [(name, [row for row in self.rows if row.group == name]) for name in names]
        return [(name, rows) for name, rows in grouped if rows]

    @property
    def orders(self) -> list[int]:
        """Return all orders with a finished run."""
        return sorted({run.order for run in self.runs})

    def tasks_of(self, order: int) -> list[Task]:
        """Return the tasks of an order, by the step at which they are learned."""
        return learning_order(next(run for run in self.runs if run.order == order))

    @property
    def n_orders(self) -> int:
        """Return the number of orders in ``compared_runs``."""
        return len({run.order for run in self.compared_runs})

    @property
    def first_order(self) -> int:
        """Return the lowest order in ``compared_runs``."""
        return min(int(run.order) for run in self.compared_runs)

    @cached_property
    def compared_runs(self) -> tuple[RunRecord, ...]:
        """Return the runs of the matched pairs, or all runs if no pair is matched."""
        ids = {run_id for by_row in self.matched_runs for run_id in by_row.values()}
        return tuple(run for run in self.runs if run.run_id in ids or not self.matched)

    def compared(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of ``frame`` that belong to ``compared_runs``."""
        return _rows_of_runs(frame, [run.run_id for run in self.compared_runs])

    @property
    def adds_one(self) -> bool:
        """Return True if every run learns all types but one, then the newcomer that its order names."""
        return all(run.order_of == NEWCOMER for run in self.runs)

    @property
    def tasks_vary(self) -> bool:
        """Return True if a type belongs to different tasks in different orders (orders of ``fgA-pgB``)."""
        return len({tuple(sorted(map(_content, run.tasks))) for run in self.runs}) > 1

    @cached_property
    def models(self) -> Models:
        """Return the trained model behind each run and step; runs of several orders may share a model."""
        return models_of(self.runs)

    def per_model(self, frame: pd.DataFrame, *names: str, by: Sequence[str] = ()) -> pd.DataFrame:
        """Return ``names`` with a row per trained model (and value of ``by``), from ``frame`` with a row per run."""
        return per_model(frame, self.models, names, by)

    def n_models(self, row: MethodRow, frame: pd.DataFrame) -> int:
        """Return the number of trained models of ``row`` in ``frame``."""
        here = row.places(frame)
        runs = frame["run_id"].to_numpy()[here]
        steps = frame["step"].to_numpy()[here] if "step" in frame else [LAST] * len(runs)
        return len({self.models[place] for place in zip(runs, steps, strict=True)})

    def values(self, rows: Iterable[MethodRow], frame: pd.DataFrame, name: str) -> Floats:
        """Return ``frame[name]`` as ``[pairs, rows]``, sorted like ``matched_runs``; nan for runs not in ``frame``.

        ``frame`` holds one row per run, of one view and at most one step.
        """
        by_run = dict(zip(frame["run_id"], frame[name], strict=True))
        rows = list(rows)
        table = [[by_run.get(ids.get(row, ""), np.nan) for row in rows] for ids in self.matched_runs]
        return np.array(table, dtype=np.float64).reshape(-1, len(rows))

    @cached_property
    def row_of(self) -> dict[str, MethodRow]:
        """Return the row of each run, by its id."""
        rows = {(row.method, row.config): row for row in self.rows}
        return {run.run_id: rows[run.method, run.config] for run in self.runs}

    @cached_property
    def lower_bounds(self) -> set[MethodRow]:
        """Return the rows of plain fine-tuning."""
        return {self.row_of[run.run_id] for run in self.runs if run.registry_name in LOWER_BOUNDS}

    @cached_property
    def matched_runs(self) -> list[dict[MethodRow, str]]:
        """Return for each matched (order, seed) pair the runs of its rows, sorted by pair."""
        by_pair: dict[tuple[int, int, str], dict[MethodRow, str]] = {}
        for run in self.runs:
            by_pair.setdefault(_pair(run), {})[self.row_of[run.run_id]] = run.run_id
        needed = set(_compared_rows(self.rows))
        return [by_pair[pair] for pair in sorted(by_pair) if needed <= by_pair[pair].keys()]


@lru_cache(maxsize=4)
def comparisons(results: Results) -> tuple[Comparison, ...]:
    """Divide the finished runs into comparisons: the runs that may stand in one table. Sorted by dataset.

    Imported results stand in every comparison on their data and tasks, whatever their encoder.
    """
    blocks: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in sorted(results.finished, key=lambda run: run.imported is not None):  # stable
        tasks = _tasks(run)
        # Different sentences, another split or another encoder of the same name make another comparison.
        data = (
            run.settings.get("split_seed", 0),
            *(str(run.fingerprints.get(k)) for k in SHARED_PRINTS),
        )
        sample = run.settings.get("max_sentences") or 0
        key = (run.dataset, run.scenario, run.encoder, sample, tasks, data)
        same = [k for k in blocks if run.imported and _without_encoder(k) == _without_encoder(key)]
        for place in same or [key]:
            blocks.setdefault(place, []).append(run)
    out: list[Comparison] = []
    slugs: set[str] = set()
    for key in sorted(blocks):
        slug = _slug(*key[:3])
        while slug in slugs:  # other tasks or sentences of the same dataset
            slug += "-b"
        slugs.add(slug)
        shown = [run for run in blocks[key] if not results.chosen or run.method in results.chosen]
        if shown:
            whole = _compare(replace(results, chosen=()), slug, blocks[key]) if shown != blocks[key] else None
            out.append(replace(_compare(results, slug, shown), whole=whole))
    return tuple(out)


def _without_encoder(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a comparison's key without the parts that identify the encoder."""
    dataset, scenario, _, sample, tasks, (split_seed, data, _) = key
    return dataset, scenario, sample, tasks, split_seed, data


def _compare(results: Results, slug: str, block: list[RunRecord]) -> Comparison:
    repeated = _repeated_orders(block)
    block = [run for run in block if run.order not in repeated]
    runs = [run for run in block if run.registry_name not in SINGLE_TASK] or block
    by_row = _by_row(runs)
    measures = _rows_of_runs(results.measures, {run.run_id for run in runs})
    rows = _method_rows(by_row, measures, results.chosen)
    finished = {row: set(map(_pair, by_row[row.method, row.config])) for row in _compared_rows(rows)}
    common = set.intersection(*finished.values())
    ids = {run.run_id for run in runs}
    single = [run for run in block if run not in runs]
    single_ids = {run.run_id for run in single}
    single_measures = _rows_of_runs(results.measures, single_ids)
    return Comparison(
        dataset=runs[0].dataset,
        scenario=runs[0].scenario,
        encoder=runs[0].encoder,
        slug=slug,
        n_steps=max(run.n_steps for run in runs),
        rows=tuple(rows),
        pairs=tuple(sorted((order, seed) for order, seed, _ in common)),
        matched=bool(common),
        left_out=_left_out(finished, common),
        runs=tuple(runs),
        measures=measures,
        scores=_rows_of_runs(results.scores, ids),
        counts=_rows_of_runs(results.counts, ids),
        joints={run_id: joint for run_id, joint in results.joints.items() if run_id in ids and joint in ids},
        single_task_rows=tuple(_method_rows(_by_row(single), single_measures, results.chosen)),
        single_task_runs=tuple(single),
        single_task_measures=single_measures,
        single_task_counts=_rows_of_runs(results.counts, single_ids),
        repeated=repeated,
        damaged=_damaged(results),
    )


def _repeated_orders(runs: Sequence[RunRecord]) -> dict[int, int]:
    """Return the orders whose runs repeat those of a lower order, run by run, with that order.

    Orders are drawn, and few tasks have few permutations. Such runs are copies: they say nothing about other orders.
    """
    models: dict[int, set[tuple[Any, ...]]] = {}
    for run in runs:
        tasks = tuple(map(_content, learning_order(run)))
        keys = tuple(run.key(step) or run.run_id for step in run.steps)  # a run without keys has models of its own
        models.setdefault(run.order, set()).add((tasks, run.method, run.config, run.seed, keys))
    orders = sorted(models)
    first = {order: next(other for other in orders if models[order] <= models[other]) for order in orders}
    return {order: other for order, other in first.items() if other != order}


def _left_out(
    finished: Mapping[MethodRow, set[tuple[int, int, str]]], common: set[tuple[int, int, str]]
) -> dict[tuple[int, int], dict[MethodRow, str]]:
    """Return the pairs that only some rows finished, each with the rows that lack the pair and the reason."""
    found: dict[tuple[int, int], dict[MethodRow, str]] = {}
    for order, seed, split in sorted(set.union(*finished.values()) - common):
        for row, own in finished.items():
            if (order, seed, split) not in own:
                replayed = any((order, seed) == pair[:2] for pair in own)
                reason = "another task split" if replayed else "not finished"
                found.setdefault((order, seed), {})[row] = reason
    return found


def _damaged(results: Results) -> tuple[str, ...]:
    """Return the runs that are left out because of a damaged file."""
    read = {folder.path.name for folder in results.folders.values()}
    return tuple(sorted({fault.run for fault in results.damaged} - read - {""}))


def _tasks(run: RunRecord) -> tuple[Any, ...]:
    """Return the part of the tasks that comparable runs share: names and types, or types if tasks vary by order."""
    if run.order_of in ("types", NEWCOMER):
        return (len(run.tasks), *sorted(t for task in run.tasks for t in task.types))
    return tuple(sorted(map(_content, run.tasks)))


def group_title(group: str) -> str:
    """Return the printed name of a group; the group itself if a newer version added it."""
    return GROUPS.get(group, group)


def group_of(run: RunRecord) -> str:
    """Return the group of a run's method: a key of ``GROUPS``, or a name that a newer version added.

    The record overrides the card: a memory-free method that learned from the data of all steps so far is a reference,
    and a memory-free or closed-form method that kept sentences of earlier steps has stored examples.
    """
    group = str(run.group)
    if group == "memory-free" and run.data == "union":
        return "reference"
    if group in ("memory-free", "closed-form") and most_stored(run).get("sentences"):
        return "exemplar"
    return group


def most_stored(run: RunRecord) -> Mapping[str, int]:
    """Return the sentences, mentions and bytes of text in a run's memory when it was largest; empty without memory."""
    return max((step["memory"] for step in run.learned if "memory" in step), key=lambda m: m["bytes"], default={})


def learning_order(run: RunRecord) -> list[Task]:
    """Return the run's tasks by the step at which they are learned."""
    return sorted(run.tasks, key=lambda task: task.learned_at)


def _content(task: Task) -> tuple[str, ...]:
    return (task.name, *sorted(task.types))


def _pair(run: RunRecord) -> tuple[int, int, str]:
    """Return order, seed and task split. A replayed split may differ although the order's number is the same."""
    return run.order, run.seed, str(run.fingerprints.get("split"))


def _by_row(runs: Iterable[RunRecord]) -> dict[tuple[str, str], list[RunRecord]]:
    """Return the runs of each method and config."""
    found: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        found.setdefault((run.method, run.config), []).append(run)
    return found


def _method_rows(
    by_row: Mapping[tuple[str, str], list[RunRecord]], measures: pd.DataFrame, chosen: Sequence[str]
) -> list[MethodRow]:
    """Return the rows by group; within a group as chosen, else by HEADLINE (all test sentences), highest first."""
    firsts = [runs[0] for runs in by_row.values()]
    labels = [run.label for run in firsts]
    rows = []
    for run in firsts:
        # Joined folders may hold two settings of one method; the config distinguishes them.
        label = run.label if labels.count(run.label) == 1 else f"{run.label} [{run.config}]"
        rows.append(MethodRow(run.method, run.config, label, group_of(run), run.architecture))
    rank = {name: i for i, name in enumerate(GROUPS)}
    means = measures[measures["view"] == "all"].groupby(["method", "config"])[HEADLINE].mean().fillna(-math.inf)
    place = {row: chosen.index(row.method) if chosen else -means[row.method, row.config] for row in rows}
    return sorted(rows, key=lambda r: (rank.get(r.group, len(rank)), place[r], r.architecture, r.label, r.config))


def _compared_rows(rows: Iterable[MethodRow]) -> list[MethodRow]:
    """Return the rows that are compared: all rows outside ``APART``, or all rows if every row is in ``APART``."""
    rows = list(rows)
    return [row for row in rows if row.group not in APART] or rows


def _rows_of_runs(frame: pd.DataFrame, ids: Iterable[str]) -> pd.DataFrame:
    return frame[frame["run_id"].isin(list(ids))].reset_index(drop=True)


def _slug(*parts: str) -> str:
    """Return words for a file name. A path (a dataset or encoder by folder) gives its last part."""
    names = [re.sub(r"[^\w.-]+", "-", part.rstrip("/\\").replace("\\", "/").split("/")[-1]) for part in parts]
    words = "-".join(name.strip("-.") or "x" for name in names).lower().encode()
    return words[:_LONGEST].decode(errors="ignore")  # file systems limit the length of file names

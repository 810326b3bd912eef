"""A results folder as tidy pandas frames. Reads only the files that ``docs/results.md`` describes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cl_ner_bench.analysis.data.distinct import Models, models_of, per_model
from cl_ner_bench.analysis.data.merging import merge_folders
from cl_ner_bench.analysis.scores import measures
from cl_ner_bench.analysis.scores.measures import JOINT, SINGLE_TASK, Floats, TaskLayout
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.checks import Damaged, DamagedError, learn_again
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RUN, RunRecord
from cl_ner_bench.untrusted import unpacked

VIEWS = ("all", "filter")
# Measures that compare steps need the same sentences at every step.
FIXED = {"all": "all", "filter": "filter_last"}

COUNTS = [*RUN, "step", "view", "test_set", "task", "type", "learned_at", "tp", "fp", "fn"]
STEP_GAPS = {"gap_micro": "micro_f1", "gap_macro": "macro_f1", "gap_task_macro": "task_macro_f1"}
SCORES = [*RUN, "step", "n_steps", "view", *measures.STEP_SCORES, *STEP_GAPS]
ROW = ["method", "dataset", "scenario", "view", "encoder", "config"]
SUMMARY = [
    *ROW,
    *("label", "n_runs", "n_orders", "n_seeds"),
    *(f"{name}_{part}" for name in measures.MEASURES for part in ("mean", "std")),
    "gap_n",  # number of the n_runs whose joint training is finished
]


def quick_strings() -> Any:
    """Return a context, or decorator, in which pandas holds text as Python strings.

    For frames of a few thousand rows the calls of pyarrow (if it is installed) take longer than the work.
    """
    return pd.option_context("mode.string_storage", "python")


LARGEST = 1 << 40  # counts stay below it, so their sums fit 64 bits
_SHOWN = 5  # rows of the summary that ``repr`` shows


# Equality by identity makes results hashable, so functions of them can be cached.
@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """The runs of one or more results folders, and their scores. All scores are 0..100.

    ``runs``: the records (``run.json``) of all runs, finished or not, sorted by ``run_id``.
    The frames hold finished runs only. ``counts`` has a row per run, step, view, test set and type; ``scores``
    a row per run, step and view; ``measures`` a row per run and view with every measure; ``summary`` a row
    per method, dataset, scenario, view, encoder and config with mean and std (ddof 1) over its trained models (runs
    that hold a copy of one model count once).
    Columns: ``COUNTS``, ``SCORES``, ``SUMMARY``. ``damaged``: files that changed after they were written or cannot be
    read; the other fields leave out the runs of these files. ``trials``: the records of `bench tune`'s runs, which are
    scored on dev; no frame holds them.
    """

    runs: list[RunRecord]
    counts: pd.DataFrame
    scores: pd.DataFrame
    measures: pd.DataFrame
    folders: Mapping[str, RunFolder]  # run_id -> its folder
    joints: Mapping[str, str]  # run_id -> the joint run that gives its gaps
    damaged: tuple[Damaged, ...] = ()
    trials: tuple[RunRecord, ...] = ()
    chosen: tuple[str, ...] = ()  # the methods that comparisons show, in this order; empty: all

    def __repr__(self) -> str:
        """Return about ten lines: the number of runs, the best rows of the summary, and the names of the frames."""
        states = Counter(run.status for run in self.runs)
        lines = [
            f"Results of {len(self.runs)} runs: {', '.join(f'{n} {state}' for state, n in states.items()) or 'none'}"
        ]
        if self.damaged:
            lines.append(f"left out, .damaged says why: {len(self.damaged)} damaged files")
        best = self.summary[self.summary["view"] == "all"].sort_values("task_macro_f1_mean", ascending=False)
        if len(best):
            lines.append(f"{NAMES['task_macro_f1'].name} after the last step (all test sentences), the highest:")
        for _, row in best.head(_SHOWN).iterrows():
            spread = "" if np.isnan(row["task_macro_f1_std"]) else f" ± {row['task_macro_f1_std']:.1f}"
            where = ", ".join(map(str, row[["dataset", "scenario", "encoder"]]))
            lines.append(
                f"  {row['label']:<24} {row['task_macro_f1_mean']:5.1f}{spread}, n = {row['n_runs']} ({where})"
            )
        if len(best) > _SHOWN:
            lines.append(f"  and {len(best) - _SHOWN} more rows in .summary")
        sizes = (f".{name} ({len(getattr(self, name)):,} rows)" for name in ("counts", "scores", "measures", "summary"))
        lines.append(f"frames: {', '.join(sizes)}")
        if self.trials:
            lines.append(f"trials of `bench tune`, in none of the frames: .trials ({len(self.trials)})")
        lines.append("records: .runs, .finished; mentions: .predictions(run_id, step)")
        return "\n".join(lines)

    @cached_property  # takes half of the time of reading a small folder, and no report uses it
    @quick_strings()
    def summary(self) -> pd.DataFrame:
        return _summary(self.measures, models_of(self.finished))

    @property
    def finished(self) -> list[RunRecord]:
        return [run for run in self.runs if run.status == "done"]

    def predictions(self, run_id: str, step: int) -> pd.DataFrame:
        """Return a row per gold and per predicted mention of the test set after ``step``.

        Columns: ``id`` (sentence), ``source`` (``gold`` or ``pred``), ``start``, ``end`` (exclusive),
        ``type``, ``score`` (0..1, nan for gold). Raises UserError for an unknown run or step.
        """
        if run_id not in self.folders:
            raise UserError(f"no run {run_id!r} here; the runs are {', '.join(self.folders)}")
        path = self.folders[run_id].predictions_file(step)
        if not path.is_file():
            raise UserError(f"{path} does not exist: run {run_id} stored no step {step}")
        rows: list[tuple[Any, ...]] = []
        try:
            for line in unpacked(path.read_bytes()).splitlines():
                row = json.loads(line)
                rows += [(row["id"], "gold", *mention, np.nan) for mention in row["gold"]]
                rows += [(row["id"], "pred", *mention) for mention in row["pred"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path} cannot be read ({error}): remove the run's folder and run again") from error
        return pd.DataFrame(rows, columns=["id", "source", "start", "end", "type", "score"])


def load_results(*dirs: str | PathLike[str]) -> Results:
    """Return all runs in the given results folders; the same run in two of them counts once.

    A run with a torn, changed or incomplete file, or with a file of a newer version, is left out
    (``Results.damaged``).

    Raises:
        UserError: a folder is no results folder, or the folders do not fit together (``data.merging``).
    """
    return _results(*merge_folders([Path(d) for d in dirs]))


def leave_out(results: Results, damaged: Iterable[Damaged]) -> Results:
    """Return ``results`` without the runs of these files."""
    damaged = [*damaged]
    gone = {fault.run for fault in damaged}
    folders = {run_id: folder for run_id, folder in results.folders.items() if folder.path.name not in gone}
    runs = [run for run in (*results.runs, *results.trials) if run.run_id in folders]
    return _results(runs, folders, [*results.damaged, *damaged])


@quick_strings()
def _results(runs: list[RunRecord], folders: dict[str, RunFolder], damaged: list[Damaged]) -> Results:
    trials = tuple(run for run in runs if run.trial)
    runs = [run for run in runs if not run.trial]
    counts, layouts = _Counts(), _Layouts()
    views_of: dict[str, dict[str, NDArray[np.int64]]] = {}
    for run in [run for run in runs if run.status == "done"]:
        run_id = run.run_id
        try:
            views_of[run_id] = counts.read(run, folders[run_id], layouts.of(run))
        except DamagedError as error:
            damaged.append(error.damaged)
            del folders[run_id]
    runs = [run for run in runs if run.run_id in folders]
    done = [run for run in runs if run.status == "done"]
    step_scores: dict[tuple[str, str], dict[str, Floats]] = {}
    fixed: dict[tuple[str, str], NDArray[np.int64]] = {}
    totals: dict[tuple[str, str], dict[str, float]] = {}
    for run in done:
        run_id, layout = run.run_id, layouts.of(run)
        arrays = views_of[run_id]
        complete = run.is_complete()
        for view in VIEWS:
            fixed[run_id, view] = arrays[FIXED[view]]
            scores = measures.step_scores(arrays[view], layout)
            step_scores[run_id, view] = scores
            totals[run_id, view] = {name: float(values[-1]) for name, values in scores.items()}
            totals[run_id, view] |= measures.over_steps(scores, fixed[run_id, view], layout, complete)
            if run.registry_name in SINGLE_TASK:
                step_scores[run_id, view] = {name: values * np.nan for name, values in scores.items()}
                not_theirs = totals[run_id, view].keys() - set(measures.OF_SINGLE_TASK)
                totals[run_id, view] |= dict.fromkeys(not_theirs, np.nan)
    score_rows, measure_rows = [], []
    joints, joint_of = _joints(done), {}
    for run in done:
        own, best = (None, []) if run.registry_name in SINGLE_TASK else _bounds(run, joints.get(_data(run), []))
        identity, layout = [getattr(run, key) for key in RUN], layouts.of(run)
        if own:
            joint_of[run.run_id] = own.run_id
        for view in VIEWS:
            scores, total = step_scores[run.run_id, view], totals[run.run_id, view]
            joint = fixed[own.run_id, view] if own and own.is_complete() and run.is_complete() else None
            total |= measures.against_joint(fixed[run.run_id, view], joint, layout)
            gaps = {
                name: step_scores[own.run_id, view][of] - scores[of] if own else scores[of] * np.nan
                for name, of in STEP_GAPS.items()
            }
            for step in run.steps:
                values = [scores[name][step - 1] for name in measures.STEP_SCORES]
                values += [gaps[name][step - 1] for name in STEP_GAPS]
                score_rows.append((*identity, step, run.n_steps, view, *values))
            total["gap"], total["gap_micro"], total["gap_macro"] = (
                float(gaps[name][-1]) for name in ("gap_task_macro", "gap_micro", "gap_macro")
            )
            tops = [totals[bound.run_id, view]["task_macro_f1"] for bound in best]
            total["gap_best"] = float(np.max(tops)) - total["task_macro_f1"] if tops else np.nan
            measure_rows.append((*identity, view, run.label, *(total[m] for m in measures.MEASURES)))
    per_run = pd.DataFrame(measure_rows, columns=[*RUN, "view", "label", *measures.MEASURES])
    return Results(
        runs=runs,
        counts=counts.frame(),
        scores=pd.DataFrame(score_rows, columns=SCORES),
        measures=per_run,
        folders=folders,
        joints=joint_of,
        damaged=tuple(damaged),
        trials=trials,
    )


class _Layouts:
    """The layout of each run. Runs with the same tasks share a layout."""

    def __init__(self) -> None:
        self.made: dict[bytes, TaskLayout] = {}

    def of(self, run: RunRecord) -> TaskLayout:
        key = msgspec.json.encode(run.tasks)
        self.made[key] = self.made.get(key) or TaskLayout.of(run.tasks)
        return self.made[key]


def _joints(done: Iterable[RunRecord]) -> dict[tuple[Any, ...], list[RunRecord]]:
    """Return the joint runs by ``_data``. Warm-started joint training is another method and no reference for gaps."""
    joints: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in done:
        if run.registry_name in JOINT:
            joints.setdefault(_data(run), []).append(run)
    return joints


def _data(run: RunRecord) -> tuple[Any, ...]:
    """Return the values that a run shares with its reference: data, split, order, seed and encoder."""
    fingerprints = run.fingerprints
    shared = ("dataset", "scenario", "order", "seed", "encoder")
    return (*(getattr(run, key) for key in shared), fingerprints.get("data"), fingerprints.get("split"))


def _bounds(run: RunRecord, joints: Sequence[RunRecord]) -> tuple[RunRecord | None, list[RunRecord]]:
    """Return the reference of ``run`` among the ``joints`` on its data, and the references of both architectures.

    The second is empty if either architecture lacks a reference. ``setting`` differs between architectures because it
    covers the architecture's own hyper-parameters.
    """
    joint = sorted(joints, key=lambda b: (b.method != b.registry_name, b.run_id))  # a variant comes last
    own = [b for b in joint if b.architecture == run.architecture and b.setting == run.setting]
    other = [b for b in joint if b.architecture != run.architecture]
    # Joined folders may hold several settings of the other architecture; the matching one is unknown.
    single = len({b.setting for b in other}) == 1
    return (own[0] if own else None), ([own[0], other[0]] if own and single else [])


def _summary(per_run: pd.DataFrame, models: Models) -> pd.DataFrame:
    """Return means, standard deviations and n over the distinct trained models of each row."""
    place = [name for name in ROW if name not in ("method", "config")]
    groups = per_model(per_run, models, measures.MEASURES, place).groupby(ROW, sort=True)
    names = list(measures.MEASURES)
    parts = [
        per_run.groupby(ROW, sort=True).agg(
            label=("label", "first"), n_orders=("order", "nunique"), n_seeds=("seed", "nunique")
        ),
        groups.size().rename("n_runs"),
        groups[names].mean().add_suffix("_mean"),
        groups[names].std(ddof=1).add_suffix("_std"),
        groups["gap"].count().rename("gap_n"),
    ]
    return pd.concat(parts, axis=1).reset_index()[SUMMARY]


class _Counts:
    """The counts of runs, gathered for one frame. ``frame`` adds the names by column, because a large grid has half a
    million rows."""

    def __init__(self) -> None:
        self.runs: list[tuple[RunRecord, TaskLayout, int]] = []  # with its number of rows
        self.steps: list[int] = []
        self.views: list[str] = []
        self.units: list[int] = []  # of the run's layout
        self.triples: list[NDArray[np.int64]] = []

    def read(self, run: RunRecord, folder: RunFolder, layout: TaskLayout) -> dict[str, NDArray[np.int64]]:
        """Add one run, and return its counts ``[T, units, 3]`` by view."""
        index = {unit: i for i, unit in enumerate(layout.units)}
        shape = (run.n_steps, len(index), 3)
        arrays = {view: np.zeros(shape, dtype=np.int64) for view in sorted({*VIEWS, *FIXED.values()})}
        rows: list[tuple[int, str, list[int], NDArray[np.int64]]] = []  # added only if the whole run can be read
        for step in run.steps:
            path = folder.counts_file(step)
            try:
                views = folder.counts(step)["views"]
                for view, array in arrays.items():
                    for test_set in sorted(views[view]):
                        by_type = views[view][test_set]
                        units = [index[test_set, type_] for type_ in by_type]
                        triples = _triples(by_type.values())
                        if run.registry_name in SINGLE_TASK:
                            own = layout.learned[units] == step
                            units, triples = list(np.array(units, dtype=np.int64)[own]), triples[own]
                        array[step - 1, units] = triples
                        if view in VIEWS:
                            rows.append((step, view, units, triples))
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
                raise DamagedError(path, f"is not as docs/results.md says ({error!r})", learn_again(path)) from error
        for step, view, units, triples in rows:
            self.steps += [step] * len(units)
            self.views += [view] * len(units)
            self.units += units
            self.triples.append(triples)
        self.runs.append((run, layout, sum(len(units) for _, _, units, _ in rows)))
        return arrays

    def frame(self) -> pd.DataFrame:
        """Return all counts as a frame of the columns ``COUNTS``."""
        units = np.array(self.units, dtype=np.int64)
        sizes = [size for *_, size in self.runs]
        parts = np.split(units, np.cumsum(sizes)[:-1]) if sizes else []
        columns: dict[str, Any] = {key: _repeated([getattr(run, key) for run, *_ in self.runs], sizes) for key in RUN}
        columns |= {"step": np.array(self.steps, dtype=np.int64), "view": self.views}

        def named(of: Callable[[TaskLayout], Any]) -> Any:
            taken = [np.array(of(layout))[part] for (_, layout, _), part in zip(self.runs, parts, strict=True)]
            return np.concatenate(taken) if taken else []

        columns["test_set"] = named(lambda layout: np.array([test_set for test_set, _ in layout.units], dtype=object))
        columns["task"] = named(lambda layout: np.array(layout.task_of, dtype=object))
        columns["type"] = named(lambda layout: np.array([type_ for _, type_ in layout.units], dtype=object))
        columns["learned_at"] = named(lambda layout: layout.learned)
        triples = np.concatenate([np.empty((0, 3), dtype=np.int64), *self.triples])
        columns |= dict(zip(("tp", "fp", "fn"), triples.T, strict=True))
        return pd.DataFrame(columns, columns=COUNTS)


def _repeated(values: list[Any], sizes: list[int]) -> Any:
    """Return each value once per row of its run: integers as int64, all else as objects."""
    numbers = all(isinstance(value, int) for value in values)
    return np.repeat(np.array(values, dtype=np.int64 if numbers else object), sizes)


def _triples(values: Iterable[Any]) -> NDArray[np.int64]:
    """Return ``[types, 3]``: tp, fp, fn. Raise ValueError unless all are integers in 0..LARGEST-1."""
    array = np.array(list(values) or np.empty((0, 3), dtype=np.int64))
    if array.dtype.kind != "i" or array.shape[1:] != (3,) or (array < 0).any() or (array >= LARGEST).any():
        raise ValueError("expected [tp, fp, fn], numbers from 0 on, for each type")
    return array

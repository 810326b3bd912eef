"""Checks of how well each step learned its new task: starved methods, and steps without a choice of epoch.

The checks use only stored counts and records, so they work on results of earlier versions. docs/measures.md gives the
rule and its reasons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import APART, LOWER_BOUNDS, Comparison, MethodRow
from cl_ner_bench.analysis.comparison.naming import Naming
from cl_ner_bench.analysis.comparison.undertrained import was_trained
from cl_ner_bench.analysis.scores.measures import JOINT, SINGLE_TASK
from cl_ner_bench.analysis.scores.scorer import f1_scores
from cl_ner_bench.storage.run_record import DEV_ZERO, RunRecord

FAR_BELOW = 0.6  # share of the reference's F1
MARGIN = 10.0  # points of F1; a starved task also lies this far below the reference
REFERENCES = (*SINGLE_TASK, *LOWER_BOUNDS, *JOINT)


@dataclass(frozen=True)
class Shortfall:
    """A new task that a run learned far worse than a reference; F1 (0..100) of both is right after learning it."""

    step: int
    task: str
    f1: float
    reference: float
    source: str  # the reference's label


@dataclass(frozen=True)
class LearningCheck:
    """A check of the new tasks right after they were learned, over all runs and steps of a row.

    ``learned``: number of tasks, over all runs; ``checked``: those with a reference; ``checked_later``: without the
    tasks of step 1. ``starved``: the shortfalls, largest first.
    """

    row: MethodRow
    learned: int
    checked: int
    checked_later: int
    starved: tuple[Shortfall, ...]


@lru_cache(maxsize=16)
def new_task_scores(c: Comparison) -> pd.DataFrame:
    """Return a row per run and task with the F1 right after learning and the F1 of the best reference.

    Columns: ``run_id, method, config, seed, step, task, f1`` (0..100; nan without test gold), ``reference`` (nan if no
    reference run of the architecture with the same data, order, seed, encoder and training settings learned the task
    at this step), ``source`` (the reference's label) and ``starved`` (false for steps without updates, as in closed
    forms). Single-task runs have rows too.
    """
    c = c.basis  # methods that are not shown are still references
    counts = pd.concat([c.counts, c.single_task_counts], ignore_index=True)
    counts = counts[(counts["view"] == "all") & (counts["step"] == counts["learned_at"])]
    keys = ["run_id", "method", "config", "step", "task"]
    frame = counts.groupby(keys, sort=True)[["tp", "fp", "fn"]].sum().reset_index()
    frame["f1"] = f1_scores(frame[["tp", "fp", "fn"]].to_numpy())
    runs = {run.run_id: run for run in (*c.runs, *c.single_task_runs)}
    known: dict[tuple[Any, ...], list[tuple[float, str, str]]] = {}
    for run_id, step, task, f1 in frame[["run_id", "step", "task", "f1"]].itertuples(index=False):
        if runs[run_id].registry_name in REFERENCES and not math.isnan(f1):
            known.setdefault((*_setting(runs[run_id]), step, task), []).append((f1, runs[run_id].label, run_id))
    best = []
    for run_id, step, task in frame[["run_id", "step", "task"]].itertuples(index=False):
        others = [found for found in known.get((*_setting(runs[run_id]), step, task), ()) if found[2] != run_id]
        best.append(max(others, default=(math.nan, "", ""))[:2])
    frame["seed"] = [runs[run_id].seed for run_id in frame["run_id"]]
    frame["reference"] = [f1 for f1, _ in best]
    frame["source"] = [label for _, label in best]
    below = frame["f1"] < FAR_BELOW * frame["reference"]
    steps = frame[["run_id", "step"]].itertuples(index=False)
    trained = pd.Series([was_trained(runs[run_id], step) for run_id, step in steps], dtype=bool)
    frame["starved"] = below & (frame["reference"] - frame["f1"] >= MARGIN) & trained
    return frame.drop(columns=["tp", "fp", "fn"])


@lru_cache(maxsize=16)
def learning_checks(c: Comparison) -> tuple[LearningCheck, ...]:
    """Return a check of each row but those of ``APART``."""
    frame = new_task_scores(c)
    found = []
    for row in c.rows:
        if row.group in APART:
            continue
        own = row.of(frame)
        checked = own[own["f1"].notna() & own["reference"].notna()]
        low = own[own["starved"]].assign(missing=lambda f: f["reference"] - f["f1"])
        low = low.sort_values("missing", ascending=False, kind="stable")
        columns = low[["step", "task", "f1", "reference", "source"]].itertuples(index=False, name=None)
        starved = tuple(Shortfall(*values) for values in columns)
        found.append(LearningCheck(row, len(own), len(checked), int((checked["step"] > 1).sum()), starved))
    return tuple(found)


def starved_rows(c: Comparison) -> list[str]:
    """Return the labels of the rows that their recipe starves."""
    return [check.row.label for check in learning_checks(c) if check.starved]


def starved_share(check: LearningCheck) -> str:
    """Return how many steps were starved, such as ``3 of 8 steps``, or ``3 of 8 checked steps (24 in all)``."""
    steps = f"step{'s' * (check.checked > 1)}"
    if check.checked == check.learned:
        return f"{len(check.starved)} of {check.checked} {steps}"
    return f"{len(check.starved)} of {check.checked} checked {steps} ({check.learned} in all)"


def unfit_rows(c: Comparison) -> dict[MethodRow, str]:
    """Return the rows that learned too badly to stand beside a published number, each with the reason."""
    starved = {check.row for check in learning_checks(c) if check.starved}
    unchosen = {row for row in c.rows if count_without_choice(c, row)[0]}
    reasons = {"starved by this recipe": starved, "dev score 0 in every epoch of a step": unchosen}
    found = {row: "; ".join(reason for reason, rows in reasons.items() if row in rows) for row in c.rows}
    return {row: reason for row, reason in found.items() if reason}


def steps_without_choice(run: RunRecord) -> list[int]:
    """Return the steps of a run with dev score 0 in every epoch; the trainer then keeps the first epoch."""
    return [s["step"] for s in run.learned if (scores := s.get("dev_scores")) and all(x == 0 for x in scores)]


def count_without_choice(c: Comparison, row: MethodRow) -> tuple[int, int]:
    """Return the number of steps without a choice of epoch, and of steps with dev scores, over a row's runs."""
    runs = _runs(c, row)
    scored = [s for run in runs for s in run.learned if any(x is not None for x in s.get("dev_scores", ()))]
    return sum(len(steps_without_choice(run)) for run in runs), len(scored)


def learning_notes(c: Comparison, named: Naming) -> list[str]:
    """Return notes on learning: starved rows, steps without a choice of epoch, and steps that were not checked."""
    checks = learning_checks(c)
    notes = []
    if starved := sorted((check for check in checks if check.starved), key=_share_starved):
        rows = named(map(_shortfall, starved))
        notes.append(f"starved by this recipe, raise head_lr or epochs before judging: {rows}")
    unchosen = sorted(c.rows, key=lambda row: -count_without_choice(c, row)[0])
    if zero := [text for row in unchosen if (text := _without_choice(c, row))]:
        notes.append(f"{DEV_ZERO}: {named(zero)}")
    if c.n_steps > 1 and (unknown := [check.row.label for check in checks if not check.checked_later]):
        how = "`--methods ...,single-task` checks every step"
        notes.append(f"learning was checked at step 1 only: {named(unknown)} ({how})")
    return notes


def _setting(run: RunRecord) -> tuple[Any, ...]:
    """Return the values that a run shares with its references: architecture, settings, order, seed and split."""
    return (run.architecture, run.setting, run.order, run.seed, run.fingerprints.get("split"))


def _share_starved(check: LearningCheck) -> float:
    """Return a sort key that puts the rows with the highest share of starved steps first."""
    return -len(check.starved) / check.checked


def _shortfall(check: LearningCheck) -> str:
    """Return a text on how often a row was starved, and on the worst case."""
    worst = check.starved[0]
    return (
        f"{check.row.label} at {starved_share(check)} (step {worst.step}, {worst.task}: {worst.f1:.1f}; "
        f"{worst.source}: {worst.reference:.1f})"
    )


def _without_choice(c: Comparison, row: MethodRow) -> str:
    """Return the steps of a row without a choice of epoch, such as ``SEQ* 3 of 8 steps (5, 7, 8)``, or ''."""
    n, total = count_without_choice(c, row)
    steps = sorted({step for run in _runs(c, row) for step in steps_without_choice(run)})
    return f"{row.label} {n} of {total} steps ({', '.join(map(str, steps))})" if n else ""


def _runs(c: Comparison, row: MethodRow) -> list[RunRecord]:
    return [run for run in c.runs if (run.method, run.config) == (row.method, row.config)]

"""Undertrained rows, which are not compared, and undertrained joint training, which gives no gap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.scores.measures import JOINT
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.storage.run_record import RunRecord, TrainingCheck

TWICE_AS_LONG = 0.9  # share of the step-1 score after twice the epochs
BY_CHANCE = 2.0  # points that a method may end above joint training by chance
TASK_F1 = "task_macro_f1"


@dataclass(frozen=True)
class Undertrained:
    """A row that learned too little of its first task, with its worst run.

    ``f1``: micro-F1 after step 1. ``share``: percent of the ``f1`` that the same architecture reaches in twice the
    epochs; nan if ``f1`` is below the card's bound.
    """

    row: MethodRow
    run: RunRecord
    f1: float
    share: float = math.nan

    @property
    def is_low(self) -> bool:
        """Return True if step 1 ends below the card's bound."""
        return math.isnan(self.share)


@lru_cache(maxsize=16)
def undertrained(c: Comparison) -> tuple[Undertrained, ...]:
    """Return the undertrained rows, the worst first.

    A run is undertrained if its step-1 micro-F1 (all test sentences) is below the card's bound, or below 90 % of the
    score that the same architecture reaches in twice the epochs. A step without updates cannot be undertrained.
    """
    first = _first_micro(c)
    found: dict[MethodRow, Undertrained] = {}
    for run in c.runs:
        row, f1 = c.row_of[run.run_id], first.get(run.run_id, math.nan)
        if not was_trained(run, 1):
            continue
        ratio = _ratio(_reference(c, run), f1)
        if f1 < run.undertrained_below:
            new = Undertrained(row, run, f1)
        elif ratio < TWICE_AS_LONG:
            new = Undertrained(row, run, f1, 100 * ratio)
        else:
            continue
        found[row] = min(found.get(row, new), new, key=_badness)
    return tuple(sorted(found.values(), key=_badness))


def undertrained_rows(c: Comparison) -> set[MethodRow]:
    """Return the rows that take no part in ranking."""
    return {found.row for found in undertrained(c)}


def _badness(found: Undertrained) -> tuple[bool, float]:
    """Return a sort key that puts rows below the bound first, each kind by F1 or share."""
    return not found.is_low, found.f1 if found.is_low else found.share


@lru_cache(maxsize=16)
def without_gap(c: Comparison) -> Mapping[str, str]:
    """Return the architectures whose joint training is undertrained, each with the reason in words.

    Such joint training ends below the card's bound (micro-F1), at micro-F1 0, or more than BY_CHANCE points below a
    method (mean task F1). A gap to it says nothing about the method.
    """
    c = c.basis  # methods that are not shown count too
    frame = c.measures[c.measures["view"] == "all"]
    end = dict(zip(frame["run_id"], frame["micro_f1"], strict=True))
    low: dict[str, tuple[float, str]] = {}
    for run in c.runs:
        f1 = end[run.run_id]
        if run.registry_name in JOINT and (f1 < run.undertrained_below or round(f1, 2) == 0):
            bound = f", at least {run.undertrained_below:g} is needed" if run.undertrained_below else ""
            which = f" (order {run.order} seed {run.seed})" if c.n_models(c.row_of[run.run_id], frame) > 1 else ""
            reason = f1, f"{run.label} ends at micro-F1 {f1:.1f}{which}{bound}"
            low[run.architecture] = min(reason, low.get(run.architecture, reason))
    below: dict[str, tuple[float, str]] = {}
    for row in c.rows:
        own = row.of(frame).dropna(subset=["gap"])
        gap = own["gap"].mean()
        if row.group != "reference" and gap < -BY_CHANCE:
            joint, f1 = c.row_of[c.joints[own["run_id"].iloc[0]]].label, own[TASK_F1].mean()
            reason = gap, f"{joint} ends at {NAMES[TASK_F1].name} {f1 + gap:.1f}, {row.label} at {f1:.1f}"
            below[row.architecture] = min(reason, below.get(row.architecture, reason))
    return {architecture: reason for architecture, (_, reason) in (below | low).items()}


def was_trained(run: RunRecord, step: int) -> bool:
    """Return False if the record gives no updates for the step, as for closed forms."""
    return all(row.get("updates") != 0 for row in run.learned if row["step"] == step)


def training_ratios(c: Comparison) -> list[str]:
    """Return each row's lowest ratio of step-1 micro-F1 to that after twice the epochs, if the latter was measured."""
    first = _first_micro(c)
    worst: dict[str, tuple[float, str]] = {}
    for run in c.runs:
        reference = _reference(c, run)
        ratio = _ratio(reference, first.get(run.run_id, math.nan))
        if reference and not math.isnan(ratio):
            text = f"{run.label} {100 * ratio:.1f} % ({reference.epochs} epochs: {reference.micro_f1:.1f})"
            worst[run.label] = min((ratio, text), worst.get(run.label, (math.inf, "")))
    return [text for _, text in sorted(worst.values())]


def _first_micro(c: Comparison) -> dict[str, float]:
    """Return micro-F1 over all test sentences after step 1, of the runs that have this step."""
    frame: pd.DataFrame = c.scores[(c.scores["view"] == "all") & (c.scores["step"] == 1)]
    return dict(zip(frame["run_id"], frame["micro_f1"], strict=True))


def _reference(c: Comparison, run: RunRecord) -> TrainingCheck | None:
    """Return the record of step 1 with twice the epochs, of the same architecture, setting, order, seed and split."""

    def identity(r: RunRecord) -> list[Any]:
        return [r.architecture, r.setting, r.order, r.seed, r.fingerprints.get("split")]

    return next((r.step1_reference for r in c.basis.runs if r.step1_reference and identity(r) == identity(run)), None)


def _ratio(reference: TrainingCheck | None, start: float) -> float:
    return start / reference.micro_f1 if reference and reference.micro_f1 else math.nan

"""Rows that were trained too little to be compared, and joint training that gives no gap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.storage.run_record import RunRecord, TrainingCheck

TWICE_AS_LONG = 0.9  # of the step-1 score after training twice as long
BY_CHANCE = 2.0  # points by which a method may end above joint training
TASK_F1 = "task_macro_f1"
JOINT = ("joint-span", "joint-token")


@dataclass(frozen=True)
class Undertrained:
    """A row that learned too little of its first task, with its worst run.

    ``f1``: micro-F1 after step 1. ``share``: percent of what the same architecture reaches in twice the epochs, nan
    where ``f1`` alone is too low.
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
    """Return the rows that were trained too little to be compared, the worst first.

    A run is undertrained where its step-1 micro-F1 (all test sentences) is below the card's bound, or below
    90 % of what the same architecture reaches in twice the epochs. A step without updates cannot be trained longer.
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
    """Return a key that sorts rows below the bound first, each kind by what was reached."""
    return not found.is_low, found.f1 if found.is_low else found.share


@lru_cache(maxsize=16)
def without_gap(c: Comparison) -> Mapping[str, str]:
    """Return the architectures whose joint training is undertrained, each with the reason in words.

    It ends below the card's bound (micro-F1), or clearly below a method (mean task F1): a gap to it says nothing about
    the method.
    """
    c = c.basis  # a method that is not shown tells as much
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
    """Return False for a step that the record shows to have had no updates, as of closed forms."""
    return all(row.get("updates") != 0 for row in run.learned if row["step"] == step)


def training_ratios(c: Comparison) -> list[str]:
    """Return each row's lowest step-1 micro-F1 relative to that of twice the epochs, where that was measured."""
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
    """Return the record of step 1 with twice the epochs: same architecture, setting, order and seed."""

    def identity(r: RunRecord) -> list[Any]:
        return [r.architecture, r.setting, r.order, r.seed, r.fingerprints.get("split")]

    return next((r.step1_reference for r in c.basis.runs if r.step1_reference and identity(r) == identity(run)), None)


def _ratio(reference: TrainingCheck | None, start: float) -> float:
    return start / reference.micro_f1 if reference and reference.micro_f1 else math.nan

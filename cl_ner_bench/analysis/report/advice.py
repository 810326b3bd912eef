"""The answer of `bench advise`: the method to take for one new type, how sure this is, and its cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from cl_ner_bench.analysis.comparison.compare import APART, Comparison, MethodRow
from cl_ner_bench.analysis.comparison.intervals import Estimate, estimate, holm, unit_means
from cl_ner_bench.analysis.comparison.newcomers import estimated, newcomers, per_newcomer, units
from cl_ner_bench.analysis.comparison.notes import FEW
from cl_ner_bench.analysis.comparison.undertrained import undertrained, undertrained_rows, without_gap
from cl_ner_bench.analysis.scores.names import HEADLINE
from cl_ner_bench.analysis.tables.cost import run_costs

KINDS = {"memory-free": "no memory", "exemplar": "keeps a few sentences", "closed-form": "frozen encoder"}
"""The groups' names in the answer, sorted by their demands on a user's model, the smallest first."""

NOTHING = 1.0  # below this F1 the new type counts as not found
CLOSE = 2.0  # a method with smaller demands is taken if its mean F1 is less than so many points below the best
NEAR = 1.3  # up to so many times slower than a plain model may be chance, because each model is timed once


@dataclass(frozen=True)
class Advice:
    """An answer in ``sentences``. ``method`` is the row to take, or None without an answer."""

    sentences: tuple[str, ...]
    method: MethodRow | None


@dataclass(frozen=True)
class Ranking:
    """The candidate rows, the best first, and the differences of the best to each other row over ``n`` units."""

    rows: tuple[MethodRow, ...]
    n: int
    leads: Estimate
    p: tuple[float, ...]  # after Holm's correction

    @property
    def tied(self) -> list[MethodRow]:
        """Return the rows that are not significantly worse than the best; all other rows below FEW units."""
        return [row for row, p in zip(self.rows[1:], self.p, strict=True) if self.n < FEW or not p < 0.05]


def advice(c: Comparison, planned: int, size: int) -> Advice:
    """Return the answer to a finished grid of scenario `add-one`.

    Methods are compared by the mean of the new type's F1 and the old types' F1 after step 2, over newcomers or the
    seeds of one newcomer. Undertrained rows are not compared.

    Args:
        planned: the number of planned rounds.
        size: the number of train sentences of the corpus.
    """
    rows = candidates(c)
    if not rows:
        return Advice((_undertrained(c, size),), None)
    found = _ranked(c, rows)
    if not found.rows or max(estimated(per_newcomer(c)[row], "new").mean for row in found.rows) < NOTHING:
        return Advice(
            (f"No answer: no method found the new type ({units(c)}); it needs more labelled mentions.",), None
        )
    take = _taken(found)
    return Advice((_what(c, found, take), _how_sure(c, found, planned), _cost(c, take)), take)


def candidates(c: Comparison) -> list[MethodRow]:
    """Return the methods that are not undertrained.

    If only closed forms are left, none is returned: they cannot be undertrained, and must not win by that.
    """
    apart = undertrained_rows(c)
    rows = [row for name, of in c.groups if name not in APART for row in of if row not in apart]
    return [] if apart and all(row.group == "closed-form" for row in rows) else rows


def _ranked(c: Comparison, rows: Sequence[MethodRow]) -> Ranking:
    frame = c.measures[c.measures["view"] == "all"]
    order_of = {run.run_id: run.order for run in c.runs}
    orders = np.array([order_of[next(iter(ids.values()))] for ids in c.matched_runs], dtype=np.int64)
    values = c.values(rows, frame, HEADLINE)
    values, orders = values[~np.isnan(values).any(axis=1)], orders[~np.isnan(values).any(axis=1)]
    if not len(values):
        return Ranking((), 0, estimate(np.zeros((1, 0))), ())
    means = unit_means(values, orders)
    ranks = np.argsort(-means.mean(axis=0), kind="stable")
    leads = estimate(means[:, ranks[:1]] - means[:, ranks[1:]])
    return Ranking(tuple(rows[i] for i in ranks), len(means), leads, tuple(holm([*leads.p])))


def _taken(found: Ranking) -> MethodRow:
    """Return the row to take: the best, or (with at least FEW units) a tied row with smaller demands on the user's
    model that ends less than ``CLOSE`` points below."""
    best, *others = found.rows
    leads = dict(zip(others, found.leads.mean, strict=True))
    equal = [row for row in found.tied if leads[row] < CLOSE] if found.n >= FEW else []
    return min([best, *equal], key=lambda row: [*KINDS, row.group].index(row.group))


def _what(c: Comparison, found: Ranking, take: MethodRow) -> str:
    lines = per_newcomer(c)[take]
    new, before, lost = (estimated(lines, name) for name in ("new", "before", "lost"))
    gain = f"it learns the new type to F1 {new.text}, and the old types ({before.mean:.1f} before) {lost.as_loss}"
    name = f"{take.label} ({KINDS.get(take.group, take.group)})"
    if found.n < FEW:
        return f"Try {name} first: {gain}."
    if not found.tied:
        return (
            f"Take {name}: {gain}." if len(found.rows) > 1 else f"Only {name} was trained enough to be judged: {gain}."
        )
    others = ", ".join(row.label for row in (found.rows[0], *found.tied) if row != take)
    least = " and asks least of your model" * (take != found.rows[0])
    return f"Take {name}, which cannot be told apart from {others}{least}: {gain}."


def _how_sure(c: Comparison, found: Ranking, planned: int) -> str:
    types = newcomers(c)
    named = f" ({', '.join(types)})" if len(types) > 1 else ""
    sure = f"This rests on {units(c)}{named}"
    ran = len({(run.order, run.seed) for run in c.compared_runs})
    if ran < planned:
        sure += f", {ran} of {planned} planned rounds (each took longer than planned)"
    if found.n < FEW:
        sure += f", and n = {found.n} is too few to tell methods apart ({FEW} are needed): give more --minutes"
    elif len(found.rows) > 1:
        lead, low, high = (float(values[0]) for values in (found.leads.mean, found.leads.low, found.leads.high))
        sure += (
            f", n = {found.n}: in the mean F1 of old and new types {found.rows[0].label} leads {found.rows[1].label}, "
            f"the next, by {lead:.1f} (95 % interval {low:.1f} to {high:.1f}, corrected p = {found.p[0]:.2g})"
        )
    joint = [row for row in per_newcomer(c) if row.group == "reference" and row.architecture not in without_gap(c)]
    for row in joint[:1]:
        new, lost = (estimated(per_newcomer(c)[row], name) for name in ("new", "lost"))
        sure += f"; retraining on everything brings the new type to {new.text}, and the old types {lost.as_loss}"
    left_out = [row.label for row in undertrained_rows(c)]
    more = f"; left out, because trained too little: {', '.join(sorted(left_out))}" if left_out else ""
    return f"{sure}{more}."


def _cost(c: Comparison, take: MethodRow) -> str:
    runs = [run for run in c.compared_runs if c.row_of[run.run_id] == take]
    costs = [run_costs(run) for run in runs]

    def mean(name: str) -> float:
        known = [cost[name] for cost in costs if not math.isnan(cost[name])]
        return fmean(known) if known else math.nan

    size = fmean(float(run.learned[-1].get("examples", math.nan)) for run in runs)
    stored = mean("stored_sentences")
    keeps = f"keeps {stored:.0f} sentences of old types" if stored else "keeps no sentences"
    sentences = f"{size:,.0f} train sentences" if not math.isnan(size) else "its train sentences"
    return f"The step took {_time(mean('last_step_seconds'))} here on {sentences}, {keeps}, and {_speed(c, take)}."


def _speed(c: Comparison, take: MethodRow) -> str:
    def rate(of: Sequence[MethodRow]) -> float:
        rates = [run_costs(run)["test_sentences_per_second"] for run in c.compared_runs if c.row_of[run.run_id] in of]
        known = [value for value in rates if not math.isnan(value)]
        return fmean(known) if known else math.nan

    own = rate([take])
    plain = rate([row for row in c.rows if row.group == "reference" and row.architecture == take.architecture])
    if math.isnan(own):
        return "how fast it predicts was not recorded"
    if math.isnan(plain) or plain / own < NEAR:
        return f"it predicts {own:,.0f} sentences a second" + ", about as fast as a plain model" * (
            not math.isnan(plain)
        )
    return f"it predicts {own:,.0f} sentences a second, {plain / own:.1f} times slower than a plain model"


def _undertrained(c: Comparison, size: int) -> str:
    """Return the reason why nothing is ranked, with the worst row as example, and remedies."""
    worst = undertrained(c)[0]
    sample, epochs = worst.run.settings.get("max_sentences"), worst.run.settings.get("epochs")
    found = f"F1 {worst.f1:.1f} after step 1, at least {worst.run.undertrained_below:g} is needed"
    if sample is not None and sample < size:
        more = f"more --minutes, which buy more sentences (now {sample:,} of {size:,}), "
    else:
        more = "more labelled sentences (all were used), "
    return (
        f"No answer: the models know too little of the old types to be compared ({worst.row.label}: {found}). What can "
        f"help: {more}more --epochs (now {epochs}), or a stronger --encoder; with another --out."
    )


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "an unknown time"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

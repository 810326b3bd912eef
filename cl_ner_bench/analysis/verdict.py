"""The answer in plain sentences, and what may and may not be claimed from this many runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from cl_ner_bench.analysis.compare import GROUPS, Comparison, Row
from cl_ner_bench.analysis.frames import Results
from cl_ner_bench.analysis.notes import undertrained
from cl_ner_bench.analysis.statistics import (
    ALPHA,
    HEADLINE,
    Difference,
    can_tell,
    differences,
    may_rank,
    n_tests,
    smallest_p,
    which_test,
)

FEW_ORDERS = 5


def marks(c: Comparison, family: str) -> list[str]:
    """What bold and † mean in a table of ``c``, and what its tests cannot show; empty where nothing is marked.

    ``family``: what p-values are corrected over, a ``column`` or ``line`` of the table.
    """
    n, tests = len(c.pairs), n_tests(c)
    if not may_rank(c) or not tests:
        return []
    of = f"for {tests} comparison{'s' * (tests > 1)} a {family}"
    how = f"{which_test(n)} over {n} matched runs, p at least {ALPHA:g} after Holm's correction {of}"
    return [f"bold: best mean of its group; †: not significantly worse ({how})", *limits(c)]


def limits(c: Comparison) -> list[str]:
    """What tests over the matched runs of ``c`` cannot show at this number of runs, comparisons and orders."""
    n, tests = len(c.pairs), n_tests(c)
    notes = []
    if tests and not can_tell(c):
        corrected = f", {min(1.0, tests * smallest_p(n)):.2g} corrected for {tests} comparisons" if tests > 1 else ""
        notes.append(
            f"with n = {n} no difference can be significant: p cannot go below 2/2^{n} = {smallest_p(n):.3g}{corrected}"
            "; not significantly worse does not mean equal"
        )
    if tests and c.n_orders < FEW_ORDERS:
        orders = "1 order" if c.n_orders == 1 else f"{c.n_orders} orders"
        notes.append(f"runs of {orders} only: p-values hold for these, and intervals over so few are rough")
    return notes


def verdict(c: Comparison, results: Results) -> list[str]:
    """The answer in plain sentences: which method, by how much, how sure, how far behind joint training."""
    if reasons := undertrained(c):
        return [f"Undertrained: do not compare these runs ({'; '.join(reasons)}). Train longer or on more sentences."]
    n = len(c.pairs)
    frame = c.measures[c.measures["view"] == "all"]
    if not may_rank(c):
        runs = f"n = {n} matched run{'s' * (n > 1)}" if c.matched else "no matched runs"
        claim = f"With {runs} there is no claim about differences between methods: the scores are shown, not ranked."
        return [claim, *_ranges(c, frame)]
    found = differences(c, "all", HEADLINE, results)
    sentences = []
    for name, rows in c.groups:
        if name != "reference":
            sentences += _answer(c, name, rows, frame, [d for d in found if d.group == name])
    return [*sentences, *(f"{note[0].upper()}{note[1:]}." for note in limits(c))]


def _answer(c: Comparison, group: str, rows: Sequence[Row], frame: pd.DataFrame, found: list[Difference]) -> list[str]:
    """The sentences about one group; ``found`` begins with its best method."""
    best = found[0].row if found else rows[0]
    own = best.of(c.per_model(frame, HEADLINE, "gap"))
    mean, std = own[HEADLINE].mean(), own[HEADLINE].std(ddof=1)
    if math.isnan(mean):
        return [f"{GROUPS.get(group, group)}: the score is undefined for want of test gold."]
    against = [d for d in found if d.row == best]
    tied = [d for d in against if not d.significant]
    score = f"{mean:.1f} ± {std:.1f} macro-F1 over tasks after the last step (n = {len(own)})"
    if not against:
        lead = f"{best.label} is the only one, with {score}."
    elif not tied:
        lead = f"take {best.label}: {score}, significantly better than the others. The next is {_by(against[0])}."
    elif not can_tell(c):
        lead = f"{best.label} has the highest mean, {score}. The next is {_by(against[0])}."
    else:
        others = "".join(f", {d.other.label}" for d in tied[1:])
        lead = f"{best.label} has the highest mean, {score}. Not significantly worse: {_by(tied[0])}{others}."
    gap = own["gap"].mean()
    if not math.isnan(gap):
        side = "below" if gap >= 0 else "above"
        lead += f" {best.label} ends {abs(gap):.1f} points {side} joint training of its architecture."
    return [f"{GROUPS.get(group, group)}: {lead}"]


def _by(d: Difference) -> str:
    return (
        f"{d.other.label}, {d.mean:.1f} points lower (95 % interval {d.low:.1f} to {d.high:.1f}, "
        f"corrected p = {d.p_holm:.2g})"
    )


def _ranges(c: Comparison, frame: pd.DataFrame) -> list[str]:
    """Where the scores of each group lie, without saying whose they are but for the references."""
    out = []
    for group, rows in c.groups:
        means = {row.label: row.of(frame)[HEADLINE].mean() for row in rows}
        means = {label: mean for label, mean in means.items() if not math.isnan(mean)}
        if means and group == "reference":
            out.append("For reference: " + ", ".join(f"{label} {mean:.1f}" for label, mean in means.items()) + ".")
        elif means:
            low, high = min(means.values()), max(means.values())
            span = f"{low:.1f}" if len(means) == 1 else f"{low:.1f} to {high:.1f}"
            out.append(f"{GROUPS.get(group, group)}: {span} macro-F1 over tasks after the last step.")
    return out

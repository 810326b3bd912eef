"""The answer in plain sentences, and the claims that this number of runs allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow, group_title
from cl_ner_bench.analysis.comparison.learning import starved_rows
from cl_ner_bench.analysis.comparison.notes import undertrained, without_gap
from cl_ner_bench.analysis.comparison.statistics import (
    ALPHA,
    Difference,
    differences,
    found_nothing,
    gaps,
    may_rank,
    n_tests,
    smallest_p,
    unit_of,
)
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.names import HEADLINE


def significance_notes(c: Comparison, family: str, marked: bool) -> list[str]:
    """Return notes on the meaning of bold and † in a table of ``c`` and on its tests; empty where there are no tests.

    ``family``: the part of the table that p-values are corrected over, ``column`` or ``line``. ``marked``: the table
    has bold cells.
    """
    tests = n_tests(c)
    if not may_rank(c) or not tests:
        return []
    of = f"for {tests} comparison{'s' * (tests > 1)} a {family}"
    how = f"t test over {unit_of(c)}, p at least {ALPHA:g} after Holm's correction {of}"
    if not marked:
        return [f"nothing is bold: no difference to the best of a group is significant ({how})", *power_notes(c)]
    meaning = f"†: not significantly worse, which does not mean equal ({how}); neither where none is worse"
    nothing = [row.label for row in c.rows if row in found_nothing(c)]
    apart = [f"found nothing, so neither bold nor †: {', '.join(nothing)}"] if nothing else []
    return [f"bold: best mean of its group; {meaning}", *apart, *power_notes(c)]


def power_notes(c: Comparison) -> list[str]:
    """Return notes on the units and assumptions of tests and intervals over the matched runs of ``c``."""
    units, floor = smallest_p(c)
    unit = unit_of(c)
    if c.n_orders > 1:
        scope = f"{unit}, each by the mean of its seeds: seeds of one order are no evidence about other orders"
    else:
        scope = f"{unit}: nothing is said about other orders"
    return [
        f"tests and intervals count {scope}; they assume normal differences (without this assumption no test over "
        f"{units} can reach a p below 2/2^{units} = {floor:.3g})"
    ]


def verdict(c: Comparison, results: Results) -> list[str]:
    """Return the answer in plain sentences: the best method, its lead, how sure, and the gap to joint training."""
    if reasons := undertrained(c):
        return [f"Undertrained: do not compare these runs ({'; '.join(reasons)}). Train longer or on more sentences."]
    n = len(c.pairs)
    frame = c.measures[c.measures["view"] == "all"]
    if not may_rank(c):
        runs = f"n = {n} matched run{'s' * (n > 1)}" if c.matched else "no matched runs"
        claim = f"With {runs} there is no claim about differences between methods: the scores are shown, not ranked."
        return [claim, *_ranges(c, frame)]
    found = differences(c, "all", HEADLINE, results)
    behind = {d.other: d for d in gaps(c, "all", "gap", results)}
    sentences = []
    for name, rows in c.groups:
        if name != "reference":
            sentences += _answer(c, name, rows, c.compared(frame), [d for d in found if d.group == name], behind)
    if starved := starved_rows(c):
        sentences.append(
            f"{', '.join(starved)}: starved by this recipe, so that differences to them may be the recipe's and not "
            "the methods'."
        )
    notes = power_notes(c) if found or behind else []
    return [*sentences, *(f"{note[0].upper()}{note[1:]}." for note in notes)]


def _answer(
    c: Comparison,
    group: str,
    rows: Sequence[MethodRow],
    frame: pd.DataFrame,
    found: list[Difference],
    behind: Mapping[MethodRow, Difference],
) -> list[str]:
    """Return the sentences about one group; ``found`` begins with its best method, ``behind`` holds the gaps."""
    best = found[0].row if found else rows[0]
    own = best.of(c.per_model(frame, HEADLINE))
    mean, std = own[HEADLINE].mean(), own[HEADLINE].std(ddof=1)
    if math.isnan(mean):
        return [f"{group_title(group)}: the score is undefined, as the test part has no gold mentions."]
    if best in found_nothing(c):
        return [f"{group_title(group)}: no method found anything."]
    against = [d for d in found if d.row == best]
    tied = [d for d in against if not d.significant]
    score = f"{mean:.1f} ± {std:.1f} mean task F1 after the last step (n = {len(own)})"
    if not against:
        lead = f"{best.label} is the only one, with {score}."
    elif not tied:
        lead = f"take {best.label}: {score}, significantly better than the others. The next is {_by(against[0])}."
    else:
        others = "".join(f", {d.other.label}" for d in tied[1:])
        lead = f"{best.label} has the highest mean, {score}. Not significantly worse: {_by(tied[0])}{others}."
    if gap := behind.get(best):
        sign, side = (1, "below") if gap.mean >= 0 else (-1, "above")
        ends = sorted((sign * gap.low, sign * gap.high))
        sure = "one joint model: no interval" if math.isnan(gap.low) else "95 % interval {:.1f} to {:.1f}".format(*ends)
        lead += f" {best.label} ends {abs(gap.mean):.1f} points {side} joint training of its architecture ({sure})."
    elif best.architecture in without_gap(c):
        lead += " Joint training of its architecture is undertrained: no gap."
    return [f"{group_title(group)}: {lead}"]


def _by(d: Difference) -> str:
    """Return how far ``d.other`` lies behind, with interval and p."""
    sentences = "" if math.isnan(d.sentences) else f"; other test sentences: ± {d.sentences:.1f}"
    return (
        f"{d.other.label}, {d.mean:.1f} points lower (95 % interval {d.low:.1f} to {d.high:.1f}, "
        f"corrected p = {d.p_holm:.2g}{sentences})"
    )


def _ranges(c: Comparison, frame: pd.DataFrame) -> list[str]:
    """Return the range of scores of each group, naming no method but the references."""
    out = []
    for group, rows in c.groups:
        means = {row.label: row.of(frame)[HEADLINE].mean() for row in rows}
        means = {label: mean for label, mean in means.items() if not math.isnan(mean)}
        if means and group == "reference":
            out.append("For reference: " + ", ".join(f"{label} {mean:.1f}" for label, mean in means.items()) + ".")
        elif means:
            low, high = min(means.values()), max(means.values())
            span = f"{low:.1f}" if len(means) == 1 else f"{low:.1f} to {high:.1f}"
            out.append(f"{group_title(group)}: {span} mean task F1 after the last step.")
    return out

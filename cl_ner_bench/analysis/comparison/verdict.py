"""The answer in plain sentences, and the claims that this number of runs allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cl_ner_bench.analysis.comparison.compare import APART, Comparison, MethodRow, group_title
from cl_ner_bench.analysis.comparison.learning import learning_checks, starved_share
from cl_ner_bench.analysis.comparison.naming import Naming, few
from cl_ner_bench.analysis.comparison.newcomers import new_type_sentence
from cl_ner_bench.analysis.comparison.notes import FEW, named_few, unequal_settings
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
from cl_ner_bench.analysis.comparison.undertrained import (
    TWICE_AS_LONG,
    Undertrained,
    undertrained,
    undertrained_rows,
    without_gap,
)
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.names import HEADLINE, NAMES

BEST = 3  # methods that are named in a large group
SEEDS = "0,1,2,3,4,5"


def significance_notes(c: Comparison, family: str, marked: bool) -> list[str]:
    """Return notes on the meaning of bold and † in a table of ``c`` and on its tests; empty without tests.

    ``family``: the part of the table over which p-values are corrected, ``column`` or ``line``. ``marked``: True if the
    table has bold cells.
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
    apart = [f"found nothing, so neither bold nor †: {named_few(c)(nothing)}"] if nothing else []
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
    """Return the answer in plain sentences: the scores, the best method and how sure this is, the gap to joint
    training, and the methods that are left out, with the reason."""
    apart = undertrained_rows(c) | c.lower_bounds
    groups = [(name, [row for row in rows if row not in apart]) for name, rows in c.groups if name not in APART]
    groups = [(name, rows) for name, rows in groups if rows]
    if undertrained(c) and all(name == "closed-form" for name, _ in groups):
        groups = []  # closed forms cannot be undertrained, and must not win by that
    methods = [row for _, rows in groups for row in rows]
    sentences = _scores(c, groups)
    if c.adds_one and groups:
        joint = [row for row in c.rows if row.group == "reference" and row.architecture not in without_gap(c)]
        sentences = [new_type_sentence(c, [rows[0] for _, rows in groups], joint), *sentences]
    notes: list[str] = []
    if may_rank(c):
        found = [d for d in differences(c, "all", HEADLINE, results) if {d.row, d.other} <= {*methods}]
        behind = {d.other: d for d in gaps(c, "all", "gap", results)}
        for name, rows in groups:
            if claim := _claim(c, rows, [d for d in found if d.group == name], behind):
                sentences.append(f"{group_title(name)}: {claim}" if len(groups) > 1 else claim[0].upper() + claim[1:])
        notes = power_notes(c) if found or behind else []
    elif methods:
        sentences = [_few_runs(c, methods), *sentences]
        sentences += [_more_runs(c, groups)] * (len(methods) > 1)
    limits = _limits(c, methods)
    sentences = [*sentences, *limits] if methods else [*limits, *sentences]  # "No answer" stands first
    return [*sentences, *_imported(c), *(f"{note[0].upper()}{note[1:]}." for note in notes)]


def _scores(c: Comparison, groups: Sequence[tuple[str, list[MethodRow]]]) -> list[str]:
    """Return a sentence with the scores of methods (the best of each group by name) and of the references."""
    frame = c.per_model(c.compared(c.measures[c.measures["view"] == "all"]), HEADLINE).dropna(subset=[HEADLINE])
    scores = {row: own for row in c.rows if len(own := row.of(frame)[HEADLINE])}
    means = {row: float(own.mean()) for row, own in scores.items()}
    if not means:
        undefined = f"{NAMES[HEADLINE].title} is undefined: the test part has no gold mentions."
        return [undefined] if groups else []
    ranked = may_rank(c)
    parts = []
    for group, rows in groups:
        known = sorted((row for row in rows if row in means), key=lambda row: -means[row])
        best = known if len(known) <= BEST + 2 else known[:BEST]
        texts = [f"{row.label} {means[row]:.1f}" + f" ± {scores[row].std(ddof=1):.1f}" * ranked for row in best]
        if others := known[len(best) :]:
            texts.append(f"{len(others)} others {_range([means[row] for row in others], 1)}")
        title = f"{group_title(group)}: " if len(groups) > 1 else ""
        parts += [f"{title[:1].lower()}{title[1:]}{', '.join(texts)}"] * bool(texts)
    runs = f" (± standard deviation, n = {len(c.pairs)})" if ranked and parts else ""
    joint = {row for row in c.rows if row.group == "reference" and row.architecture not in without_gap(c)}
    low = [means[row] for row in c.lower_bounds - undertrained_rows(c) if row in means]
    high = [means[row] for row in joint if row in means]
    if low:
        parts.append(f"lower bound{'s' * (len(low) > 1)} {_range(low)}")
    if high:
        parts.append(f"joint training {_range(high)}")
    return [f"{NAMES[HEADLINE].title} after the last step{runs}: {'; '.join(parts)}."] if parts else []


def _imported(c: Comparison) -> list[str]:
    """Return a sentence with the scores of imported predictions, which are in no test."""
    means = c.per_model(c.measures[c.measures["view"] == "all"], HEADLINE)
    scores = {row: row.of(means)[HEADLINE].mean() for row in c.rows if row.group == "imported"}
    known = [f"{row.label} {score:.1f}" for row, score in scores.items() if not math.isnan(score)]
    return [f"From elsewhere, in no test: {named_few(c)(known)}."] if known else []


def _claim(
    c: Comparison, rows: Sequence[MethodRow], found: Sequence[Difference], behind: Mapping[MethodRow, Difference]
) -> str:
    """Return the claim about a group's best method. ``found`` begins with this method, ``behind`` holds the gaps."""
    best = found[0].row if found else rows[0]
    if best in found_nothing(c):
        return "no method found anything."
    against = [d for d in found if d.row == best]
    tied = [d for d in against if not d.significant]
    claims = []
    if tied:
        others = few([_by(tied[0]), *(d.other.label for d in tied[1:])])
        claims.append(f"{best.label} has the highest mean. Not significantly worse: {others}.")
    elif against:
        next_ = _by(against[0])
        claims.append(f"take {best.label}, significantly better than every other method; the next is {next_}.")
    if gap := behind.get(best):
        sign, side = (1, "below") if gap.mean >= 0 else (-1, "above")
        ends = sorted((sign * gap.low, sign * gap.high))
        sure = "one joint model: no interval" if math.isnan(gap.low) else "95 % interval {:.1f} to {:.1f}".format(*ends)
        claims.append(
            f"{best.label} ends {abs(gap.mean):.1f} points {side} joint training of its architecture ({sure})."
        )
    return " ".join(claims)


def _by(d: Difference) -> str:
    """Return the text of how far ``d.other`` lies behind, with interval and p."""
    low, high = (f"{abs(end):.1f}{' higher' * (end < 0)}" for end in (d.low, d.high))
    sentences = "" if math.isnan(d.sentences) else f"; other test sentences: ± {d.sentences:.1f}"
    return (
        f"{d.other.label}, {d.mean:.1f} points lower (95 % interval {low} to {high}{' lower' * (d.low < 0)}, "
        f"corrected p = {d.p_holm:.2g}{sentences})"
    )


def _few_runs(c: Comparison, methods: Sequence[MethodRow]) -> str:
    """Return the reason for making no claim about differences between methods."""
    if not c.matched:
        return (
            "No order and seed was finished by every method: their scores are of different runs, do not compare them."
        )
    n = len(c.pairs)
    frame = c.measures[c.measures["view"] == "all"]
    if any(len(row.of(frame)) > n for row in methods):
        who = f"All methods share {n} run{'s' * (n > 1)} (order and seed) only"
    else:
        who = f"{'Each method' if len(methods) > 1 else methods[0].label} ran {'once' if n == 1 else 'twice'}"
    return f"{who}; another seed may change {'their order' if len(methods) > 1 else 'its score'}."


def _more_runs(c: Comparison, groups: Sequence[tuple[str, list[MethodRow]]]) -> str:
    """Return advice on the runs that would allow a comparison."""
    if all(len(rows) == 1 for _, rows in groups):
        return "Each is the only one of its group, and groups are not tested against each other: compare their gaps."
    if not c.matched:
        return "To compare: run all methods with the same --orders and --seeds."
    if c.n_orders > 1:
        return f"To compare: more --orders or --seeds, {FEW} runs of each method at least."
    return f"To compare: --seeds {SEEDS}."


def _limits(c: Comparison, methods: Sequence[MethodRow]) -> list[str]:
    """Return sentences on undertrained rows, starved rows and unequal settings, with remedies."""
    found = [u for u in undertrained(c) if u.row.group != "reference"]  # references are judged by their last step
    left_out = "Left out" if methods else "No answer"
    sentences = [
        f"{left_out}: {_too_little(of, named_few(c))}."
        for low in (True, False)
        if (of := [u for u in found if u.is_low is low])
    ]
    if no_gap := without_gap(c):
        sentences.append(f"Joint training is undertrained: no gap ({'; '.join(no_gap.values())}).")
    if sentences:
        settings = (found[0].run if found else c.runs[0]).settings
        sample = settings.get("max_sentences")
        more = f" or --max-sentences (now {sample})" if sample else ""
        sentences.append(f"Raise --epochs (now {settings.get('epochs', 'unknown')}){more}.")
    rows = [check for check in learning_checks(c) if check.starved and check.row in methods]
    if starved := [f"{check.row.label} at {starved_share(check)}" for check in rows]:
        what = "Starved by this recipe, so that differences may be the recipe's and not the methods'"
        sentences.append(f"{what}: {named_few(c)(starved)}. Raise --head-lr or --epochs.")
    if unequal := unequal_settings(c):
        sentences.append(f"Set by hand and not the same for all, so that differences may come from it: {unequal}.")
    return sentences


def _too_little(found: Sequence[Undertrained], named: Naming) -> str:
    """Return a text on rows that learned too little of their first task, for the same reason, with their worst runs."""
    first = found[0]
    verb = "found" if first.is_low else "learned"
    unit = "F1" if first.is_low else "% of what twice the epochs reach"
    bound = f"at least {first.run.undertrained_below if first.is_low else 100 * TWICE_AS_LONG:g} is needed"
    values = [f"{u.f1 if u.is_low else u.share:.1f}" for u in found]
    runs = [f"order {u.run.order} seed {u.run.seed}" for u in found]
    if len(found) == 1:
        value = f"F1 {values[0]}" if first.is_low else f"{values[0]} {unit}"
        return f"{first.row.label} {verb} too little of its first task ({value}, {runs[0]}; {bound})"
    one = len({*runs}) == 1
    each = [""] * len(found) if one else [f" ({run})" for run in runs]
    rows = named(f"{u.row.label} {value}{run}" for u, value, run in zip(found, values, each, strict=True))
    return f"too little of the first task was {verb} ({unit}{f', {runs[0]}' if one else ''}; {bound}) by {rows}"


def _range(values: Sequence[float], decimals: int = 0) -> str:
    """Return the lowest and the highest value, or a single value with one decimal, as in the table."""
    low, high = (f"{value:.{decimals}f}" for value in (min(values), max(values)))
    return f"{min(values):.1f}" if low == high else f"{low} to {high}"

"""Intervals and tests of differences between methods.

The unit is the order, or the seed if all runs have the same order. Interval and test use the same t distribution.
docs/measures.md gives the tests, their reasons, and the claims that they allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cl_ner_bench.analysis.comparison.compare import APART, Comparison, MethodRow, comparisons, group_title
from cl_ner_bench.analysis.comparison.influence import BY_SENTENCE, documents_of, influences, sentence_error
from cl_ner_bench.analysis.comparison.intervals import ALPHA, Estimate, estimate, holm, merged, unit_means
from cl_ner_bench.analysis.comparison.notes import FEW
from cl_ner_bench.analysis.comparison.undertrained import undertrained_rows, without_gap
from cl_ner_bench.analysis.data.distinct import LAST
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.measures import LOWER_IS_BETTER, Floats
from cl_ner_bench.analysis.scores.names import HEADLINE

# The score that each gap is a difference of.
GAP_OF = {"gap": HEADLINE, "gap_micro": "micro_f1", "gap_macro": "macro_f1"}
DATASETS = 5  # a critical-difference analysis needs at least as many


@dataclass(frozen=True)
class Difference:
    """The difference ``row`` minus ``other`` over n matched runs, in points of F1.

    ``row`` has the better mean, or is joint training. ``mean``: over ``units`` orders (each the mean of its seeds), or
    over the seeds of one order. ``low``, ``high``: its 95 % interval, nan if unknown. ``p``: two-sided, nan below FEW
    runs; below 0.05 if the interval excludes 0. ``p_holm``: corrected for all comparisons of this measure (all pairs of
    each group). ``sentences``: half the width of the 95 % interval over test sentences, for these trained models.
    """

    row: MethodRow
    other: MethodRow
    group: str
    n: int
    units: int
    mean: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    sentences: float = math.nan

    @property
    def significant(self) -> bool:
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class DatasetRanks:
    """The mean ranks of methods over at least DATASETS datasets (1 = best), for a critical-difference diagram.

    ``p``: Friedman's test. ``p_values``: Nemenyi's test, a square frame by label. Two methods differ if their mean
    ranks lie further apart than ``critical_difference`` (Demšar 2006, at 5 %).
    """

    title: str
    datasets: tuple[str, ...]
    ranks: pd.Series
    p: float
    p_values: pd.DataFrame
    critical_difference: float


def differences(c: Comparison, view: str, measure: str, results: Results) -> list[Difference]:
    """Return the differences of all pairs of rows within each group outside ``APART``; empty without matched runs.

    With fewer than FEW runs there is no test. ``low`` and ``high`` are then the interval over test sentences (for
    measures of BY_SENTENCE), which holds for these trained models only.
    """
    frame = c.measures[c.measures["view"] == view]
    return [_over_sentences(d, c, view, measure, results) for d in pairs_tested(c, frame, measure)]


def gaps(c: Comparison, view: str, measure: str, results: Results) -> list[Difference]:
    """Return joint training minus each method of its architecture, with intervals and without tests.

    ``measure`` is one of GAP_OF. The interval includes the variance of the joint models. If all orders share the joint
    models, their variance over seeds is added to the variance over the method's orders; a single joint model has
    unknown variance and gives no interval. Architectures whose joint training is undertrained are left out.
    """
    frame = c.measures[c.measures["view"] == view]
    found = []
    for group in row_groups(c, frame, measure):
        for place, row in enumerate(group.rows):
            joints = {c.row_of[c.joints[ids[row]]] for ids in c.matched_runs if ids[row] in c.joints}
            if len(joints) == 1 and row.architecture not in without_gap(c):
                found.append(replace(_difference(joints.pop(), row, group, group.gap(place)), p=math.nan))
    return [_over_sentences(d, c, view, GAP_OF[measure], results) for d in found]


def pairs_tested(c: Comparison, frame: pd.DataFrame, measure: str) -> list[Difference]:
    """Return the tested differences of all pairs of rows within each group outside ``APART``; best rows first.

    ``frame`` holds ``measure`` once per run.
    """
    found: list[Difference] = []
    for group in row_groups(c, frame, measure):
        pairs = list(combinations(range(len(group.rows)), 2))
        if pairs:
            left, right = np.array(pairs).T
            estimate = group.estimate(left, right)
            found += [_difference(group.rows[i], group.rows[j], group, estimate, at) for at, (i, j) in enumerate(pairs)]
    return [replace(d, p_holm=p) for d, p in zip(found, holm([d.p for d in found]), strict=True)]


def unit_of(c: Comparison) -> str:
    """Return the units of tests and intervals, such as ``3 orders`` or ``5 seeds of one order``."""
    return f"{c.n_orders} orders" if c.n_orders > 1 else f"{len(c.pairs)} seeds of one order"


def smallest_p(c: Comparison) -> tuple[int, float]:
    """Return the number k of units, and 2/2^k, the smallest two-sided p of any distribution-free test.

    The k differences have the same sign in 2 of 2^k patterns of signs.
    """
    units = c.n_orders if c.n_orders > 1 else len(c.pairs)
    return units, 2.0 ** (1 - units)


def best_and_tied(c: Comparison, frame: pd.DataFrame, measure: str) -> tuple[set[MethodRow], set[MethodRow]]:
    """Return the rows with the best mean of their group (equal to two decimals), and the rows not significantly worse.

    ``measure`` is a score; changes and differences have no best value. A group without a significant difference to its
    best row has neither, because bold would claim a difference and a mark on all other rows would tell nothing. Both
    sets are empty without matched runs, or with fewer than FEW. Rows of ``unranked`` are in neither set.
    """
    if not may_rank(c):
        return set(), set()
    best: set[MethodRow] = set()
    tied: set[MethodRow] = set()
    leaders: dict[str, MethodRow] = {}
    means = c.per_model(c.compared(frame), measure).groupby(["method", "config"])[measure].mean()
    apart = unranked(c, frame, measure)
    of_leaders: list[Difference] = []
    for d in pairs_tested(c, frame, measure):
        if d.row in apart:
            continue
        leader = leaders.setdefault(d.group, d.row)  # the first pair of a group begins with its best row
        if d.n >= FEW and d.row == leader and d.other not in apart:
            of_leaders.append(d)
    told_apart = {d.group for d in of_leaders if d.significant}
    for d in of_leaders:
        if d.group not in told_apart:
            continue
        best.add(d.row)
        if round(means[d.row.method, d.row.config], 2) == round(means[d.other.method, d.other.config], 2):
            best.add(d.other)
        elif not d.significant:
            tied.add(d.other)
    return best, tied


def unranked(c: Comparison, frame: pd.DataFrame, measure: str) -> frozenset[MethodRow]:
    """Return the rows that may not be marked as best of ``measure``, which ``frame`` holds once per run.

    These are undertrained methods, methods that found nothing, and rows whose ``measure`` is 0.00.
    """
    return found_nothing(c) | undertrained_rows(c) | _zero(c, frame, measure)


@lru_cache(maxsize=16)
def found_nothing(c: Comparison) -> frozenset[MethodRow]:
    """Return the rows whose final micro-F1 is 0.00."""
    return frozenset(_zero(c, c.measures[c.measures["view"] == "all"], "micro_f1"))


def _zero(c: Comparison, frame: pd.DataFrame, measure: str) -> set[MethodRow]:
    means = c.compared(frame).groupby(["method", "config"])[measure].mean()
    return {row for row in c.rows if round(means.get((row.method, row.config), math.nan), 2) == 0}


def may_rank(c: Comparison) -> bool:
    """Return True if anything may be bold, ranked or called better."""
    return c.matched and len(c.pairs) >= FEW


def n_tests(c: Comparison) -> int:
    return sum(math.comb(len(rows), 2) for name, rows in c.groups if name not in APART)


def dataset_ranks(results: Results, view: str = "all") -> list[DatasetRanks]:
    """Rank methods over datasets by the tests of Friedman and Nemenyi, for each scenario, encoder and group.

    At least DATASETS datasets that may be ranked must share three methods. Groups of ``APART`` are left out.
    """
    from scikit_posthocs import posthoc_nemenyi_friedman  # slow to import, rarely needed
    from scipy import stats

    blocks: dict[tuple[str, str, str], dict[str, pd.Series]] = {}
    for c in filter(may_rank, comparisons(results)):
        frame = c.compared(c.measures[c.measures["view"] == view])
        for group, rows in c.groups:
            if group not in APART:
                apart = undertrained_rows(c)
                scores = {row.label: row.of(frame)[HEADLINE].mean() for row in rows if row not in apart}
                # A dataset counts once: its first comparison.
                block = blocks.setdefault((c.scenario, c.encoder, group), {})
                block.setdefault(c.dataset, pd.Series(scores, dtype=float))
    out = []
    for (scenario, encoder, group), by_dataset in sorted(blocks.items()):
        table = pd.DataFrame(by_dataset).T.dropna(axis=1)  # datasets x methods
        n, k = table.shape
        if n < DATASETS or k < 3:
            continue
        # Demšar 2006: q is the studentized range at infinite degrees of freedom over sqrt(2).
        q = float(stats.studentized_range.ppf(1 - ALPHA, k, np.inf)) / math.sqrt(2)
        out.append(
            DatasetRanks(
                title=f"{scenario}, {encoder}, {group_title(group).lower()}",
                datasets=tuple(table.index),
                ranks=(-table).rank(axis=1).mean().sort_values(kind="stable"),
                p=float(stats.friedmanchisquare(*table.to_numpy().T).pvalue),
                p_values=posthoc_nemenyi_friedman(table),
                critical_difference=q * math.sqrt(k * (k + 1) / (6 * n)),
            )
        )
    return out


@dataclass(frozen=True)
class ScorePart:
    """A summand of scores: ``values[runs, rows]``, and the trained model of each value (as the id of its run)."""

    values: Floats
    models: NDArray[np.str_]


@dataclass(frozen=True)
class RowGroup:
    """Rows of one group, the best mean first, over the runs that have values of all rows.

    The scores are the sum of ``parts``: one part, or for gaps the score of joint training and minus the method's score.
    """

    name: str
    rows: list[MethodRow]
    orders: NDArray[np.int64]
    parts: tuple[ScorePart, ...]

    @property
    def values(self) -> Floats:
        """Return the scores ``[runs, rows]``."""
        return np.sum([part.values for part in self.parts], axis=0)

    def estimate(self, left: Sequence[int], right: Sequence[int]) -> Estimate:
        """Return the estimates of rows ``left`` minus rows ``right``, given by place."""
        if not any(_shares(part.models[:, row]) for part in self.parts for row in {*left, *right}):
            return estimate(unit_means(self.values[:, left] - self.values[:, right], self.orders))
        found = [
            self._sum([(part, row, sign) for part in self.parts for row, sign in ((i, 1), (j, -1))])
            for i, j in zip(left, right, strict=True)
        ]
        return Estimate(*(np.concatenate([getattr(e, field.name) for e in found]) for field in fields(Estimate)))

    def gap(self, row: int) -> Estimate:
        """Return the estimate of the sum of parts at place ``row``."""
        return self._sum([(part, row, 1) for part in self.parts])

    def _sum(self, terms: Sequence[tuple[ScorePart, int, int]]) -> Estimate:
        """Return the estimate of a sum of ``terms``: a part, the place of a row and a sign.

        Models that all orders share (joint training, one model per seed) vary by seed, other models by order, so they
        are two samples. In one sample each joint model would count once per order. Joint models that two rows share
        cancel out.
        """
        several = len(np.unique(self.orders)) > 1
        common = [several and len(np.unique(merged(self.orders, part.models[:, [row]]))) == 1 for part, row, _ in terms]
        samples: list[Floats] = []
        for which in (False, True):
            chosen = [term for term, shared in zip(terms, common, strict=True) if shared == which]
            total = np.sum([sign * part.values[:, row] for part, row, sign in chosen], axis=0)
            if chosen and (np.any(total) or not samples):
                models = np.array([part.models[:, row] for part, row, _ in chosen]).T
                samples.append(unit_means(total, self.orders, models))
        return estimate(*(sample[:, None] for sample in samples))


def row_groups(c: Comparison, frame: pd.DataFrame, measure: str) -> list[RowGroup]:
    """Return the compared groups, without rows that have no value and groups that have no common run."""
    out = []
    sign = 1 if measure in LOWER_IS_BETTER else -1
    orders = np.array([order for order, _ in c.pairs], dtype=np.int64)
    for name, rows in c.groups:
        if name in APART or not c.matched:
            continue
        parts = _score_parts(c, rows, frame, measure)
        values = np.sum([part.values for part in parts], axis=0)
        there = np.flatnonzero(~np.isnan(values).all(axis=0))
        common = ~np.isnan(values[:, there]).any(axis=1)
        if common.any():
            means = unit_means(values[common][:, there], orders[common]).mean(axis=0)
            ranked = there[np.argsort(sign * means, kind="stable")]
            chosen = (ScorePart(part.values[common][:, ranked], part.models[common][:, ranked]) for part in parts)
            out.append(RowGroup(name, [rows[i] for i in ranked], orders[common], tuple(chosen)))
    return out


def _score_parts(c: Comparison, rows: Sequence[MethodRow], frame: pd.DataFrame, measure: str) -> list[ScorePart]:
    """Return the parts that add up to the scores of ``rows``, for all matched runs; nan for missing scores."""
    step = int(frame["step"].iloc[0]) if "step" in frame else LAST

    def part(name: str, runs: Sequence[Sequence[str]], sign: int = 1) -> ScorePart:
        scores = dict(zip(frame["run_id"], frame[name], strict=True))
        values = np.array([[scores.get(run, math.nan) for run in of_pair] for of_pair in runs], dtype=np.float64)
        models = np.array([[c.models.get((run, step), run) for run in of_pair] for of_pair in runs], dtype=np.str_)
        return ScorePart(sign * values, models)

    own = [[ids[row] for row in rows] for ids in c.matched_runs]
    if measure not in GAP_OF:
        return [part(measure, own)]
    joint = [[c.joints.get(run, "") for run in of_pair] for of_pair in own]
    return [part(GAP_OF[measure], joint), part(GAP_OF[measure], own, -1)]


def _shares(models: NDArray[np.str_]) -> bool:
    return len(np.unique(models)) < len(models)


def _difference(row: MethodRow, other: MethodRow, group: RowGroup, found: Estimate, at: int = 0) -> Difference:
    """Return the difference at place ``at`` of the estimates; with fewer than FEW runs only the mean."""
    n, n_orders = len(group.orders), len(np.unique(group.orders))
    d = Difference(row, other, group.name, n, n_orders if n_orders > 1 else n, float(found.mean[at]))
    if n < FEW:
        return d
    low, high = round(float(found.low[at]), 6), round(float(found.high[at]), 6)
    return replace(d, low=low, high=high, p=float(found.p[at]))


def _over_sentences(d: Difference, c: Comparison, view: str, measure: str, results: Results) -> Difference:
    """Return ``d`` with the interval over test sentences if ``measure`` is one of BY_SENTENCE."""
    if measure not in BY_SENTENCE:
        return d
    by_row, sentences = influences(c, results)
    of = by_row.get((view, measure), {})
    if d.row not in of or d.other not in of:
        return d
    error = sentence_error(of[d.row] - of[d.other], documents_of(c, sentences[view]))
    half = round(NormalDist().inv_cdf(1 - ALPHA / 2) * error, 6)
    if d.n >= FEW:
        return replace(d, sentences=half)
    return replace(d, sentences=half, low=round(d.mean - half, 6), high=round(d.mean + half, 6))

"""How sure a difference between methods is.

The unit is the matched difference: two methods in the same order with the same seed. What is tested and what may be
claimed: docs/measures.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from cl_ner_bench.analysis.compare import Comparison, Row, comparisons
from cl_ner_bench.analysis.frames import Results
from cl_ner_bench.analysis.measures import LOWER_IS_BETTER, Floats
from cl_ner_bench.analysis.notes import FEW, undertrained
from cl_ner_bench.analysis.resampling import BY_SENTENCE, interval, run_weights, shifts

HEADLINE = "task_macro_f1"
ALPHA = 0.05
EXACT = 10  # runs up to which all 2^n signs are tried; beyond, Wilcoxon's test of ranks
DATASETS = 5  # from which a critical-difference analysis makes sense


@dataclass(frozen=True)
class Difference:
    """``row`` minus ``other`` (``row`` has the better mean), over n matched runs, in points of F1.

    ``low``, ``high``: 95 % interval, nan where there is none. ``p``: two-sided, nan below FEW runs; ``p_holm``:
    corrected for all comparisons of this measure (all pairs of each group).
    """

    row: Row
    other: Row
    group: str
    n: int
    mean: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan

    @property
    def significant(self) -> bool:
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class DatasetRanks:
    """Methods ranked over at least DATASETS datasets (1 = best): what a critical-difference diagram shows.

    ``p``: Friedman's test. ``p_values``: Nemenyi's, a square frame by label. Two methods differ where their mean ranks
    lie further apart than ``critical_difference`` (Demšar 2006, at 5 %).
    """

    title: str
    datasets: tuple[str, ...]
    ranks: pd.Series
    p: float
    p_values: pd.DataFrame
    critical_difference: float


def differences(c: Comparison, view: str, measure: str, results: Results) -> list[Difference]:
    """All pairs of rows within each group but the references, with intervals; empty where no runs match.

    Intervals draw orders, then seeds, and for scores after the last step the test sentences too (``resampling``). With
    fewer than FEW runs they draw sentences alone: they then hold for these trained models only. The draws are seeded.
    """
    frame = c.measures[c.measures["view"] == view]
    groups = {group.name: group for group in grouped(c, frame, measure)}
    draws = {name: _draws(c, group, view, measure, results) for name, group in groups.items()}
    out = []
    for d in compared(c, frame, measure):
        low, high = interval(draws[d.group][d.row] - draws[d.group][d.other], groups[d.group].units)
        out.append(replace(d, low=low, high=high))
    return out


def compared(c: Comparison, frame: pd.DataFrame, measure: str) -> list[Difference]:
    """All pairs of rows within each group but the references, tested, without intervals; best rows first.

    ``frame`` holds ``measure`` once per run.
    """
    found: list[Difference] = []
    p: list[float] = []
    for group in grouped(c, frame, measure):
        pairs = list(combinations(range(len(group.rows)), 2))
        left, right = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        gaps = group.values[:, left] - group.values[:, right]
        p += list(p_values(gaps)) if pairs and len(gaps) >= FEW else [math.nan] * len(pairs)
        found += [
            Difference(group.rows[i], group.rows[j], group.name, len(gaps), float(mean))
            for (i, j), mean in zip(pairs, gaps.mean(axis=0), strict=True)
        ]
    return [replace(d, p=float(raw), p_holm=holm) for d, raw, holm in zip(found, p, _holm(p), strict=True)]


def p_values(gaps: Floats) -> Floats:
    """Two-sided p of each column of ``gaps[runs, tests]``: is a difference of either sign equally likely?

    Up to EXACT runs the exact sign-flip test of the mean over all 2^n signs, beyond it Wilcoxon's signed-rank test
    (both scipy's). Equal methods have p = 1.
    """
    if len(gaps) > EXACT:
        p, differ = np.ones(gaps.shape[1]), gaps.any(axis=0)
        # "auto" would let zeros and ties of one column change the test of all.
        p[differ] = stats.wilcoxon(gaps[:, differ], axis=0, method="exact").pvalue
        return p
    exact = stats.permutation_test(
        (gaps.T,), np.mean, permutation_type="samples", vectorized=True, n_resamples=np.inf, batch=100, axis=-1
    )
    return np.asarray(exact.pvalue, dtype=np.float64)


def smallest_p(n: int) -> float:
    """The smallest two-sided p that either test can reach over n runs: all have one sign, one of 2^n patterns."""
    return 2.0 ** (1 - n)


def standing(c: Comparison, frame: pd.DataFrame, measure: str) -> tuple[set[Row], set[Row]]:
    """The rows with the best mean of their group (equal to two decimals), and the others not significantly worse.

    Both empty where nothing may be claimed: undertrained, unmatched, or fewer than FEW runs.
    """
    best: set[Row] = set()
    tied: set[Row] = set()
    leaders: dict[str, Row] = {}
    means = c.compared(frame).groupby(["method", "config"])[measure].mean()
    for d in compared(c, frame, measure) if may_rank(c) else ():
        leader = leaders.setdefault(d.group, d.row)  # the first pair of a group begins with its best
        if d.n >= FEW and d.row == leader:
            best.add(leader)
            if round(means[leader.method, leader.config], 2) == round(means[d.other.method, d.other.config], 2):
                best.add(d.other)
            elif not d.significant:
                tied.add(d.other)
    return best, tied


def may_rank(c: Comparison) -> bool:
    """Whether anything may be bold, ranked or called better."""
    return c.matched and len(c.pairs) >= FEW and not undertrained(c)


def which_test(n: int) -> str:
    return "exact sign-flip test" if n <= EXACT else "Wilcoxon's signed-rank test"


def can_tell(c: Comparison) -> bool:
    """Whether any difference could be significant at this number of runs and comparisons."""
    return n_tests(c) * smallest_p(len(c.pairs)) < ALPHA


def n_tests(c: Comparison) -> int:
    return sum(math.comb(len(rows), 2) for name, rows in c.groups if name != "reference")


def dataset_ranks(results: Results, view: str = "all", measure: str = HEADLINE) -> list[DatasetRanks]:
    """Methods ranked over datasets, for each scenario and encoder with at least DATASETS datasets that may be ranked
    and three methods that all of them have; references are left out. Friedman's test, then Nemenyi's."""
    import scikit_posthocs  # slow to import, rarely needed

    blocks: dict[tuple[str, str], dict[str, pd.Series]] = {}
    for c in filter(may_rank, comparisons(results)):
        frame = c.compared(c.measures[c.measures["view"] == view])
        scores = {row.label: row.of(frame)[measure].mean() for row in c.rows if row.group != "reference"}
        # A dataset counts once: its first comparison.
        blocks.setdefault((c.scenario, c.encoder), {}).setdefault(c.dataset, pd.Series(scores, dtype=float))
    out = []
    for (scenario, encoder), by_dataset in sorted(blocks.items()):
        table = pd.DataFrame(by_dataset).T.dropna(axis=1)  # datasets x methods
        n, k = table.shape
        if n < DATASETS or k < 3:
            continue
        sign = 1 if measure in LOWER_IS_BETTER else -1
        # Demšar 2006: q is the studentized range at infinite degrees of freedom over sqrt(2).
        q = float(stats.studentized_range.ppf(1 - ALPHA, k, np.inf)) / math.sqrt(2)
        out.append(
            DatasetRanks(
                title=f"{scenario}, {encoder}",
                datasets=tuple(table.index),
                ranks=(sign * table).rank(axis=1).mean().sort_values(kind="stable"),
                p=float(stats.friedmanchisquare(*table.to_numpy().T).pvalue),
                p_values=scikit_posthocs.posthoc_nemenyi_friedman(table),
                critical_difference=q * math.sqrt(k * (k + 1) / (6 * n)),
            )
        )
    return out


@dataclass(frozen=True)
class Group:
    """Rows of one group, the best mean first, with ``values[runs, rows]`` of runs where all are defined."""

    name: str
    rows: list[Row]
    values: Floats
    orders: NDArray[np.int64]

    @property
    def units(self) -> int | None:
        """How many orders, or seeds of one order, are drawn; None where sentences alone are."""
        n_orders = len(np.unique(self.orders))
        return None if len(self.values) < FEW else n_orders if n_orders > 1 else len(self.values)


def grouped(c: Comparison, frame: pd.DataFrame, measure: str) -> list[Group]:
    """The groups that are compared; rows without any value are left out, and so is a group without common runs."""
    out = []
    sign = 1 if measure in LOWER_IS_BETTER else -1
    orders = np.array([order for order, _ in c.pairs], dtype=np.int64)
    for name, rows in c.groups:
        values = c.values(rows, frame, measure)
        there = np.flatnonzero(~np.isnan(values).all(axis=0))
        common = ~np.isnan(values[:, there]).any(axis=1)
        if name != "reference" and common.any():
            values = values[common][:, there]
            ranked = np.argsort(sign * values.mean(axis=0), kind="stable")
            out.append(Group(name, [rows[there[i]] for i in ranked], values[:, ranked], orders[common]))
    return out


def _draws(c: Comparison, group: Group, view: str, measure: str, results: Results) -> dict[Row, Floats]:
    """Per row its mean score in each replicate; nan where there is nothing to draw from."""
    few = group.units is None
    weights = np.full((1, len(group.values)), 1 / len(group.values))
    draws = (weights if few else run_weights(group.orders, np.random.default_rng(1))) @ group.values
    moves = shifts(c, results, view) if measure in BY_SENTENCE else {}
    nothing = math.nan if few else 0.0  # where sentences are not known, runs alone are drawn
    return {row: draws[:, i] + moves.get((measure, row), nothing) for i, row in enumerate(group.rows)}


def _holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of those p that are defined. (statsmodels' ``multipletests`` gives the same, but collects
    garbage at each call: ten seconds a report.)"""
    values = np.array(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    ranked = known[np.argsort(values[known], kind="stable")]
    values[ranked] = np.minimum(1, np.maximum.accumulate(values[ranked] * np.arange(len(ranked), 0, -1)))
    return [float(value) for value in values]

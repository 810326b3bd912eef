"""Where the spread of a method's runs comes from: the orders or the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cl_ner_bench.analysis.compare import Comparison, Row
from cl_ner_bench.analysis.measures import LOWER_IS_BETTER, Floats
from cl_ner_bench.analysis.statistics import grouped, may_rank


@dataclass(frozen=True)
class Spread:
    """Mean and spread of one row's runs; nan where not defined.

    ``std``: over all runs. ``order_std``: over the orders' means over seeds. ``seed_std``: over seeds within an order,
    pooled. ``order_share``: the part (0..1) of the variance that is the order's. ``rank``: mean over orders of the
    rank within the group (1 = best), descriptive.
    """

    row: Row
    n: int
    n_orders: int
    mean: float
    std: float
    order_std: float
    seed_std: float
    order_share: float
    rank: float


def spread(c: Comparison, view: str, measure: str) -> list[Spread]:
    """Mean and spread of each row, the order's part of it apart from the seeds'."""
    frame = c.measures[c.measures["view"] == view]
    ranks = _order_ranks(c, frame, measure)
    out = []
    for row in c.rows:
        runs = row.of(frame).dropna(subset=[measure])
        by_order = [group.to_numpy(dtype=np.float64) for _, group in runs.groupby("order")[measure]]
        order_std, seed_std, share = components(by_order)
        mean, std = float(runs[measure].mean()), float(runs[measure].std(ddof=1))
        out.append(
            Spread(row, len(runs), len(by_order), mean, std, order_std, seed_std, share, ranks.get(row, math.nan))
        )
    return out


def components(by_order: Sequence[Floats]) -> tuple[float, float, float]:
    """Standard deviation of the orders' means, pooled one over seeds within orders, and the order's share of variance.

    The share is the intraclass correlation from the F of a one-way analysis of variance, (F - 1) / (F - 1 + n0), at
    least 0 (Searle, Casella and McCulloch 1992, chapter 3). nan needs more orders, or more seeds in an order.
    """
    sizes = np.array([len(values) for values in by_order])
    order_std = float(np.std([values.mean() for values in by_order], ddof=1)) if len(by_order) > 1 else math.nan
    free = int((sizes - 1).sum())
    if not free:
        return order_std, math.nan, math.nan
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in by_order) / free
    if len(by_order) < 2:
        return order_std, math.sqrt(within), math.nan
    total = np.concatenate(by_order).mean()
    between = sum(len(v) * float(v.mean() - total) ** 2 for v in by_order) / (len(by_order) - 1)
    typical = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(by_order) - 1)
    of_order = max(0.0, (between - within) / typical)
    share = of_order / (of_order + within) if of_order + within else math.nan
    return order_std, math.sqrt(within), share


def _order_ranks(c: Comparison, frame: pd.DataFrame, measure: str) -> dict[Row, float]:
    """Per row its rank within its group by the mean over seeds of each order, averaged over orders."""
    if not may_rank(c) or c.n_orders < 2:
        return {}
    sign = 1 if measure in LOWER_IS_BETTER else -1
    out: dict[Row, float] = {}
    for group in grouped(c, frame, measure):
        means = np.array([group.values[group.orders == order].mean(axis=0) for order in np.unique(group.orders)])
        if len(group.rows) > 1:
            out |= dict(zip(group.rows, stats.rankdata(sign * means, axis=1).mean(axis=0).tolist(), strict=True))
    return out

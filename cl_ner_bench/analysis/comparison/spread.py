"""Variance of a method's runs, divided between orders and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.intervals import unit_means
from cl_ner_bench.analysis.comparison.statistics import may_rank, row_groups
from cl_ner_bench.analysis.comparison.undertrained import undertrained_rows
from cl_ner_bench.analysis.scores.measures import LOWER_IS_BETTER, Floats


@dataclass(frozen=True)
class Spread:
    """Mean and spread of one row's trained models; nan if undefined.

    ``std``: over all models. ``order_std``: over the means of orders. ``seed_std``: over seeds within an order, pooled.
    ``order_share``: the estimated share (0..1) of the variance that lies between orders; ``share_low`` and
    ``share_high``: its 95 % interval. ``rank``: mean over orders of the rank within the group (1 = best), descriptive.
    If several orders share models (joint training), all models count as models of one order.
    """

    row: MethodRow
    n: int
    n_orders: int
    mean: float
    std: float
    order_std: float
    seed_std: float
    order_share: float
    share_low: float
    share_high: float
    rank: float


class Components(NamedTuple):
    """Components of the variance, from ``components``; nan if they cannot be estimated."""

    order_std: float
    seed_std: float
    share: float
    share_low: float
    share_high: float


def spread(c: Comparison, view: str, measure: str) -> list[Spread]:
    """Return mean and spread of each row, divided between orders and seeds."""
    frame = c.measures[c.measures["view"] == view]
    ranks = _order_ranks(c, frame, measure)
    out = []
    for row in c.rows:
        runs = row.of(frame).dropna(subset=[measure])
        models = c.per_model(runs, measure)[measure]
        by_order = [group.to_numpy(dtype=np.float64) for _, group in runs.groupby("order")[measure]]
        if len(models) < len(runs):
            by_order = [models.to_numpy(dtype=np.float64)]
        mean, std = float(models.mean()), float(models.std(ddof=1))
        parts = components(by_order)
        out.append(Spread(row, len(models), len(by_order), mean, std, *parts, rank=ranks.get(row, math.nan)))
    return out


def components(by_order: Sequence[Floats]) -> Components:
    """Estimate the variance between and within orders from the scores of each order's seeds.

    The order's share is the intraclass correlation (F - 1) / (F - 1 + n0), with F of a one-way analysis of variance.
    Its interval divides F by quantiles of the F distribution. Share and interval are cut off at 0, so an estimate of 0
    says little (Searle, Casella and McCulloch 1992, chapter 3; the interval is exact for normal scores and equally many
    seeds in each order).
    """
    sizes = np.array([len(values) for values in by_order])
    order_std = float(np.std([values.mean() for values in by_order], ddof=1)) if len(by_order) > 1 else math.nan
    free = int((sizes - 1).sum())
    if not free:
        return Components(order_std, math.nan, math.nan, math.nan, math.nan)
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in by_order) / free
    if len(by_order) < 2:
        return Components(order_std, math.sqrt(within), math.nan, math.nan, math.nan)
    total = np.concatenate(by_order).mean()
    between = sum(len(v) * float(v.mean() - total) ** 2 for v in by_order) / (len(by_order) - 1)
    typical = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(by_order) - 1)

    def share(ratio: float) -> float:
        """Return the order's share if the mean square between orders is ``ratio * between``."""
        of_order = max(0.0, (ratio * between - within) / typical)
        return of_order / (of_order + within) if of_order + within else math.nan

    from scipy.special import fdtri  # slow to import

    low, high = (1 / fdtri(len(by_order) - 1, free, q) for q in (0.975, 0.025))
    return Components(order_std, math.sqrt(within), share(1), share(low), share(high))


def _order_ranks(c: Comparison, frame: pd.DataFrame, measure: str) -> dict[MethodRow, float]:
    """Return each row's rank within its group: the mean over orders of the rank by the order's mean over seeds."""
    if not may_rank(c) or c.n_orders < 2:
        return {}
    from scipy.stats import rankdata  # slow to import

    sign = 1 if measure in LOWER_IS_BETTER else -1
    out: dict[MethodRow, float] = {}
    apart = undertrained_rows(c)
    for group in row_groups(c, frame, measure):
        sound = [place for place, row in enumerate(group.rows) if row not in apart]
        if len(sound) > 1:
            ranks = rankdata(sign * unit_means(group.values[:, sound], group.orders), axis=1).mean(axis=0)
            out |= zip((group.rows[place] for place in sound), ranks.tolist(), strict=True)
    return out

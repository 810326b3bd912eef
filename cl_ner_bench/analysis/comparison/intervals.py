"""Intervals and tests of means by the t distribution, and the units (orders, seeds or models) that they count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_ner_bench.analysis.scores.measures import Floats

ALPHA = 0.05


@dataclass(frozen=True)
class Estimate:
    """Means, their 95 % intervals and the two-sided p that the mean is 0, ``[tests]`` each; nan with one unit."""

    mean: Floats
    low: Floats
    high: Floats
    p: Floats


def estimate(*samples: Floats) -> Estimate:
    """Return the sum of the means of independent samples, ``[units, tests]`` each.

    One sample gives Student's test, several give Welch's with Satterthwaite's degrees of freedom. Interval and p come
    from the same distribution, so p is below 0.05 if and only if the interval excludes 0.
    """
    mean = np.sum([sample.mean(axis=0) for sample in samples], axis=0)
    if min(map(len, samples)) < 2:
        unknown = np.full_like(mean, math.nan)
        return Estimate(mean, unknown, unknown, unknown)
    from scipy.special import stdtr  # slow to import, and scipy.stats takes a second

    variances = np.array([sample.var(axis=0, ddof=1) / len(sample) for sample in samples])
    free = np.array([len(sample) - 1 for sample in samples])[:, None]
    error = np.sqrt(variances.sum(axis=0))
    varies = error > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(varies, error**4 / (variances**2 / free).sum(axis=0), 1)
        p = np.where(varies, 2 * stdtr(freedom, -np.abs(mean) / error), mean == 0)
    half = t_quantile(freedom, 1 - ALPHA / 2) * error
    return Estimate(mean, mean - half, mean + half, p)


def t_quantile(freedom: float | Floats, share: float) -> Any:
    """Return the quantile ``share`` (0..1) of Student's t distribution with ``freedom`` degrees of freedom."""
    from scipy.special import stdtrit  # slow to import

    return stdtrit(freedom, share)


def unit_means(values: Floats, orders: NDArray[np.int64], models: NDArray[np.str_] | None = None) -> Floats:
    """Return ``values[runs, ...]`` as ``[units, ...]``: the mean of each order, or the runs if there is one order.

    With several orders seeds are no units, because seeds of one order are no evidence about other orders.
    ``models[runs, terms]``: the trained models behind each run's value. Orders that share a model are one unit. If all
    orders share models (joint training after the last step), the units are the models.
    """
    if models is not None:
        orders = merged(orders, models)
    names, place = np.unique(orders, return_inverse=True)
    if len(names) == 1 and models is not None:
        place = np.unique(models, axis=0, return_inverse=True)[1].ravel()
    elif len(names) == 1:
        return values
    return np.array([values[place == unit].mean(axis=0) for unit in range(place.max() + 1)])


def merged(orders: NDArray[np.int64], models: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the order of each run; orders that share a model of ``models[runs, terms]`` get the same number."""
    out = orders.copy()
    for column in models.T:
        for model in np.unique(column):
            sharing = np.unique(out[column == model])
            out[np.isin(out, sharing)] = sharing[0]
    return out


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's correction of the defined p; nan stays. (``multipletests`` of statsmodels gives the same, but
    collects garbage at each call, which costs ten seconds per report.)"""
    values = np.array(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    ranked = known[np.argsort(values[known], kind="stable")]
    values[ranked] = np.minimum(1, np.maximum.accumulate(values[ranked] * np.arange(len(ranked), 0, -1)))
    return [float(value) for value in values]

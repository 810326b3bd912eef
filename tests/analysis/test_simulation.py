"""The simulation of docs/measures.md: how often are equal methods called different, do intervals hold the truth?

Orders and seeds have the same variance; scores are normal unless a row says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from cl_ner_bench import HOME
from cl_ner_bench.analysis.comparison.intervals import ALPHA, Estimate, estimate, holm, unit_means

Floats = NDArray[np.float64]
SIZES = ((1, 5), (3, 2), (3, 3), (3, 5), (6, 3), (10, 3))  # orders, seeds
METHODS = 4
DRAWS = 10_000
Shape = Callable[[np.random.Generator, tuple[int, ...]], Floats]  # of variance 1


def normal(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    return rng.normal(size=size)


OTHERS: tuple[Shape, ...] = (
    lambda rng, size: rng.uniform(-math.sqrt(3), math.sqrt(3), size),
    lambda rng, size: rng.laplace(0, math.sqrt(0.5), size),
    lambda rng, size: rng.exponential(1, size),
    lambda rng, size: rng.choice([-1.0, 1.0], size),
)


def scores(
    n_orders: int, n_seeds: int, shape: Shape = normal, any_order: bool = False
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the scores ``[runs, DRAWS, METHODS]`` of equal methods, and the order of each run.

    Methods are equal over orders; where there is one order they are equal in that order, unless it is ``any_order``.
    """
    rng = np.random.default_rng([n_orders, n_seeds])
    orders = np.repeat(np.arange(n_orders), n_seeds)
    of_order = shape(rng, (n_orders, DRAWS, METHODS)) * (n_orders > 1 or any_order)
    return of_order[orders] + shape(rng, (len(orders), DRAWS, METHODS)), orders


def estimates(values: Floats, orders: NDArray[np.int64]) -> list[Estimate]:
    """Return the suite's estimates, ``[draws]`` each, of all differences between the methods."""
    return [estimate(unit_means(values[..., i] - values[..., j], orders)) for i, j in combinations(range(METHODS), 2)]


def false_alarms(found: list[Estimate]) -> tuple[float, float]:
    """Return how often one test, and any of all after Holm's correction, has p below ALPHA."""
    p = np.array([f.p for f in found])
    return float((p[0] < ALPHA).mean()), float(np.mean([min(holm(list(of))) < ALPHA for of in p.T]))


def coverage(values: Floats, orders: NDArray[np.int64], truth: float = 2.0) -> float:
    """Return how often the suite's interval holds the true difference of two methods."""
    found = estimate(unit_means(values[..., 0] - values[..., 1] + truth, orders))
    return float(((found.low <= truth) & (truth <= found.high)).mean())


def about_all(n_orders: int, n_seeds: int) -> float:
    """Return how often methods that are equal over orders differ in the one order that was run; nan for several."""
    return false_alarms(estimates(*scores(n_orders, n_seeds, any_order=True)))[0] if n_orders == 1 else math.nan


def runs_as_units(gaps: Floats, orders: NDArray[np.int64]) -> float:
    """Return how often a t test has p below ALPHA that takes each run for a unit."""
    return float((stats.ttest_1samp(gaps, 0).pvalue < ALPHA).mean())


def bootstrap(gaps: Floats, orders: NDArray[np.int64]) -> float:
    """Return how often a percentile bootstrap of the units leaves 0 out (2,000 of the draws)."""
    units = unit_means(gaps, orders)[:, :2000]
    k = len(units)
    weights = np.random.default_rng(0).multinomial(k, np.full(k, 1 / k), size=2000) / k
    low, high = np.percentile(weights @ units, [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)], axis=0)
    return float(((low > 0) | (high < 0)).mean())


def sign_flips(gaps: Floats, orders: NDArray[np.int64]) -> float:
    """Return how often the exact sign-flip test of the units has p below ALPHA."""
    units = unit_means(gaps, orders)
    signs = np.array(list(product((1, -1), repeat=len(units))))
    means = np.abs(signs @ units)
    return float(((means >= means[0] - 1e-9).mean(axis=0) < ALPHA).mean())


def as_markdown() -> str:
    """Return the table of docs/measures.md."""
    rows: dict[str, list[float]] = {}
    for size in SIZES:
        values, orders = scores(*size)
        gaps = values[..., 0] - values[..., 1]
        one, family = false_alarms(estimates(values, orders))
        other = [false_alarms(estimates(*scores(*size, shape))) for shape in OTHERS]
        numbers = {
            "p < 0.05, one difference": one,
            "p < 0.05 after Holm, any of the six of four methods": family,
            "the first, scores not normal: the most of four shapes": max(alarm for alarm, _ in other),
            "the second, likewise": max(alarm for _, alarm in other),
            "the 95 % interval holds the true difference": coverage(values, orders),
            "one order, read as a statement about all orders: p < 0.05": about_all(*size),
            "not used: t test with each run as a unit, p < 0.05": runs_as_units(gaps, orders),
            "not used: percentile bootstrap of the units, 0 outside": bootstrap(gaps, orders),
            "not used: exact sign flips of the units, p < 0.05": sign_flips(gaps, orders),
        }
        for name, value in numbers.items():
            rows.setdefault(name, []).append(value)
    lines = [["orders x seeds", *(f"{orders} x {seeds}" for orders, seeds in SIZES)], ["---", *["---:"] * len(SIZES)]]
    lines += [[name, *("" if math.isnan(value) else f"{value:.3f}" for value in of)] for name, of in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
def test_equal_methods_are_rarely_called_different_and_intervals_hold_the_truth(size: tuple[int, int]) -> None:
    values, orders = scores(*size)
    one, family = false_alarms(estimates(values, orders))
    assert one <= 0.06
    assert family <= 0.06
    assert coverage(values, orders) == pytest.approx(0.95, abs=0.01)


@pytest.mark.slow
def test_the_documented_table_is_that_of_this_simulation() -> None:
    assert as_markdown() in (HOME / "docs" / "measures.md").read_text(encoding="utf-8")

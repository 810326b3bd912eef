"""The numbers of a published setting, and the reasons why our results may not stand beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from cl_ner_bench.analysis.literature.settings import (
    UNKNOWN,
    PublishedRow,
    Setting,
    corpus_differences,
    encoder_differences,
)
from cl_ner_bench.analysis.scores import measures
from cl_ner_bench.analysis.table import Cell
from cl_ner_bench.storage.run_record import RunRecord

SPLIT_SEED = 1  # the seed of the published random splits
BF16 = "bf16, which is not shown equivalent to fp32"


def protocol_differences(setting: Setting, runs: Sequence[RunRecord]) -> list[str]:
    """Return the reasons why runs on the setting's dataset and scenario are not comparable with its numbers."""
    run = runs[0]
    found = [d for one in runs for d in (*encoder_differences(setting.encoder, one), *corpus_differences(one))]
    if any(one.imported for one in runs):
        found.append("imported results")
    if any(one.settings.get("precision") == "bf16" for one in runs):
        found.append(f"here {BF16}")
    if setting.federated:
        found.append("federated learning, here centralised")
    if setting.view == UNKNOWN:
        found.append("its test sentences are not stated")
    if run.n_steps != setting.n_steps or run.inputs.get("tasks"):
        found.append("other tasks")
    if sample := run.settings.get("max_sentences"):
        found.append(f"here a sample of {sample} sentences")
    if run.scenario == "split" and run.settings.get("split_seed", SPLIT_SEED) != SPLIT_SEED:
        found.append("here another split seed")
    orders = {run.order for run in runs}
    if orders - set(setting.orders):
        found.append("other orders" if setting.orders else "its orders are not stated")
    elif orders != set(setting.orders) and any(row.order is None for row in setting.rows):
        found.append(f"mean over {len(setting.orders)} orders, here {len(orders)}")
    return list(dict.fromkeys(found))


def published_number(
    rows: Iterable[PublishedRow], measure: str, n_steps: int, step: int | None = None, orders: Iterable[int] = ()
) -> Cell:
    """Return a row's number, or the mean and standard deviation over ``orders`` of rows for single orders.

    It is nan if the source has none. If ``step`` is None, the score at the last step stands for the whole run.
    """
    rows = list(rows)
    if rows and rows[0].order is None:
        return _number(rows[0], measure, n_steps, step)
    numbers = np.array([_number(row, measure, n_steps, step).mean for row in rows if row.order in set(orders)])
    if not len(numbers):
        return Cell(math.nan, math.nan)
    return Cell(float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan)


def _number(row: PublishedRow, measure: str, n_steps: int, step: int | None) -> Cell:
    at_step = row.steps.get(measure, ())
    k = n_steps if step is None else step
    if k == n_steps and measure in row.values:
        return Cell(*row.values[measure])
    if k <= len(at_step):
        return Cell(at_step[k - 1], math.nan)
    if step is None and len(row.tasks) == n_steps:
        return Cell(_of_tasks(row.tasks).get(measure, math.nan), math.nan)
    return Cell(math.nan, math.nan)


def _of_tasks(tasks: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the measures that follow from the task scores after each step, with one task per step."""
    t = len(tasks)
    s = np.array([[*row, *[np.nan] * (t - len(row))] for row in tasks])
    learned = np.arange(1, t + 1)
    return {
        "forgetting": measures.forgetting(s, learned),
        "bi": measures.backward_interference(s),
        "bwt": measures.backward_transfer(s, learned),
        "learning": measures.learning(s, learned),
    }

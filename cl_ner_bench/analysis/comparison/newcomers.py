"""Gain and loss of a model by one new type (scenario `add-one`), as means over newcomers.

The old types and the new type are the two tasks of a run. Their F1 is micro-F1 over the task's types, on all test
sentences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.intervals import estimate
from cl_ner_bench.analysis.scores.scorer import f1_scores

COLUMNS = ("new", "before", "after", "lost")
"""F1 of the new type after step 2, F1 of the old types after step 1 and after step 2, and the loss of the old types."""
_PLACE = ("architecture", "order", "seed")


@dataclass(frozen=True)
class Estimated:
    """A mean and its 95 % t interval; nan if undefined."""

    mean: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Return the mean, with its interval if it has one."""
        interval = "" if math.isnan(self.low) else f" ({self.low:.1f} to {self.high:.1f})"
        return f"{self.mean:.1f}{interval}"

    @property
    def as_loss(self) -> str:
        """Return the value as a loss, ``lose 2.0 (1.0 to 3.0)``; a negative value as a gain."""
        if round(self.mean, 1) >= 0:
            return f"lose {self.text}"
        return f"gain {Estimated(-self.mean, -self.high, -self.low).text}"


@lru_cache(maxsize=16)
def _per_run(c: Comparison) -> pd.DataFrame:
    """Return ``COLUMNS`` of ``compared_runs``, with their row, architecture, order and seed.

    Joint training without a model of step 1 takes ``before`` from the model of step 1 of the other methods.
    """
    counts = c.compared(c.counts[c.counts["view"] == "all"])
    pooled = counts.groupby(["run_id", "step", "learned_at"])[["tp", "fp", "fn"]].sum()
    f1 = pd.Series(f1_scores(pooled.to_numpy()), index=pooled.index)
    runs = {run.run_id: run for run in c.compared_runs}
    table = pd.DataFrame(
        {
            name: f1.reindex([(run_id, step, task) for run_id in runs]).to_numpy()
            for name, (step, task) in {"new": (2, 2), "before": (1, 1), "after": (2, 1)}.items()
        },
        index=[*runs],
    )
    table["row"] = pd.Series([c.row_of[run_id] for run_id in runs], index=table.index, dtype=object)
    for key in _PLACE:
        table[key] = [getattr(run, key) for run in runs.values()]
    start = _start(table)
    lacks = table["before"].isna()
    table.loc[lacks, "before"] = [start.get(place, math.nan) for place in _places(table[lacks])]
    table["lost"] = table["before"] - table["after"]
    return table


def _places(table: pd.DataFrame) -> list[tuple[str, int, int]]:
    return [*table[[*_PLACE]].itertuples(index=False, name=None)]


def _start(table: pd.DataFrame) -> Mapping[tuple[str, int, int], float]:
    """Return the F1 of the old types after step 1, by architecture, order and seed.

    It is the mean over methods that train the whole model. Methods with a frozen encoder have another model of step 1;
    they count only if there is no other method.
    """
    own = table[[row.group != "imported" for row in table["row"]]]
    whole = own[[row.group != "closed-form" for row in own["row"]]]
    parts = [found.dropna(subset=["before"]).groupby([*_PLACE])["before"].mean().to_dict() for found in (own, whole)]
    return parts[0] | parts[1]


@lru_cache(maxsize=16)
def per_newcomer(c: Comparison) -> Mapping[MethodRow, pd.DataFrame]:
    """Return ``COLUMNS`` of each row: a line for each newcomer (the mean of its seeds), or for each run if there is one
    newcomer.

    A newcomer without test mentions has no F1 and is left out.
    """
    table = _per_run(c).dropna(subset=["new"])
    of_row = {row: table[[other == row for other in table["row"]]] for row in c.rows}
    return {row: _lines(lines) for row, lines in of_row.items() if not lines.empty}


def _lines(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each order of ``runs`` (the mean of its seeds), or the runs if there is one order."""
    numbers = runs[[*COLUMNS]]
    return numbers.groupby(runs["order"]).mean() if runs["order"].nunique() > 1 else numbers


def estimated(lines: pd.DataFrame, name: str) -> Estimated:
    """Return the mean and interval of a column of ``per_newcomer``, over newcomers or the seeds of one newcomer."""
    values = lines[name].dropna().to_numpy(np.float64)[:, None]
    if not len(values):
        return Estimated(math.nan, math.nan, math.nan)
    found = estimate(values)
    return Estimated(float(found.mean[0]), float(found.low[0]), float(found.high[0]))


def doing_nothing(c: Comparison) -> dict[str, pd.DataFrame]:
    """Return the lines of the model of step 1, by architecture. It loses nothing and does not find the new type."""
    table = _per_run(c).dropna(subset=["new"])
    found = {}
    for architecture in sorted({row.architecture for row in table["row"] if row.group != "imported"}):
        start = {place: f1 for place, f1 in _start(table).items() if place[0] == architecture}
        before = [*start.values()]
        nothing = pd.DataFrame({"new": 0.0, "before": before, "after": before, "lost": 0.0})
        found[architecture] = _lines(nothing.assign(order=[order for _, order, _ in start]))
    return found


def newcomers(c: Comparison) -> list[str]:
    """Return the newcomers of ``compared_runs``, sorted by order."""
    last = {run.order: run.tasks[-1].types[0] for run in c.compared_runs}
    return [last[order] for order in sorted(last)]


def units(c: Comparison) -> str:
    """Return the units of means and intervals: ``6 newcomers``, or ``3 seeds of one newcomer (product)``."""
    types = newcomers(c)
    if len(types) > 1:
        return f"{len(types)} newcomers"
    seeds = len({run.seed for run in c.compared_runs})
    return f"{seeds} seed{'s' * (seeds > 1)} of one newcomer ({types[0]})"


def new_type_sentence(c: Comparison, best: Sequence[MethodRow], joint: Sequence[MethodRow]) -> str:
    """Return the headline: the gains and losses of the ``best`` rows, ``joint`` training and doing nothing."""
    found = per_newcomer(c)
    if not found:
        return f"One new type: no newcomer has test mentions ({', '.join(newcomers(c))}), so that nothing can be said."
    parts = []
    for row in [*best, *joint]:
        if row in found:
            new, lost = (estimated(found[row], name) for name in ("new", "lost"))
            of_joint = "retraining on everything, " * (row in joint)
            parts.append(f"{of_joint}{row.label}: new type {new.text}, old types {lost.as_loss}")
    interval = ", 95 % interval" if any(len(lines) > 1 for lines in found.values()) else ""
    return f"One new type, F1 over {units(c)}{interval}. {'; '.join(parts)}; doing nothing: 0.0 and 0.0."

"""Tests of agreement between our results and published ones, within a margin fixed beforehand (TOST)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.comparison.intervals import t_quantile, unit_means
from cl_ner_bench.analysis.comparison.learning import unfit_rows
from cl_ner_bench.analysis.data.distinct import models_in, models_of, per_model
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.literature.numbers import protocol_differences, published_number
from cl_ner_bench.analysis.literature.settings import PublishedRow, Setting, encoder_name
from cl_ner_bench.analysis.table import Cell
from cl_ner_bench.storage.run_record import RunRecord

# Two one-sided tests at 5 % each succeed if and only if the 90 % interval lies within the margin (Schuirmann 1987,
# doi:10.1007/BF01068419).
CONFIDENCE = 0.90
AGREES, DISAGREES, OPEN = "agrees", "disagrees", "cannot be judged"


@dataclass(frozen=True)
class Judgement:
    """One measure of one method, 0..100: our number, the published number, their difference and the verdict.

    ``low``, ``high``: the interval of ours minus theirs. ``verdict``: ``agrees`` if the interval lies within ±
    ``margin``, ``disagrees`` if it lies outside, else ``cannot be judged``; ``why`` then gives the reason.
    """

    method: str
    label: str
    measure: str
    ours: Cell
    n: int
    theirs: Cell
    low: float
    high: float
    margin: float
    verdict: str
    why: str

    @property
    def difference(self) -> float:
        return self.ours.mean - self.theirs.mean


def judge(setting: Setting, results: Results) -> list[Judgement]:
    """Return a judgement for each method and each measure of the setting's preset that has a published number.

    If the source gives a number for each order, orders are compared in pairs. Otherwise the two means are compared by
    their spreads (Welch); our spread is over orders, or over the seeds of one order.
    """
    assert setting.preset is not None, "a setting without a preset is never reproduced"
    out = []
    unfit = {
        run.run_id: reason
        for c in comparisons(results)
        for row, reason in unfit_rows(c).items()
        for run in c.runs
        if (run.method, run.config) == (row.method, row.config)
    }
    for method in setting.methods:
        rows = [row for row in setting.rows if row.method == method]
        runs = [run for run in results.finished if _is_of(run, setting, method)]
        frame = results.measures[results.measures["view"] == setting.view]
        frame = frame[frame["run_id"].isin([run.run_id for run in runs])]
        models = models_of(runs)
        for measure, margin in setting.preset.margins.items():
            theirs = published_number(rows, measure, setting.n_steps, orders=setting.orders)
            if math.isnan(theirs.mean):
                continue
            own = per_model(frame, models, [measure])[measure]
            ours = Cell(float(own.mean()), float(own.std(ddof=1)))
            low, high, why = _interval(setting, rows, measure, theirs, runs, frame)
            if reasons_of_learning := dict.fromkeys(unfit[run.run_id] for run in runs if run.run_id in unfit):
                low, high, why = math.nan, math.nan, "; ".join(reasons_of_learning)
            verdict, why = _verdict(low, high, margin, why)
            out.append(
                Judgement(method, rows[0].label, measure, ours, len(own), theirs, low, high, margin, verdict, why)
            )
    return out


def _is_of(run: RunRecord, setting: Setting, method: str) -> bool:
    own = (run.method, run.dataset, run.scenario, encoder_name(run))
    return own == (method, setting.dataset, setting.scenario, setting.encoder)


def _interval(
    setting: Setting,
    rows: Sequence[PublishedRow],
    measure: str,
    theirs: Cell,
    runs: Sequence[RunRecord],
    frame: pd.DataFrame,
) -> tuple[float, float, str]:
    """Return the 90 % interval of ours minus theirs, or nan and the reason why the interval is missing."""
    none = (math.nan, math.nan)
    if not runs:
        return *none, f"no finished run with {setting.encoder}"
    if other := protocol_differences(setting, runs):
        return *none, f"another protocol: {'; '.join(other)}"
    if {run.order for run in runs} != set(setting.orders):
        return *none, "not all orders are finished"
    if doubtful := [
        e for e in setting.errata if e.row == rows[0].label and e.measure == measure and math.isnan(e.right)
    ]:
        return *none, f"the published number is doubtful: {doubtful[0].why}"
    if rows[0].order is not None:
        if len(rows) < 2:
            return *none, "one published run: its spread is not known"
        by_order = frame.groupby("order")[measure].mean().to_dict()
        theirs_by_order = {
            row.order: published_number([row], measure, setting.n_steps, orders=setting.orders) for row in rows
        }
        gaps = [by_order[order] - cell.mean for order, cell in theirs_by_order.items()]
        from scipy.stats import ttest_1samp  # slow to import

        interval = ttest_1samp(gaps, 0).confidence_interval(CONFIDENCE)
        return float(interval.low), float(interval.high), ""
    if setting.runs < 2 or math.isnan(theirs.std):
        return *none, "the published spread is not known"
    models = np.array([models_in(frame, models_of(runs))]).T
    values = unit_means(frame[measure].to_numpy(dtype=float), frame["order"].to_numpy(dtype=np.int64), models)
    if len(values) < 2:
        return *none, "one run of ours: its spread is not known"
    their_variance = theirs.std**2 / (setting.runs - 1 + setting.ddof)  # of the mean
    our_variance = float(np.var(values, ddof=1)) / len(values)
    total = our_variance + their_variance
    if total == 0:
        return (gap := float(values.mean()) - theirs.mean), gap, ""
    freedom = total**2 / (our_variance**2 / (len(values) - 1) + their_variance**2 / (setting.runs - 1))
    half = float(t_quantile(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(total)
    return float(values.mean()) - theirs.mean - half, float(values.mean()) - theirs.mean + half, ""


def _verdict(low: float, high: float, margin: float, why: str) -> tuple[str, str]:
    if math.isnan(low):
        return OPEN, why or "the interval is not defined"
    if -margin <= low and high <= margin:
        return AGREES, ""
    if low > margin or high < -margin:
        return DISAGREES, ""
    return OPEN, f"the interval reaches over the margin of {margin:g}: more runs would narrow it"

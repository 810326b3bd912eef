"""The uncertainty of a score that comes from the choice of test sentences, for fixed trained models.

All runs share one test set. The influence function gives the effect of each sentence on the mean score of a method.
The sum of its squares is, to first order, the variance of a bootstrap over sentences (the infinitesimal jackknife:
Efron and Tibshirani 1993, chapter 21). At the size of these test sets a bootstrap would give the same intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.data.outcomes import Outcomes
from cl_ner_bench.analysis.data.run_outcomes import outcomes_of
from cl_ner_bench.analysis.scores.measures import Floats, TaskLayout
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.run_record import TEST, RunRecord

# Scores that follow from the counts after the last step. Outcomes hold these counts by sentence.
BY_SENTENCE = ("micro_f1", "macro_f1", "task_macro_f1")
Integers = NDArray[np.int64]


def sentence_error(influence: Floats, documents: Integers | None = None) -> float:
    """Return the standard error over test sentences, in points, of a score or of a difference of scores.

    ``influence[sentences]`` comes from ``influence_of``. With ``documents[sentences]`` (0, 1, ...) the sentences of a
    document are drawn together, without it one by one.
    """
    drawn = influence if documents is None else np.bincount(documents, influence)
    return math.sqrt(float(((drawn - drawn.mean()) ** 2).sum()))


def influence_of(rows: Integers, units: Integers, sentences: Integers) -> Floats:
    """Return ``[sentences]``: the derivative of a mean of F1 scores (0..100) by each sentence's weight; the sum is 0.

    ``rows[n, 5]`` are sentence id, type, tp, fp, fn. ``units[types]`` is the unit (task, type, or 0 for micro) to which
    a type belongs. ``sentences`` are the sorted ids. Units without gold are left out of the mean.
    """
    unit, tp, wrong, gold = units[rows[:, 1]], rows[:, 2], rows[:, 3] + rows[:, 4], rows[:, 2] + rows[:, 4]
    right, errors, known = (_sums(unit, values, len(units)) for values in (tp, wrong, gold))
    total = np.where(known > 0, 2 * right + errors, np.inf)  # inf: the derivative of an undefined F1 is 0
    per_right, per_error = 200 * errors / total**2, -200 * right / total**2
    change = per_right[unit] * tp + per_error[unit] * wrong
    by_sentence = _sums(np.searchsorted(sentences, rows[:, 0]), change, len(sentences))
    return by_sentence / max(1, int(np.count_nonzero(known)))


def _sums(place: Integers, values: NDArray[Any], size: int) -> Floats:
    return np.bincount(place, values, minlength=size).astype(np.float64)


def drawn_together(c: Comparison) -> str:
    """Return the sampling unit of the test part: ``documents`` if the runs know at least two, else ``sentences``."""
    return "documents" if len(c.runs[0].documents or ()) > 1 else "sentences"


def documents_of(c: Comparison, sentences: Integers) -> Integers | None:
    """Return ``[sentences]``: the document (0, 1, ...) of each sentence id, or None if sentences are drawn."""
    if drawn_together(c) == "sentences":
        return None
    at = np.searchsorted(np.array(c.runs[0].documents), sentences, side="right")
    return np.unique(at, return_inverse=True)[1].astype(np.int64)


@lru_cache(maxsize=2)
def influences(
    c: Comparison, results: Results
) -> tuple[Mapping[tuple[str, str], Mapping[MethodRow, Floats]], Mapping[str, Integers]]:
    """Return the influence of each test sentence on the mean score of each row of ``c``, by view and measure, and the
    ids of the sentences by view.

    The measures are BY_SENTENCE, without ``task_macro_f1`` for runs on several test sets, where a type's task depends
    on the test set. Raises UserError for predictions that cannot be read, and for runs whose test sentences differ.
    """
    found: dict[tuple[str, str], dict[MethodRow, Floats]] = {}
    rows = {(row.method, row.config): row for row in c.rows}
    sizes = {row: len(row.of(c.compared(c.measures))["run_id"].unique()) for row in c.rows}
    sentences: dict[str, Integers] = {}
    for run in c.compared_runs:
        row, final = rows[run.method, run.config], outcomes_of(results, run.run_id)
        with_gold = np.unique(final.final[final.final[:, [2, 4]].any(axis=1), 0])
        for view, ids in (("all", final.sentences), ("filter", with_gold)):
            if not np.array_equal(sentences.setdefault(view, ids), ids):
                raise UserError(
                    f"{results.folders[run.run_id]}: its test sentences are not those of {c.runs[0].run_id}, "
                    "though both say to have the same data: run one of them again"
                )
            counts = final.final[np.isin(final.final[:, 0], ids)]
            for measure, units in _units(run, final).items():
                share = influence_of(counts, units, ids) / sizes[row]
                of_row = found.setdefault((view, measure), {})
                of_row[row] = of_row[row] + share if row in of_row else share
    return found, sentences


def _units(run: RunRecord, final: Outcomes) -> dict[str, Integers]:
    """Return for each measure the unit of each type."""
    layout, n = TaskLayout.of(run.tasks), len(final.types)
    units = {"micro_f1": np.zeros(n, dtype=np.int64), "macro_f1": np.arange(n)}
    if {test_set for test_set, _ in layout.units} == {TEST}:
        task_of = {
            type_: layout.tasks.index(task) for (_, type_), task in zip(layout.units, layout.task_of, strict=True)
        }
        units["task_macro_f1"] = np.array([task_of[type_] for type_ in final.types])
    return units

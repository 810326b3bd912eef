"""Bootstrap over what a score depends on by chance: the orders, the seeds within them, and the test sentences.

Runs are drawn in two stages (orders, then the seeds of each), as in Davison and Hinkley 1997, section 3.8. All runs
share one test set, so each replicate draws its sentences once for all of them. How the mean score of a method moves
with the drawn sentences is taken from its influence function, the first-order term (Efron and Tibshirani 1993, chapter
21): counting every replicate of every run again would cost minutes and change nothing at the size of a test set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cl_ner_bench.analysis.compare import Comparison, Row
from cl_ner_bench.analysis.frames import Results
from cl_ner_bench.analysis.measures import TEST, Floats, Layout
from cl_ner_bench.analysis.reduction import Reduced, reduced
from cl_ner_bench.errors import UserError

REPLICATES = 2000
CHUNK = 100  # replicates whose sentence weights are held at once
# Scores that follow from the counts after the last step, which are known by sentence.
BY_SENTENCE = ("micro_f1", "macro_f1", "task_macro_f1")
Integers = NDArray[np.int64]


def run_weights(orders: Integers, rng: np.random.Generator, replicates: int = REPLICATES) -> Floats:
    """``[replicates, runs]``: how much each run counts (rows sum to 1), where orders are drawn with replacement and
    within each drawn order its runs. ``orders`` is the order of each run."""
    names, members = np.unique(orders, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    weights = np.zeros((replicates, len(orders)))
    for order in range(len(names)):
        runs = np.flatnonzero(members == order)
        # An order drawn c times has its runs drawn c times.
        weights[:, runs] = rng.multinomial(drawn[:, order] * len(runs), np.full(len(runs), 1 / len(runs)))
    return weights / weights.sum(axis=1, keepdims=True)


def sentence_shifts(
    influence: Floats, rng: np.random.Generator, documents: Integers | None = None, replicates: int = REPLICATES
) -> Floats:
    """``[replicates, methods]``: by how much each score moves where the test sentences are drawn anew.

    ``influence[sentences, methods]`` as ``influence_of`` gives it. ``documents[sentences]`` (0, 1, ...): the sentences
    of a document are drawn together; without it each is drawn by itself.
    """
    if documents is not None:
        pooled = np.zeros((int(documents.max()) + 1, influence.shape[1]))
        np.add.at(pooled, documents, influence)
        influence = pooled
    size = len(influence)

    def drawn(times: int) -> Floats:
        """How often each sentence was drawn, ``[times, sentences]``."""
        return np.array([np.bincount(rng.integers(size, size=size), minlength=size) for _ in range(times)], dtype=float)

    return np.concatenate([drawn(min(CHUNK, replicates - i)) @ influence for i in range(0, replicates, CHUNK)])


def interval(draws: Floats, units: int | None) -> tuple[float, float]:
    """The 95 % percentile interval of a bootstrap over ``units`` orders (or seeds of one order); None: very many.

    A bootstrap over few units is too narrow: the percentiles lie further out, by the t distribution and
    sqrt(n / (n - 1)) (expanded percentile interval of Hesterberg 2015, arXiv 1411.5279). Rounded to a millionth, so
    that the last bits of matrix products, which depend on the number of threads, do not show.
    """
    far = stats.norm.ppf(0.975) if units is None else math.sqrt(units / (units - 1)) * stats.t.ppf(0.975, units - 1)
    low, high = np.percentile(draws, [100 * stats.norm.cdf(-far), 100 * stats.norm.cdf(far)])
    return round(float(low), 6), round(float(high), 6)


def influence_of(rows: Integers, units: Integers, sentences: Integers) -> Floats:
    """``[sentences]``: by how much a mean of F1 scores (0..100) changes with each sentence's weight; the sum is 0.

    ``rows[n, 5]`` are sentence id, type, tp, fp, fn; ``units[types]`` the unit (task, type, or 0 for micro) whose F1 a
    type enters; ``sentences`` the sorted ids. Units without gold are left out of the mean.
    """
    unit, tp, wrong, gold = units[rows[:, 1]], rows[:, 2], rows[:, 3] + rows[:, 4], rows[:, 2] + rows[:, 4]
    right, errors, known = (_sums(unit, values, len(units)) for values in (tp, wrong, gold))
    total = np.where(known > 0, 2 * right + errors, np.inf)  # inf: no slope where the F1 is undefined
    per_right, per_error = 200 * errors / total**2, -200 * right / total**2
    change = per_right[unit] * tp + per_error[unit] * wrong
    by_sentence = _sums(np.searchsorted(sentences, rows[:, 0]), change, len(sentences))
    return by_sentence / max(1, int(np.count_nonzero(known)))


def _sums(place: Integers, values: NDArray[Any], size: int) -> Floats:
    return np.bincount(place, values, minlength=size).astype(np.float64)


@lru_cache(maxsize=4)
def shifts(c: Comparison, results: Results, view: str) -> Mapping[tuple[str, Row], Floats]:
    """Per measure of BY_SENTENCE (those that ``influences`` has) and row of ``c``: by how much its mean score moves in
    each replicate of the test sentences, ``[replicates]``. The same sentences, or documents where the corpus has them,
    are drawn for all."""
    of_view, sentences = influences(c, results)
    found = {(measure, row): psi for (of, measure), rows in of_view.items() if of == view for row, psi in rows.items()}
    psi = np.column_stack(list(found.values()))
    moves = sentence_shifts(psi, np.random.default_rng(0), documents_of(c, sentences[view]))
    return dict(zip(found, moves.T, strict=True))


def drawn_together(c: Comparison) -> str:
    """What a replicate draws of the test part: ``documents`` where the runs know at least two, else ``sentences``."""
    return "documents" if len(c.runs[0].get("documents") or ()) > 1 else "sentences"


def documents_of(c: Comparison, sentences: Integers) -> Integers | None:
    """``[sentences]``: the document (0, 1, ...) of each sentence id; None where sentences are drawn."""
    if drawn_together(c) == "sentences":
        return None
    at = np.searchsorted(np.array(c.runs[0]["documents"]), sentences, side="right")
    return np.unique(at, return_inverse=True)[1].astype(np.int64)


@lru_cache(maxsize=2)
def influences(
    c: Comparison, results: Results
) -> tuple[Mapping[tuple[str, str], Mapping[Row, Floats]], Mapping[str, Integers]]:
    """Per view and measure of BY_SENTENCE, and per row of ``c``, the influence of each test sentence on the row's mean
    score; and per view the ids of these sentences. Runs on several test sets have no ``task_macro_f1`` here: a type's
    task depends on the set.

    Raises UserError for predictions that cannot be read, and for runs whose test sentences differ.
    """
    found: dict[tuple[str, str], dict[Row, Floats]] = {}
    rows = {(row.method, row.config): row for row in c.rows}
    sizes = {row: len(row.of(c.compared(c.measures))["run_id"].unique()) for row in c.rows}
    sentences: dict[str, Integers] = {}
    for run in c.compared_runs:
        row, final = rows[run["method"], run["config"]], reduced(results, run["run_id"])
        with_gold = np.unique(final.final[final.final[:, [2, 4]].any(axis=1), 0])
        for view, ids in (("all", final.sentences), ("filter", with_gold)):
            if not np.array_equal(sentences.setdefault(view, ids), ids):
                raise UserError(
                    f"{results.folders[run['run_id']]}: its test sentences are not those of {c.runs[0]['run_id']}, "
                    "though both say to have the same data: run one of them again"
                )
            counts = final.final[np.isin(final.final[:, 0], ids)]
            for measure, units in _units(run, final).items():
                share = influence_of(counts, units, ids) / sizes[row]
                of_row = found.setdefault((view, measure), {})
                of_row[row] = of_row[row] + share if row in of_row else share
    return found, sentences


def _units(run: Mapping[str, Any], final: Reduced) -> dict[str, Integers]:
    """For each measure the unit of each type."""
    layout, n = Layout.of(run["tasks"]), len(final.types)
    units = {"micro_f1": np.zeros(n, dtype=np.int64), "macro_f1": np.arange(n)}
    if {test_set for test_set, _ in layout.units} == {TEST}:
        task_of = {
            type_: layout.tasks.index(task) for (_, type_), task in zip(layout.units, layout.task_of, strict=True)
        }
        units["task_macro_f1"] = np.array([task_of[type_] for type_ in final.types])
    return units

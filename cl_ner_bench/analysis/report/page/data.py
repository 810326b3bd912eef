"""The data of the page's script as compact JSON: scores of every run, and F1 by type and order."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cl_ner_bench.analysis.comparison.compare import Comparison, group_title, learning_order
from cl_ner_bench.analysis.comparison.undertrained import without_gap
from cl_ner_bench.analysis.data.distinct import LAST
from cl_ner_bench.analysis.data.frames import STEP_GAPS, VIEWS, Results
from cl_ner_bench.analysis.figures.style import Appearance
from cl_ner_bench.analysis.scores.measures import MEASURES
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.scores.scorer import f1_scores
from cl_ner_bench.storage.run_record import RunRecord

CURVES = {key: NAMES[key].title for key in ("task_macro_f1", "micro_f1", "macro_f1", "gap_task_macro")}


def page_data(
    results: Results, comparisons: Iterable[Comparison], appearances: Mapping[tuple[str, str], Appearance]
) -> str:
    """Return the JSON of ``<script type="application/json">``.

    Scores are integers in hundredths (in tenths for the key ``tenths``), null if undefined. Keys of each comparison:
    ``rows`` (methods), ``runs`` (row, order, seed, index into the page's ``runs``), ``copies[run][step]`` (the earlier
    run with the same model, if there is one), ``scores[view][measure][run][step]``, ``measures[view][measure][run]``,
    ``final[view][run][type]``, ``tenths[view][order][row][step][type]`` (mean over seeds).
    """
    index = {run.run_id: i for i, run in enumerate(results.runs)}
    data = {
        "runs": [
            [run.run_id, *(str(run.fingerprints.get(key, ""))[:12] for key in ("data", "split"))]
            for run in results.runs
        ],
        "blocks": {c.slug: _block(c, index, appearances) for c in comparisons},
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    # A script element may contain neither its end tag nor the beginning of a comment.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _block(
    c: Comparison, index: Mapping[str, int], appearances: Mapping[tuple[str, str], Appearance]
) -> dict[str, Any]:
    number = {(row.method, row.config): i for i, row in enumerate(c.rows)}
    types = list(dict.fromkeys(t for task in learning_order(c.runs[0]) for t in task.types))
    ids = [run.run_id for run in c.runs]
    f1 = {view: _type_scores(c, view, ids, types) for view in VIEWS}
    orders = c.orders
    learned = {run.order: {t: task.learned_at for task in reversed(learning_order(run)) for t in task.types}
               for run in c.runs}  # fmt: skip
    return {
        "steps": c.n_steps,
        "rows": [
            dict(zip(("label", "group", "architecture", "method", "config", "colour", "marker"), values, strict=True))
            for values in (
                (r.label, r.group, r.architecture, r.method, r.config, *appearances[r.method, r.config]) for r in c.rows
            )
        ],
        "groups": {name: group_title(name) for name, _ in c.groups},
        "curves": CURVES,
        "types": types,
        "orders": orders,
        "learned": {order: [learned[order].get(t) for t in types] for order in orders},
        "runs": [
            [number[run.method, run.config], run.order, run.seed, index[run.run_id]] for run in c.runs
        ],
        "copies": _copies(c, ids),
        "scores": {view: _step_scores(c, view, ids) for view in VIEWS},
        "measures": {view: _measures(c, view, ids) for view in VIEWS},
        "final": {view: _whole(f1[view][:, -1, :], 100) for view in VIEWS},
        "tenths": {
            view: [
                [
                    _whole(_mean(f1[view][[_is(run, row, order) for run in c.runs]]), 10)
                    for row in c.rows
                ]
                for order in orders
            ]
            for view in VIEWS
        },
    }  # fmt: skip


def _copies(c: Comparison, ids: Sequence[str]) -> dict[int, dict[int, int]]:
    """Return ``{run: {step - 1: earlier run}}`` of copied models; runs are places in ``ids``."""
    place = {run_id: i for i, run_id in enumerate(ids)}
    found: dict[int, dict[int, int]] = {}
    for (run_id, step), first in c.models.items():
        if step != LAST and first != run_id:
            found.setdefault(place[run_id], {})[step - 1] = place[first]
    return found


def _is(run: RunRecord, row: Any, order: int) -> bool:
    return (run.method, run.config, run.order) == (row.method, row.config, order)


def _type_scores(c: Comparison, view: str, ids: Sequence[str], types: Sequence[str]) -> NDArray[np.float64]:
    """Return F1 ``[runs, T, types]`` of counts pooled over test sets; nan if not scored."""
    frame = c.counts[c.counts["view"] == view]
    counts = np.zeros((len(ids), c.n_steps, len(types), 3), dtype=np.int64)
    place = (
        frame["run_id"].map({run_id: i for i, run_id in enumerate(ids)}).to_numpy(dtype=np.int64),
        frame["step"].to_numpy(dtype=np.int64) - 1,
        frame["type"].map({type_: i for i, type_ in enumerate(types)}).to_numpy(dtype=np.int64),
    )
    np.add.at(counts, place, frame[["tp", "fp", "fn"]].to_numpy(dtype=np.int64))
    return f1_scores(counts)


def _step_scores(c: Comparison, view: str, ids: Sequence[str]) -> dict[str, list[Any]]:
    frame = c.scores[c.scores["view"] == view]
    runs = frame["run_id"].map({run_id: i for i, run_id in enumerate(ids)}).to_numpy(dtype=np.int64)
    out = {}
    for name in CURVES:
        values = np.full((len(ids), c.n_steps), math.nan)
        values[runs, frame["step"].to_numpy(dtype=np.int64) - 1] = frame[name].to_numpy(dtype=float)
        if name in STEP_GAPS:
            values[[run.architecture in without_gap(c) for run in c.runs]] = math.nan
        out[name] = _whole(values, 100)
    return out


def _measures(c: Comparison, view: str, ids: Sequence[str]) -> dict[str, list[Any]]:
    frame: pd.DataFrame = c.measures[c.measures["view"] == view].set_index("run_id").loc[list(ids)]
    return {name: _whole(frame[name].to_numpy(dtype=float), 100) for name in MEASURES}


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the defined values over the first axis; nan if there are none."""
    known = ~np.isnan(values)
    return np.where(known.any(axis=0), np.nansum(values, axis=0) / np.maximum(known.sum(axis=0), 1), math.nan)


def _whole(values: NDArray[np.float64], factor: int) -> list[Any]:
    """Return ``values * factor`` as nested lists of integers, with None for nan."""
    rounded: NDArray[Any] = np.where(np.isnan(values), 0, np.round(values * factor)).astype(np.int64).astype(object)
    rounded[np.isnan(values)] = None
    out: list[Any] = rounded.tolist()
    return out

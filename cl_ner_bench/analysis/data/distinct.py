"""Trained models behind runs. Runs of several orders may hold copies of one model (joint training after the last step
does not depend on the order). Such a model is one observation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cl_ner_bench.analysis.scores.measures import SINGLE_TASK
from cl_ner_bench.storage.run_record import NEWCOMER, RunRecord

LAST = 0  # stands for the last step of a run
Models = Mapping[tuple[str, int], str]


def models_of(runs: Iterable[RunRecord]) -> Models:
    """Map each ``(run_id, step)``, and ``(run_id, LAST)``, to the first run of the method that holds the same model.

    Models with equal step keys (``run.json``) are one model. A run without keys has models of its own. Single-task runs
    of one seed hold the same models in every order that permutes tasks, so all of them count once at LAST.
    """
    first: dict[tuple[Any, ...], str] = {}
    found: dict[tuple[str, int], str] = {}
    for run in runs:
        run_id = run.run_id
        for step in run.steps:
            key = run.key(step)
            found[run_id, step] = run_id
            if key is not None:
                found[run_id, step] = first.setdefault((run.method, run.config, step, key), run_id)
        found[run_id, LAST] = found[run_id, run.steps[-1]] if run.steps else run_id
        if run.registry_name in SINGLE_TASK and run.order_of not in ("types", NEWCOMER):
            data = run.fingerprints.get("data")
            found[run_id, LAST] = first.setdefault((run.method, run.config, data, run.seed), run_id)
    return found


def models_in(frame: pd.DataFrame, models: Models) -> list[str]:
    """Return the model of each row of ``frame``: after the row's ``step``, or the run's last model without steps."""
    steps = frame["step"] if "step" in frame else [LAST] * len(frame)
    return [models[place] for place in zip(frame["run_id"], steps, strict=True)]


def per_model(frame: pd.DataFrame, models: Models, names: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """Return ``method``, ``config``, ``by`` and ``names`` with one row per trained model (and value of ``by``).

    ``frame`` has one row per run (and value of ``by``). ``names`` are averaged over the
    runs that share a model, without nan.
    """
    of = models_in(frame, models)
    keys = ["method", "config", *by]
    if of == list(frame["run_id"]):
        return frame[[*keys, *names]]
    groups = frame.assign(_model=of).groupby([*keys, "_model"], sort=False, dropna=False)
    return groups[[*names]].mean().reset_index()[[*keys, *names]]

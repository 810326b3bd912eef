"""Trained models behind runs. Runs of several orders may hold copies of one model (joint training after the last step
does not depend on the order): it is one observation, however many runs show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cl_ner_bench.analysis.scores.measures import SINGLE_TASK
from cl_ner_bench.storage.run_record import RunRecord

LAST = 0  # in place of a step: the last one of the run
Models = Mapping[tuple[str, int], str]


def models_of(runs: Iterable[RunRecord]) -> Models:
    """Return for each ``(run_id, step)``, and ``(run_id, LAST)``, the first run of the method that holds this model.

    Models with one step key (``run.json``) are one model. A run without keys has models of its own. Single-task runs
    of one seed hold the same models in every order that permutes tasks: as a whole (LAST) they are one.
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
        if run.registry_name in SINGLE_TASK and run.order_of not in ("types", "newcomer"):
            data = run.fingerprints.get("data")
            found[run_id, LAST] = first.setdefault((run.method, run.config, data, run.seed), run_id)
    return found


def models_in(frame: pd.DataFrame, models: Models) -> list[str]:
    """Return the model of each row of ``frame``: the one after the row's ``step``, else the run's last."""
    steps = frame["step"] if "step" in frame else [LAST] * len(frame)
    return [models[place] for place in zip(frame["run_id"], steps, strict=True)]


def per_model(frame: pd.DataFrame, models: Models, names: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """Return ``method``, ``config``, ``by`` and ``names`` with one row per trained model (and value of ``by``).

    ``frame`` has such a row per run; ``names`` are averaged over the runs that share the model, nan left out.
    """
    of = models_in(frame, models)
    keys = ["method", "config", *by]
    if of == list(frame["run_id"]):
        return frame[[*keys, *names]]
    groups = frame.assign(_model=of).groupby([*keys, "_model"], sort=False, dropna=False)
    return groups[[*names]].mean().reset_index()[[*keys, *names]]

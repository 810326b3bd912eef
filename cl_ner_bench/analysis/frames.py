"""A results folder as tidy pandas frames. Reads what ``docs/results.md`` describes and nothing else."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cl_ner_bench.analysis import measures
from cl_ner_bench.analysis.measures import Floats, Layout
from cl_ner_bench.errors import UserError

SCHEMA = 1
VIEWS = ("all", "filter")
# Measures that compare steps need the same sentences at every step.
FIXED = {"all": "all", "filter": "filter_last"}

RUN = ["run_id", "method", "dataset", "scenario", "order", "seed", "encoder", "config"]
COUNTS = [*RUN, "step", "view", "test_set", "task", "type", "learned_at", "tp", "fp", "fn"]
STEP_GAPS = {"gap_micro": "micro_f1", "gap_macro": "macro_f1", "gap_task_macro": "task_macro_f1"}
SCORES = [*RUN, "step", "n_steps", "view", *measures.STEP_SCORES, *STEP_GAPS]
ROW = ["method", "dataset", "scenario", "view", "encoder", "config"]
SUMMARY = [
    *ROW,
    *("label", "n_runs", "n_orders", "n_seeds"),
    *(f"{name}_{part}" for name in measures.MEASURES for part in ("mean", "std")),
]
_NEEDED = [
    *RUN,
    *("registry_name", "label", "architecture", "group", "status", "n_steps", "steps", "tasks", "setting"),
    "settings",
]


@dataclass(frozen=True)
class Results:
    """The runs of one or more results folders, and what they scored. All scores are 0..100.

    ``runs``: every run's record (``run.json``), also failed and unfinished ones, sorted by ``run_id``.
    The frames hold finished runs only: ``counts`` a row per run, step, view, test set and type; ``scores``
    a row per run, step and view; ``measures`` a row per run and view with every measure; ``summary`` a row
    per method, dataset, scenario, view, encoder and config with mean and std (ddof 1) over its runs.
    Columns: ``COUNTS``, ``SCORES``, ``SUMMARY``.
    """

    runs: list[dict[str, Any]]
    counts: pd.DataFrame
    scores: pd.DataFrame
    measures: pd.DataFrame
    summary: pd.DataFrame
    folders: Mapping[str, Path] = field(repr=False)  # run_id -> its folder

    @property
    def finished(self) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["status"] == "done"]

    def predictions(self, run_id: str, step: int) -> pd.DataFrame:
        """A row per gold and per predicted mention of the test set after ``step``.

        Columns: ``id`` (sentence), ``source`` (``gold`` or ``pred``), ``start``, ``end`` (exclusive),
        ``type``, ``score`` (0..1, nan for gold). Raises UserError for an unknown run or step.
        """
        if run_id not in self.folders:
            raise UserError(f"no run {run_id!r} here; the runs are {', '.join(self.folders)}")
        path = self.folders[run_id] / f"step-{step}" / "predictions.jsonl.gz"
        if not path.is_file():
            raise UserError(f"{path} does not exist: run {run_id} stored no step {step}")
        rows: list[tuple[Any, ...]] = []
        try:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    rows += [(row["id"], "gold", *mention, np.nan) for mention in row["gold"]]
                    rows += [(row["id"], "pred", *mention) for mention in row["pred"]]
        except (EOFError, OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} cannot be read ({error}): remove the run's folder and run again") from error
        return pd.DataFrame(rows, columns=["id", "source", "start", "end", "type", "score"])


def load_results(*dirs: str | PathLike[str]) -> Results:
    """All runs below the given results folders; the same run in two of them counts once.

    Raises UserError, naming the file, for a folder that is no results folder, a torn or incomplete file,
    and a file that a newer version of the suite wrote.
    """
    runs, folders = _read_runs([Path(d) for d in dirs])
    done = [run for run in runs if run["status"] == "done"]
    layouts = {run["run_id"]: Layout.of(run["tasks"]) for run in done}
    count_rows: list[tuple[Any, ...]] = []
    step_scores: dict[tuple[str, str], dict[str, Floats]] = {}
    totals: dict[tuple[str, str], dict[str, float]] = {}
    for run in done:
        run_id, layout = run["run_id"], layouts[run["run_id"]]
        rows, arrays = _read_counts(run, folders[run_id], layout)
        count_rows += rows
        complete = run["steps"] == list(range(1, run["n_steps"] + 1))
        for view in VIEWS:
            scores = measures.step_scores(arrays[view], layout)
            step_scores[run_id, view] = scores
            totals[run_id, view] = {name: float(values[-1]) for name, values in scores.items()}
            totals[run_id, view] |= measures.over_steps(scores, arrays[FIXED[view]], layout, complete)
    score_rows, measure_rows = [], []
    for run in done:
        own, best = _bounds(run, done)
        identity = [run[key] for key in RUN]
        for view in VIEWS:
            scores, total = step_scores[run["run_id"], view], totals[run["run_id"], view]
            gaps = {
                name: step_scores[own["run_id"], view][of] - scores[of] if own else scores[of] * np.nan
                for name, of in STEP_GAPS.items()
            }
            for step in run["steps"]:
                values = [scores[name][step - 1] for name in measures.STEP_SCORES]
                values += [gaps[name][step - 1] for name in STEP_GAPS]
                score_rows.append((*identity, step, run["n_steps"], view, *values))
            total["gap"], total["gap_micro"], total["gap_macro"] = (
                float(gaps[name][-1]) for name in ("gap_task_macro", "gap_micro", "gap_macro")
            )
            tops = [totals[bound["run_id"], view]["task_macro_f1"] for bound in best]
            total["gap_best"] = float(np.max(tops)) - total["task_macro_f1"] if tops else np.nan
            measure_rows.append((*identity, view, run["label"], *(total[m] for m in measures.MEASURES)))
    per_run = pd.DataFrame(measure_rows, columns=[*RUN, "view", "label", *measures.MEASURES])
    return Results(
        runs=runs,
        counts=pd.DataFrame(count_rows, columns=COUNTS),
        scores=pd.DataFrame(score_rows, columns=SCORES),
        measures=per_run,
        summary=_summary(per_run),
        folders=folders,
    )


def _bounds(run: Mapping[str, Any], done: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The joint run that is the reference of ``run``, and those of both architectures (or none).

    Across architectures ``setting`` differs, as it covers the architecture's own hyper-parameters; there
    the same split of the same data counts. The warm joint runs are other methods, not the reference.
    """
    joint = [b for b in done if b["registry_name"] in ("joint-span", "joint-token")]
    joint = [b for b in joint if all(b[k] == run[k] for k in ("dataset", "scenario", "order", "seed", "encoder"))]
    joint = [b for b in joint if _split(b) == _split(run)]
    joint.sort(key=lambda b: (b["method"] != b["registry_name"], b["run_id"]))  # a plain one before a variant
    own = [b for b in joint if b["architecture"] == run["architecture"] and b["setting"] == run["setting"]]
    other = [b for b in joint if b["architecture"] != run["architecture"]]
    # Several settings of the other architecture (joined folders): no telling which one is meant.
    single = len({b["setting"] for b in other}) == 1
    return (own[0] if own else None), ([own[0], other[0]] if own and single else [])


def _split(run: Mapping[str, Any]) -> list[Any]:
    return [run.get("fingerprints", {}).get(key) for key in ("data", "split")]


def _summary(per_run: pd.DataFrame) -> pd.DataFrame:
    groups = per_run.groupby(ROW, sort=True)
    out = groups.agg(
        label=("label", "first"),
        n_runs=("run_id", "size"),
        n_orders=("order", "nunique"),
        n_seeds=("seed", "nunique"),
    )
    for name in measures.MEASURES:
        out[f"{name}_mean"] = groups[name].mean()
        out[f"{name}_std"] = groups[name].std(ddof=1)
    return out.reset_index()[SUMMARY]


def _read_runs(dirs: list[Path]) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    runs: dict[str, dict[str, Any]] = {}
    folders: dict[str, Path] = {}
    for folder in dirs:
        if not (folder / "runs").is_dir():
            raise UserError(f"{folder} is no results folder (it holds no 'runs'): give what `bench run --out` wrote")
        for path in sorted(folder.glob("runs/*/run.json")):
            run = _read_json(path)
            missing = [key for key in _NEEDED if key not in run]
            if missing:
                raise UserError(f"{path} lacks {', '.join(map(repr, missing))}: remove the run's folder and run again")
            if run["status"] == "done" and run["n_steps"] not in run["steps"]:
                raise UserError(f"{path} says 'done' without its last step: remove the run's folder and run again")
            seen = runs.get(run["run_id"])
            if seen is None or (seen["status"] != "done" and run["status"] == "done"):
                runs[run["run_id"]], folders[run["run_id"]] = run, path.parent
    order = sorted(runs)
    return [runs[run_id] for run_id in order], {run_id: folders[run_id] for run_id in order}


def _read_counts(
    run: Mapping[str, Any], folder: Path, layout: Layout
) -> tuple[list[tuple[Any, ...]], dict[str, NDArray[np.int64]]]:
    """The rows of the counts frame, and per view the counts ``[T, units, 3]``."""
    index = {unit: i for i, unit in enumerate(layout.units)}
    shape = (run["n_steps"], len(index), 3)
    arrays = {view: np.zeros(shape, dtype=np.int64) for view in {*VIEWS, *FIXED.values()}}
    rows: list[tuple[Any, ...]] = []
    identity = [run[key] for key in RUN]
    for step in run["steps"]:
        path = folder / f"step-{step}" / "counts.json"
        try:
            for view, test_set, type_, triple in _triples(_read_json(path)["views"]):
                i = index[test_set, type_]
                arrays[view][step - 1, i] += triple
                if view in VIEWS:
                    learned = int(layout.learned[i])
                    rows.append((*identity, step, view, test_set, layout.task_of[i], type_, learned, *triple))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is not as docs/results.md says ({error!r}): run again") from error
    return rows, arrays


def _triples(views: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[int]]]:
    for view in sorted({*VIEWS, *FIXED.values()}):
        for test_set in sorted(views[view]):
            for type_, triple in views[view][test_set].items():
                tp, fp, fn = triple
                yield view, test_set, type_, [tp, fp, fn]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing though its run is recorded as done: run again") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove the run's folder and run again") from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
        raise UserError(f"{path} has no 'schema': it was not written by this suite")
    if data["schema"] > SCHEMA:
        raise UserError(f"{path} has schema {data['schema']}, this version reads up to {SCHEMA}: update cl-ner-bench")
    return data

"""Experiment trackers, told by the driver what the files of a grid tell it. Workers know nothing of them.

A tracker is a mirror: results are complete without it, and one that fails or hangs costs no run anything.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cl_ner_bench.errors import UserError
from cl_ner_bench.running.progress import News
from cl_ner_bench.storage.store import digest, read_json, read_record, step_record

Record = Mapping[str, Any]
PROJECT = "cl-ner-bench"
PATIENCE = 30.0  # seconds that a tracker has, when all is learned, to take in what it was told
NAMES = ("run_id", "method", "dataset", "scenario", "order", "seed", "encoder", "config", "setting")


class Tracker(Protocol):
    """What a tracker can be told of runs, each named by its record (``run.json``, docs/results.md).

    All calls come from one thread. Runs are told of in turn: several have begun and not ended at a time.
    """

    def start(self, run: Record) -> None:
        """A run has begun, or goes on after a stop."""

    def step(self, run: Record, step: int, scores: Mapping[str, float], learned: Mapping[str, Any]) -> None:
        """A step is finished: its ``scores`` (0..100; ``all/micro_f1`` is that of view ``all``; undefined ones are
        left out), and the step's row of the record's ``learned``. Steps from before a stop are told of again."""

    def end(self, run: Record, status: str) -> None:
        """A run is ``done``, ``failed`` or ``interrupted``."""


@dataclass(frozen=True)
class Kind:
    """A known tracker: the package that it needs, and what makes it, given a folder for its local files."""

    package: str
    make: Callable[[Path], Tracker]


def check(name: str) -> None:
    """Raises UserError where the package of the tracker ``name`` is not installed."""
    package = KINDS[name].package
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"--tracker {name}: the package {package} is not installed; "
            f"pip install {package}, or all trackers: pip install 'cl-ner-bench[trackers]'"
        )


@contextmanager
def tracked(name: str | None, out: Path, warn: Callable[[str], None]) -> Iterator[Callable[[News], None] | None]:
    """Gives what takes the news of a grid in ``out`` to the tracker ``name`` while the block runs; None without one."""
    if name is None:
        yield None
        return
    tracking = Tracking(lambda: KINDS[name].make(out / "trackers" / name), f"--tracker {name}", warn)
    try:
        yield tracking.tell
    finally:
        tracking.close(PATIENCE)


class Tracking:
    """Hands news to a tracker in a thread of its own. Its first fault is told once, with ``warn``; none is raised."""

    def __init__(self, make: Callable[[], Tracker], title: str, warn: Callable[[str], None]) -> None:
        self._make, self._title, self._warn = make, title, warn
        self._news: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._told = False
        self._open: dict[str, News] = {}
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def tell(self, news: News) -> None:
        self._news.put(news)

    def close(self, patience: float) -> None:
        """End the runs that were told of and have not ended. Waits at most ``patience`` seconds."""
        self._news.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._complain(f"has not taken in everything within {patience:g} s")

    def _work(self) -> None:
        try:
            tracker = self._make()
        except BaseException as error:  # also SystemExit: nobody but this thread is to end
            self._complain(f"could not be started ({type(error).__name__}: {error})")
            return
        while news := self._news.get():
            self._try(self._pass_on, tracker, news)
        for news in list(self._open.values()):
            now = read_record(news.run.folder / "run.json") or news.record
            self._try(tracker.end, news.record, str(now["status"]))

    def _pass_on(self, tracker: Tracker, news: News) -> None:
        run, record = news.run, news.record
        if run.id not in self._open:
            self._open[run.id] = news
            tracker.start(record)
        if news.step is not None:
            folder = run.folder / f"step-{news.step}"
            learned = (step_record(folder, run.key(news.step)) or {}).get("learned", {})
            tracker.step(record, news.step, scores(record, news.step, read_json(folder / "counts.json")), learned)
        if news.ended:
            del self._open[run.id]
            tracker.end(record, str(record["status"]))

    def _try(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except BaseException as error:
            self._complain(f"failed ({type(error).__name__}: {error})")

    def _complain(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._warn(f"{self._title} {what}; the runs and their results are not touched by it")


def scores(run: Record, step: int, counts: Mapping[str, Any]) -> dict[str, float]:
    """``VIEW/SCORE`` after ``step`` for each score of ``scores.csv`` that is defined, from its ``counts.json``."""
    import numpy as np

    from cl_ner_bench.analysis.scores.measures import TaskLayout, step_scores

    layout = TaskLayout.of(run["tasks"])
    index = {unit: i for i, unit in enumerate(layout.units)}
    found: dict[str, float] = {}
    for view in ("all", "filter"):
        triples = np.zeros((run["n_steps"], len(index), 3), dtype=np.int64)
        for test_set, by_type in counts["views"][view].items():
            for type_, triple in by_type.items():
                triples[step - 1, index[test_set, type_]] = triple
        found |= {f"{view}/{name}": float(values[step - 1]) for name, values in step_scores(triples, layout).items()}
    return {name: score for name, score in found.items() if not np.isnan(score)}


def _values(found: Mapping[str, float], learned: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a step, those of its learning as ``learned/NAME``."""
    numbers = {f"learned/{k}": float(v) for k, v in learned.items() if type(v) in (int, float) and k != "step"}
    return {**found, **numbers}


def _facts(run: Record) -> dict[str, Any]:
    """What names a run and what it was set to, as one flat table."""
    settings = run["settings"]
    own = {f"method.{key}": value for key, value in settings["method"].items()}
    return {**{k: run[k] for k in NAMES}, **{k: v for k, v in settings.items() if k != "method"}, **own}


class TensorBoard:
    """An event file for each run, below the results folder."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make = lambda run_id: SummaryWriter(str(folder / run_id))
        self._writers: dict[str, Any] = {}

    def start(self, run: Record) -> None:
        self._writers[run["run_id"]] = writer = self._make(run["run_id"])
        writer.add_text("run", f"```json\n{json.dumps(_facts(run), indent=1, ensure_ascii=False)}\n```")

    def step(self, run: Record, step: int, scores: Mapping[str, float], learned: Mapping[str, Any]) -> None:
        writer = self._writers[run["run_id"]]
        for name, value in _values(scores, learned).items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def end(self, run: Record, status: str) -> None:
        writer = self._writers.pop(run["run_id"])
        writer.add_text("status", status)
        writer.close()


class MLflow:
    """A run of MLflow for each run, at ``MLFLOW_TRACKING_URI``, else in a database below the results folder."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # else it tells of every table that it makes
        folder.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        self._ids: dict[str, str] = {}

    def start(self, run: Record) -> None:
        from mlflow.entities import Param

        name, run_id = f"{PROJECT}-{run['dataset']}-{run['scenario']}", run["run_id"]
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        twins = self._client.search_runs([experiment], f"tags.cl_ner_bench_run = '{run_id}'")
        if twins:
            self._ids[run_id] = twins[0].info.run_id
            self._client.set_terminated(self._ids[run_id], "RUNNING")
            return
        created = self._client.create_run(experiment, tags={"cl_ner_bench_run": run_id}, run_name=run_id)
        self._ids[run_id] = created.info.run_id
        self._client.log_batch(created.info.run_id, params=[Param(k, str(v)) for k, v in _facts(run).items()])

    def step(self, run: Record, step: int, scores: Mapping[str, float], learned: Mapping[str, Any]) -> None:
        for name, value in _values(scores, learned).items():
            self._client.log_metric(self._ids[run["run_id"]], name, value, step=step)

    def end(self, run: Record, status: str) -> None:
        ended = {"done": "FINISHED", "failed": "FAILED"}.get(status, "KILLED")
        self._client.set_terminated(self._ids.pop(run["run_id"]), ended)


class WeightsAndBiases:
    """A run of Weights & Biases for each run; offline, below the results folder, unless ``WANDB_MODE`` says else."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._wandb, self._folder = wandb, folder
        self._runs: dict[str, Any] = {}

    def start(self, run: Record) -> None:
        self._runs[run["run_id"]] = self._wandb.init(
            project=PROJECT,
            group=f"{run['dataset']}-{run['scenario']}",
            name=run["run_id"],
            id=digest(run["run_id"])[:32],
            config=_facts(run),
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            reinit="create_new",
            settings=self._wandb.Settings(silent=True, console="off"),
        )

    def step(self, run: Record, step: int, scores: Mapping[str, float], learned: Mapping[str, Any]) -> None:
        self._runs[run["run_id"]].log(_values(scores, learned), step=step)

    def end(self, run: Record, status: str) -> None:
        self._runs.pop(run["run_id"]).finish(exit_code=0 if status == "done" else 1)


class Trackio:
    """A run of Trackio for each run, in its local database: ``TRACKIO_DIR``, else below the results folder."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))  # read when it is imported
        import trackio

        self._trackio = trackio
        self._runs: dict[str, Any] = {}

    def start(self, run: Record) -> None:
        self._runs[run["run_id"]] = self._trackio.init(
            project=PROJECT, name=run["run_id"], config=_facts(run), resume="allow", embed=False
        )

    def step(self, run: Record, step: int, scores: Mapping[str, float], learned: Mapping[str, Any]) -> None:
        self._runs[run["run_id"]].log(_values(scores, learned), step=step)

    def end(self, run: Record, status: str) -> None:
        self._runs.pop(run["run_id"]).finish()


KINDS = {
    "mlflow": Kind("mlflow", MLflow),
    "wandb": Kind("wandb", WeightsAndBiases),
    "tensorboard": Kind("tensorboard", TensorBoard),
    "trackio": Kind("trackio", Trackio),
}

"""Experiment trackers, which mirror the files of a grid. Workers do not use them.

Results are complete without a tracker. A tracker that fails or hangs harms no run.
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
from cl_ner_bench.running.progress import Listener, RunEvent
from cl_ner_bench.storage.files import digest
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord

log = logging.getLogger(__name__)
PROJECT = "cl-ner-bench"
PATIENCE = 30.0  # seconds that a tracker has after the last run to process its events
NAMES = ("run_id", "method", "dataset", "scenario", "order", "seed", "encoder", "config", "setting")


class TrackedRun(Protocol):
    """One run of a grid in a tracker. All calls come from one thread. Several runs are open at a time."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Store the numbers of a finished step by name.

        Defined scores (0..100) are named ``VIEW/SCORE``, numbers of the learning ``learned/NAME``. After a stop, steps
        from before the stop are sent again with equal values.
        """

    def end(self, status: str) -> None:
        """Close the run. Its status is ``done``, ``failed`` or ``interrupted``."""


@dataclass(frozen=True)
class Kind:
    """A known tracker: the package that it needs, and ``start``, which begins or resumes a run in the tracker.

    ``start`` takes a folder for local files and the run's record (``run.json``, docs/results.md).
    """

    package: str
    start: Callable[[Path, RunRecord], TrackedRun]


def check(name: str) -> None:
    """Raise UserError if the package of the tracker ``name`` is not installed."""
    package = KINDS[name].package
    if importlib.util.find_spec(package) is None:
        raise UserError(f"--tracker {name}: the package {package} is not installed; pip install {package}")


@contextmanager
def tracked(name: str, out: Path) -> Iterator[Listener]:
    """Send the events of a grid in ``out`` to the tracker ``name`` during the block. Yield their listener."""
    folder = out / "trackers" / name
    tracking = Tracking(lambda record: KINDS[name].start(folder, record), f"--tracker {name}")
    try:
        yield tracking.send
    finally:
        tracking.close(PATIENCE)


class Tracking:
    """A thread that sends events to a tracker. It logs the first fault and raises none."""

    def __init__(self, start: Callable[[RunRecord], TrackedRun], title: str) -> None:
        self._start, self._title = start, title
        self._events: queue.SimpleQueue[RunEvent | None] = queue.SimpleQueue()
        self._complained = False
        self._open: dict[RunFolder, TrackedRun | None] = {}  # None: could not be started
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def send(self, event: RunEvent) -> None:
        self._events.put(event)

    def close(self, patience: float) -> None:
        """End all open runs. Wait at most ``patience`` seconds."""
        self._events.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._complain(f"has not taken in everything within {patience:g} s")

    def _work(self) -> None:
        while event := self._events.get():
            if event.folder not in self._open:
                self._open[event.folder] = self._try("could not be started", self._start, event.record)
            if tracked_run := self._open[event.folder]:
                self._try("failed", _mirror, tracked_run, event)
            if event.ended:
                del self._open[event.folder]
        for folder, tracked_run in self._open.items():
            if tracked_run:
                status = folder.status or "interrupted"
                self._try("failed", tracked_run.end, status)

    def _try(self, fault: str, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except BaseException as error:  # also SystemExit, which must not end this thread
            self._complain(f"{fault} ({type(error).__name__}: {error})")
            return None

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            log.warning(f"{self._title} {what}; the runs and their results are not touched by it")


def _mirror(tracked_run: TrackedRun, event: RunEvent) -> None:
    """Send one event to its run in the tracker."""
    record, step = event.record, event.step
    if step is not None:
        finished = event.folder.step(step, record.step_keys[str(step)])
        learned = finished.learned if finished else {}
        numbers = {f"learned/{k}": float(v) for k, v in learned.items() if type(v) in (int, float) and k != "step"}
        tracked_run.log({**scores(record, step, event.folder.counts(step)), **numbers}, step)
    if event.ended:
        tracked_run.end(event.status)


def scores(run: RunRecord, step: int, counts: Mapping[str, Any]) -> dict[str, float]:
    """Return the defined scores of ``scores.csv`` after ``step`` as ``VIEW/SCORE``, from the counts of the step."""
    import numpy as np

    from cl_ner_bench.analysis.scores.measures import TaskLayout, step_scores

    layout = TaskLayout.of(run.tasks)
    index = {unit: i for i, unit in enumerate(layout.units)}
    found: dict[str, float] = {}
    for view in ("all", "filter"):
        triples = np.zeros((run.n_steps, len(index), 3), dtype=np.int64)
        for test_set, by_type in counts["views"][view].items():
            for type_, triple in by_type.items():
                triples[step - 1, index[test_set, type_]] = triple
        found |= {f"{view}/{name}": float(values[step - 1]) for name, values in step_scores(triples, layout).items()}
    return {name: score for name, score in found.items() if not np.isnan(score)}


def _facts(run: RunRecord) -> dict[str, Any]:
    """Return the names and settings of a run as one flat table."""
    settings = run.settings
    own = {f"method.{key}": value for key, value in settings["method"].items()}
    return {**{k: getattr(run, k) for k in NAMES}, **{k: v for k, v in settings.items() if k != "method"}, **own}


class TensorBoard:
    """An event file for each run, below the results folder."""

    def __init__(self, folder: Path, run: RunRecord) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / run.run_id))
        self._writer.add_text("run", f"```json\n{json.dumps(_facts(run), indent=1, ensure_ascii=False)}\n```")

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, status: str) -> None:
        self._writer.add_text("status", status)
        self._writer.close()


class MLflow:
    """A run of MLflow for each run, at ``MLFLOW_TRACKING_URI`` or else in a database below the results folder."""

    def __init__(self, folder: Path, run: RunRecord) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # else mlflow logs every table that it makes
        folder.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client = client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        name, run_id = f"{PROJECT}-{run.dataset}-{run.scenario}", run.run_id
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        if twins := client.search_runs([experiment], f"tags.cl_ner_bench_run = '{run_id}'"):
            self._id = twins[0].info.run_id
            client.set_terminated(self._id, "RUNNING")
        else:
            self._id = client.create_run(experiment, tags={"cl_ner_bench_run": run_id}, run_name=run_id).info.run_id
            client.log_batch(self._id, params=[Param(key, str(value)) for key, value in _facts(run).items()])

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def end(self, status: str) -> None:
        self._client.set_terminated(self._id, {"done": "FINISHED", "failed": "FAILED"}.get(status, "KILLED"))


class WeightsAndBiases:
    """A run of Weights & Biases for each run, offline below the results folder unless ``WANDB_MODE`` is set."""

    def __init__(self, folder: Path, run: RunRecord) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        # wandb keeps logs in its cache and links to them, but no link may lead out of a results folder.
        os.environ.setdefault("WANDB_CACHE_DIR", str(folder.resolve() / "cache"))
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._run = wandb.init(
            project=PROJECT,
            group=f"{run.dataset}-{run.scenario}",
            name=run.run_id,
            id=digest(run.run_id)[:32],
            config=_facts(run),
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def end(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "done" else 1)
        for path in self._folder.glob("wandb/*/logs/*"):
            if path.is_symlink():  # absolute links lead out of a results folder after it is moved
                path.unlink()


class Trackio:
    """A run of Trackio for each run, in a local database in ``TRACKIO_DIR`` or else below the results folder."""

    def __init__(self, folder: Path, run: RunRecord) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))  # read when it is imported
        import trackio

        self._run = trackio.init(project=PROJECT, name=run.run_id, config=_facts(run), resume="allow", embed=False)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def end(self, status: str) -> None:
        self._run.finish()


KINDS = {
    "mlflow": Kind("mlflow", MLflow),
    "wandb": Kind("wandb", WeightsAndBiases),
    "tensorboard": Kind("tensorboard", TensorBoard),
    "trackio": Kind("trackio", Trackio),
}

"""Progress of a grid that any process on any machine learns, read from the files of its results folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cl_ner_bench.running.estimate import Rates, UnfinishedRun, one_worker_seconds, time_left
from cl_ner_bench.running.progress import RunEvent
from cl_ner_bench.storage.checks import DamagedError
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.untrusted import refuse_links_out

SILENT = 60.0  # seconds without a heartbeat after which a run counts as lost
STATES = ("done", "running", "lost", "failed", "interrupted", "waiting", "unreadable")
EVERY = 2.0  # seconds between two reads


@dataclass(frozen=True)
class RunStatus:
    """The state of one run, from its files.

    ``status`` is one of ``STATES``. A run is ``lost`` if its record says "running", but no process holds its lease and
    its heartbeat is older than ``SILENT``. ``progress`` is the content of the heartbeat, ``silent`` its age in seconds.
    """

    record: RunRecord
    folder: RunFolder
    status: str
    done: tuple[int, ...]
    progress: Mapping[str, Any] = field(default_factory=dict)
    silent: float = 0.0

    def pending(self) -> list[int]:
        """Return the unfinished steps that this run itself learns."""
        return [k for k in self.record.steps if k not in self.done and not self.record.is_shared(k)]

    def reason(self) -> str:
        if self.status == "lost":
            return f"no sign of life for {self.silent:.0f} s; the same command takes it up"
        return self.record.reason

    @property
    def unfinished(self) -> UnfinishedRun:
        return UnfinishedRun(self.record, self.done, self.progress if self.status == "running" else None)

    def to_json(self) -> dict[str, Any]:
        keys = ("run_id", "method", "dataset", "scenario", "order", "seed", "encoder")
        log = self.folder.log_file
        at = {"pid", "host", "step", "epoch", "epochs", "update", "updates", "loss", "phase"} & self.progress.keys()
        return {
            **{key: getattr(self.record, key) for key in keys},
            "status": self.status,
            "reason": self.reason(),
            "log": str(log) if log.exists() else None,
            "since": self.record.times.get("started"),
            "silent_seconds": self.silent if self.progress else None,
            "steps": self.record.steps,
            "steps_done": list(self.done),
            "steps_to_learn": self.pending(),
            **{key: self.progress[key] for key in sorted(at)},
        }


@dataclass(frozen=True)
class GridStatus:
    """The state of all runs of a results folder at one moment. ``unreadable`` are the files of damaged records."""

    folder: Path
    runs: Sequence[RunStatus]
    unreadable: Sequence[Path]

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of runs in each of ``STATES`` that occurs."""
        found = Counter(run.status for run in self.runs) + Counter({"unreadable": len(self.unreadable)})
        return {status: found[status] for status in STATES if found[status]}

    def of(self, *statuses: str) -> list[RunStatus]:
        return [run for run in self.runs if run.status in statuses]

    @cached_property
    def computing_seconds_left(self) -> float | None:
        """The seconds that one worker needs for all unfinished runs except failed ones.

        None before any measurement, and for records of early versions.
        """
        unfinished = self._unfinished("running", "lost", "interrupted", "waiting")
        return None if (rates := self._rates(unfinished)) is None else one_worker_seconds(unfinished, rates)

    @cached_property
    def seconds_left(self) -> float | None:
        """The seconds until the present workers finish the running and waiting runs and the report is written.

        None without a worker, before any measurement, and for records of early versions.
        """
        unfinished, workers = self._unfinished("running", "waiting"), len(self.of("running"))
        rates = self._rates(unfinished) if workers else None
        return None if rates is None else time_left(unfinished, rates, workers)

    def _unfinished(self, *statuses: str) -> list[UnfinishedRun]:
        runs = (run for run in self.of(*statuses) if run.record.imported is None)  # nobody learns imported runs
        return [run.unfinished for run in runs]

    def _rates(self, unfinished: Sequence[UnfinishedRun]) -> Rates | None:
        if not all(run.record.words for run in unfinished):
            return None
        return Rates([run.record for run in self.runs if run.record.words], unfinished) or None

    def events_since(self, before: GridStatus) -> Iterator[RunEvent]:
        """Yield an event for each step that was finished and each run whose status changed since ``before``."""
        old = {run.folder: run for run in before.runs}
        for run in self.runs:
            known = old.get(run.folder)
            for step in run.done:
                if known is None or step not in known.done:
                    yield RunEvent(run.folder, run.record, run.status, step)
            if known is None or run.status != known.status:
                yield RunEvent(run.folder, run.record, run.status, reason=run.reason())

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "folder": str(self.folder),
            "counts": self.counts,
            "steps": sum(len(run.record.steps) for run in self.runs),
            "steps_done": sum(len(run.done) for run in self.runs),
            "steps_to_learn": sum(len(run.pending()) for run in self.runs),
            "time_left_seconds": self.seconds_left,
            "computing_left_seconds": self.computing_seconds_left,
            "runs": [run.to_json() for run in self.runs],
            "unreadable": list(map(str, self.unreadable)),
        }


class StatusReader:
    """Reader of a results folder that reads it repeatedly.

    Args:
        store: the URL of the grid's object store. Each read first updates the folder from the store.
    """

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self._folder = ResultsFolder.open(folder, store)
        if store:
            refuse_links_out(folder)  # else a pull could write through a link
            self._folder.pull()

    def read(self) -> GridStatus:
        """Return the state of all runs.

        Raises:
            UserError: the folder is no results folder.
        """
        self._folder.poll()
        runs, unreadable = [], []
        self._folder.check_kind()
        for folder in self._folder.recorded():
            try:
                record = folder.record
            except DamagedError:
                record = None
            if record is None:
                unreadable.append(folder.record_file)
            else:
                runs.append(_status(record, folder, self._folder))
        return GridStatus(self._folder.path, runs, unreadable)

    def follow(self, status: GridStatus) -> Iterator[GridStatus]:
        """Yield new states after ``status`` until nothing runs."""
        seen_running = time.monotonic()
        while status.of("running") or (status.of("waiting") and time.monotonic() - seen_running < SILENT):
            time.sleep(EVERY)  # a waiting run starts soon after another ends, unless its driver is gone
            status = self.read()
            if status.of("running"):
                seen_running = time.monotonic()
            yield status


def _status(record: RunRecord, folder: RunFolder, home: ResultsFolder) -> RunStatus:
    status, steps = record.status, record.steps
    if status == "done":
        return RunStatus(record, folder, status, tuple(steps))
    done = tuple(k for k in steps if (key := record.key(k)) and folder.step(k, key))
    if status != "running":
        return RunStatus(record, folder, status, done)
    progress = folder.progress() or {}
    # Before the first heartbeat, the record is the last sign of life.
    seen = progress.get("time") or folder.recorded_at
    silent = max(0.0, time.time() - seen)
    # A teacher that computes its outputs for much data sends no heartbeat, but the process holds the lease.
    lost = silent > SILENT and not home.is_leased(record.run_id)
    return RunStatus(record, folder, "lost" if lost else "running", done, progress, silent)

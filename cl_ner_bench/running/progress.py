"""Progress of the grid that this command learns, read from the files of its runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import structs

from cl_ner_bench.running.estimate import Rates, UnfinishedRun, time_left
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord

if TYPE_CHECKING:
    from cl_ner_bench.running.runs import Run

SETTLED = 2.0  # seconds after a change within which another one may have the same time stamp
EVERY = 0.5  # seconds between two reads of the files
State = Mapping[str, Any]  # content of a heartbeat file


@dataclass(frozen=True)
class RunEvent:
    """A change of a run: a finished ``step``, or (without a step) a new ``status``.

    ``record`` is the record at that time, ``reason`` the reason for the status. ``new`` is False for a step that was
    finished before this command.
    """

    folder: RunFolder
    record: RunRecord
    status: str
    step: int | None = None
    reason: str = ""
    new: bool = True

    @property
    def ended(self) -> bool:
        """True if the run is over."""
        return self.step is None and self.status in ("done", "failed")

    def micro_f1(self) -> float:
        """Return the micro-F1 (0..100) after ``step``, over all types learned so far and all test sentences."""
        assert self.step is not None, "no step was finished"
        counts = self.folder.counts(self.step)
        triples = [triple for types in counts["views"]["all"].values() for triple in types.values()]
        tp, fp, fn = (sum(triple[i] for triple in triples) for i in range(3))
        return 200 * tp / max(1, 2 * tp + fp + fn)


Listener = Callable[[RunEvent], None]
Display = Callable[["Progress"], AbstractContextManager[Listener]]
"""A function that shows the progress of a grid during its context, and yields a listener for the events."""


class Progress:
    """The state of all runs of a command, from their files.

    Args:
        jobs: the number of runs learned at a time.
        report: True if the command ends with a report.
    """

    def __init__(self, runs: Sequence[Run], todo: Sequence[Run], jobs: int = 1, report: bool = True) -> None:
        self.runs, self.todo, self.jobs, self.report = runs, todo, jobs, report
        self.done: dict[str, list[int]] = {run.id: run.done() for run in todo}
        self.earlier = {run.id: run.folder.record for run in runs}
        self.learned = {run_id: record.learned for run_id, record in self.earlier.items() if record}
        self.states: dict[str, dict[str, Any]] = {}
        self.started: set[str] = set()
        self.ended: dict[str, str] = {}
        self._changed: dict[str, float] = {}  # time of the last change of each folder that was read since

    @property
    def finished(self) -> int:
        """The number of finished runs, with those finished before this command."""
        return len(self.runs) - len(self.todo) + self.ended_as("done")

    def ended_as(self, status: str) -> int:
        """Return the number of runs that ended with ``status``."""
        return sum(ended == status for ended in self.ended.values())

    def running(self) -> Iterator[tuple[RunRecord, State]]:
        """Yield the record and the last heartbeat of each run that is being learned."""
        return ((run.record, self.states[run.id]) for run in self.todo if run.id in self.states)

    def seconds_left(self) -> float | None:
        """Return the seconds until the command ends, or None before any measurement."""
        records = [structs.replace(run.record, learned=self.learned.get(run.id, [])) for run in self.runs]
        going = [run for run in self.todo if run.id not in self.ended]
        unfinished = [UnfinishedRun(run.record, self.done[run.id], self.states.get(run.id)) for run in going]
        rates = Rates(records, unfinished)
        return time_left(unfinished, rates, self.jobs, self.report) if rates else None

    def poll(self) -> Iterator[RunEvent]:
        """Read the files again. Yield an event for each change."""
        for run in self.todo:
            if run.id not in self.ended and self._may_have_changed(run):
                yield from self._read(run)

    def _read(self, run: Run) -> Iterator[RunEvent]:
        state = run.folder.progress()
        self.states.pop(run.id, None)
        if state:
            self.states[run.id] = state
        done = run.done()
        new = [step for step in done if step not in self.done[run.id]]
        self.done[run.id] = done
        record = run.folder.record or run.record
        self.learned[run.id] = record.learned
        steps = new
        if run.id not in self.started and (state or new):
            self.started.add(run.id)
            yield RunEvent(run.folder, record, "running")
            steps = done
        for step in steps:
            yield RunEvent(run.folder, record, "running", step, new=step in new)
        # A retried run shows its old record until it starts. A run with state is still learning.
        if state is None and record != self.earlier[run.id] and record.status in ("done", "failed"):
            self.ended[run.id] = record.status
            yield RunEvent(run.folder, record, record.status, reason=record.reason)

    def _may_have_changed(self, run: Run) -> bool:
        """Return True if files of a run may have been replaced since the last read.

        The check saves reads, because most of a grid's thousands of runs are waiting.
        """
        changed = run.folder.changed_at
        if changed is None:
            return False
        if self._changed.get(run.id) == changed:
            return False
        if time.time() - changed > SETTLED:
            self._changed[run.id] = changed
        return True


@contextmanager
def followed(progress: Progress, listeners: Sequence[Listener]) -> Iterator[None]:
    """Poll ``progress`` in a thread during the block, and call ``listeners`` for each event."""
    if not listeners:
        yield
        return
    ended = threading.Event()

    def follow() -> None:
        over = False
        while not over:
            over = ended.wait(EVERY)
            for event in progress.poll():
                for listener in listeners:
                    listener(event)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

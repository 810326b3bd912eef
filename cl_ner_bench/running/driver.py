"""The driver of a grid. It starts jobs in the schedule's order and repeats the runs of lost workers."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import structs

from cl_ner_bench.running.backends import Pool
from cl_ner_bench.running.job import RESUMES, Job
from cl_ner_bench.running.runs import (
    AwaitedModel,
    AwaitedStep,
    Prepared,
    Run,
    drop_models,
    pinned_models,
    schedule_items,
)
from cl_ner_bench.running.schedule import Schedule
from cl_ner_bench.storage.files import host
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.shared import StoreError, tolerate_outage

log = logging.getLogger(__name__)
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # a results folder that can no longer be written
LOST_WORKERS = 3  # a run that loses so many workers counts as failed
ANNOUNCED = 8  # runs announced at a time, because a remote store is slow
NO_ROOM = 10.0  # seconds without any worker after which a message is logged
TICK = 0.5  # seconds between two looks for awaited steps
STOPS = 15.0  # seconds after a stop in which every run ends whose worker can be reached
BUSY_AGAIN = 2.0  # seconds until the driver asks again for a run that another process learns


def execute(prepared: Prepared, pool: Pool) -> int:
    """Learn all unfinished runs in ``pool``. Return 0, or 130 / 143 if Ctrl-C / SIGTERM stopped the grid.

    The record of each run holds its status. The first Ctrl-C lets children stop at their next update, the second kills
    them.
    """
    folder, runs, keep_models = prepared.folder, prepared.todo, prepared.options.keep_models
    driver, stop = f"driver-{host()}-{os.getpid()}", folder.stop_file()
    folder.remove_old_stop_files()
    pinned = pinned_models(runs, folder, keep_models)
    with folder.wait_for_lease(driver), _signals(stop, lambda: _kill_all(runs, folder)) as received:
        with ThreadPoolExecutor(ANNOUNCED) as threads:
            list(threads.map(lambda run: folder.record_status(run.record, "waiting"), runs))
        jobs = _Jobs(prepared, driver, stop, pinned)
        try:
            _Dispatcher(runs, folder, jobs, pool).follow(received)
        finally:
            stop.unlink(missing_ok=True)
    folder.tidy()
    if received:
        return 128 + received[0]
    drop_models(pinned, runs, folder, keep_models)
    return 0


class _Jobs:
    """A maker of the jobs of one command, with the values that they share."""

    def __init__(self, prepared: Prepared, driver: str, stop: Path, pinned: Collection[str]) -> None:
        self._folder, self._options = prepared.folder, prepared.options
        self._driver, self._stop, self._pinned = driver, stop, pinned
        self._since = datetime.now(UTC).isoformat(timespec="seconds")

    def job(self, run: Run, device: str, awaited: Sequence[Hashable]) -> Job:
        """Return the job of a run. ``awaited`` are the steps and models of this run for which others wait."""
        return Job(
            out=str(self._folder.path.absolute()),  # workers have other current folders
            store=self._folder.url,
            record=run.record,
            device=device,
            keep_models=self._options.keep_models,
            checkpoint_seconds=self._options.checkpoint_seconds,
            timeout=self._options.timeout,
            stop=str(self._stop),
            driver=self._driver,
            since=self._since,
            awaited=tuple(what.step for what in awaited if isinstance(what, AwaitedStep)),
            pinned=tuple(k for k in run.record.steps if run.key(k) in self._pinned),
        )


class _Dispatcher:
    """The state of a grid in progress: its waiting runs, the runs in the pool, and the runs that others learn."""

    def __init__(self, runs: Sequence[Run], folder: ResultsFolder, jobs: _Jobs, pool: Pool) -> None:
        self._by_id = {run.id: run for run in runs}
        self._folder, self._jobs, self._pool = folder, jobs, pool
        self._schedule = Schedule(schedule_items(runs, folder))
        self._running: dict[Future[str], tuple[str, str]] = {}  # -> run, device
        self._busy: dict[str, float] = {}  # run that another process learns -> when to ask again
        self._lost: Counter[str] = Counter()
        self._room = time.monotonic()

    def follow(self, received: Sequence[int]) -> None:
        """Start runs and look for ended runs and finished awaited steps.

        Repeat this until all runs are done, or have stopped after a signal in ``received``.
        """
        stopped = 0.0
        while True:
            self._start(received)
            if not self._running and (received or not (self._busy or self._schedule)):
                return
            if received:
                stopped = stopped or time.monotonic()
                if time.monotonic() - stopped > STOPS:  # the other runs are out of reach
                    return
            if self._running:
                wait(self._running, timeout=TICK, return_when=FIRST_COMPLETED)
            else:
                time.sleep(TICK)
            self._see()
            for future in [future for future in self._running if future.done()]:
                self._settle(future)

    def _start(self, received: Sequence[int]) -> None:
        while not received and self._schedule and (device := self._device()):
            id = self._schedule.next(idle=not self._running and not self._busy)
            if id is None:
                break
            job = self._jobs.job(self._by_id[id], device, self._schedule.awaited_from(id))
            self._running[self._pool.submit(job)] = id, device
        if self._running or self._busy:
            self._room = time.monotonic()
        elif time.monotonic() - self._room > NO_ROOM:
            log.warning("no worker has room for a run; the runs begin when you start a worker")
            self._room = math.inf  # one message is enough

    def _device(self) -> str | None:
        return self._pool.device_for([device for _, device in self._running.values()])

    def _see(self) -> None:
        """Tell the schedule which awaited steps and models exist, and put back the runs to ask for again."""
        self._folder.poll(leave=[id for id, _ in self._running.values()])
        for id in [*self._busy, *(id for id, _ in self._running.values())]:
            for what in self._schedule.awaited_from(id):
                with contextlib.suppress(StoreError):  # `poll` logs it
                    if self._is_there(what):
                        self._schedule.provide(what)
        for id in [id for id, when in self._busy.items() if time.monotonic() > when]:
            del self._busy[id]
            self._schedule.put_back(id)

    def _is_there(self, what: Hashable) -> bool:
        if isinstance(what, AwaitedStep):
            return self._by_id[what.run_id].finished(what.step) is not None
        assert isinstance(what, AwaitedModel)
        return self._folder.models.holds(what.key)

    def _settle(self, future: Future[str]) -> None:
        """End a run, or put it back if its worker was lost or another process is learning it."""
        id, _ = self._running.pop(future)
        error = CancelledError() if future.cancelled() else future.exception()
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise error  # no other run can go on either
        if isinstance(error, StoreError) or (error is None and future.result() == "busy"):
            self._busy[id] = time.monotonic() + BUSY_AGAIN
            return
        if error is not None:
            self._lost[id] += 1
            if self._lost[id] < LOST_WORKERS:
                self._schedule.put_back(id)
                return
            with tolerate_outage():
                why = f"its worker was lost {LOST_WORKERS} times ({error!r})"
                self._folder.record_status(self._by_id[id].record, "failed", why)
        self._schedule.end(id)


@contextlib.contextmanager
def _signals(stop: Path, kill: Callable[[], None]) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM. The first asks the children to stop, the second ends everything at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        stop.touch()
        if len(received) > 1:
            kill()
            stop.unlink(missing_ok=True)
            os._exit(128 + received[0])

    before: Mapping[int, Any] = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kill_all(runs: Sequence[Run], folder: ResultsFolder) -> None:
    import psutil

    processes = psutil.Process().children(recursive=True)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=1)
    for run in runs:
        record = run.folder.record
        if record and record.status == "running" and not folder.is_leased(run.id):
            run.folder.save_here(structs.replace(record, status="interrupted", reason=RESUMES))

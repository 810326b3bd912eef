"""The runs of a grid, learned one beside the other: started in the schedule's order, and none lost with its worker."""

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
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cl_ner_bench.running import sharing
from cl_ner_bench.running.backends import Pool
from cl_ner_bench.running.folder import write_split
from cl_ner_bench.running.job import Unit
from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.schedule import Schedule
from cl_ner_bench.running.worker import RESUMES
from cl_ner_bench.storage import leases, store
from cl_ner_bench.storage.atomic import alive, host
from cl_ner_bench.storage.shared import Depot, Look, StoreError, told_later

log = logging.getLogger(__name__)
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # what a results folder may become meanwhile
LOST_WORKERS = 3  # that a run may lose before it counts as failed
ANNOUNCED = 8  # runs at a time: a store far away takes its time
NO_ROOM = 10.0  # seconds without any worker after which a user is told
TICK = 0.5  # seconds between two looks at what others wait for
STOPS = 15.0  # seconds after a stop in which a run ends wherever its worker can be reached
BUSY_AGAIN = 2.0  # seconds until a run that another process learns is asked for again


def execute(
    runs: Sequence[Run],
    shared: Depot,
    places: Pool,
    *,
    keep_models: str,
    checkpoint_seconds: float,
    timeout: float | None,
) -> int:
    """Learn all ``runs`` in ``places``. Returns 0, or 130 / 143 where Ctrl-C / SIGTERM stopped it.

    How each run ended stands in its ``run.json``. The first Ctrl-C lets children stop at their next update, the second
    kills them.
    """
    out, name = shared.out, f"driver-{host()}-{os.getpid()}"
    stop = out.absolute() / f".stop-{host()}-{os.getpid()}"
    _remove_old_stops(out)
    models = sharing.held(runs, out, keep_models)
    with leases.wait(shared.leases, name), _signals(stop, lambda: _kill_all(runs, shared)) as received:
        with ThreadPoolExecutor(ANNOUNCED) as pool:
            list(pool.map(lambda run: _announce(run, shared), runs))
        since = datetime.now(UTC).isoformat(timespec="seconds")

        def unit(run: Run, device: str, awaited: Sequence[Hashable]) -> Unit:
            return Unit(
                folder=str(run.folder.absolute()),  # workers elsewhere stand in another folder
                record=store.canonical(run.record),
                store=shared.url,
                device=device,
                keep_models=keep_models,
                checkpoint_seconds=checkpoint_seconds,
                timeout=timeout,
                stop=str(stop),
                driver=name,
                since=since,
                first=tuple(what.step for what in awaited if isinstance(what, sharing.Step)),
                held=tuple(k for k in run.record["steps"] if run.key(k) in models),
            )

        try:
            _Course(runs, shared, unit, places).follow(received)
        finally:
            stop.unlink(missing_ok=True)
    leases.Folder(out).tidy()
    if received:
        return 128 + received[0]
    sharing.drop(models, runs, shared, keep_models)
    return 0


class _Course:
    """The runs of a grid on their way: which wait, which are learned in ``places``, which others are at."""

    def __init__(
        self, runs: Sequence[Run], shared: Depot, unit: Callable[[Run, str, Sequence[Hashable]], Unit], places: Pool
    ) -> None:
        self._by_id = {run.id: run for run in runs}
        self._shared, self._unit, self._places = shared, unit, places
        self._schedule = Schedule(sharing.items(runs, shared))
        self._running: dict[Future[str], tuple[str, str]] = {}  # -> run, device
        self._busy: dict[str, float] = {}  # run that another process learns -> when to ask again
        self._lost: Counter[str] = Counter()
        self._look, self._room = Look(shared), time.monotonic()

    def follow(self, received: Sequence[int]) -> None:
        """Start what may be started, look who has ended and what of it others wait for, until all is done, or stopped
        by a signal ``received``."""
        stopped = 0.0
        while True:
            self._start(received)
            if not self._running and (received or not (self._busy or self._schedule)):
                return
            if received:
                stopped = stopped or time.monotonic()
                if time.monotonic() - stopped > STOPS:  # what is left was not started, or is out of reach
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
            unit = self._unit(self._by_id[id], device, self._schedule.awaited_from(id))
            self._running[self._places.submit(unit)] = id, device
        if self._running or self._busy:
            self._room = time.monotonic()
        elif time.monotonic() - self._room > NO_ROOM:
            log.warning("no worker has room for a run: start one, and the runs begin")
            self._room = math.inf  # said once

    def _device(self) -> str | None:
        return self._places.place([device for _, device in self._running.values()])

    def _see(self) -> None:
        """Tell the schedule what is there of what others wait for, and which runs to ask for again."""
        self._look(leave=[id for id, _ in self._running.values()])
        for id in [*self._busy, *(id for id, _ in self._running.values())]:
            for what in self._schedule.awaited_from(id):
                with contextlib.suppress(StoreError):  # of which `Look` tells
                    if _is_there(what, self._by_id, self._shared):
                        self._schedule.provide(what)
        for id in [id for id, when in self._busy.items() if time.monotonic() > when]:
            del self._busy[id]
            self._schedule.put_back(id)

    def _settle(self, future: Future[str]) -> None:
        """A run has ended, was not to be had (nor may be, while a store is silent), or lost its worker."""
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
            _give_up(self._by_id[id], self._shared, f"its worker was lost {LOST_WORKERS} times ({error!r})")
        self._schedule.end(id)


def _is_there(what: Hashable, by_id: Mapping[str, Run], shared: Depot) -> bool:
    if isinstance(what, sharing.Step):
        run = by_id[what.run_id]
        return store.step_record(run.folder / f"step-{what.step}", run.key(what.step)) is not None
    assert isinstance(what, sharing.Model)
    return shared.holds(store.model_folder(shared.out, what.key))


def _announce(run: Run, shared: Depot) -> None:
    """Tell others of a run that is going to be learned, unless another process is at it."""
    write_split(run)
    shared.put(run.folder / "split.json")
    _tell(run, shared, {"status": "waiting"})


def _give_up(run: Run, shared: Depot, why: str) -> None:
    with told_later():
        _tell(run, shared, {"status": "failed", "reason": why})


def _tell(run: Run, shared: Depot, state: Mapping[str, str]) -> None:
    if (lease := leases.acquire(shared.leases, run.id)) is not None:
        with lease:
            store.write_record(run.folder / "run.json", {**run.record, **state})
            shared.put(run.folder / "run.json")


def _remove_old_stops(out: Path) -> None:
    for stale in out.glob(f".stop-{host()}-*"):
        if not alive(int(stale.name.rpartition("-")[2])):
            stale.unlink(missing_ok=True)


@contextlib.contextmanager
def _signals(stop: Path, kill: Callable[[], None]) -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM: the first asks the children to stop, a second one ends everything at once."""
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


def _kill_all(runs: Sequence[Run], shared: Depot) -> None:
    import psutil

    processes = psutil.Process().children(recursive=True)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=1)
    for run in runs:
        record = store.read_record(run.folder / "run.json")
        if record and record["status"] == "running" and leases.holder(shared.leases, run.id) is None:
            store.write_record(run.folder / "run.json", record | {"status": "interrupted", "reason": RESUMES})

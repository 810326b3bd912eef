"""One run, learned in a child process that is watched: what a scheduler's worker does, on whatever machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cl_ner_bench.running import machine
from cl_ner_bench.running.worker import BUSY, INTERRUPTED, RESUMES
from cl_ner_bench.storage import leases, store
from cl_ner_bench.storage.open import depot
from cl_ner_bench.storage.shared import Depot
from cl_ner_bench.storage.store import PROGRESS

GRACE = 4.0  # seconds that a child has to stop by itself
LOOK = 2.0  # seconds between two looks whether the driver lives


@dataclass(frozen=True)
class Unit:
    """One run as plain values: what travels to the process that starts and watches it."""

    folder: str
    record: str  # JSON of the run's record
    store: str | None  # URL of the object store that the results folder is a copy of
    device: str
    keep_models: str
    checkpoint_seconds: float
    timeout: float | None
    stop: str  # a file that asks everybody to stop
    driver: str  # the driver's lease
    since: str  # when the driver began: what ended later is not tried again
    first: tuple[int, ...]  # steps that others wait for
    held: tuple[int, ...]  # steps whose models the driver drops, not the run


def learn(unit: Unit) -> str:
    """Learn one run; returns its status: done, failed, interrupted, or busy where another process is at it."""
    folder, stop = Path(unit.folder), Path(unit.stop)
    shared = depot(folder.parent.parent, unit.store)
    if stop.exists() or _is_gone(unit.driver, shared):
        return "interrupted"
    if leases.holder(shared.leases, folder.name):
        return "busy"
    shared.get(folder / "run.json")
    if (ended := _ended_since(folder, unit.since)) is not None:
        return ended
    record = json.loads(unit.record)
    told = ("folder", "store", "stop", "device", "keep_models", "checkpoint_seconds", "first", "held")
    request = {key: getattr(unit, key) for key in told} | {"record": record}
    environment = os.environ | machine.child_environment(record["settings"]["threads"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "cl_ner_bench.running.worker"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is the driver's to answer
        )
        assert child.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(json.dumps(request).encode())  # ASCII: names that no encoding holds, too
            killed = _watch(child, unit, shared)
        except BaseException:  # a scheduler ends this process: the next one shall find the run free
            child.kill()
            child.wait()
            _settle(folder, shared, "", True, child)
            raise
    if child.returncode == BUSY:
        return "busy"
    return _settle(folder, shared, killed or "", killed is not None, child)


def _settle(folder: Path, shared: Depot, why: str, killed: bool, child: subprocess.Popen[bytes]) -> str:
    """The status that a run ended with; a child that could not say how it ended is spoken for."""
    record = store.read_record(folder / "run.json")
    if record is None or record["status"] not in ("running", "waiting"):
        return str(record["status"]) if record else "failed"
    interrupted = (killed and not why) or child.returncode == INTERRUPTED
    reason = RESUMES if interrupted else f"{why or _death(child)} (log: {folder / 'log.txt'})"
    status = "interrupted" if interrupted else "failed"
    lease = leases.acquire(shared.leases, folder.name)
    if lease is None:
        return "busy"
    with lease:
        shared.remove(folder / PROGRESS)
        store.write_record(folder / "run.json", record | {"status": status, "reason": reason})
        shared.put(folder / "run.json")
    return status


def _ended_since(folder: Path, since: str) -> str | None:
    """How a run ended after ``since`` by another driver's doing, None where it did not."""
    record = store.read_record(folder / "run.json")
    if record and record["status"] in ("done", "failed") and record["times"].get("finished", "") >= since:
        return str(record["status"])
    return None


def _watch(child: subprocess.Popen[bytes], unit: Unit, shared: Depot) -> str | None:
    """Wait for a child. None where it ended by itself; else why it was killed, '' for a stop that it did not heed."""
    stop, orphaned = Path(unit.stop), False
    step, since, stopping, looked = -1, time.monotonic(), None, 0.0
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.2)
                return None
            now = time.monotonic()
            if now - looked > max(LOOK, shared.leases.lag):
                looked = now
                with contextlib.suppress(OSError):  # out of reach: nobody can tell
                    orphaned = orphaned or _is_gone(unit.driver, shared)
            if orphaned:
                stop.touch()
            if stop.exists():
                stopping = stopping or now
                if now - stopping > GRACE:
                    return _kill(child, "")
            if unit.timeout is not None:
                state = store.read_json(Path(unit.folder) / PROGRESS) or {}
                at = state.get("step", step) if state.get("pid") == child.pid else step
                step, since = at, since if at == step else now
                if now - since > unit.timeout:
                    return _kill(child, f"step {max(step, 1)} took longer than --timeout {unit.timeout:g} s")
    finally:
        if orphaned:  # the next driver may have tidied up already
            stop.unlink(missing_ok=True)


def _kill(child: subprocess.Popen[bytes], why: str) -> str:
    child.kill()
    child.wait()
    return why


def _is_gone(driver: str, shared: Depot) -> bool:
    return leases.holder(shared.leases, driver) is None


def _death(child: subprocess.Popen[bytes]) -> str:
    code = child.returncode
    if code >= 0:
        return f"the process ended with exit code {code} and left no word"
    name = signal.Signals(-code).name
    return f"the process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

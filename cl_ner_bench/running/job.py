"""Jobs. A job is one run that a watched child process learns. A scheduler on any machine can call ``learn``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from cl_ner_bench.running.environment import child_environment
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord

GRACE = 4.0  # seconds in which a child must stop by itself
LOOK = 2.0  # seconds between two checks of the driver's lease
INTERRUPTED, BUSY = 130, 75  # exit codes of the child
RESUMES = "stopped; run the same command again to go on"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run as plain values, for the process that watches the child and for the child itself."""

    out: str  # results folder
    store: str | None  # URL of the object store that the results folder is a copy of
    record: RunRecord
    device: str
    keep_models: str
    checkpoint_seconds: float
    timeout: float | None
    stop: str  # a file that asks all processes of the grid to stop
    driver: str  # the driver's lease
    since: str  # start of the driver; a run that ended later is not tried again
    awaited: tuple[int, ...]  # steps for which other runs wait
    pinned: tuple[int, ...]  # steps whose models only the driver drops

    def open(self) -> tuple[ResultsFolder, RunFolder]:
        """Return the results folder and the run's folder in it."""
        folder = ResultsFolder.open(Path(self.out), self.store)
        return folder, folder.run(self.record.run_id)

    def to_json(self) -> bytes:
        """Return the job as ASCII JSON, which can also hold file names that have no valid encoding."""
        return json.dumps(msgspec.to_builtins(self)).encode()

    @staticmethod
    def from_json(content: bytes) -> Job:
        return msgspec.convert(json.loads(content), Job)


def learn(job: Job) -> str:
    """Learn one run. Return its status: done, failed, interrupted, or busy if another process is learning it."""
    folder, run = job.open()
    if Path(job.stop).exists() or not folder.is_leased(job.driver):
        return "interrupted"
    if folder.is_leased(job.record.run_id):
        return "busy"
    run.fetch_record()
    if (ended := _ended_since(run, job.since)) is not None:
        return ended
    environment = os.environ | child_environment(job.record.settings["threads"])
    run.path.mkdir(parents=True, exist_ok=True)
    with run.log_file.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "cl_ner_bench.running.worker"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # only the driver answers Ctrl-C
        )
        assert child.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(job.to_json())
            killed = _watch(child, job)
        except BaseException:  # a scheduler ends this process; the next process must find the run free
            child.kill()
            child.wait()
            _settle(job, "", True, child)
            raise
    if child.returncode == BUSY:
        return "busy"
    return _settle(job, killed or "", killed is not None, child)


def _settle(job: Job, why: str, killed: bool, child: subprocess.Popen[bytes]) -> str:
    """Return the final status of a run. Record the status if the child could not."""
    folder, run = job.open()
    record = run.record
    if record is None or record.status not in ("running", "waiting"):
        return record.status if record else "failed"
    interrupted = (killed and not why) or child.returncode == INTERRUPTED
    reason = RESUMES if interrupted else f"{why or _death(child)} (log: {run.log_file})"
    status = "interrupted" if interrupted else "failed"
    return status if folder.record_status(record, status, reason) else "busy"


def _ended_since(run: RunFolder, since: str) -> str | None:
    """Return the status of a run that another driver ended after ``since``, else None."""
    record = run.record
    if record and record.status in ("done", "failed") and record.times.get("finished", "") >= since:
        return record.status
    return None


def _watch(child: subprocess.Popen[bytes], job: Job) -> str | None:
    """Wait for a child. Return None if it ended by itself, else the reason for killing it.

    The reason is "" if the child did not obey a stop.
    """
    folder, run = job.open()
    stop, orphaned = Path(job.stop), False
    step, since, stopping, looked = -1, time.monotonic(), None, 0.0
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.2)
                return None
            now = time.monotonic()
            if now - looked > max(LOOK, folder.lag):
                looked = now
                with contextlib.suppress(OSError):  # out of reach, so unknown
                    orphaned = orphaned or not folder.is_leased(job.driver)
            if orphaned:
                stop.touch()
            if stop.exists():
                stopping = stopping or now
                if now - stopping > GRACE:
                    return _kill(child, "")
            if job.timeout is not None:
                state: dict[str, Any] = run.progress() or {}
                at = state.get("step", step) if state.get("pid") == child.pid else step
                step, since = at, since if at == step else now
                if now - since > job.timeout:
                    return _kill(child, f"step {max(step, 1)} took longer than --timeout {job.timeout:g} s")
    finally:
        if orphaned:  # the next driver may have tidied up already
            stop.unlink(missing_ok=True)


def _kill(child: subprocess.Popen[bytes], why: str) -> str:
    child.kill()
    child.wait()
    return why


def _death(child: subprocess.Popen[bytes]) -> str:
    code = child.returncode
    if code >= 0:
        return f"the process ended with exit code {code} and left no word"
    name = signal.Signals(-code).name
    return f"the process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

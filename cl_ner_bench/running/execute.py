"""Runs of a grid as child processes. joblib decides when each starts; a crash ends one run and never the grid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.running import machine, sharing, store
from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.worker import INTERRUPTED, PROGRESS, RESUMES

BACKENDS = ("loky",)
GRACE = 4.0  # seconds that a child has to stop by itself


@dataclass(frozen=True)
class Unit:
    """One run as plain values: what travels to the process that starts and watches it."""

    folder: str
    record: str  # JSON of the run's record
    device: str
    keep_models: str
    timeout: float | None
    stop: str
    driver: int
    steps: tuple[int, ...]  # that the run shall have afterwards
    held: tuple[int, ...]  # whose models the driver drops, not the run


def run_unit(unit: Unit) -> str:
    """Learn one run in a child process; returns the status that its record ends with."""
    if threading.current_thread() is threading.main_thread() and os.getpid() != unit.driver:
        ignore_interrupts()
    folder, stop = Path(unit.folder), Path(unit.stop)
    if stop.exists():
        return "interrupted"
    record = json.loads(unit.record)
    record["times"] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    store.write_json(folder / "run.json", record)
    command = [sys.executable, "-m", "cl_ner_bench.running.worker", str(folder), "--stop", str(stop)]
    command += ["--device", unit.device, "--keep-models", unit.keep_models]
    command += ["--steps", *map(str, unit.steps), "--held", *map(str, unit.held)]
    environment = os.environ | machine.child_environment(record["settings"]["threads"])
    with (folder / "log.txt").open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            killed = _watch(child, unit)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    (folder / PROGRESS).unlink(missing_ok=True)
    record = store.read_json(folder / "run.json")
    if record["status"] == "running":  # the child could not say how it ended
        interrupted = killed == "" or child.returncode == INTERRUPTED
        why = RESUMES if interrupted else f"{killed or _death(child)} (log: {folder / 'log.txt'})"
        record |= {"status": "interrupted" if interrupted else "failed", "reason": why}
        store.write_json(folder / "run.json", record)
    return str(record["status"])


def _watch(child: subprocess.Popen[bytes], unit: Unit) -> str | None:
    """Wait for a child. None where it ended by itself; else why it was killed, '' for a stop that it did not heed."""
    step, since, stopping = -1, time.monotonic(), None
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.2)
            return None
        now = time.monotonic()
        if not _alive(unit.driver):
            Path(unit.stop).touch()
        if Path(unit.stop).exists():
            stopping = stopping or now
            if now - stopping > GRACE:
                child.kill()
                child.wait()
                return ""
        if unit.timeout is not None:
            at = (store.read_json(Path(unit.folder) / PROGRESS) or {}).get("step", step)
            step, since = at, since if at == step else now
            if now - since > unit.timeout:
                child.kill()
                child.wait()
                return f"step {max(step, 1)} took longer than --timeout {unit.timeout:g} s"


def _alive(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))


def _death(child: subprocess.Popen[bytes]) -> str:
    code = child.returncode
    if code >= 0:
        return f"the process ended with exit code {code} and left no word"
    name = signal.Signals(-code).name
    return f"the process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal's group; only the driver shall answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def execute(
    runs: Sequence[Run],
    out: Path,
    *,
    jobs: int,
    backend: str,
    device: str,
    keep_models: str,
    timeout: float | None,
) -> int:
    """Learn all ``runs`` in waves, the longest first. Returns 0, or 130 / 143 where Ctrl-C / SIGTERM stopped it.

    How each run ended stands in its ``run.json``. The first Ctrl-C lets children stop at their next update,
    the second kills them. Raises UserError if the scheduler's own processes die.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    stop = out / f".stop-{os.getpid()}"
    devices = machine.devices(device)
    models = sharing.held(runs, out, keep_models)

    def unit(i: int, run: Run, steps: Sequence[int]) -> Unit:
        return Unit(
            str(run.folder),
            store.canonical(run.record),
            devices[i % len(devices)],
            keep_models,
            timeout,
            str(stop),
            os.getpid(),
            tuple(steps),
            tuple(k for k in run.record["steps"] if run.key(k) in models),
        )

    for stale in out.glob(".stop-*"):
        if not _alive(int(stale.name.rpartition("-")[2])):
            stale.unlink(missing_ok=True)
    for run in runs:
        store.write_bytes(run.folder / "split.json", f"{store.ordered(run.split.to_json())}\n".encode())
    ended: dict[str, str] = {}
    with _signals(stop, lambda: _kill_all(runs)) as received:
        try:
            for wave in sharing.waves(runs, out):
                if received:
                    break
                # A run that failed where others waited for it fails once; they learn the step themselves.
                left = [(run, steps) for run, steps in wave if ended.get(run.id) not in ("done", "failed")]
                left.sort(key=lambda item: (-remaining(*item), item[0].id))
                at_once = max(1, min(jobs, len(left)))
                options: dict[str, Any] = {"initializer": ignore_interrupts} if at_once > 1 else {}
                statuses = Parallel(n_jobs=at_once, backend=backend, batch_size=1, pre_dispatch="all", **options)(
                    delayed(run_unit)(unit(i, *item)) for i, item in enumerate(left)
                )
                ended |= {run.id: status for (run, _), status in zip(left, statuses, strict=True)}
        except TerminatedWorkerError as error:
            raise UserError(f"a process of the scheduler was killed; run the same command again ({error})") from None
        finally:
            stop.unlink(missing_ok=True)
    if received:
        return 128 + received[0]
    sharing.drop(models, runs, out, keep_models)
    return 0


def remaining(run: Run, steps: Sequence[int]) -> int:
    missing = run.missing()
    return sum(run.cost(step) for step in steps if step in missing)


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


def _kill_all(runs: Sequence[Run]) -> None:
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()
    for run in runs:
        record = store.read_json(run.folder / "run.json")
        if record and record["status"] == "running":
            record |= {"status": "interrupted", "reason": RESUMES}
            store.write_json(run.folder / "run.json", record)

"""Commands and the processes of their runs, as forks of one process that has imported torch and pandas.

On a tiny grid a new process spends two thirds of its time on these imports. A fork is a full process with its own
environment, output and exit code. It differs from a command in its start, and a thread instead of a loky process
watches each run. Tests of these parts, and of signals, use ``grids.start``.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from cl_ner_bench.running import backends, job

SERVER = multiprocessing.get_context("forkserver")
LIBRARIES = [
    "torch",
    "safetensors.torch",
    "pandas",
    "scipy.stats",
    "matplotlib.figure",
    "seaborn",
    "jinja2",
    "rich.table",
]
COMMANDS = [f"cl_ner_bench.cli.{name}" for name in ("main", "run", "report", "verify")]
THEIRS = ["running.grid", "running.worker", "learning.trainer", "analysis.report.files", "analysis.verify"]
SERVER.set_forkserver_preload([*LIBRARIES, *COMMANDS, *(f"cl_ner_bench.{name}" for name in THEIRS), __name__])
LOCK = threading.Lock()  # multiprocessing polls all children of a process whenever it starts another


class Fork:
    """A function call in a fork, with the part of the interface of `subprocess.Popen` that the suite uses."""

    context: Any = SERVER

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self._process = self.context.Process(target=function, args=arguments)
        self.returncode: int | None = None
        with LOCK:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the fork, and return its exit code. Raises subprocess.TimeoutExpired."""
        if not wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired("a fork", timeout or 0)
        with LOCK:
            self.returncode = self._process.exitcode
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        self._process.kill()


class Worker(Fork):
    """The child process of a run as a fork. It begins when its input is closed."""

    def __init__(self, command: Sequence[str], *, stdout: Any, env: Mapping[str, str], **_: Any) -> None:
        self._log, self._environment = stdout.name, dict(env)
        self.stdin = _Input(self._begin)

    def _begin(self, job: bytes) -> None:
        super().__init__(_work, job, self._log, self._environment)


class _Input(io.BytesIO):
    """A pipe that sends all of its content when it is closed."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send

    def close(self) -> None:
        if not self.closed:
            self._send(self.getvalue())
        super().close()


class Threads(backends.Loky):
    """Loky's slots, with a thread of the driver watching each job."""

    def submit(self, job_: job.Job) -> Future[str]:
        self._executor = self._executor or ThreadPoolExecutor(len(self._slots))
        future: Future[str] = self._executor.submit(job.learn, job_)
        return future

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()


@contextmanager
def forked_runs() -> Iterator[None]:
    """Let grids of this process learn their runs in forks."""
    pools = {"loky": lambda options, jobs, out: Threads(backends._slots(options, jobs))}
    forking = SimpleNamespace(**vars(subprocess) | {"Popen": Worker})
    with mock.patch.dict(backends._POOLS, pools), mock.patch.object(job, "subprocess", forking):
        yield


def command(
    main: str, words: Sequence[str], environment: Mapping[str, str], timeout: float = 300
) -> tuple[int, str, str]:
    """Call ``main`` (MODULE:FUNCTION) in a fork as the command ``words``.

    Returns the exit code and the texts on stdout and stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        fork = Fork(_command, main, list(words), str(out), str(err), dict(environment))
        try:
            code = fork.wait(timeout)
        finally:
            fork.kill()
        return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")


def _command(main: str, words: list[str], out: str, err: str, environment: Mapping[str, str]) -> None:
    _become(out, err, environment)
    module, _, function = main.partition(":")
    sys.argv = words
    Worker.context = multiprocessing.get_context("fork")  # the fork server belongs to the parent
    with forked_runs():
        sys.exit(getattr(import_module(module), function)())


def _work(job: bytes, log: str, environment: Mapping[str, str]) -> None:
    from cl_ner_bench.running import worker

    os.setsid()
    _become(log, log, environment)
    sys.stdin = io.TextIOWrapper(io.BytesIO(job))
    sys.exit(worker.main())


def _become(out: str, err: str, environment: Mapping[str, str]) -> None:
    """Replace this process's output files and environment with those of a command."""
    for number, file in ((1, out), (2, err)):
        with open(file, "ab") as opened:
            os.dup2(opened.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)

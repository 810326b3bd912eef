"""Pools of workers: joblib's loky on this machine, or Dask, Ray or Slurm on a cluster.

Each pool calls ``running.job.learn`` in a process that sees the results folder, or its object store.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.running import environment
from cl_ner_bench.running.job import Job, learn
from cl_ner_bench.running.options import Options
from cl_ner_bench.storage import leases
from cl_ner_bench.storage.files import host

IDLE = 5.0  # seconds after which a process without work ends, also after the driver was killed
CONNECT = 20  # seconds in which a scheduler must answer
POLL = 1.0  # seconds between two looks at Slurm's jobs
JOB_MINUTES = 24 * 60  # time limit of a Slurm job; --slurm time=MINUTES changes it


class Pool(Protocol):
    """Workers that learn jobs."""

    def device_for(self, taken: Sequence[str]) -> str | None:
        """Return the device for one more job, or None without room. ``taken`` are the devices of the running jobs."""

    def submit(self, job: Job) -> Future[str]:
        """Start ``job`` on a worker. The future fails if the worker is lost, not if the run fails."""

    def close(self) -> None:
        """End the workers and their running jobs."""


class Loky:
    """Processes of this machine, through joblib. If a process is lost, all are replaced."""

    def __init__(self, slots: Sequence[str]) -> None:
        self._slots = slots
        self._executor: Any = None

    def device_for(self, taken: Sequence[str]) -> str | None:
        return _least_used(self._slots, taken)

    def submit(self, job: Job) -> Future[str]:
        from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

        def send() -> Future[str]:
            if self._executor is None:
                self._executor = ProcessPoolExecutor(len(self._slots), timeout=IDLE, initializer=ignore_interrupts)
            future: Future[str] = self._executor.submit(learn, job)
            return future

        try:
            return send()
        except BrokenProcessPool:
            self.close()
            return send()

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(kill_workers=True)
            self._executor = None


class Dask:
    """All present workers of the Dask cluster at ``--scheduler``. Without a scheduler, processes of this machine."""

    def __init__(self, options: Options, jobs: int) -> None:
        from dask import config
        from distributed import Client

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the suite reports a dead scheduler in one message
        self._address, self._most = options.scheduler, jobs
        self._slots = None if options.scheduler else _slots(options, jobs)
        cuda = environment.kind(options.device) == "cuda"
        self._device = "cuda:0" if cuda else "cpu"  # the first device that a worker sees
        here: dict[str, Any] = {
            "n_workers": jobs,
            "threads_per_worker": 1,
            "host": "127.0.0.1",
            "dashboard_address": None,
            "memory_limit": 0,  # dask would measure the worker, but its child holds the memory
        }
        self._scratch = _scratch(options)
        folder = {"temporary_directory": self._scratch.name} if self._scratch else {}
        try:
            with config.set(folder):
                self._client = Client(options.scheduler, timeout=CONNECT, **({} if options.scheduler else here))
        except (OSError, ValueError) as error:
            raise _no_answer("dask", options.scheduler, error) from None
        shares = {"GPU": options.gpus_per_run} if cuda and options.scheduler else None
        self._executor = self._client.get_executor(pure=False, resources=shares)

    def device_for(self, taken: Sequence[str]) -> str | None:
        if self._slots is not None:
            return _least_used(self._slots, taken)
        try:
            threads = sum(self._client.nthreads().values())
        except OSError as error:
            raise _no_answer("dask", self._address, error) from None
        return self._device if len(taken) < min(self._most, threads) else None

    def submit(self, job: Job) -> Future[str]:
        future: Future[str] = self._executor.submit(learn, job)
        return future

    def close(self) -> None:
        if self._client.status not in ("closing", "closed"):  # closed if its scheduler was away too long
            self._executor.shutdown(wait=False)
        self._client.close()
        if self._scratch:
            self._scratch.cleanup()


class Ray:
    """Workers of the Ray cluster at ``--scheduler``, as many as fit now. Without a scheduler, local processes."""

    def __init__(self, options: Options, jobs: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else ray reports each use to its developers
        if options.scheduler is None and "RAY_AUTH_MODE" not in os.environ:  # else ray writes a token into the home
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        import ray

        self._ray, self._most = ray, jobs
        cuda = environment.kind(options.device) == "cuda"
        self._device = "cuda:0" if cuda else "cpu"  # ray shows a task its own devices only
        self._needs = {"CPU": float(options.threads)} | ({"GPU": options.gpus_per_run} if cuda else {})
        here: dict[str, Any] = {"num_cpus": jobs * options.threads, "include_dashboard": False}
        self._scratch = _scratch(options)
        if self._scratch:
            here["_temp_dir"] = self._scratch.name
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        try:
            if options.scheduler:  # ray itself would try for minutes
                name, _, port = options.scheduler.rpartition("://")[2].rpartition(":")
                socket.create_connection((name, int(port)), CONNECT).close()
            ray.init(options.scheduler or "local", **quiet, **({} if options.scheduler else here))
        except (OSError, ValueError, RuntimeError) as error:
            raise _no_answer("ray", options.scheduler, error) from None
        # The driver puts a lost run back, as with every pool, so ray must not repeat it.
        needs = {"num_cpus": options.threads, "num_gpus": self._needs.get("GPU", 0)}
        self._learn = ray.remote(learn).options(max_retries=0, **needs)

    def device_for(self, taken: Sequence[str]) -> str | None:
        has = self._ray.cluster_resources()
        room = min(int(has.get(what, 0) / need) for what, need in self._needs.items())
        return self._device if len(taken) < min(self._most, room) else None

    def submit(self, job: Job) -> Future[str]:
        future: Future[str] = self._learn.remote(job).future()
        return future

    def close(self) -> None:
        self._ray.shutdown()
        if self._scratch:
            self._scratch.cleanup()


class Slurm:
    """Jobs of Slurm, through submitit. Jobs ready together form an array. ``--scheduler local`` runs them here."""

    def __init__(self, options: Options, jobs: int, out: Path) -> None:
        import submitit

        self._folder = out.absolute() / "slurm" / f"{host()}-{os.getpid()}"  # logs, and the jobs for submitit
        self._most = jobs
        cuda = environment.kind(options.device) == "cuda"
        self._device = "cuda:0" if cuda else "cpu"  # Slurm shows a job its own devices only
        needs = {"timeout_min": JOB_MINUTES, "cpus_per_task": options.threads}
        needs |= {"gpus_per_node": math.ceil(options.gpus_per_run)} if cuda else {}
        given = {f"slurm_{key}": value for key, value in options.slurm.items()}
        try:
            self._executor = submitit.AutoExecutor(self._folder, options.scheduler or "slurm")
            self._executor.update_parameters(name="bench", **needs, **given)
        except RuntimeError as error:
            raise UserError(f"--backend slurm: {error}") from None
        except (NameError, ValueError, AssertionError) as error:
            raise UserError(f"--slurm: {error}") from None
        self._ready: list[tuple[Job, Future[str]]] = []
        self._sent: dict[Future[str], Any] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def device_for(self, taken: Sequence[str]) -> str | None:
        return self._device if len(taken) < self._most else None

    def submit(self, job: Job) -> Future[str]:
        future: Future[str] = Future()
        with self._lock:
            self._ready.append((job, future))
        return future

    def _follow(self) -> None:
        """Send ready jobs, and set the results of ended jobs."""
        while not self._closed.wait(POLL):
            with self._lock:
                ready, self._ready = self._ready, []
            try:
                jobs = self._executor.map_array(SlurmTask(), [job for job, _ in ready]) if ready else []
            except Exception as error:  # sbatch may refuse for many reasons
                for _, future in ready:
                    future.set_exception(error)
                continue
            self._sent |= {future: job for (_, future), job in zip(ready, jobs, strict=True)}
            for future in [future for future, job in self._sent.items() if job.done()]:
                job = self._sent.pop(future)
                if (lost := job.exception()) is None:
                    future.set_result(job.result())
                else:
                    future.set_exception(lost)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        for job in self._sent.values():
            job.cancel(check=False)
        shutil.rmtree(self._folder, ignore_errors=True)
        if not any(self._folder.parent.iterdir()):
            self._folder.parent.rmdir()


class SlurmTask:
    """The call of a Slurm job. A requeued job repeats the call, which resumes from finished steps and checkpoints."""

    def __call__(self, job: Job) -> str:
        # The lease of a dead node lasts a while. A job that gave up at once would only be sent again.
        end = time.monotonic() + leases.ABANDONED + leases.HEARTBEAT
        while (status := learn(job)) == "busy" and time.monotonic() < end:
            time.sleep(POLL)
        return status

    def checkpoint(self, job: Job) -> Any:
        """Return the call for submitit to queue again when the job is preempted or out of time."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, job)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C. It reaches every process of a terminal's group, but only the driver answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _scratch(options: Options) -> TemporaryDirectory[str] | None:
    """Return a temporary folder for a cluster that this process starts, or None with ``--scheduler``."""
    # The path is short because it holds sockets. Processes of the cluster may still end during its removal.
    return None if options.scheduler else TemporaryDirectory(prefix="b", ignore_cleanup_errors=True)


def _slots(options: Options, jobs: int) -> list[str]:
    return environment.device_slots(options.device, options.gpus_per_run, jobs)


def _least_used(slots: Sequence[str], taken: Sequence[str]) -> str | None:
    free = Counter(slots) - Counter(taken)
    return max(free, key=lambda device: free[device], default=None)


def _no_answer(backend: str, address: str | None, error: Exception) -> UserError:
    where = f"--scheduler {address}" if address else f"--backend {backend}"
    return UserError(f"{where}: no {backend} scheduler answers ({error}); start one, or correct the address")


_PACKAGES = {"loky": "joblib", "dask": "distributed", "ray": "ray", "slurm": "submitit"}
_POOLS: dict[str, Callable[[Options, int, Path], Pool]] = {
    "loky": lambda options, jobs, out: Loky(_slots(options, jobs)),
    "dask": lambda options, jobs, out: Dask(options, jobs),
    "ray": lambda options, jobs, out: Ray(options, jobs),
    "slurm": Slurm,
}


def check(options: Options) -> None:
    """Raise UserError if ``--backend``, ``--scheduler`` and ``--slurm`` do not fit, or a package is missing."""
    backend, known = options.backend, list(_POOLS)
    if backend not in known:
        raise UserError(f"--backend {backend}: expected one of {', '.join(known)}.{did_you_mean(backend, known)}")
    if find_spec(_PACKAGES[backend]) is None:
        package = _PACKAGES[backend]
        raise UserError(f"--backend {backend}: the package {package} is not installed; pip install {package}")
    if options.scheduler and backend == "loky":
        raise UserError(
            f"--scheduler {options.scheduler}: loky uses no scheduler; pass --backend dask or --backend ray"
        )
    if backend == "slurm" and options.scheduler not in (None, "local"):
        raise UserError(f"--scheduler {options.scheduler}: with --backend slurm, expected local or no --scheduler")
    if options.slurm and backend != "slurm":
        raise UserError(f"--slurm {next(iter(options.slurm))}: pass --backend slurm with it")


def pool(options: Options, jobs: int, out: Path) -> Pool:
    """Return the pool of ``--backend`` for at most ``jobs`` jobs at a time.

    Raise UserError if no scheduler answers, or if the scheduler refuses the parameters.
    """
    return _POOLS[options.backend](options, jobs, out)

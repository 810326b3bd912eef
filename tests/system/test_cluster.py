"""A grid survives its cluster.

A grid whose steps take seconds is learned by this machine alone, and again by a Dask or Ray cluster of three
workers. Of these one is killed (SIGKILL) in mid-step, and a fourth joins afterwards. With ``hosts`` each worker is a
host of its own: it has a network namespace, behind a link, and a host name, so that nobody can look after its
processes; the kill takes all processes of the first host, and in the same moment the link of the second is set down.
Its child learns on behind the cut, for it still sees the folder: that must do no harm. With ``objects`` no worker
sees the results folder of the command: each has an empty one of its own, under the same name, and all meet in an S3
server. Both need Linux, root and iproute2.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from cl_ner_bench import load_results
from cl_ner_bench.testing.grids import HASTE, METHODS, bench, start, stored, write_inputs
from cl_ner_bench.testing.s3 import BUCKET, free_port, s3_server

pytestmark = pytest.mark.slow

START = 120  # seconds that a worker has to join
READY = {"dask": "Registered to", "ray": "Ray runtime started"}  # what its log says then
GIVE_UP = 400  # seconds until the grid must be done
BRIDGE, NETWORK = "clbench", "10.231.77"
# A host that is cut off is given up after seconds, not minutes.
ENVIRONMENT = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # a head asks for one; this cluster has its own
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


class Cluster:
    """A scheduler and workers, each a process (and with ``hosts`` a host) of its own.

    In the place of the folder ``hidden`` each worker sees one of its own.
    """

    def __init__(
        self, backend: str, hosts: bool, hidden: Path | None, logs: Path, extra: dict[str, str], cleanup: ExitStack
    ) -> None:
        self.backend, self.hosts, self.hidden, self.logs, self.cleanup = backend, hosts, hidden, logs, cleanup
        self.environment = os.environ | ENVIRONMENT | extra
        self.ip, self.port = f"{NETWORK}.1" if hosts else "127.0.0.1", free_port()
        self.address = f"{'tcp://' if backend == 'dask' else ''}{self.ip}:{self.port}"
        self.workers: dict[str, psutil.Process] = {}
        if hosts:
            ip("link", "add", BRIDGE, "type", "bridge")
            cleanup.callback(ip, "link", "del", BRIDGE)
            ip("addr", "add", f"{self.ip}/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
        if backend == "dask":
            flags = ["--host", self.ip, "--port", str(self.port), "--no-dashboard", "--no-show"]
            self._start("scheduler", [*module("distributed.cli.dask_scheduler"), *flags])
        else:
            flags = ["--head", "--port", str(self.port), "--include-dashboard=false", "--num-cpus", "0"]
            self._start("scheduler", self._ray(self.ip, flags))

    def _ray(self, ip: str, flags: Sequence[str]) -> list[str]:
        command = [*module("ray.scripts.scripts"), "start", "--block", "--node-ip-address", ip]
        return [*command, "--object-store-memory", "100000000", "--disable-usage-stats", *flags]

    def _start(self, name: str, command: Sequence[str]) -> None:
        log = self.cleanup.enter_context((self.logs / f"{name}.txt").open("w"))
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=self.environment)
        self.workers[name] = psutil.Process(process.pid)
        self.cleanup.callback(kill, self.workers[name])

    def add(self, number: int) -> str:
        """Start a worker and return its name."""
        name, ip = f"worker{number}", self._host(number) if self.hosts else self.ip
        if self.backend == "dask":
            flags = ["--host", ip, "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            flags += ["--death-timeout", "60"]
            command = [*module("distributed.cli.dask_worker"), self.address, *flags]
        else:
            command = self._ray(ip, ["--address", self.address, "--num-cpus", "1"])
        if self.hidden:
            script = 'hostname "$0" && mount -t tmpfs tmpfs "$1" && shift && exec "$@"'
            command = ["unshare", "--uts", "--mount", "sh", "-c", script, name, str(self.hidden), *command]
        elif self.hosts:
            space = ["ip", "netns", "exec", f"{BRIDGE}-{name}"]
            command = [*space, "unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', name, *command]
        self._start(name, command)
        end = time.monotonic() + START
        while READY[self.backend] not in (self.logs / f"{name}.txt").read_text(errors="replace"):
            assert self.workers[name].is_running(), name
            assert time.monotonic() < end, name
            time.sleep(0.2)
        return name

    def _host(self, number: int) -> str:
        """Make a network namespace on the bridge and return its address."""
        space, link, address = f"{BRIDGE}-worker{number}", f"{BRIDGE}{number}", f"{NETWORK}.{number + 1}"
        ip("netns", "add", space)
        self.cleanup.callback(ip, "netns", "del", space)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", link, "master", BRIDGE, "up")
        ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", space, "link", "set", "lo", "up")
        return address

    def folders(self, out: Path) -> list[Path]:
        """Return the results folder as each worker sees it."""
        if not self.hidden:
            return [out]
        return [Path(f"/proc/{worker.pid}/root{out}") for worker in self.workers.values()]

    def owner(self, pid: int) -> str:
        """Return the worker that a process belongs to, '' where there is none."""
        with suppress(psutil.Error):
            above = {process.pid for process in psutil.Process(pid).parents()}
            return next((name for name, worker in self.workers.items() if worker.pid in above), "")
        return ""


def module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def kill(process: psutil.Process) -> None:
    """Kill a process and all below it."""
    with suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                one.kill()
        process.wait(10)


def learning(folders: Iterable[Path]) -> dict[str, int]:
    """Return the runs that are in the middle of a step, each with the process that learns it."""
    found = {}
    for file in itertools.chain.from_iterable(out.glob("runs/*/progress.json") for out in folders):
        with suppress(OSError, ValueError):
            state = json.loads(file.read_bytes())
            if state.get("phase") == "learning" and state.get("update", 0) > 0:
                found[file.parent.name] = state["pid"]
    return found


FULL = pytest.mark.full


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(
    ("backend", "extra"),
    [
        ("dask", ""),
        pytest.param("ray", "", marks=FULL),
        pytest.param("dask", "hosts", marks=FULL),
        pytest.param("dask", "objects", marks=FULL),
        pytest.param("ray", "objects", marks=FULL),
    ],
)
def test_a_cluster_that_loses_a_worker_and_gains_one_loses_no_run(
    backend: str, extra: str, full: bool, figure: Callable[[str], None], tmp_path: Path
) -> None:
    words = ["run", *write_inputs(tmp_path), "--methods", f"{METHODS}:slow,{METHODS}:slow-base", "--orders", "0,1"]
    words += ["--bounds", "none", "--epochs", "4" if full else "2", "--checkpoint-seconds", "0", "--no-report"]
    alone, out = tmp_path / "alone", tmp_path / "cluster"
    done = bench(*words, "--jobs", "2", "--out", str(alone), extra=HASTE)
    assert done.returncode == 0, done.stderr
    with ExitStack() as cleanup:
        out.mkdir()
        more = ["--backend", backend, "--out", str(out)]
        environment: dict[str, str] = {}
        if extra == "objects":
            environment = cleanup.enter_context(s3_server()).environment
            more += ["--store", f"s3://{BUCKET}/grid"]
        hidden = out if extra == "objects" else None
        cluster = Cluster(backend, extra == "hosts", hidden, tmp_path, environment, cleanup)
        first, second, _ = (cluster.add(n) for n in (1, 2, 3))
        log = cleanup.enter_context((tmp_path / "log.txt").open("w"))
        more += ["--scheduler", cluster.address]
        driver = start(*words, *more, extra=ENVIRONMENT | environment, stdout=log, stderr=log)
        cleanup.callback(driver.kill)
        learners: dict[str, list[str]] = {}  # of each run, the workers that had it

        def until(is_so: Callable[[set[str]], bool]) -> None:
            """Note who takes which run until ``is_so`` of the workers in mid-step, or the grid is over."""
            end = time.monotonic() + GIVE_UP
            while driver.poll() is None:
                owners = {run: cluster.owner(pid) for run, pid in learning(cluster.folders(out)).items()}
                for run, owner in owners.items():
                    if owner and owner not in learners.setdefault(run, [])[-1:]:
                        learners[run].append(owner)
                if is_so(set(owners.values())):
                    return
                assert time.monotonic() < end, learners
                time.sleep(0.1)

        until(lambda owners: {first, second} <= owners)
        assert driver.poll() is None, "the grid was over before two workers were in mid-step"
        began = time.monotonic()
        if extra == "hosts":
            kill(cluster.workers[first])
            ip("link", "set", f"{BRIDGE}2", "down")
        elif backend == "dask":
            cluster.workers[first].send_signal(signal.SIGKILL)
        else:
            kill(cluster.workers[first])
        late = cluster.add(4)
        until(lambda owners: late in owners)
        taken = time.monotonic() - began
        until(lambda owners: False)
        assert driver.returncode == 0, (tmp_path / "log.txt").read_text()
        assert any(late in names for names in learners.values()), learners
        runs = [json.loads(file.read_bytes()) for file in out.glob("runs/*/run.json")]
        assert [run["status"] for run in runs] == ["done"] * 4
        assert len(stored(out)) == 24
        assert stored(out) == stored(alone)
        one, other = load_results(alone), load_results(out)
        for name in ("counts", "scores", "summary"):
            assert getattr(one, name).to_csv() == getattr(other, name).to_csv(), name
    figure(f"{late} learned its first step {taken:.0f} s after the kill: {sorted(learners.values())}")

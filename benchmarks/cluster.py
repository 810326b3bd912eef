"""Does a grid survive its cluster? python -m benchmarks.cluster --backend dask --hosts

A grid whose steps take seconds is learned by one process of this machine, and again by a Dask or Ray cluster of three
workers. Of these one is killed (SIGKILL) in mid-step, and a fourth joins afterwards. With ``--hosts`` each worker is a
host of its own: it has a network namespace, behind a link, and a host name, so that nobody can look after its
processes; the kill takes all processes of the first host, and in the same moment the link of the second is set down.
Its child learns on behind the cut, for it still sees the folder: that must do no harm. With ``--objects`` no worker
sees the results folder of the command: each has an empty one of its own, under the same name, and all meet in an S3
server.

Printed is what happened, in seconds since the cluster's command began: which worker learned which run, when each
lost its run and who took it over. At the end predictions, counts and tables are compared byte by byte: exit code 1
where a byte differs or a run is not done.

Options: --backend dask|ray, --hosts (Linux, root and iproute2 needed), --objects (Linux, root), --epochs 4 (about 2 s
each in a step).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from cl_ner_bench.testing.grids import METHODS, stored, write_inputs
from cl_ner_bench.testing.s3 import BUCKET, s3_server

START = 120  # seconds that a worker has to join
READY = {"dask": "Registered to", "ray": "Ray runtime started"}  # what its log says then
GIVE_UP = 400  # seconds
TABLES = ("counts.csv", "scores.csv", "summary.csv")
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

    def __init__(self, backend: str, hosts: bool, hidden: Path | None, logs: Path, cleanup: ExitStack) -> None:
        self.backend, self.hosts, self.hidden, self.logs, self.cleanup = backend, hosts, hidden, logs, cleanup
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
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=os.environ | ENVIRONMENT
        )
        self.workers[name] = psutil.Process(process.pid)
        self.cleanup.callback(kill, self.workers[name])

    def add(self, number: int) -> str:
        """Start a worker; returns its name."""
        name, ip = f"worker{number}", self._host(number) if self.hosts else self.ip
        if self.backend == "dask":
            flags = [
                "--host",
                ip,
                "--nthreads",
                "1",
                "--no-nanny",
                "--no-dashboard",
                "--death-timeout",
                "60",
                "--name",
                name,
            ]
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
            if not self.workers[name].is_running() or time.monotonic() > end:
                raise SystemExit(f"{name} did not start: {self.logs / f'{name}.txt'}")
            time.sleep(0.2)
        return name

    def _host(self, number: int) -> str:
        """A network namespace on the bridge; returns its address."""
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
        """The results folder as the workers see it."""
        if not self.hidden:
            return [out]
        return [Path(f"/proc/{worker.pid}/root{out}") for worker in self.workers.values()]

    def owner(self, pid: int) -> str:
        """The worker that a process belongs to, '' where there is none."""
        with suppress(psutil.Error):
            above = {process.pid for process in psutil.Process(pid).parents()}
            return next((name for name, worker in self.workers.items() if worker.pid in above), "")
        return ""


def module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def kill(process: psutil.Process) -> None:
    """Kill a process and all below it."""
    with suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                one.kill()
        process.wait(10)


def learning(folders: Iterable[Path]) -> dict[str, int]:
    """The runs that are in the middle of a step, each with the process that learns it."""
    found = {}
    for file in itertools.chain.from_iterable(out.glob("runs/*/progress.json") for out in folders):
        with suppress(OSError, ValueError):
            state = json.loads(file.read_bytes())
            if state.get("phase") == "learning" and state.get("update", 0) > 0:
                found[file.parent.name] = state["pid"]
    return found


def bench(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as file:
        command = [*module("cl_ner_bench"), "run", *words]
        return subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | ENVIRONMENT)


@contextmanager
def temporary(given: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cluster-")) if given is None else given
    yield folder
    if given is None:
        shutil.rmtree(folder)


def survive(backend: str, hosts: bool, objects: bool, epochs: int, folder: Path) -> bool:
    """Run both grids and do the damage; returns whether nothing was lost. Logs stay in ``folder``."""
    words = [*write_inputs(folder), "--methods", f"{METHODS}:slow,{METHODS}:slow-base", "--orders", "0,1"]
    words += ["--bounds", "none", "--epochs", str(epochs), "--checkpoint-seconds", "0"]
    alone, out = folder / "alone", folder / "cluster"
    if bench([*words, "--jobs", "1", "--out", str(alone)], folder / "alone.txt").wait():
        raise SystemExit(f"the grid in one process failed: {folder / 'alone.txt'}")
    with ExitStack() as cleanup:
        out.mkdir()
        if objects:
            ENVIRONMENT.update(cleanup.enter_context(s3_server()).environment)
        cluster = Cluster(backend, hosts, out if objects else None, folder, cleanup)
        first, second, _ = (cluster.add(n) for n in (1, 2, 3))
        more = ["--backend", backend, "--scheduler", cluster.address, "--out", str(out)]
        more += ["--store", f"s3://{BUCKET}/grid"] if objects else []
        driver = bench([*words, *more], folder / "cluster.txt")
        cleanup.callback(driver.kill)
        began = time.monotonic()
        seen: dict[str, str] = {}  # run: who learns it

        def say(text: str) -> None:
            print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

        def until(is_so: Callable[[dict[str, str]], bool]) -> None:
            """Tell who takes up which run until ``is_so`` of the owners of the runs in mid-step, or all is over."""
            while driver.poll() is None and time.monotonic() < began + GIVE_UP:
                owners = {run: cluster.owner(pid) for run, pid in learning(cluster.folders(out)).items()}
                for run, owner in owners.items():
                    if owner and seen.get(run) != owner:
                        say(f"{owner} learns {run}" + (f", which {seen[run]} had" if run in seen else ""))
                        seen[run] = owner
                if is_so(owners):
                    return
                time.sleep(0.1)

        until(lambda owners: {first, second} <= {*owners.values()})
        if driver.poll() is not None:
            raise SystemExit(
                f"the grid was over before {first} and {second} were in mid-step: {folder / 'cluster.txt'}"
            )
        if hosts:
            kill(cluster.workers[first])
            say(f"all processes of {first} were killed")
            ip("link", "set", f"{BRIDGE}2", "down")
            say(f"the link of {second} was set down")
        else:
            cluster.workers[first].send_signal(signal.SIGKILL) if backend == "dask" else kill(cluster.workers[first])
            say(f"{first} was killed")
        late = cluster.add(4)
        say(f"{late} joins")
        until(lambda owners: False)
        say(f"the command ended with exit code {driver.returncode}")
        helped = late in seen.values()
        say(f"{late} {'learned a part of it' if helped else 'came too late to learn anything'}")
        runs = [json.loads(file.read_bytes()) for file in out.glob("runs/*/run.json")]
        done = sum(run["status"] == "done" for run in runs)
        mine, theirs = stored(alone), stored(out)
        same = sum(mine[name] == theirs.get(name) for name in mine)
        tables = sum(
            (alone / name).read_bytes() == (out / name).read_bytes() for name in TABLES if (out / name).exists()
        )
        strays = [str(p) for p in out.rglob(".*")] + [str(p) for p in itertools.chain(out.glob("leases"))]
        equal = f"{same} of {len(mine)} predictions and counts, {tables} of {len(TABLES)} tables"
        print(f"{done} of {len(mine) // 6} runs done; byte-identical to one process: {equal}")
        print(f"left over: {', '.join(strays) or 'nothing'}")
        return driver.returncode == 0 and helped and same == len(mine) == len(theirs) and tables == len(TABLES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("dask", "ray"), default="dask")
    parser.add_argument("--hosts", action="store_true")
    parser.add_argument("--objects", action="store_true")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where inputs, logs and results stay (default: removed)")
    options = parser.parse_args()
    with temporary(options.folder) as where:
        sys.exit(not survive(options.backend, options.hosts, options.objects, options.epochs, where))
